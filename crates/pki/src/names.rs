//! Distinguished names and subjectAltName entries as IKE identities.

use std::net::{Ipv4Addr, Ipv6Addr};

use adit_ipsec::Identity;
use der::asn1::Any;
use der::{Decode, Encode, Tag, TagNumber, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RelativeDistinguishedName};

/// Most subjectAltName entries kept of one certificate.
const MAX_ALT_NAMES: usize = 256;

/// The entries of a subjectAltName extension value that can be IKE identities. The others (otherName, URI, …) are
/// left out: nobody can prove them here. An entry with bytes no name may have is left out as well.
pub(crate) fn alt_names(extension: &[u8]) -> der::Result<Vec<Identity>> {
    // Not x509-cert's GeneralNames: it fails for the whole list at the first x400Address.
    let entries = Vec::<Any>::from_der(extension)?;
    Ok(entries.iter().filter_map(alt_name).take(MAX_ALT_NAMES).collect())
}

fn alt_name(entry: &Any) -> Option<Identity> {
    let value = entry.value();
    let Tag::ContextSpecific { number, .. } = entry.tag() else { return None };
    match number {
        TagNumber(1) => printable(value).map(Identity::Rfc822),
        TagNumber(2) => printable(value).map(Identity::Fqdn),
        TagNumber(4) => Name::from_der(value).ok().map(|_| Identity::Dn(value.to_vec())),
        TagNumber(7) => {
            if let Ok(octets) = <[u8; 4]>::try_from(value) {
                Some(Identity::Ipv4(Ipv4Addr::from(octets)))
            } else {
                <[u8; 16]>::try_from(value).ok().map(|octets| Identity::Ipv6(Ipv6Addr::from(octets)))
            }
        }
        _ => None,
    }
}

/// IA5 without control characters and blanks; a NUL in a name has fooled enough software.
fn printable(value: &[u8]) -> Option<String> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    String::from_utf8(value.to_vec()).ok()
}

/// Whether two DER encoded names are the same by RFC 5280 §7.1: string types and ASCII case do not count.
pub(crate) fn same_dn(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let (Ok(a), Ok(b)) = (Name::from_der(a), Name::from_der(b)) else { return false };
    let (a, b): (Vec<_>, Vec<_>) = (a.iter_rdn().collect(), b.iter_rdn().collect());
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same_rdn(a, b))
}

fn same_rdn(a: &RelativeDistinguishedName, b: &RelativeDistinguishedName) -> bool {
    // A set: DER sorts it by encoding, which the string type is part of, so the order says nothing.
    a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| same_attribute(a, b)))
}

fn same_attribute(a: &AttributeTypeAndValue, b: &AttributeTypeAndValue) -> bool {
    if a.oid != b.oid {
        return false;
    }
    match (text(&a.value), text(&b.value)) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => a.value.to_der().ok() == b.value.to_der().ok(),
    }
}

fn text(value: &Any) -> Option<&[u8]> {
    matches!(value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String).then(|| value.value())
}
