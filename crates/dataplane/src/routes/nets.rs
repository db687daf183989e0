//! Selectors as networks, and where networks begin and end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ipsec::Selector;

/// Most prefixes one SA or trap may need; a peer chooses selectors, and ranges can need many.
pub(crate) const MAX_PREFIXES: usize = 1024;

/// The networks that selectors cover, each once; `None` if they are too many.
pub(crate) fn prefixes(selectors: &[Selector]) -> Option<Vec<(IpAddr, u8)>> {
    let mut found = Vec::new();
    for selector in selectors {
        found.extend(selector.cidrs());
        if found.len() > MAX_PREFIXES {
            return None;
        }
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Full prefix length of an address's family.
pub(super) const fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether a selector is so wide that it has localhost in it, and says nothing about who we are.
pub(super) fn has_loopback(selector: &Selector) -> bool {
    selector.contains_addr(Ipv4Addr::LOCALHOST.into()) || selector.contains_addr(Ipv6Addr::LOCALHOST.into())
}

/// The network of `address` with this prefix length.
pub(super) fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V4((u32::from(a) & mask).into())
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V6((u128::from(a) & mask).into())
        }
    }
}

/// The last address of a network.
pub(super) fn last(network: IpAddr, prefix: u8) -> IpAddr {
    match network {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0)).into()),
        IpAddr::V6(a) => {
            IpAddr::V6((u128::from(a) | u128::MAX.checked_shr(prefix.into()).unwrap_or(0)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_begin_and_end_where_they_should() {
        let a: IpAddr = "10.2.3.4".parse().unwrap();
        assert_eq!(masked(a, 8).to_string(), "10.0.0.0");
        assert_eq!(masked(a, 0).to_string(), "0.0.0.0");
        assert_eq!(last(masked(a, 0), 0).to_string(), "255.255.255.255");
        assert_eq!(last(a, 32), a);
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(masked(a, 32).to_string(), "2001:db8::");
        assert_eq!(masked(a, 0).to_string(), "::");
        assert_eq!(last(a, 128), a);
    }
}
