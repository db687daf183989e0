//! Fields of inner IP headers that a tunnel reads and writes: DSCP, ECN, DF, and checksums that depend on addresses.

use std::net::IpAddr;

/// ECN codepoints (RFC 3168 §5).
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// TOS or traffic class of an IP packet: DSCP in the upper six bits, ECN in the lower two.
pub fn tos(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
        [_, second, ..] => *second,
        _ => 0,
    }
}

/// Writes TOS or traffic class, with the IPv4 header checksum.
pub fn set_tos(packet: &mut [u8], value: u8) {
    match packet {
        [first, second, ..] if *first >> 4 == 6 => {
            *first = *first & 0xf0 | value >> 4;
            *second = *second & 0x0f | value << 4;
        }
        [first, second, _, _, _, _, _, _, _, _, high, low, ..] => {
            let old = u16::from_be_bytes([*first, *second]);
            *second = value;
            let new = u16::from_be_bytes([*first, value]);
            let checksum = updated(u16::from_be_bytes([*high, *low]), old, new);
            [*high, *low] = checksum.to_be_bytes();
        }
        _ => {}
    }
}

/// RFC 1624 §3: the checksum after one 16-bit word has changed.
fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

/// Whether an IP packet must not be fragmented on its way: DF in IPv4, always in IPv6.
pub fn dont_fragment(packet: &[u8]) -> bool {
    match packet {
        [first, ..] if first >> 4 == 6 => true,
        [_, _, _, _, _, _, flags, ..] => flags & 0x40 != 0,
        _ => false,
    }
}

/// The ECN field of the outer header (RFC 6040 §4.1): that of the inner one in normal mode, Not-ECT in compatibility
/// mode.
pub const fn ecn_out(inner_tos: u8, normal: bool) -> u8 {
    if normal { inner_tos & ECN } else { NOT_ECT }
}

/// The ECN field a decapsulated packet leaves with (RFC 6040 §4.2, figure 4); `None` = it is dropped.
pub const fn ecn_in(inner: u8, outer: u8) -> Option<u8> {
    match (inner & ECN, outer & ECN) {
        // Congestion was met, and the transport cannot be told by marking.
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (CE, _) | (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        (inner, _) => Some(inner),
    }
}

/// The one's complement sum of some octets, from a sum so far.
pub fn sum(bytes: &[u8], so_far: u32) -> u32 {
    let mut total = u64::from(so_far);
    let mut chunks = bytes.chunks_exact(2);
    for chunk in &mut chunks {
        if let [a, b] = chunk {
            total += u64::from(u16::from_be_bytes([*a, *b]));
        }
    }
    if let [last] = chunks.remainder() {
        total += u64::from(u16::from_be_bytes([*last, 0]));
    }
    while total > u64::from(u32::MAX >> 1) {
        total = (total & 0xffff) + (total >> 16);
    }
    u32::try_from(total).unwrap_or(0)
}

/// Folds a sum to 16 bits.
pub const fn fold(mut total: u32) -> u16 {
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, length: usize) -> u32 {
    let addresses = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => sum(&dst.octets(), sum(&src.octets(), 0)),
        (IpAddr::V6(src), IpAddr::V6(dst)) => sum(&dst.octets(), sum(&src.octets(), 0)),
        _ => 0,
    };
    let length = u32::try_from(length).unwrap_or(0);
    addresses + (length >> 16) + (length & 0xffff) + u32::from(protocol)
}

/// RFC 3948 §3.1.2: recomputes the checksum of a TCP, UDP or ICMPv6 payload that now stands between these addresses. A UDP
/// checksum that was not used stays unused over IPv4.
pub fn recompute_checksum(payload: &mut [u8], src: IpAddr, dst: IpAddr, protocol: u8) {
    let at = match protocol {
        6 => 16,
        17 => 6,
        // ICMPv6 covers the addresses, too (RFC 8200 §8.1).
        58 => 2,
        _ => return,
    };
    let seed = pseudo_header(src, dst, protocol, payload.len());
    let Some(field) = payload.get_mut(at..at + 2) else { return };
    if protocol == 17 && src.is_ipv4() && field == [0, 0] {
        return;
    }
    field.fill(0);
    let checksum = match !fold(sum(payload, seed)) {
        // RFC 768: zero would say that there is none.
        0 if protocol == 17 => u16::MAX,
        checksum => checksum,
    };
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040 figure 4, row by row: inner, then what leaves for outer Not-ECT, ECT(0), ECT(1), CE.
    #[test]
    fn ecn_at_decapsulation_is_the_table_of_rfc_6040() {
        for (inner, row) in [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ] {
            for (outer, expected) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                // The DSCP beside it does not matter.
                assert_eq!(ecn_in(inner | 0xb8, outer | 0x28), expected, "{inner:02b} {outer:02b}");
            }
        }
    }

    #[test]
    fn ecn_at_encapsulation_is_copied_or_cleared() {
        for tos in 0..=255 {
            assert_eq!(ecn_out(tos, true), tos & 3);
            assert_eq!(ecn_out(tos, false), 0);
        }
    }

    #[test]
    fn tos_is_read_and_written_in_both_families_and_the_checksum_stays_right() {
        let mut v4 = [0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let checksum = !fold(sum(&v4, 0));
        v4[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut v6 = [0u8; 40];
        v6[..4].copy_from_slice(&[0x6a, 0xbc, 0xde, 0xf0]);
        assert_eq!(tos(&v6), 0xab);
        for value in [0u8, 1, 3, 0xb8, 0xbb, 0xff, 0x28, 0] {
            set_tos(&mut v4, value);
            assert_eq!((tos(&v4), fold(sum(&v4, 0))), (value, 0xffff), "{value:02x}");
            set_tos(&mut v6, value);
            assert_eq!(tos(&v6), value);
            assert_eq!((v6[0] >> 4, v6[1] & 0x0f, &v6[2..4]), (6, 0x0c, &[0xde, 0xf0][..]));
        }
        assert!(dont_fragment(&v4) && dont_fragment(&v6));
        v4[6] = 0x20;
        assert!(!dont_fragment(&v4));
        for cut in 0..20 {
            set_tos(&mut v4[..cut].to_vec(), 3);
        }
    }

    #[test]
    fn checksums_fit_the_new_addresses() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let good = |payload: &[u8], src, dst, protocol| {
            fold(sum(payload, pseudo_header(src, dst, protocol, payload.len()))) == 0xffff
        };
        for (src, dst, other) in
            [("10.0.0.2", "192.0.2.1", "198.51.100.7"), ("fd00::2", "fd00::1", "2001:db8::7")]
        {
            let (src, dst, other) = (ip(src), ip(dst), ip(other));
            for protocol in [6, 17, 58] {
                for length in [24, 33, 1400] {
                    let mut payload: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
                    recompute_checksum(&mut payload, src, dst, protocol);
                    assert!(good(&payload, src, dst, protocol), "{src} {protocol} {length}");
                    recompute_checksum(&mut payload, other, dst, protocol);
                    assert!(good(&payload, other, dst, protocol), "{other} {protocol} {length}");
                }
            }
        }
        // Unused stays unused, what is cut or has none is left alone.
        let mut unused = vec![0x10, 0, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];
        recompute_checksum(&mut unused, ip("10.0.0.2"), ip("192.0.2.1"), 17);
        assert_eq!(unused[6..8], [0, 0]);
        recompute_checksum(&mut unused, ip("fd00::2"), ip("fd00::1"), 17);
        assert_ne!(unused[6..8], [0, 0]);
        for (protocol, bytes) in [(6, vec![1; 17]), (17, vec![1; 7]), (47, vec![1; 40])] {
            let mut copy = bytes.clone();
            recompute_checksum(&mut copy, ip("10.0.0.2"), ip("192.0.2.1"), protocol);
            assert_eq!(copy, bytes);
        }
    }
}
