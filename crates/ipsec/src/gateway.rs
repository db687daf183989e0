//! Another gateway, as peers are sent to it (RFC 5685 §9.2).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address, or a name that is resolved by whoever is sent there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GatewayId {
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
    /// A host name: letters, digits, hyphens and dots, at most 253 octets.
    Name(String),
}

/// The text is neither an address nor a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoGateway;

impl fmt::Display for NoGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither an address nor a host name")
    }
}

impl std::error::Error for NoGateway {}

impl FromStr for GatewayId {
    type Err = NoGateway;

    fn from_str(text: &str) -> Result<Self, NoGateway> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            let usable = !address.is_unspecified() && !address.is_multicast();
            return if usable { Ok(Self::Address(address)) } else { Err(NoGateway) };
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        // What is all digits and dots was meant to be an address.
        let number = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if name.len() <= 253 && !number && name.split('.').all(label) {
            Ok(Self::Name(name.to_owned()))
        } else {
            Err(NoGateway)
        }
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        for text in ["192.0.2.1", "2001:db8::1", "gw2.example.net", "gw_2"] {
            let parsed: GatewayId = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!("gw.example.".parse(), Ok(GatewayId::Name("gw.example".into())));
        for text in
            ["", ".", "0.0.0.0", "::", "224.0.0.1", "192.0.2", "1.2.3.4.5", "a..b", "a b", "$(x)", "a\nb"]
        {
            assert!(text.parse::<GatewayId>().is_err(), "{text:?}");
        }
        assert!("x".repeat(64).parse::<GatewayId>().is_err());
    }
}
