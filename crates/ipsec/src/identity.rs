//! Identities (RFC 7296 §3.5) and how they match.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dn;

/// Who a peer says it is. `Any` is a pattern only and never goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Identity {
    /// `%any`.
    #[default]
    Any,
    /// ID_IPV4_ADDR.
    Ipv4(Ipv4Addr),
    /// ID_IPV6_ADDR.
    Ipv6(Ipv6Addr),
    /// ID_FQDN.
    Fqdn(String),
    /// ID_RFC822_ADDR.
    Rfc822(String),
    /// ID_DER_ASN1_DN: the DER of an X.501 Name.
    Dn(Vec<u8>),
    /// ID_DER_ASN1_GN.
    Gn(Vec<u8>),
    /// ID_KEY_ID.
    KeyId(Vec<u8>),
    /// A type without a meaning here.
    Other {
        /// ID type.
        kind: u8,
        /// Its data.
        data: Vec<u8>,
    },
}

/// How well a pattern accepts an identity; ordered, better is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchQuality {
    /// Not at all.
    None,
    /// By `%any`.
    Any,
    /// By a wildcard.
    Wildcard,
    /// The very identity.
    Exact,
}

impl Identity {
    /// Reads an identity as written in swanctl.conf: with a type prefix, or guessed from its shape.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || matches!(text, "%any" | "%any6" | "*") {
            return Ok(Self::Any);
        }
        if let Some((prefix, rest)) = text.split_once(':')
            && let Some(result) = Self::prefixed(prefix, rest)
        {
            return result;
        }
        if let Some(hex) = text.strip_prefix("@#") {
            return Ok(Self::KeyId(unhex(hex)?));
        }
        if let Some(mail) = text.strip_prefix("@@") {
            return Ok(Self::Rfc822(mail.into()));
        }
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Self::Fqdn(name.into()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(if address.is_unspecified() { Self::Any } else { Self::from_ip(address) });
        }
        if text.contains('=') {
            return dn::parse(text).map(Self::Dn);
        }
        Ok(if text.contains('@') { Self::Rfc822(text.into()) } else { Self::Fqdn(text.into()) })
    }

    fn prefixed(prefix: &str, rest: &str) -> Option<Result<Self, String>> {
        let hex = rest.strip_prefix('#');
        let bytes = || hex.map_or_else(|| Ok(rest.as_bytes().to_vec()), unhex);
        Some(match prefix {
            "ipv4" => rest.parse().map(Self::Ipv4).map_err(|_| format!("'{rest}' is no IPv4 address")),
            "ipv6" => rest.parse().map(Self::Ipv6).map_err(|_| format!("'{rest}' is no IPv6 address")),
            "fqdn" | "dns" => Ok(Self::Fqdn(rest.into())),
            "rfc822" | "email" | "userfqdn" => Ok(Self::Rfc822(rest.into())),
            "asn1dn" => if hex.is_some() { bytes() } else { dn::parse(rest) }.map(Self::Dn),
            "asn1gn" => bytes().map(Self::Gn),
            "keyid" => bytes().map(Self::KeyId),
            "ipv4net" | "ipv6net" | "ipv4range" | "ipv6range" | "xmppaddr" | "uri" => {
                Err(format!("identities of type '{prefix}' are not served"))
            }
            numeric => {
                let kind = numeric.strip_prefix('{')?.strip_suffix('}')?.parse().ok()?;
                bytes().and_then(|data| Self::from_wire(kind, &data).map_err(str::to_owned))
            }
        })
    }

    /// An address as identity.
    pub const fn from_ip(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => Self::Ipv4(a),
            IpAddr::V6(a) => Self::Ipv6(a),
        }
    }

    /// Reads type and data of an ID payload.
    ///
    /// # Errors
    /// What is wrong with the data.
    pub fn from_wire(kind: u8, data: &[u8]) -> Result<Self, &'static str> {
        let text = || {
            let text = std::str::from_utf8(data).map_err(|_| "identity is not text")?;
            if text.is_empty() { Err("identity is empty") } else { Ok(text.to_owned()) }
        };
        Ok(match kind {
            1 => Self::Ipv4(Ipv4Addr::from(
                <[u8; 4]>::try_from(data).map_err(|_| "IPv4 identity of wrong length")?,
            )),
            5 => Self::Ipv6(Ipv6Addr::from(
                <[u8; 16]>::try_from(data).map_err(|_| "IPv6 identity of wrong length")?,
            )),
            2 => Self::Fqdn(text()?),
            3 => Self::Rfc822(text()?),
            9 => {
                dn::attributes(data).ok_or("distinguished name is malformed")?;
                Self::Dn(data.to_vec())
            }
            10 => Self::Gn(data.to_vec()),
            11 => Self::KeyId(data.to_vec()),
            _ => Self::Other { kind, data: data.to_vec() },
        })
    }

    /// ID type of the wire.
    pub const fn wire_kind(&self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Ipv4(_) => 1,
            Self::Fqdn(_) => 2,
            Self::Rfc822(_) => 3,
            Self::Ipv6(_) => 5,
            Self::Dn(_) => 9,
            Self::Gn(_) => 10,
            Self::KeyId(_) => 11,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// ID data of the wire.
    pub fn wire_data(&self) -> Vec<u8> {
        match self {
            Self::Any => Vec::new(),
            Self::Ipv4(a) => a.octets().to_vec(),
            Self::Ipv6(a) => a.octets().to_vec(),
            Self::Fqdn(t) | Self::Rfc822(t) => t.as_bytes().to_vec(),
            Self::Dn(d) | Self::Gn(d) | Self::KeyId(d) | Self::Other { data: d, .. } => d.clone(),
        }
    }

    /// Is it the pattern that accepts everybody?
    pub const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    /// Taken as a pattern, how well does `self` accept `other`?
    pub fn matches(&self, other: &Self) -> MatchQuality {
        let exact = |same| if same { MatchQuality::Exact } else { MatchQuality::None };
        match (self, other) {
            (Self::Any, _) => MatchQuality::Any,
            (Self::Fqdn(p), Self::Fqdn(t)) => wildcard(p, t, "*."),
            (Self::Rfc822(p), Self::Rfc822(t)) => wildcard(p, t, "*@"),
            (Self::Fqdn(p), Self::Rfc822(t)) if p.starts_with("*@") => wildcard(p, t, "*@"),
            (Self::Dn(p), Self::Dn(t)) => dn::matches(p, t),
            _ => exact(self == other),
        }
    }
}

/// Names compare without case; a pattern that begins with `start` accepts every text with the rest as its end.
fn wildcard(pattern: &str, text: &str, start: &str) -> MatchQuality {
    if pattern.eq_ignore_ascii_case(text) {
        return MatchQuality::Exact;
    }
    if !pattern.starts_with(start) {
        return MatchQuality::None;
    }
    let tail = pattern.get(1..).unwrap_or_default();
    let cut = text.len().checked_sub(tail.len());
    let ends =
        cut.filter(|c| *c > 0).and_then(|c| text.get(c..)).is_some_and(|t| t.eq_ignore_ascii_case(tail));
    if ends { MatchQuality::Wildcard } else { MatchQuality::None }
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if !digits.len().is_multiple_of(2) {
        return Err(format!("'{text}' has an odd number of hex digits"));
    }
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [a, b] => nibble(*a).zip(nibble(*b)).map(|(a, b)| a << 4 | b),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("'{text}' is not hex"))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("%any"),
            Self::Ipv4(a) => a.fmt(f),
            Self::Ipv6(a) => a.fmt(f),
            Self::Fqdn(t) | Self::Rfc822(t) => escaped(f, t.as_bytes()),
            Self::Dn(der) => dn::fmt(der, f),
            Self::KeyId(data) => escaped(f, data),
            Self::Gn(data) | Self::Other { data, .. } => data
                .iter()
                .enumerate()
                .try_for_each(|(i, b)| write!(f, "{}{b:02x}", if i > 0 { ":" } else { "" })),
        }
    }
}

/// Printable ASCII as it is, everything else as `\xNN`: identities reach logs and terminals.
pub(crate) fn escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // besides control characters, those that change how their neighbours are shown
            let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
            if c.is_control() || hidden {
                write!(f, "\\x{:02x}", u32::from(c))?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_guessed_and_prefixes_obeyed() {
        let id = |t| Identity::parse(t).unwrap();
        assert_eq!(id("%any"), Identity::Any);
        assert_eq!(id(""), Identity::Any);
        assert_eq!(id("*"), Identity::Any);
        assert_eq!(id("192.0.2.1"), Identity::Ipv4([192, 0, 2, 1].into()));
        assert_eq!(id("2001:db8::1"), Identity::Ipv6("2001:db8::1".parse().unwrap()));
        assert_eq!(id("rw@lab"), Identity::Rfc822("rw@lab".into()));
        assert_eq!(id("gw.lab"), Identity::Fqdn("gw.lab".into()));
        assert_eq!(id("@gw"), Identity::Fqdn("gw".into()));
        assert_eq!(id("@#0aff"), Identity::KeyId(vec![0x0a, 0xff]));
        assert_eq!(id("keyid:abc"), Identity::KeyId(b"abc".to_vec()));
        assert_eq!(id("fqdn:10.0.0.1"), Identity::Fqdn("10.0.0.1".into()));
        assert_eq!(id("C=CH, O=Lab, CN=gw.lab").to_string(), "C=CH, O=Lab, CN=gw.lab");
        assert!(Identity::parse("@#0af").is_err());
    }

    #[test]
    fn patterns() {
        let quality = |p: &str, t: &str| Identity::parse(p).unwrap().matches(&Identity::parse(t).unwrap());
        assert_eq!(quality("%any", "gw.lab"), MatchQuality::Any);
        assert_eq!(quality("GW.lab", "gw.LAB"), MatchQuality::Exact);
        assert_eq!(quality("*.lab", "gw.lab"), MatchQuality::Wildcard);
        assert_eq!(quality("*.lab", "lab"), MatchQuality::None);
        assert_eq!(quality("*@lab", "rw@lab"), MatchQuality::Wildcard);
        assert_eq!(quality("*@lab", "rw@other"), MatchQuality::None);
        assert_eq!(quality("192.0.2.1", "fqdn:192.0.2.1"), MatchQuality::None);
        assert_eq!(quality("C=CH, O=Lab, CN=*", "C=CH, O=lab, CN=x"), MatchQuality::Wildcard);
        assert_eq!(quality("C=CH, O=Lab, CN=y", "C=CH, O=Lab, CN=x"), MatchQuality::None);
    }

    #[test]
    fn what_a_peer_sends_prints_escaped() {
        let id = Identity::from_wire(2, b"a\n\x1b[2J").unwrap();
        assert_eq!(id.to_string(), "a\\x0a\\x1b[2J");
        let id = Identity::from_wire(3, "a\u{202e}@b".as_bytes()).unwrap();
        assert_eq!(id.to_string(), "a\\x202e@b");
        assert!(Identity::from_wire(1, &[1, 2, 3]).is_err());
        assert!(Identity::from_wire(2, &[0xff]).is_err());
        assert!(Identity::from_wire(9, &[0x30, 0x05, 0x31]).is_err());
    }
}
