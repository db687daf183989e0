//! Distinguished names: text in the order of the certificate (`C=CH, O=Lab, CN=gw`) to and from DER.

use std::fmt;

use crate::identity::{MatchQuality, escaped};

/// One attribute of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Content of its object identifier.
    pub oid: &'a [u8],
    /// String tag.
    pub tag: u8,
    /// The value.
    pub value: &'a [u8],
}

/// Attributes of one name that are looked at; more make it malformed.
const MAX_ATTRIBUTES: usize = 64;

/// Short names, object identifiers (DER content) and the string tag used when building.
const TYPES: [(&str, &[u8], u8); 19] = [
    ("C", &[0x55, 4, 6], PRINTABLE),
    ("ST", &[0x55, 4, 8], UTF8),
    ("L", &[0x55, 4, 7], UTF8),
    ("STREET", &[0x55, 4, 9], UTF8),
    ("O", &[0x55, 4, 10], UTF8),
    ("OU", &[0x55, 4, 11], UTF8),
    ("CN", &[0x55, 4, 3], UTF8),
    ("SN", &[0x55, 4, 4], UTF8),
    ("serialNumber", &[0x55, 4, 5], PRINTABLE),
    ("T", &[0x55, 4, 12], UTF8),
    ("D", &[0x55, 4, 13], UTF8),
    ("N", &[0x55, 4, 41], UTF8),
    ("G", &[0x55, 4, 42], UTF8),
    ("I", &[0x55, 4, 43], UTF8),
    ("dnQualifier", &[0x55, 4, 46], PRINTABLE),
    ("ID", &[0x55, 4, 45], UTF8),
    ("E", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], IA5),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], UTF8),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], IA5),
];

/// Longest text of a name; keeps every length of its DER within two octets.
const MAX_TEXT: usize = 4096;

const ALIASES: [(&str, &str); 5] =
    [("S", "ST"), ("EMAIL", "E"), ("emailAddress", "E"), ("EMAILADDRESS", "E"), ("GN", "G")];

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;

/// Builds the DER of a name from text; a comma or slash inside a value is written `\,`.
///
/// # Errors
/// A sentence that names the part.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("a distinguished name of {} bytes is longer than any", text.len()));
    }
    let mut rdns = Vec::new();
    let mut count = 0;
    for part in split(text) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        count += 1;
        if count > MAX_ATTRIBUTES {
            // It could be written, and then not read again.
            return Err(format!("a distinguished name of more than {MAX_ATTRIBUTES} attributes"));
        }
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("'{part}' in '{text}' is not NAME=VALUE"))?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let name = ALIASES.iter().find(|(a, _)| *a == name).map_or(name, |(_, n)| n);
        let known = TYPES.iter().find(|(n, _, _)| n.eq_ignore_ascii_case(name));
        let (oid, tag) = known
            .map(|(_, oid, tag)| (oid.to_vec(), *tag))
            .or_else(|| Some((oid_from_dotted(name)?, UTF8)))
            .ok_or_else(|| format!("'{name}' is no attribute of a distinguished name"))?;
        let tag = if tag != UTF8 && !value.is_ascii() { UTF8 } else { tag };
        let mut attribute = tlv(OID, &oid);
        attribute.extend(tlv(tag, value.as_bytes()));
        rdns.extend(tlv(SET, &tlv(SEQUENCE, &attribute)));
    }
    if rdns.is_empty() {
        Err(format!("'{text}' is an empty distinguished name"))
    } else {
        Ok(tlv(SEQUENCE, &rdns))
    }
}

fn split(text: &str) -> Vec<String> {
    let separator = if text.starts_with('/') { '/' } else { ',' };
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        match (c, parts.last_mut()) {
            ('\\', _) if !escaped => {
                escaped = true;
                continue;
            }
            (c, _) if c == separator && !escaped => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
        escaped = false;
    }
    parts
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=0x7f => out.push(n as u8),
        n @ 0x80..=0xff => out.extend([0x81, n as u8]),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// Reads one element; the rest behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    // DER: the shortest form only, so that a name has one encoding
    let shortest = match first {
        0x81 => length > 0x7f,
        0x82 => length > 0xff,
        _ => true,
    };
    if !shortest {
        return None;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The attributes of a name in order, with the number of the RDN each stands in; `None` if it is malformed.
pub fn attributes(der: &[u8]) -> Option<Vec<(usize, Attribute<'_>)>> {
    let (SEQUENCE, mut rdns, []) = element(der)? else { return None };
    let mut found = Vec::new();
    let mut index = 0;
    while !rdns.is_empty() {
        let (SET, mut set, rest) = element(rdns)? else { return None };
        while !set.is_empty() {
            let (SEQUENCE, pair, more) = element(set)? else { return None };
            let (OID, oid, value) = element(pair)? else { return None };
            let (tag, value, []) = element(value)? else { return None };
            found.push((index, Attribute { oid, tag, value }));
            if found.len() > MAX_ATTRIBUTES {
                return None;
            }
            set = more;
        }
        rdns = rest;
        index += 1;
    }
    Some(found)
}

/// Taken as a pattern, how well does `pattern` accept `name`? A value of `*` accepts every value (RDNs in order).
pub fn matches(pattern: &[u8], name: &[u8]) -> MatchQuality {
    if pattern == name {
        return MatchQuality::Exact;
    }
    let (Some(pattern), Some(name)) = (attributes(pattern), attributes(name)) else {
        return MatchQuality::None;
    };
    if pattern.len() != name.len() {
        return MatchQuality::None;
    }
    let mut quality = MatchQuality::Exact;
    for ((pi, p), (ni, n)) in pattern.iter().zip(&name) {
        if pi != ni || p.oid != n.oid {
            return MatchQuality::None;
        }
        if p.value == b"*" {
            quality = MatchQuality::Wildcard;
        } else if !same_value(p, n) {
            return MatchQuality::None;
        }
    }
    quality
}

/// RFC 5280 §7.1: without case, and inner white space counts once; the string types may differ.
fn same_value(a: &Attribute<'_>, b: &Attribute<'_>) -> bool {
    let folded = |v: &[u8]| -> Option<String> {
        let text = std::str::from_utf8(v).ok()?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
    };
    let text = |tag| matches!(tag, UTF8 | PRINTABLE | IA5 | 0x14);
    if text(a.tag) && text(b.tag) {
        folded(a.value) == folded(b.value)
    } else {
        a.tag == b.tag && a.value == b.value
    }
}

/// `1.2.840.113549.1.9.2`; hex for what is no object identifier.
fn oid_to_dotted(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = Some(0_u64);
    for byte in oid {
        arc = arc.filter(|a| *a <= u64::MAX >> 7).map(|a| a << 7 | u64::from(byte & 0x7f));
        if byte & 0x80 == 0 {
            let Some(whole) = arc.replace(0) else { break };
            arcs.push(whole);
        }
    }
    // the last octet ends an arc, and the first number holds the first two arcs (X.690 §8.19.4)
    match (arcs.split_first(), oid.last()) {
        (Some((first, rest)), Some(last)) if last & 0x80 == 0 && arc == Some(0) => {
            let top = (first / 40).min(2);
            let mut text = format!("{top}.{}", first - top * 40);
            rest.iter().for_each(|arc| text.push_str(&format!(".{arc}")));
            text
        }
        _ => oid.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The reverse of [`oid_to_dotted`]: at least two arcs, the first 0 to 2.
fn oid_from_dotted(text: &str) -> Option<Vec<u8>> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().ok()).collect::<Option<_>>()?;
    let [top, second, rest @ ..] = arcs.as_slice() else { return None };
    if *top > 2 || (*top < 2 && *second > 39) || arcs.len() > 32 {
        return None;
    }
    let mut oid = Vec::new();
    for arc in [second.checked_add(top * 40)?].iter().chain(rest) {
        let groups = (u64::BITS - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            oid.push((arc >> (group * 7) & 0x7f) as u8 | more);
        }
    }
    Some(oid)
}

/// Prints a name in the order of the certificate.
pub(crate) fn fmt(der: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(attributes) = attributes(der) else { return f.write_str("(malformed distinguished name)") };
    for (i, (_, attribute)) in attributes.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        match TYPES.iter().find(|(_, oid, _)| *oid == attribute.oid) {
            Some((name, _, _)) => write!(f, "{name}=")?,
            None => write!(f, "{}=", oid_to_dotted(attribute.oid))?,
        }
        escaped(f, attribute.value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_and_back() {
        let der = parse("C=CH, O=Big\\, Lab, CN=gw").unwrap();
        let found = attributes(&der).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].1, Attribute { oid: &[0x55, 4, 6], tag: PRINTABLE, value: b"CH" });
        assert_eq!(found[1].1.value, b"Big, Lab");
        assert!(parse("CN").is_err());
        assert!(parse(&format!("CN={}", "x".repeat(5000))).is_err());
        assert!(parse("XY=1").is_err());
    }

    #[test]
    fn attributes_without_a_name_are_numbers_both_ways() {
        struct Shown(Vec<u8>);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt(&self.0, f)
            }
        }
        for text in [
            "1.2.840.113549.1.9.2=gw, CN=x",
            "2.5.4.99=a",
            "2.999.1=b",
            "0.0.0=c",
            "1.39.18446744073709551615=d",
        ] {
            assert_eq!(Shown(parse(text).unwrap()).to_string(), text);
        }
        for bad in ["3.1=x", "1.40.1=x", "1=x", "1..2=x", "1.2.99999999999999999999=x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(oid_to_dotted(&[]), "");
        assert_eq!(oid_to_dotted(&[0x55, 0x84]), "5584");
        assert_eq!(oid_to_dotted(&[0xff; 12]), "ff".repeat(12));
    }

    #[test]
    fn lengths_have_one_form() {
        // CN=x, with the outer length in one and in two octets
        let der = parse("CN=x").unwrap();
        let long = [&[0x30, 0x81, der[1]], &der[2..]].concat();
        assert!(attributes(&der).is_some() && attributes(&long).is_none());
    }

    #[test]
    fn what_can_be_written_can_be_read() {
        let name = |count| vec!["CN=x"; count].join(", ");
        let der = parse(&name(MAX_ATTRIBUTES)).unwrap();
        assert_eq!(attributes(&der).unwrap().len(), MAX_ATTRIBUTES);
        assert!(parse(&name(MAX_ATTRIBUTES + 1)).is_err());
    }

    #[test]
    fn string_types_case_and_spaces_do_not_matter() {
        let utf8 = parse("O=Big  Lab, CN=Gw").unwrap();
        let mut printable = parse("O=big lab, CN=gw").unwrap();
        assert_eq!(matches(&utf8, &printable), MatchQuality::Exact);
        for byte in &mut printable {
            *byte = if *byte == UTF8 { PRINTABLE } else { *byte };
        }
        assert_eq!(matches(&utf8, &printable), MatchQuality::Exact);
        assert_eq!(matches(&utf8, &parse("CN=gw, O=big lab").unwrap()), MatchQuality::None);
        assert_eq!(matches(&utf8, &parse("O=big lab").unwrap()), MatchQuality::None);
    }

    #[test]
    fn no_prefix_of_a_name_is_a_name() {
        let der = parse("C=CH, CN=some.rather.long.name").unwrap();
        for cut in 0..der.len() {
            assert!(attributes(&der[..cut]).is_none());
        }
    }
}
