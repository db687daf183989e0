//! Configuration payloads: virtual addresses and DNS (RFC 7296 §2.19, §3.15).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_wire::{ConfigAttribute, ConfigKind, Payload};

use crate::action::Leased;

/// Addresses of one request, or of one answer, that are looked at.
const MAX_ADDRESSES: usize = 16;

/// Our request for virtual addresses; `None` if none are wanted.
pub(crate) fn request(vips: &[IpAddr]) -> Option<Payload> {
    if vips.is_empty() {
        return None;
    }
    let mut attributes = Vec::new();
    for vip in vips.iter().take(MAX_ADDRESSES) {
        attributes.push(match vip {
            IpAddr::V4(ip) if ip.is_unspecified() => (ConfigAttribute::IP4_ADDRESS, Vec::new()),
            IpAddr::V4(ip) => (ConfigAttribute::IP4_ADDRESS, ip.octets().to_vec()),
            IpAddr::V6(ip) if ip.is_unspecified() => (ConfigAttribute::IP6_ADDRESS, Vec::new()),
            IpAddr::V6(ip) => (ConfigAttribute::IP6_ADDRESS, with_prefix(*ip)),
        });
    }
    if vips.iter().any(IpAddr::is_ipv4) {
        attributes.push((ConfigAttribute::IP4_DNS, Vec::new()));
    }
    if vips.iter().any(IpAddr::is_ipv6) {
        attributes.push((ConfigAttribute::IP6_DNS, Vec::new()));
    }
    Some(Payload::Config { kind: ConfigKind::Request, attributes })
}

/// RFC 7296 §3.15.1: INTERNAL_IP6_ADDRESS is followed by a prefix length.
fn with_prefix(ip: Ipv6Addr) -> Vec<u8> {
    let mut value = ip.octets().to_vec();
    value.push(128);
    value
}

fn address(kind: u16, value: &[u8]) -> Option<IpAddr> {
    match kind {
        ConfigAttribute::IP4_ADDRESS | ConfigAttribute::IP4_DNS => {
            <[u8; 4]>::try_from(value).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        }
        ConfigAttribute::IP6_ADDRESS | ConfigAttribute::IP6_DNS => {
            value.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)))
        }
        _ => None,
    }
}

/// The addresses that a peer wants; an attribute without a value wants any.
pub(crate) fn wanted(attributes: &[(u16, Vec<u8>)]) -> Vec<IpAddr> {
    attributes
        .iter()
        .filter_map(|(kind, value)| match *kind {
            ConfigAttribute::IP4_ADDRESS => {
                Some(address(*kind, value).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
            }
            ConfigAttribute::IP6_ADDRESS => {
                Some(address(*kind, value).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
            }
            _ => None,
        })
        .take(MAX_ADDRESSES)
        .collect()
}

/// Our answer.
pub(crate) fn reply(leased: &Leased) -> Payload {
    let mut attributes: Vec<(u16, Vec<u8>)> = leased
        .addresses
        .iter()
        .map(|ip| match ip {
            IpAddr::V4(ip) => (ConfigAttribute::IP4_ADDRESS, ip.octets().to_vec()),
            IpAddr::V6(ip) => (ConfigAttribute::IP6_ADDRESS, with_prefix(*ip)),
        })
        .collect();
    attributes.extend(leased.attributes.iter().take(64).cloned());
    Payload::Config { kind: ConfigKind::Reply, attributes }
}

/// What a peer gave us: addresses, and DNS servers.
pub(crate) fn given(attributes: &[(u16, Vec<u8>)]) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let of = |kinds: [u16; 2]| {
        attributes
            .iter()
            .filter(|(kind, _)| kinds.contains(kind))
            .filter_map(|(kind, value)| address(*kind, value))
            .filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback())
            .take(MAX_ADDRESSES)
            .collect()
    };
    (
        of([ConfigAttribute::IP4_ADDRESS, ConfigAttribute::IP6_ADDRESS]),
        of([ConfigAttribute::IP4_DNS, ConfigAttribute::IP6_DNS]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_there_and_back() {
        let vips: Vec<IpAddr> = vec!["0.0.0.0".parse().unwrap(), "fd00::9".parse().unwrap()];
        let Some(Payload::Config { attributes, .. }) = request(&vips) else { panic!() };
        assert_eq!(wanted(&attributes), vips);
        let leased = Leased {
            addresses: vec!["10.3.0.1".parse().unwrap(), "fd00::9".parse().unwrap()],
            attributes: vec![
                (ConfigAttribute::IP4_DNS, vec![10, 0, 0, 53]),
                (ConfigAttribute::IP4_DNS, vec![1]),
            ],
        };
        let Payload::Config { attributes, .. } = reply(&leased) else { panic!() };
        let (addresses, dns) = given(&attributes);
        assert_eq!(addresses, leased.addresses);
        assert_eq!(dns, vec!["10.0.0.53".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn values_of_wrong_length_are_no_addresses() {
        for len in [1, 3, 5, 15] {
            assert_eq!(wanted(&[(1, vec![1; len])]), vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]);
            assert_eq!(given(&[(1, vec![1; len]), (8, vec![1; len])]), (vec![], vec![]));
        }
    }
}
