//! `load-authority`, `unload-authority`, `get-authorities`, `list-authorities`.

use std::io::Read as _;

use adit_pki::Certificate;
use adit_vici::{EventSink, Message};

use super::{AuthoritySpec, Daemon, answer};

/// Largest certificate file that is read.
const MAX_FILE: u64 = 1 << 20;

pub(super) fn load(daemon: &dyn Daemon, message: &Message) -> Message {
    answer(message.sections().try_for_each(|(name, given)| daemon.load_authority(authority(name, given)?)))
}

fn authority(name: &str, given: &Message) -> Result<AuthoritySpec, String> {
    const KEYS: [&str; 8] =
        ["cacert", "file", "handle", "slot", "module", "crl_uris", "ocsp_uris", "cert_uri_base"];
    if let Some(unknown) = given.elements().iter().map(adit_vici::Element::name).find(|n| !KEYS.contains(n)) {
        return Err(format!("unknown option: {unknown}, config discarded"));
    }
    let data = match (given.get("cacert"), given.get_str("file")) {
        (Some(data), _) => data.to_vec(),
        (None, Some(path)) => {
            read(path).map_err(|e| format!("CA certificate missing: {name} ('{path}': {e})"))?
        }
        (None, None) => return Err(format!("CA certificate missing: {name}")),
    };
    let cacert = Certificate::from_pem_or_der(&data)
        .map_err(|e| format!("CA certificate missing: {name} ({e})"))?
        .into_iter()
        .next()
        .ok_or_else(|| format!("CA certificate missing: {name}"))?;
    if !cacert.is_ca() {
        return Err("certificate without CA flag, rejected".to_owned());
    }
    let uris = |key| given.get_strings(key).into_iter().map(str::to_owned).collect();
    Ok(AuthoritySpec {
        name: name.to_owned(),
        cacert,
        crl_uris: uris("crl_uris"),
        ocsp_uris: uris("ocsp_uris"),
        cert_uri_base: given.get_str("cert_uri_base").map(str::to_owned),
    })
}

fn read(path: &str) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut data)?;
    Ok(data)
}

pub(super) fn unload(daemon: &dyn Daemon, message: &Message) -> Message {
    match message.get_str("name") {
        None => Message::failure("unload: missing authority name"),
        Some(name) if daemon.unload_authority(name) => Message::success(),
        Some(name) => Message::failure(format_args!("unload: authority '{name}' not found")),
    }
}

pub(super) fn get(daemon: &dyn Daemon) -> Message {
    Message::new().list("authorities", daemon.authorities().iter().map(|a| a.name.as_str()))
}

pub(super) fn list(daemon: &dyn Daemon, message: &Message, stream: &mut dyn EventSink) -> Message {
    let wanted = message.get_str("name");
    for authority in daemon.authorities() {
        if wanted.is_some_and(|name| name != authority.name) {
            continue;
        }
        let fields = Message::new()
            .text("cacert", authority.cacert.subject())
            .list("crl_uris", &authority.crl_uris)
            .list("ocsp_uris", &authority.ocsp_uris)
            .opt("cert_uri_base", authority.cert_uri_base.as_ref());
        if stream.event("list-authority", &Message::new().section(&authority.name, fields)).is_err() {
            break;
        }
    }
    Message::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Fake;

    #[test]
    fn refusals() {
        let fake = Fake::default();
        let load = |given: Message| load(&fake, &Message::new().section("q", given)).to_string();
        assert_eq!(load(Message::new()), "success=no errmsg=CA certificate missing: q");
        assert!(
            load(Message::new().kv("cacert", "xx"))
                .starts_with("success=no errmsg=CA certificate missing: q")
        );
        assert_eq!(
            load(Message::new().kv("zz", "")),
            "success=no errmsg=unknown option: zz, config discarded"
        );
        assert!(
            load(Message::new().kv("file", "/nonexistent"))
                .contains("CA certificate missing: q ('/nonexistent'")
        );
        assert_eq!(
            unload(&fake, &Message::new()).to_string(),
            "success=no errmsg=unload: missing authority name"
        );
        let missing = unload(&fake, &Message::new().kv("name", "x")).to_string();
        assert_eq!(missing, "success=no errmsg=unload: authority 'x' not found");
        assert_eq!(get(&fake).to_string(), "authorities=[]");
    }
}
