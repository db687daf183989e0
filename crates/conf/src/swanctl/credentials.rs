//! `secrets.<kind><s>` and `authorities.<name>`.

use adit_ipsec::Identity;
use zeroize::Zeroizing;

use super::fields::{Fields, shown};
use super::types::{Authority, SecretEntry, SecretKind};
use crate::diag::Diagnostic;
use crate::tree::Section;
use crate::value;

/// The beginnings of section names in `secrets` that are served.
pub(super) const SERVED_PREFIXES: [&str; 8] =
    ["ike", "eap", "xauth", "ntlm", "private", "rsa", "ecdsa", "pkcs8"];

/// The kind of a section of `secrets`, by the beginning of its name.
pub(super) fn prefix(name: &str) -> Option<&'static str> {
    ["pkcs12", "ppk", "token"].into_iter().chain(SERVED_PREFIXES).find(|prefix| name.starts_with(prefix))
}

pub(super) fn secret(
    name: &str,
    section: &Section,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<SecretEntry> {
    let mut fields = Fields::new(section, diagnostics);
    let kind = match prefix(name)? {
        "ike" => SecretKind::Ike,
        "eap" | "xauth" => SecretKind::Eap,
        "ntlm" => SecretKind::Ntlm,
        folder @ ("private" | "rsa" | "ecdsa" | "pkcs8") => {
            let Some(file) = section.get("file") else {
                let message = format!("`{name}` names no `file`");
                fields.diagnostics.push(Diagnostic::error(section.span(), message));
                return None;
            };
            SecretKind::Private { file: file.to_owned(), folder }
        }
        // The schema has refused its keys by name; an empty one asks for nothing.
        _ => return None,
    };
    // Never quoted: not in sentences, not in rendered lines.
    let secret = match section.value("secret") {
        Some(value) => match value.as_str().map(value::secret) {
            Some(Some(secret)) => secret,
            _ => {
                let message = "the secret begins like hex (`0x`) or base64 (`0s`) but is neither";
                fields.complain("secret", value.span(), message);
                return None;
            }
        },
        None => Zeroizing::new(Vec::new()),
    };
    let is_private = matches!(kind, SecretKind::Private { .. });
    if secret.is_empty() && !is_private {
        let message = format!("`{name}` has no secret");
        fields.diagnostics.push(Diagnostic::error(section.span(), message));
        return None;
    }
    if kind == SecretKind::Ntlm && secret.len() != 16 {
        let message =
            format!("an NT hash has 16 bytes (32 hex digits behind `0x`), this one has {}", secret.len());
        let span = section.value("secret").and_then(|value| value.span());
        fields.complain("secret", span, message);
    }
    let mut ids = Vec::new();
    for (key, value) in section.values().filter(|(key, _)| key.starts_with("id")) {
        for item in ids_of(value.as_str()) {
            match Identity::parse(item) {
                Ok(Identity::Any) => {}
                Ok(id) if ids.contains(&id) => {}
                Ok(id) => ids.push(id),
                Err(sentence) => {
                    let message = format!("`{}` is no identity for `{key}`: {sentence}", shown(item));
                    fields.complain(key, value.span(), message);
                }
            }
        }
    }
    Some(SecretEntry { name: name.to_owned(), origin: fields.origin(), kind, secret, ids })
}

/// One identity per key: a distinguished name contains commas.
fn ids_of(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.map(str::trim).into_iter()
}

pub(super) fn authority(
    name: &str,
    section: &Section,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Authority> {
    let fields = Fields::new(section, diagnostics);
    let cacert = match (section.get("cacert"), section.get("file")) {
        (Some(cacert), None) => cacert,
        (None, Some(file)) => file,
        (Some(_), Some(_)) => {
            let message = format!("the authority `{name}` has both `cacert` and `file`; keep one");
            fields.diagnostics.push(Diagnostic::error(section.span(), message));
            return None;
        }
        (None, None) => {
            let message = format!("the authority `{name}` names no `cacert`");
            fields.diagnostics.push(Diagnostic::error(section.span(), message));
            return None;
        }
    };
    Some(Authority {
        name: name.to_owned(),
        origin: fields.origin(),
        cacert: cacert.to_owned(),
        crl_uris: fields.strings("crl_uris"),
        ocsp_uris: fields.strings("ocsp_uris"),
    })
}
