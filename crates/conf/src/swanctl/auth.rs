//! `connections.<conn>.local<s>` and `remote<s>`: rounds of authentication.

use adit_ipsec::Identity;

use super::fields::{Fields, shown};
use super::types::{
    AuthMethod, AuthRound, EapMethod, KeyFamily, PubkeyConstraints, Revocation, SignatureHash,
};
use crate::diag::{Diagnostic, Subject};
use crate::tree::Section;
use crate::value;

/// The rounds of one side, in order; one round of `pubkey` if none is written.
pub(super) fn rounds(conn: &Section, side: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<AuthRound> {
    let sections: Vec<(&str, &Section)> =
        conn.sections().filter(|(name, _)| name.starts_with(side)).collect();
    if let Some((name, second)) = sections.get(1) {
        let message = format!(
            "`{name}` is a second round of {side} authentication (RFC 4739), which is not served yet; keep one"
        );
        diagnostics.push(
            Diagnostic::error(second.span(), message).about(Subject::UnknownSection((*name).to_owned())),
        );
    }
    let mut rounds: Vec<AuthRound> = sections
        .into_iter()
        .map(|(name, section)| round(name, section, side == "local", diagnostics))
        .collect();
    rounds.sort_by_key(|round| round.round);
    if rounds.is_empty() {
        rounds.push(AuthRound {
            name: side.to_owned(),
            round: 0,
            auth: AuthMethod::Pubkey(PubkeyConstraints::default()),
            id: None,
            eap_id: None,
            certs: Vec::new(),
            cacerts: Vec::new(),
            revocation: Revocation::Relaxed,
        });
    }
    rounds
}

fn round(name: &str, section: &Section, local: bool, diagnostics: &mut Vec<Diagnostic>) -> AuthRound {
    let mut fields = Fields::new(section, diagnostics);
    let auth = match section.value("auth") {
        None => AuthMethod::Pubkey(PubkeyConstraints::default()),
        Some(value) => {
            let text = value.as_str().unwrap_or("").trim();
            match method(text) {
                Ok(method) => {
                    if matches!(&method, AuthMethod::Pubkey(c) if !local && *c != PubkeyConstraints::default())
                    {
                        let message = format!(
                            "the constraints in `auth = {}` are understood, but not enforced yet: any key that the trusted CAs certify is accepted",
                            shown(text)
                        );
                        fields.diagnostics.push(Diagnostic::warning(value.span(), message));
                    }
                    method
                }
                Err(sentence) => {
                    fields.complain("auth", value.span(), sentence);
                    AuthMethod::Pubkey(PubkeyConstraints::default())
                }
            }
        }
    };
    let id = identity(&mut fields, "id");
    let eap_id = identity(&mut fields, "eap_id");
    let certs = objects(&mut fields, "certs", "cert");
    let cacerts = objects(&mut fields, "cacerts", "cacert");
    if !fields.word("revocation", &[("relaxed", true), ("ifuri", false), ("strict", false)], true) {
        let value = section.value("revocation");
        let message = format!(
            "`revocation = {}` is not served yet: CRLs and OCSP are not checked, so only `relaxed` is true",
            value.and_then(|value| value.as_str()).unwrap_or("")
        );
        fields.complain("revocation", value.and_then(|value| value.span()), message);
    }
    AuthRound {
        name: name.to_owned(),
        round: fields.number("round", "a number").unwrap_or(0),
        auth,
        id,
        eap_id,
        certs,
        cacerts,
        revocation: Revocation::Relaxed,
    }
}

fn identity(fields: &mut Fields<'_>, key: &str) -> Option<Identity> {
    let value = fields.section.value(key)?;
    let text = value.as_str()?;
    match Identity::parse(text.trim()) {
        Ok(identity) => Some(identity),
        Err(sentence) => {
            let message = format!("`{}` is no identity for `{key}`: {sentence}", shown(text));
            fields.complain(key, value.span(), message);
            None
        }
    }
}

/// `certs = a, b` and `cert1 { file = c }`.
fn objects(fields: &mut Fields<'_>, key: &str, prefix: &str) -> Vec<String> {
    let check = |item: &str| match value::inline_object(item) {
        Some(None) => Err(format!("an object in `{key}` begins like hex or base64 but is neither")),
        _ => Ok(item.to_owned()),
    };
    let mut out = fields.parsed_list(key, check).unwrap_or_default();
    let section = fields.section;
    for (name, sub) in section.sections().filter(|(name, _)| name.starts_with(prefix)) {
        match sub.value("file").and_then(|file| file.as_str()) {
            Some(file) => out.push(file.to_owned()),
            None => {
                let message = format!("`{name}` names no `file`");
                fields.diagnostics.push(Diagnostic::error(sub.span(), message));
            }
        }
    }
    out
}

const METHODS: &str = "pubkey, psk, eap or eap-mschapv2";

/// The value of `auth`.
pub(super) fn method(text: &str) -> Result<AuthMethod, String> {
    if text.eq_ignore_ascii_case("psk") {
        return Ok(AuthMethod::Psk);
    }
    if text == "any" {
        return Err(format!(
            "`auth = any` would accept a peer that proves nothing in particular; use {METHODS}"
        ));
    }
    if text.starts_with("xauth") {
        return Err(format!(
            "`auth = {}` is not served: XAuth belongs to IKEv1 (RFC 9395); use eap",
            shown(text)
        ));
    }
    if let Some(eap) = text.strip_prefix("eap") {
        return match eap {
            "" => Ok(AuthMethod::Eap(None)),
            "-mschapv2" => Ok(AuthMethod::Eap(Some(EapMethod::MsChapV2))),
            "-identity" => Err("`auth = eap-identity` proves nothing; use eap-mschapv2".to_owned()),
            _ if eap.starts_with('-') => Err(format!(
                "`auth = {}` is not served yet: of the EAP methods only eap-mschapv2 is",
                shown(text)
            )),
            _ => Err(format!("`{}` is no value for `auth`: expected {METHODS}", shown(text))),
        };
    }
    constraints(text).map(AuthMethod::Pubkey)
}

/// `rsa-2048-sha256`, `ike:rsa/pss-sha256`, `pubkey-sha256-sha384:ecdsa-384` …
fn constraints(text: &str) -> Result<PubkeyConstraints, String> {
    let mut out = PubkeyConstraints::default();
    let mut first = true;
    let bad = |token: &str| {
        let help = crate::nearest(text, ["pubkey", "psk", "eap", "eap-mschapv2", "rsa", "ecdsa", "ed25519"])
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        if token == text {
            format!("`{}` is no value for `auth`: expected {METHODS}{help}", shown(text))
        } else {
            format!("`{}` in `auth = {}` is no key type, size or hash", shown(token), shown(text))
        }
    };
    for group in text.split(':') {
        if group == "ike" && first {
            first = false;
            continue;
        }
        let mut tokens = group.split('-');
        let family = match tokens.next().unwrap_or("") {
            "pubkey" => None,
            "rsa" => Some(KeyFamily::Rsa),
            "rsa/pss" => {
                out.rsa_pss = true;
                Some(KeyFamily::Rsa)
            }
            "ecdsa" => Some(KeyFamily::Ecdsa),
            "ed25519" => Some(KeyFamily::Ed25519),
            other @ ("ed448" | "bliss") => return Err(format!("{other} signatures are not served")),
            other => return Err(bad(other)),
        };
        if let Some(family) = family {
            out.keys.push((family, 0));
        }
        for token in tokens {
            let hash = match token {
                "sha256" | "sha2_256" => SignatureHash::Sha256,
                "sha384" | "sha2_384" => SignatureHash::Sha384,
                "sha512" | "sha2_512" => SignatureHash::Sha512,
                "identity" => SignatureHash::Identity,
                "md5" | "sha1" | "sha224" | "sha2_224" => {
                    return Err(format!(
                        "`{token}` in `auth = {}` is refused: it is too weak for signatures",
                        shown(text)
                    ));
                }
                digits => match (digits.parse::<u32>(), family, out.keys.last_mut()) {
                    (Ok(bits), Some(_), Some(key)) if bits >= 128 => {
                        key.1 = bits;
                        continue;
                    }
                    _ => return Err(bad(token)),
                },
            };
            if !out.hashes.contains(&hash) {
                out.hashes.push(hash);
            }
        }
        first = false;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        assert_eq!(method("psk"), Ok(AuthMethod::Psk));
        assert_eq!(method("pubkey"), Ok(AuthMethod::Pubkey(PubkeyConstraints::default())));
        assert_eq!(method("eap"), Ok(AuthMethod::Eap(None)));
        assert_eq!(method("eap-mschapv2"), Ok(AuthMethod::Eap(Some(EapMethod::MsChapV2))));
        assert_eq!(
            method("rsa-2048-sha256"),
            Ok(AuthMethod::Pubkey(PubkeyConstraints {
                keys: vec![(KeyFamily::Rsa, 2048)],
                hashes: vec![SignatureHash::Sha256],
                rsa_pss: false
            }))
        );
        assert_eq!(
            method("ike:rsa/pss-sha256:ecdsa-384-sha384"),
            Ok(AuthMethod::Pubkey(PubkeyConstraints {
                keys: vec![(KeyFamily::Rsa, 0), (KeyFamily::Ecdsa, 384)],
                hashes: vec![SignatureHash::Sha256, SignatureHash::Sha384],
                rsa_pss: true
            }))
        );
        for bad in [
            "",
            "eap-tls",
            "eap-radius",
            "xauth",
            "eaptls",
            "rsa-sha1",
            "pubkey-2048",
            "pskk",
            "any",
            "ed448",
        ] {
            assert!(method(bad).is_err(), "{bad}");
        }
        assert_eq!(
            method("pskk").unwrap_err(),
            "`pskk` is no value for `auth`: expected pubkey, psk, eap or eap-mschapv2; did you mean `psk`?"
        );
    }
}
