//! Finding and reaching the daemon.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_vici::{Client, DEFAULT_URI};

use super::Failure;

/// Connects to the daemon's control socket.
pub(super) fn connect(uri: Option<&str>) -> Result<Client, Failure> {
    let uri = match uri {
        Some(uri) => uri.to_owned(),
        None => configured()?.unwrap_or_else(|| DEFAULT_URI.to_owned()),
    };
    let path = adit_vici::socket_path(&uri).map_err(Failure::Unasked)?;
    Client::connect(&path)
        .map_err(|error| Failure::Unasked(sentence(&path, error.kind(), &error.to_string())))
}

/// As [`connect`], for questions that are answered at once: a daemon that stalls is told of, not waited for.
pub(super) fn ask(uri: Option<&str>) -> Result<Client, Failure> {
    let mut client = connect(uri)?;
    client
        .set_timeout(Some(Duration::from_secs(30)))
        .map_err(|error| Failure::Unasked(format!("cannot set a timeout on the control socket: {error}")))?;
    Ok(client)
}

fn sentence(path: &Path, kind: ErrorKind, error: &str) -> String {
    let cure = match kind {
        ErrorKind::PermissionDenied => "run adit as root or as a member of the socket's group".to_owned(),
        ErrorKind::ConnectionRefused => {
            "the socket is a leftover of a daemon that is gone; start aditd (systemctl start aditd)"
                .to_owned()
        }
        ErrorKind::NotFound => {
            "is aditd running? Start it (systemctl start aditd), or name its socket with --uri".to_owned()
        }
        _ => format!("{error}; name another socket with --uri"),
    };
    format!("cannot connect to unix://{}: {cure}", path.display())
}

/// The socket that strongswan.conf names.
fn configured() -> Result<Option<String>, Failure> {
    let named = std::env::var_os("STRONGSWAN_CONF").map(PathBuf::from);
    let path = adit_conf::default_paths(named.clone(), None).strongswan_conf;
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    match adit_conf::tree::load(&path) {
        Ok(tree) => Ok(adit_conf::strongswan::from_tree(&tree.root).0.vici_socket),
        // A file nobody named may be unreadable for us; the default socket is worth a try.
        Err(_) if named.is_none() => Ok(None),
        Err(diagnostics) => {
            let first = diagnostics.first().map_or_else(|| path.display().to_string(), |d| d.at());
            Err(Failure::Unasked(format!("{first}; `adit check` shows all of it, --uri goes without")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_daemon_is_named_with_a_cure() {
        let Err(Failure::Unasked(text)) = connect(Some("unix:///nonexistent/x.vici")) else {
            panic!("connected")
        };
        assert_eq!(
            text,
            "cannot connect to unix:///nonexistent/x.vici: is aditd running? Start it (systemctl start aditd), or name \
             its socket with --uri"
        );
        let Err(Failure::Unasked(text)) = connect(Some("tcp://127.0.0.1:1")) else { panic!("connected") };
        assert!(text.contains("only unix"));
    }
}
