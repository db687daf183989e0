//! Address ranges as networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address as a number; IPv4 in the low 32 bits.
pub(crate) fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Back from [`bits`]; what does not fit in IPv4 is cut.
fn address(bits: u128, v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32).into()
    } else {
        Ipv6Addr::from_bits(bits).into()
    }
}

/// Bits in an address of this family.
fn width(v4: bool) -> u32 {
    if v4 { 32 } else { 128 }
}

/// A number with the lowest `n` bits set, n up to 128.
fn ones(n: u32) -> u128 {
    u128::MAX.checked_shr(u128::BITS - n.min(u128::BITS)).unwrap_or(0)
}

/// First and last address of the network; `None` if the prefix is longer than the address.
pub(crate) fn range(addr: IpAddr, prefix: u8) -> Option<(IpAddr, IpAddr)> {
    let host = ones(width(addr.is_ipv4()).checked_sub(u32::from(prefix))?);
    Some((address(bits(addr) & !host, addr.is_ipv4()), address(bits(addr) | host, addr.is_ipv4())))
}

/// The one network that this range is, if it is one.
pub(crate) fn exact(start: IpAddr, end: IpAddr) -> Option<(IpAddr, u8)> {
    let (first, last) = (bits(start), bits(end));
    let host = first ^ last;
    let host_bits = u128::BITS - host.leading_zeros();
    let is_network = host == ones(host_bits) && first & host == 0;
    let prefix = u8::try_from(width(start.is_ipv4()).checked_sub(host_bits)?).ok()?;
    is_network.then_some((start, prefix))
}

/// The fewest networks that make up the range, in order; at most two per bit of the address.
pub(crate) fn cover(start: IpAddr, end: IpAddr) -> Vec<(IpAddr, u8)> {
    let v4 = start.is_ipv4();
    let (mut next, last) = (bits(start), bits(end));
    let mut found = Vec::new();
    while next <= last {
        // The largest block that begins here is bounded by the alignment of its start and by what is left.
        let aligned = next.trailing_zeros().min(width(v4));
        let left = last - next;
        let fits = match left.checked_add(1) {
            Some(count) => u128::BITS - 1 - count.leading_zeros(),
            None => u128::BITS,
        };
        let host = aligned.min(fits);
        let prefix = u8::try_from(width(v4).saturating_sub(host)).unwrap_or(0);
        found.push((address(next, v4), prefix));
        match next.checked_add(ones(host)).and_then(|n| n.checked_add(1)) {
            Some(n) => next = n,
            None => break,
        }
    }
    found
}
