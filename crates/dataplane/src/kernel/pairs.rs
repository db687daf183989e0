//! Traffic selectors as the kernel has them: one prefix, one port with a mask, one ICMP type. Ranges are cut into as many
//! as cover them exactly; what would be wider than what was negotiated is refused.

use std::net::IpAddr;

use adit_ipsec::Selector as Range;
use adit_linux::xfrm::{Port, Selector};

/// Most pairs one child may need; a peer chooses selectors, and ranges can need many.
pub(super) const MAX_PAIRS: usize = 256;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Every pair of a local and a remote selector that one packet can meet, seen from us: from local to remote.
///
/// # Errors
/// What the kernel has no words for.
pub(super) fn pairs(local: &[Range], remote: &[Range]) -> Result<Vec<Selector>, String> {
    let mut found = Vec::new();
    for here in local {
        for there in remote.iter().filter(|there| there.is_v4() == here.is_v4()) {
            let protocol = match (here.protocol(), there.protocol()) {
                (0, p) | (p, 0) => p,
                (a, b) if a == b => a,
                _ => continue,
            };
            if here.is_opaque() || there.is_opaque() {
                return Err(
                    "packets without visible ports (OPAQUE) cannot be told apart by the kernel".into()
                );
            }
            let ports = ports(protocol, here, there)?;
            for src in here.cidrs() {
                for dst in there.cidrs() {
                    if found.len() + ports.len() > MAX_PAIRS {
                        return Err(format!("its traffic selectors need more than {MAX_PAIRS} policies"));
                    }
                    found.extend(ports.iter().map(|(src_port, dst_port)| Selector {
                        protocol,
                        src_port: *src_port,
                        dst_port: *dst_port,
                        ..Selector::between(src, dst)
                    }));
                }
            }
        }
    }
    if found.is_empty() {
        return Err("no local and remote traffic selector are for the same packets".into());
    }
    // A pair may come of several selectors, and the kernel has it once.
    let mut once = std::collections::HashSet::new();
    found.retain(|pair| once.insert(*pair));
    Ok(found)
}

/// The same packets on their way back.
pub(super) fn reversed(pair: Selector) -> Selector {
    let back = Selector { src: pair.dst, dst: pair.src, ..pair };
    if matches!(pair.protocol, ICMP | ICMPV6) {
        // Type and code do not change places.
        return back;
    }
    Selector { src_port: pair.dst_port, dst_port: pair.src_port, ..back }
}

fn ports(protocol: u8, here: &Range, there: &Range) -> Result<Vec<(Port, Port)>, String> {
    if matches!(protocol, ICMP | ICMPV6) {
        return icmp(here, there);
    }
    let (src, dst) =
        (blocks(here.start_port(), here.end_port()), blocks(there.start_port(), there.end_port()));
    Ok(src.iter().flat_map(|src| dst.iter().map(|dst| (*src, *dst))).collect())
}

/// RFC 4301 §4.4.1.1: type and code are where the ports would be, in either selector or in both.
fn icmp(here: &Range, there: &Range) -> Result<Vec<(Port, Port)>, String> {
    let all = |s: &Range| s.start_port() == 0 && s.end_port() == u16::MAX;
    let ports = |s: &Range| (s.start_port(), s.end_port());
    let (start, end) = match (all(here), all(there)) {
        (true, true) => return Ok(vec![(Port::ANY, Port::ANY)]),
        (false, true) => ports(here),
        (true, false) => ports(there),
        (false, false) if ports(here) == ports(there) => ports(here),
        (false, false) => return Err("its selectors ask for two ICMP types at once".into()),
    };
    let [[kind, first], [last_kind, last]] = [start.to_be_bytes(), end.to_be_bytes()];
    if start == end {
        return Ok(vec![(Port::one(kind.into()), Port::one(first.into()))]);
    }
    if first == 0 && last == u8::MAX {
        // Whole types: every code of each.
        let kinds = (kind..=last_kind).map(|kind| (Port::one(kind.into()), Port::ANY));
        return Ok(kinds.collect());
    }
    if kind == last_kind {
        let codes = (first..=last).map(|code| (Port::one(kind.into()), Port::one(code.into())));
        return Ok(codes.collect());
    }
    Err("it asks for a range of ICMP codes over several types".into())
}

/// The fewest masked ports that cover a range exactly.
fn blocks(start: u16, end: u16) -> Vec<Port> {
    let (mut at, end) = (u32::from(start), u32::from(end));
    let mut found = Vec::new();
    while at <= end {
        let mut size = if at == 0 { 0x1_0000 } else { 1 << at.trailing_zeros() };
        while at + size - 1 > end {
            size /= 2;
        }
        let narrow = |wide: u32| u16::try_from(wide).unwrap_or(u16::MAX);
        // All bits but those of the block; none at all when it is the whole range.
        found.push(Port { value: narrow(at), mask: narrow(0x1_0000 - size) });
        at += size;
    }
    found
}

/// Length of the prefixes of both ends, for priorities.
pub(super) fn prefix_bits(pair: &Selector) -> u32 {
    let bits = |(_, prefix): (IpAddr, u8)| u32::from(prefix);
    bits(pair.src) + bits(pair.dst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Range {
        let (address, prefix) = text.split_once('/').unwrap();
        Range::from_cidr(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
    }

    fn shown(local: &[Range], remote: &[Range]) -> Vec<String> {
        pairs(local, remote).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_family_pairs_with_itself_and_ranges_are_covered_exactly() {
        let range = Range::new(0, 0, u16::MAX, "10.2.0.4".parse().unwrap(), "10.2.0.6".parse().unwrap());
        assert_eq!(
            shown(&[net("10.1.0.0/24"), net("fd01::/64")], &[range.unwrap(), net("fd02::/64")]),
            ["10.1.0.0/24 to 10.2.0.4/31", "10.1.0.0/24 to 10.2.0.6/32", "fd01::/64 to fd02::/64"]
        );
        assert!(pairs(&[net("10.1.0.0/24")], &[net("fd02::/64")]).is_err());
    }

    #[test]
    fn ports_are_covered_exactly() {
        let covered = |start: u16, end: u16| -> Vec<u16> {
            let blocks = blocks(start, end);
            (0..=u16::MAX).filter(|p| blocks.iter().any(|b| p & b.mask == b.value & b.mask)).collect()
        };
        for (start, end) in [(0, u16::MAX), (80, 80), (1000, 2000), (1, 65_535), (0, 1023), (65_535, 65_535)]
        {
            assert_eq!(covered(start, end), (start..=end).collect::<Vec<_>>(), "{start}-{end}");
        }
        assert_eq!(blocks(0, u16::MAX), [Port::ANY]);
        assert_eq!(blocks(80, 80), [Port::one(80)]);
    }

    #[test]
    fn protocols_and_icmp_types() {
        let tcp = net("10.2.0.0/24").with_ports(6, 80, 80);
        assert_eq!(shown(&[net("10.1.0.0/24")], &[tcp]), ["10.1.0.0/24 to 10.2.0.0/24 protocol 6 port 80"]);
        let udp = net("10.1.0.0/24").with_ports(17, 53, 53);
        assert!(pairs(&[udp], &[tcp]).is_err());
        let echo = net("10.2.0.0/24").with_ports(1, 8 << 8, 8 << 8 | 255);
        let pair = pairs(&[net("10.1.0.0/24")], &[echo]).unwrap()[0];
        assert_eq!((pair.src_port, pair.dst_port), (Port::one(8), Port::ANY));
        assert_eq!(reversed(pair).src_port, Port::one(8));
        let pair = pairs(&[net("10.1.0.0/24")], &[tcp]).unwrap()[0];
        assert_eq!(reversed(pair).to_string(), "10.2.0.0/24 to 10.1.0.0/24 protocol 6 source port 80");
    }

    #[test]
    fn what_needs_too_many_policies_is_refused() {
        let wild = Range::new(0, 0, u16::MAX, "10.0.0.1".parse().unwrap(), "10.255.255.254".parse().unwrap());
        let wild = [wild.unwrap().with_ports(6, 1, 65_534)];
        assert!(pairs(&wild, &wild).unwrap_err().contains("more than 256 policies"));
    }
}
