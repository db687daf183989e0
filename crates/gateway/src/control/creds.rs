//! Certificates, private keys and shared secrets: `list-certs`, `load-cert`, `load-key`, `load-shared` and their kin.

use adit_ipsec::{Identity, MatchQuality};
use adit_pki::Certificate;
use adit_vici::{EventSink, Message};
use zeroize::Zeroizing;

use super::{CertFlag, CertSnapshot, Daemon, SharedSpec, SharedUse, answer};

/// Secrets that a client loaded without a name get one with this prefix and are not listed: nobody could unload them.
const ANONYMOUS: &str = "anonymous:";

pub(super) fn list_certs(daemon: &dyn Daemon, message: &Message, stream: &mut dyn EventSink) -> Message {
    let any = |key: &str, other: &[&str]| {
        message.get_str(key).is_none_or(|v| v.is_empty() || other.iter().any(|o| v.eq_ignore_ascii_case(o)))
    };
    if !any("type", &["ANY", "X509"]) {
        return Message::new();
    }
    let subject = message.get_str("subject").filter(|s| !s.is_empty()).map(Identity::parse);
    for cert in daemon.certificates() {
        let flag = flag_name(cert.flag);
        let matches = match &subject {
            None => true,
            Some(Ok(id)) => names(&cert, id),
            Some(Err(_)) => false,
        };
        if !matches || !any("flag", &["ANY", flag]) {
            continue;
        }
        let event = Message::new()
            .kv("type", "X509")
            .kv("flag", flag)
            .flag("has_privkey", cert.has_private_key)
            .kv("data", cert.certificate.der());
        if stream.event("list-cert", &event).is_err() {
            break;
        }
    }
    Message::new()
}

fn names(cert: &CertSnapshot, id: &Identity) -> bool {
    cert.certificate.certifies(id) || id.matches(&cert.certificate.subject()) > MatchQuality::None
}

fn flag_name(flag: CertFlag) -> &'static str {
    match flag {
        CertFlag::None => "NONE",
        CertFlag::Ca => "CA",
    }
}

pub(super) fn load_cert(daemon: &dyn Daemon, message: &Message) -> Message {
    answer(try_load_cert(daemon, message))
}

fn try_load_cert(daemon: &dyn Daemon, message: &Message) -> Result<(), String> {
    let kind = message.get_str("type").ok_or("certificate type missing")?;
    if !kind.eq_ignore_ascii_case("X509") {
        return Err(certificate_kind(kind));
    }
    let flag = match message.get_str("flag").map(str::to_ascii_uppercase).as_deref() {
        None | Some("" | "NONE") => CertFlag::None,
        Some("CA") => CertFlag::Ca,
        Some(other @ ("AA" | "OCSP")) => {
            return Err(format!("certificates with flag '{other}' are not served yet"));
        }
        Some(_) => {
            return Err(format!(
                "invalid certificate flag '{}'",
                message.get_str("flag").unwrap_or_default()
            ));
        }
    };
    let data = message.get("data").ok_or("certificate data missing")?;
    let certs =
        Certificate::from_pem_or_der(data).map_err(|e| format!("parsing X509 certificate failed: {e}"))?;
    if certs.is_empty() {
        return Err("parsing X509 certificate failed: there is none in it".to_owned());
    }
    if flag == CertFlag::Ca && certs.iter().any(|c| !c.is_ca()) {
        return Err("certificate without CA flag, rejected".to_owned());
    }
    certs.into_iter().try_for_each(|cert| daemon.load_cert(cert, flag))
}

/// Why a type is no `X509`: known but not served, or not known.
fn certificate_kind(kind: &str) -> String {
    match kind.to_ascii_uppercase().as_str() {
        upper @ ("X509_AC" | "X509_CRL" | "OCSP_RESPONSE" | "PUBKEY") => {
            format!("certificates of type '{upper}' are not served yet")
        }
        _ => format!("invalid certificate type '{kind}'"),
    }
}

pub(super) fn flush_certs(daemon: &dyn Daemon, message: &Message) -> Message {
    const KINDS: [&str; 6] = ["ANY", "X509", "X509_AC", "X509_CRL", "OCSP_RESPONSE", "PUBKEY"];
    match message.get_str("type") {
        Some(kind) if !KINDS.iter().any(|k| k.eq_ignore_ascii_case(kind)) => {
            Message::failure(format_args!("invalid certificate type '{kind}'"))
        }
        _ => {
            daemon.flush_certs();
            Message::success()
        }
    }
}

pub(super) fn clear(daemon: &dyn Daemon) -> Message {
    daemon.clear_creds();
    Message::success()
}

pub(super) fn load_key(daemon: &dyn Daemon, message: &Message) -> Message {
    let Some(kind) = message.get_str("type") else { return Message::failure("key type missing") };
    if !["any", "rsa", "ecdsa", "ed25519", "ed448", "bliss", "priv"]
        .iter()
        .any(|k| k.eq_ignore_ascii_case(kind))
    {
        return Message::failure(format_args!("invalid key type: {kind}"));
    }
    let Some(data) = message.get("data") else { return Message::failure("key data missing") };
    match daemon.load_key(data) {
        Ok(id) => Message::success().kv("id", id),
        Err(cause) => Message::failure(format_args!(
            "parsing {} private key failed: {cause}",
            kind.to_ascii_uppercase()
        )),
    }
}

pub(super) fn unload_key(daemon: &dyn Daemon, message: &Message) -> Message {
    match message.get_str("id") {
        None => Message::failure("key id missing"),
        Some(id) if daemon.unload_key(&id.to_ascii_lowercase()) => Message::success(),
        Some(_) => Message::failure("key not found"),
    }
}

pub(super) fn get_keys(daemon: &dyn Daemon) -> Message {
    Message::new().list("keys", daemon.key_ids())
}

pub(super) fn load_token() -> Message {
    Message::failure("keys on tokens (PKCS#11, TPM) are not served; use a key file")
}

pub(super) fn load_shared(daemon: &dyn Daemon, message: &Message) -> Message {
    answer(shared(message).and_then(|secret| daemon.load_shared(secret)))
}

fn shared(message: &Message) -> Result<SharedSpec, String> {
    let given = message.get_str("type").ok_or("shared key type missing")?;
    let kind = match given.to_ascii_uppercase().as_str() {
        "IKE" => SharedUse::Ike,
        "EAP" | "XAUTH" => SharedUse::Eap,
        "NTLM" => return Err("shared key type NTLM is not served yet; load the password as EAP".to_owned()),
        "PPK" => return Err("shared key type PPK (RFC 8784) is not served yet".to_owned()),
        _ => return Err(format!("invalid shared key type: {given}")),
    };
    let data = message.get("data").ok_or("shared key data missing")?;
    let given = message.get_strings("owners");
    let owners: Vec<Identity> = given
        .iter()
        .map(|o| Identity::parse(o))
        .collect::<Result<_, _>>()
        .map_err(|cause| format!("invalid owner of the shared key: {cause}"))?;
    let id = message
        .get_str("id")
        .map_or_else(|| format!("{ANONYMOUS}{kind:?}:{}", given.join(",")), str::to_owned);
    Ok(SharedSpec { id, kind, owners, secret: Zeroizing::new(data.to_vec()) })
}

pub(super) fn unload_shared(daemon: &dyn Daemon, message: &Message) -> Message {
    match message.get_str("id") {
        None => Message::failure("unique identifier missing"),
        // One that is not there is as good as unloaded; clients rely on that.
        Some(id) => {
            daemon.unload_shared(id);
            Message::success()
        }
    }
}

pub(super) fn get_shared(daemon: &dyn Daemon) -> Message {
    Message::new().list("keys", daemon.shared_ids().into_iter().filter(|id| !id.starts_with(ANONYMOUS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Fake, Heard};

    fn m() -> Message {
        Message::new()
    }

    #[test]
    fn shared_secrets() {
        let fake = Fake::default();
        let text = |message: Message| load_shared(&fake, &message).to_string();
        assert_eq!(text(m()), "success=no errmsg=shared key type missing");
        assert_eq!(text(m().kv("type", "bogus")), "success=no errmsg=invalid shared key type: bogus");
        assert_eq!(text(m().kv("type", "ike")), "success=no errmsg=shared key data missing");
        assert_eq!(
            text(m().kv("type", "ike").kv("id", "ike-1").kv("data", "x").list("owners", ["a", "b@c"])),
            "success=yes"
        );
        assert_eq!(text(m().kv("type", "EAP").kv("data", "x").list("owners", ["a"])), "success=yes");
        assert_eq!(get_shared(&fake).to_string(), "keys=[ike-1]");
        assert_eq!(fake.orders(), ["load-shared ike-1 Ike [a b@c]", "load-shared anonymous:Eap:a Eap [a]"]);
        assert_eq!(unload_shared(&fake, &m()).to_string(), "success=no errmsg=unique identifier missing");
        assert_eq!(unload_shared(&fake, &m().kv("id", "nope")).to_string(), "success=yes");
    }

    #[test]
    fn keys() {
        let fake = Fake::default();
        assert_eq!(load_key(&fake, &m()).to_string(), "success=no errmsg=key type missing");
        assert_eq!(
            load_key(&fake, &m().kv("type", "zz")).to_string(),
            "success=no errmsg=invalid key type: zz"
        );
        assert_eq!(
            load_key(&fake, &m().kv("type", "any").kv("data", "bad")).to_string(),
            "success=no errmsg=parsing ANY private key failed: no key in it"
        );
        assert_eq!(
            load_key(&fake, &m().kv("type", "rsa").kv("data", "good")).to_string(),
            "success=yes id=abcd"
        );
        assert_eq!(get_keys(&fake).to_string(), "keys=[abcd]");
        assert_eq!(unload_key(&fake, &m().kv("id", "ABCD")).to_string(), "success=yes");
        assert_eq!(unload_key(&fake, &m().kv("id", "abcd")).to_string(), "success=no errmsg=key not found");
    }

    #[test]
    fn certificates_that_are_none() {
        let fake = Fake::default();
        let text = |message: Message| load_cert(&fake, &message).to_string();
        assert_eq!(text(m()), "success=no errmsg=certificate type missing");
        assert_eq!(text(m().kv("type", "Y")), "success=no errmsg=invalid certificate type 'Y'");
        assert!(text(m().kv("type", "X509_CRL")).contains("not served yet"));
        assert_eq!(
            text(m().kv("type", "X509").kv("flag", "Z")),
            "success=no errmsg=invalid certificate flag 'Z'"
        );
        assert_eq!(text(m().kv("type", "X509")), "success=no errmsg=certificate data missing");
        assert!(text(m().kv("type", "x509").kv("data", "x")).contains("parsing X509 certificate failed"));
        assert_eq!(
            flush_certs(&fake, &m().kv("type", "q")).to_string(),
            "success=no errmsg=invalid certificate type 'q'"
        );
        assert_eq!(flush_certs(&fake, &m()).to_string(), "success=yes");
    }

    #[test]
    fn nothing_is_listed_of_types_that_are_not_served() {
        let mut heard = Heard::default();
        list_certs(&Fake::default(), &m().kv("type", "x509_crl"), &mut heard);
        assert!(heard.lines().is_empty());
    }
}
