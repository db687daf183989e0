//! `pools.<name>`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fields::{Fields, shown};
use super::types::{Pool, PoolRange};
use crate::diag::{Diagnostic, Subject};
use crate::tree::Section;
use crate::value;

pub(super) fn read(name: &str, section: &Section, diagnostics: &mut Vec<Diagnostic>) -> Option<Pool> {
    let mut fields = Fields::new(section, diagnostics);
    let addrs = section.value("addrs").and_then(|value| match value.as_str().map(range) {
        Some(Some(range)) => Some(range),
        _ => {
            let text = shown(value.as_str().unwrap_or(""));
            let message = format!(
                "`{text}` is no value for `addrs`: expected a CIDR or a range `from-to` of addresses"
            );
            fields.complain("addrs", value.span(), message);
            None
        }
    });
    let mut attributes = Vec::new();
    let mut dns = Vec::new();
    let mut written = false;
    for (key, value) in section.values().filter(|(key, _)| *key != "addrs") {
        written = true;
        for item in value.items() {
            match attribute(key, item) {
                Some(Ok(encoded)) => attributes.push(encoded),
                Some(Err(sentence)) => fields.complain(key, value.span(), sentence),
                // Unknown keys were reported with their nearest neighbour already.
                None => continue,
            }
            if key == "dns" {
                dns.extend(item.parse::<IpAddr>());
            }
        }
    }
    if addrs.is_none() && section.value("addrs").is_none() && !written {
        let message = format!("the pool `{name}` has neither `addrs` nor attributes");
        fields
            .diagnostics
            .push(Diagnostic::error(section.span(), message).about(Subject::BadValue("addrs".to_owned())));
    }
    Some(Pool { name: name.to_owned(), origin: fields.origin(), addrs, dns, attributes })
}

/// A CIDR, a range or one address. Of a CIDR with more than two addresses the first and the last are left out; one with
/// host bits begins at the address written.
fn range(text: &str) -> Option<PoolRange> {
    let text = text.trim();
    if let Some((from, to)) = text.split_once('-') {
        let first: IpAddr = from.trim().parse().ok()?;
        let last: IpAddr = to.trim().parse().ok()?;
        return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(PoolRange {
            first,
            last,
            base: first,
            prefix: None,
        });
    }
    let (base, prefix) = match text.parse::<IpAddr>() {
        Ok(address) => (address, if address.is_ipv4() { 32 } else { 128 }),
        Err(_) => value::cidr(text)?,
    };
    let (number, width) = match base {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let host_bits = width - u32::from(prefix);
    let mask = if host_bits >= 128 { u128::MAX } else { (1 << host_bits) - 1 };
    let network = number & !mask;
    let (mut first, mut last) = (number, network | mask);
    if host_bits > 1 {
        first = first.max(network + 1);
        last -= 1;
    }
    let address = |n: u128| -> Option<IpAddr> {
        Some(match base {
            IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(n).ok()?).into(),
            IpAddr::V6(_) => Ipv6Addr::from(n).into(),
        })
    };
    (first <= last).then_some(())?;
    Some(PoolRange { first: address(first)?, last: address(last)?, base, prefix: Some(prefix) })
}

/// Attribute numbers for IPv4 and IPv6 by name (RFC 7296 §3.15.1, RFC 7651, and two private ones of old clients).
const ATTRIBUTES: [(&str, u16, u16); 10] = [
    ("address", 1, 8),
    ("netmask", 2, 0),
    ("dns", 3, 10),
    ("nbns", 4, 11),
    ("dhcp", 6, 12),
    ("subnet", 13, 15),
    ("p_cscf", 20, 21),
    ("server", 23456, 23457),
    ("split_include", 28676, 28676),
    ("split_exclude", 28678, 28678),
];

/// Encodes one attribute given by name or number. `None` if the name is unknown.
pub(crate) fn attribute(name: &str, item: &str) -> Option<Result<(u16, Vec<u8>), String>> {
    let (v4, v6) = match ATTRIBUTES.iter().find(|(known, ..)| *known == name) {
        Some((_, v4, v6)) => (*v4, *v6),
        None => {
            let number: u16 = name.parse().ok()?;
            // The highest bit of the type field is reserved (RFC 7296 §3.15.1).
            if number == 0 || number > 0x7fff {
                return Some(Err(format!("`{name}` is no attribute number: expected 1 to 32767")));
            }
            (number, number)
        }
    };
    let by_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let takes_net = by_number || matches!(name, "subnet" | "split_include" | "split_exclude");
    let encoded = match (item.parse::<IpAddr>(), value::cidr(item)) {
        (Ok(IpAddr::V4(address)), _) if takes_net && !by_number => (v4, net4(address, 32)),
        (Ok(IpAddr::V6(address)), _) if takes_net && !by_number => (v6, net6(address, 128)),
        (Ok(IpAddr::V4(address)), _) => (v4, address.octets().to_vec()),
        // INTERNAL_IP6_ADDRESS carries a prefix length.
        (Ok(IpAddr::V6(address)), _) if name == "address" => (v6, net6(address, 128)),
        (Ok(IpAddr::V6(address)), _) if v6 != 0 => (v6, address.octets().to_vec()),
        (Err(_), Some((IpAddr::V4(address), prefix))) if takes_net => (v4, net4(address, prefix)),
        (Err(_), Some((IpAddr::V6(address), prefix))) if takes_net => (v6, net6(address, prefix)),
        (Err(_), None) if by_number => match value::secret(item) {
            Some(bytes) => (v4, bytes.to_vec()),
            None => return Some(Err(format!("`{}` in `{name}` is broken hex or base64", shown(item)))),
        },
        _ => {
            let expected = if takes_net { "a CIDR" } else { "an address" };
            return Some(Err(format!("`{}` is no value for `{name}`: expected {expected}", shown(item))));
        }
    };
    Some(Ok(encoded))
}

fn net4(address: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    [(u32::from(address) & mask).to_be_bytes(), mask.to_be_bytes()].concat()
}

fn net6(address: Ipv6Addr, prefix: u8) -> Vec<u8> {
    let mut out = address.octets().to_vec();
    out.push(prefix);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_range(text: &str) -> Option<String> {
        range(text).map(|r| format!("{}-{} {}", r.first, r.last, r.size()))
    }

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("10.3.0.0/24", Some("10.3.0.1-10.3.0.254 254")),
            ("10.3.0.0/28", Some("10.3.0.1-10.3.0.14 14")),
            ("10.3.0.50/24", Some("10.3.0.50-10.3.0.254 205")),
            ("10.3.0.7", Some("10.3.0.7-10.3.0.7 1")),
            ("10.3.0.6/31", Some("10.3.0.6-10.3.0.7 2")),
            ("10.3.0.10-10.3.0.19", Some("10.3.0.10-10.3.0.19 10")),
            ("fd00::/124", Some("fd00::1-fd00::e 14")),
            ("::/0", Some("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 18446744073709551615")),
            ("10.3.0.255/24", None),
            ("10.3.0.9-10.3.0.1", None),
            ("10.3.0.1-fd00::1", None),
            ("10.3.0.0/33", None),
            ("home", None),
        ] {
            assert_eq!(shown_range(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn attributes() {
        let ok = |name, item| attribute(name, item).unwrap().unwrap();
        assert_eq!(ok("dns", "10.0.0.1"), (3, vec![10, 0, 0, 1]));
        assert_eq!(ok("dns", "fd00::1").0, 10);
        assert_eq!(ok("dns", "fd00::1").1.len(), 16);
        assert_eq!(ok("subnet", "10.0.1.2/16"), (13, vec![10, 0, 0, 0, 255, 255, 0, 0]));
        assert_eq!(ok("subnet", "0.0.0.0/0"), (13, vec![0; 8]));
        assert_eq!(ok("subnet", "fd00::/64").1.len(), 17);
        assert_eq!(ok("split_include", "10.0.0.0/8").0, 28676);
        assert_eq!(ok("25", "hello"), (25, b"hello".to_vec()));
        assert_eq!(ok("25", "10.0.0.1"), (25, vec![10, 0, 0, 1]));
        assert!(attribute("dns", "ns.example").unwrap().is_err());
        assert!(attribute("netmask", "fd00::1").unwrap().is_err());
        assert!(attribute("40000", "10.0.0.1").unwrap().is_err());
        assert!(attribute("colour", "red").is_none());
    }
}
