//! Transport mode (RFC 4303 §3.1.1): the IP header stays outside, what it carries is sealed.
//!
//! The sockets make the outer header, so that options of IPv4 are not carried; TOS, TTL and DF are.

use std::net::IpAddr;

use adit_ipsec::header;
use adit_linux::Fields;

use super::outer::Outer;

/// A packet of this host without its header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stripped<'a> {
    pub(super) next_header: u8,
    pub(super) payload: &'a [u8],
    pub(super) outer: Outer,
}

/// Takes the header off. `None` for what transport mode cannot carry: fragments (RFC 4303 §3.3.4: only whole datagrams
/// are sealed), and IPv6 packets whose extension headers would have to stay outside.
pub(super) fn strip(packet: &[u8]) -> Option<Stripped<'_>> {
    let first = *packet.first()?;
    let (start, next_header, ttl) = if first >> 4 == 4 {
        let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
        if fragment & 0x3fff != 0 {
            return None;
        }
        (usize::from(first & 0x0f) * 4, *packet.get(9)?, *packet.get(8)?)
    } else {
        // Hop-by-hop options, routing header, fragment header.
        (40, Some(*packet.get(6)?).filter(|next| !matches!(next, 0 | 43 | 44))?, *packet.get(7)?)
    };
    let fields = Fields { tos: header::tos(packet), hop_limit: Some(ttl) };
    let outer = Outer { fields, dont_fragment: header::dont_fragment(packet) };
    Some(Stripped { next_header, payload: packet.get(start..)?, outer })
}

/// Puts a header before an opened payload, into `out`: that of the packet it came in. With `translated`, a NAT may have
/// changed the addresses, and checksums over them are made anew. False if there is no such packet.
pub(super) fn restore(
    next_header: u8,
    payload: &mut [u8],
    (src, dst): (IpAddr, IpAddr),
    fields: Fields,
    translated: bool,
    out: &mut Vec<u8>,
) -> bool {
    // RFC 3948 §3.1.2. The integrity check has shown that the payload is what was sent.
    if translated {
        header::recompute_checksum(payload, src, dst, next_header);
    }
    let ttl = fields.hop_limit.unwrap_or(64);
    out.clear();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let Ok(total) = u16::try_from(20 + payload.len()) else { return false };
            out.extend_from_slice(&[0x45, fields.tos]);
            out.extend_from_slice(&total.to_be_bytes());
            // Not to be fragmented any more, so the identification says nothing (RFC 6864 §4.1).
            out.extend_from_slice(&[0, 0, 0x40, 0, ttl, next_header, 0, 0]);
            out.extend_from_slice(&src.octets());
            out.extend_from_slice(&dst.octets());
            let checksum = !header::fold(header::sum(out, 0));
            if let Some(field) = out.get_mut(10..12) {
                field.copy_from_slice(&checksum.to_be_bytes());
            }
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let Ok(length) = u16::try_from(payload.len()) else { return false };
            out.extend_from_slice(&[0x60 | fields.tos >> 4, fields.tos << 4, 0, 0]);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&[next_header, ttl]);
            out.extend_from_slice(&src.octets());
            out.extend_from_slice(&dst.octets());
        }
        _ => return false,
    }
    out.extend_from_slice(payload);
    true
}

#[cfg(test)]
mod tests {
    use adit_ipsec::parse_packet;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_stripped_is_restored() {
        for (src, dst) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let mut payload = vec![0x1f, 0x90, 0, 53, 0, 20, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
            let fields = Fields { tos: 0xba, hop_limit: Some(7) };
            let mut packet = Vec::new();
            assert!(restore(17, &mut payload, (ip(src), ip(dst)), fields, true, &mut packet));
            let info = parse_packet(&packet).unwrap();
            assert_eq!(
                (info.src, info.dst, info.dst_port, info.total_len),
                (ip(src), ip(dst), 53, packet.len())
            );
            let stripped = strip(&packet).unwrap();
            assert_eq!((stripped.next_header, stripped.payload), (17, &payload[..]));
            assert_eq!((stripped.outer.fields, stripped.outer.dont_fragment), (fields, true));
            // Through a NAT: the packet is good between the addresses it has here.
            let elsewhere = if src.contains(':') { "2001:db8::99" } else { "198.51.100.9" };
            let mut payload = stripped.payload.to_vec();
            let mut again = Vec::new();
            let before = payload.clone();
            restore(17, &mut payload, (ip(elsewhere), ip(dst)), fields, false, &mut again);
            assert_eq!(payload, before);
            restore(17, &mut payload, (ip(elsewhere), ip(dst)), fields, true, &mut again);
            let seed = header::pseudo_header(ip(elsewhere), ip(dst), 17, payload.len());
            let used = before[6..8] != [0, 0];
            assert_eq!(header::fold(header::sum(&payload, seed)) == 0xffff, used, "{src}");
        }
    }

    #[test]
    fn fragments_and_outer_extensions_are_not_for_transport_mode() {
        let mut v4 = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4];
        assert!(strip(&v4).is_some());
        for fragment in [0x20, 0x01] {
            v4[6] = fragment;
            assert_eq!(strip(&v4), None);
        }
        v4[6] = 0x40;
        assert!(strip(&v4).unwrap().outer.dont_fragment);
        // With options: they are left out.
        v4[0] = 0x46;
        assert_eq!(strip(&v4).unwrap().payload, [0u8; 0]);
        let mut v6 = [&[0x60, 0, 0, 0, 0, 8, 60, 64][..], &[0xfd; 32], &[6, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(strip(&v6).unwrap().next_header, 60);
        for next in [0, 43, 44] {
            v6[6] = next;
            assert_eq!(strip(&v6), None);
        }
        for cut in 0..20 {
            assert_eq!(strip(&v4[..cut]), None);
        }
        assert!(!restore(
            6,
            &mut vec![0; 65_536],
            (ip("10.0.0.1"), ip("10.0.0.2")),
            Fields::default(),
            false,
            &mut v4
        ));
        assert!(!restore(6, &mut [], (ip("10.0.0.1"), ip("fd00::1")), Fields::default(), false, &mut v4));
    }
}
