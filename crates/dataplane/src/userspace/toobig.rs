//! Telling the inside that a packet does not fit: ICMP "fragmentation needed" (RFC 1191 §4), ICMPv6 "packet too big"
//! (RFC 4443 §3.2).
//!
//! The answer comes from the address the packet was for: it is the one source that every reverse path check of the
//! inside takes.

use std::net::IpAddr;

use adit_ipsec::{PacketInfo, header};

/// So much of a packet is repeated: an error stays within the least MTU (RFC 1812 §4.3.2.3, RFC 4443 §2.4).
const MOST_V4: usize = 548;
const MOST_V6: usize = 1232;

/// Writes the error about `packet` to `out`. False where none may be sent (RFC 1122 §3.2.2): about ICMP errors, later
/// fragments, and packets from or to addresses that are not one host's.
pub(super) fn answer(info: &PacketInfo, packet: &[u8], mtu: u32, out: &mut Vec<u8>) -> bool {
    let one_host = |a: IpAddr| {
        !a.is_multicast() && !a.is_unspecified() && a != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
    };
    let [kind, _] = info.src_port.to_be_bytes();
    let error = match info.protocol {
        1 => !matches!(kind, 0 | 8),
        58 => kind < 128,
        _ => false,
    };
    if error || !one_host(info.src) || !one_host(info.dst) {
        return false;
    }
    out.clear();
    match (info.src, info.dst) {
        (IpAddr::V4(to), IpAddr::V4(from)) => {
            if packet.get(6).is_none_or(|flags| flags & 0x1f != 0) || packet.get(7) != Some(&0) {
                return false;
            }
            let quoted = packet.get(..packet.len().min(MOST_V4)).unwrap_or_default();
            let Ok(total) = u16::try_from(28 + quoted.len()) else { return false };
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes();
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&total.to_be_bytes());
            out.extend_from_slice(&[0, 0, 0x40, 0, 64, 1, 0, 0]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
            let checksum = !header::fold(header::sum(out, 0));
            put(out, 10, checksum);
            out.extend_from_slice(&[3, 4, 0, 0, 0, 0, mtu[0], mtu[1]]);
            out.extend_from_slice(quoted);
            let checksum = !header::fold(header::sum(out.get(20..).unwrap_or_default(), 0));
            put(out, 22, checksum);
        }
        (IpAddr::V6(to), IpAddr::V6(from)) => {
            let quoted = packet.get(..packet.len().min(MOST_V6)).unwrap_or_default();
            let Ok(length) = u16::try_from(8 + quoted.len()) else { return false };
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&[58, 64]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
            out.extend_from_slice(&[2, 0, 0, 0]);
            out.extend_from_slice(&mtu.to_be_bytes());
            out.extend_from_slice(quoted);
            let body = out.get_mut(40..).unwrap_or_default();
            header::recompute_checksum(body, info.dst, info.src, 58);
        }
        _ => return false,
    }
    true
}

fn put(out: &mut [u8], at: usize, value: u16) {
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use adit_ipsec::parse_packet;

    use super::*;

    #[test]
    fn errors_are_well_formed_and_say_the_mtu() {
        let mut v4 = vec![0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        v4.resize(1500, 7);
        let mut v6 = [&[0x60, 0, 0, 0, 5, 0xb4, 6, 64][..], &[0xfd; 16], &[0xfe; 16]].concat();
        v6.resize(1500, 7);
        for (packet, offset) in [(&v4, 26..28), (&v6, 46..48)] {
            let info = parse_packet(packet).unwrap();
            let mut out = Vec::new();
            assert!(answer(&info, packet, 1338, &mut out));
            let error = parse_packet(&out).unwrap();
            assert_eq!((error.src, error.dst, error.total_len), (info.dst, info.src, out.len()));
            assert!(out.len() <= 1280);
            assert_eq!(out[offset], 1338u16.to_be_bytes());
            if error.protocol == 1 {
                assert_eq!((error.src_port, header::fold(header::sum(&out[20..], 0))), (0x0304, 0xffff));
            } else {
                let seed = header::pseudo_header(error.src, error.dst, 58, out.len() - 40);
                assert_eq!((error.src_port, header::fold(header::sum(&out[40..], seed))), (0x0200, 0xffff));
            }
            // No error about an error.
            let error_info = error;
            let copy = out.clone();
            assert!(!answer(&error_info, &copy, 1338, &mut out));
        }
        let mut fragment = v4.clone();
        fragment[7] = 1;
        assert!(!answer(&parse_packet(&fragment).unwrap(), &fragment, 1338, &mut Vec::new()));
        v4[16] = 224;
        assert!(!answer(&parse_packet(&v4).unwrap(), &v4, 1338, &mut Vec::new()));
    }
}
