//! `adit check`: reads the files as the daemon would and says everything that is wrong with them, without a daemon.

use std::path::{Path, PathBuf};

use adit_conf::diag::{Diagnostic, Severity};
use adit_conf::swanctl::{AuthRound, SwanctlConf};
use adit_conf::{DefaultPaths, Section, StrongswanConf, tree, value};

use super::{Failure, Outcome, show, surroundings};

pub(super) fn run(dir: Option<PathBuf>, file: Option<PathBuf>, strongswan_conf: Option<PathBuf>) -> Outcome {
    let env = |name| std::env::var_os(name).map(PathBuf::from);
    let named = strongswan_conf.or_else(|| env("STRONGSWAN_CONF"));
    let given = named.is_some();
    let mut paths = adit_conf::default_paths(named, dir.or_else(|| env("SWANCTL_DIR")));
    if let Some(file) = file {
        paths.swanctl_conf = file;
    }
    let (diagnostics, summary) = check(&paths, given);
    let mut text: String = diagnostics.iter().map(|d| format!("{}\n\n", d.render())).collect();
    text.push_str(&summary);
    show::print(&text);
    if diagnostics.iter().any(Diagnostic::is_error) { Err(Failure::No(String::new())) } else { Ok(()) }
}

/// Everything there is to say about these files, and one line about the whole.
fn check(paths: &DefaultPaths, strongswan_conf_given: bool) -> (Vec<Diagnostic>, String) {
    let mut all = Vec::new();
    let mut settings = StrongswanConf::default();
    // charon and aditd run without a strongswan.conf, too.
    if strongswan_conf_given || paths.strongswan_conf.exists() {
        match tree::load(&paths.strongswan_conf) {
            Ok(tree) => {
                all.extend(tree.diagnostics.clone());
                let (conf, diagnostics) = adit_conf::strongswan::from_tree(&tree.root);
                all.extend(diagnostics);
                all.extend(surroundings::chains(&conf));
                settings = conf;
            }
            Err(diagnostics) => all.extend(diagnostics),
        }
    }
    let mut found = String::new();
    match tree::load(&paths.swanctl_conf) {
        Ok(tree) => {
            all.extend(tree.diagnostics.clone());
            let (conf, diagnostics) = adit_conf::swanctl::from_tree(&tree.root);
            all.extend(diagnostics);
            all.extend(adit_conf::dataplane::check(&conf, &tree.root, settings.adit.dataplane));
            files(&conf, &tree.root, &paths.swanctl_dir, &mut all);
            all.extend(surroundings::wireguard(&conf));
            found = format!(
                "{}, {}, {}; ",
                count(conf.connections.len(), "connection"),
                count(conf.pools.len(), "pool"),
                count(conf.secrets.len(), "secret")
            );
        }
        Err(diagnostics) => all.extend(diagnostics),
    }
    let of = |severity| all.iter().filter(|d| d.severity == severity).count();
    let summary = format!(
        "{}: {found}{}, {}\n",
        paths.swanctl_conf.display(),
        count(of(Severity::Error), "error"),
        count(of(Severity::Warning), "warning")
    );
    (all, summary)
}

fn count(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Certificates that connections name must be there.
fn files(conf: &SwanctlConf, root: &Section, dir: &Path, all: &mut Vec<Diagnostic>) {
    for conn in &conf.connections {
        for round in conn.local.iter().chain(&conn.remote) {
            for (key, folder, references) in
                [("certs", "x509", &round.certs), ("cacerts", "x509ca", &round.cacerts)]
            {
                for reference in references.iter().filter(|r| value::inline_object(r).is_none()) {
                    let path = dir.join(folder).join(reference);
                    if let Err(error) = std::fs::File::open(&path) {
                        all.push(missing(root, &conn.name, round, key, &path, &error));
                    }
                }
            }
        }
    }
}

fn missing(
    root: &Section,
    conn: &str,
    round: &AuthRound,
    key: &str,
    path: &Path,
    error: &std::io::Error,
) -> Diagnostic {
    let value = root
        .section("connections")
        .and_then(|c| c.section(conn))
        .and_then(|c| c.section(&round.name))
        .and_then(|r| r.value(key));
    let message = format!("the certificate {} cannot be read: {error}", path.display());
    Diagnostic::error(value.and_then(|v| v.span()), message)
        .with_help("names without a leading slash are looked up in x509 (certs) and x509ca (cacerts)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, conf: &str) -> DefaultPaths {
        let dir = std::env::temp_dir().join(format!("adit-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("swanctl.conf"), conf).unwrap();
        adit_conf::default_paths(Some(dir.join("strongswan.conf")), Some(dir))
    }

    #[test]
    fn a_good_file() {
        let psk = "local {\n auth = psk\n id = a.example\n}\nremote {\n auth = psk\n id = b.example\n}";
        let conf = format!(
            "connections {{ home {{\nremote_addrs = 192.0.2.1\n{psk}\nchildren {{ net {{ }} }}\n}} }}\n\
             secrets {{ ike-1 {{\n secret = 0x00112233445566778899aabbccddeeff00112233\n}} }}\n"
        );
        let paths = folder("good", &conf);
        let (all, summary) = check(&paths, false);
        assert!(!all.iter().any(Diagnostic::is_error), "{all:?}");
        assert!(summary.contains("1 connection, no pools, 1 secret; no errors"), "{summary}");
        std::fs::remove_dir_all(paths.swanctl_dir).unwrap();
    }

    #[test]
    fn what_the_data_plane_cannot_do_has_its_place() {
        let conf = "connections { home {\nlocal {\n auth = psk\n}\nremote {\n auth = psk\n}\nchildren { net {\n \
                    mark_out = 7\n} }\n} }\n";
        let paths = folder("marks", conf);
        for (kind, refused) in [("userspace", true), ("kernel", false), ("auto", false)] {
            std::fs::write(&paths.strongswan_conf, format!("adit {{ dataplane = {kind} }}\n")).unwrap();
            let (all, _) = check(&paths, true);
            let text: String = all.iter().map(|d| d.at() + "\n").collect();
            assert_eq!(
                text.contains("swanctl.conf:9:13: error: `mark_out` of the child `net`"),
                refused,
                "{text}"
            );
        }
        std::fs::remove_dir_all(paths.swanctl_dir).unwrap();
    }

    #[test]
    fn mistakes_have_a_place_and_a_cure() {
        let conf =
            "connections { home {\nlocal_adrs = 10.0.0.1\nlocal {\n certs = nope.pem\n}\nremote {\n}\n} }\n";
        let paths = folder("bad", conf);
        let (all, summary) = check(&paths, true);
        let text: String = all.iter().map(|d| d.at() + "\n").collect();
        assert!(text.contains("swanctl.conf:2:1: error: "), "{text}");
        assert!(text.contains("local_addrs"), "{text}");
        assert!(text.contains("strongswan.conf"), "{text}");
        assert!(!summary.contains("no errors"), "{summary}");
        std::fs::remove_dir_all(paths.swanctl_dir).unwrap();
    }
}
