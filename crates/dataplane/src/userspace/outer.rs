//! What goes around a sealed packet: the outer header's fields, and whether it may be fragmented.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use adit_ipsec::{HeaderRules, header};
use adit_linux::Fields;

/// TTL of whole packets, as the kernel's own have it.
const TTL: u8 = 64;
/// Octets of an IPv4 header and a UDP header.
const HEADERS: usize = 28;

/// What the outer header takes from the inner packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outer {
    pub(super) fields: Fields,
    /// DF: too large a packet is the sender's affair.
    pub(super) dont_fragment: bool,
}

impl Outer {
    /// RFC 4301 §5.1.2, RFC 6040 §4.1: around an inner packet in tunnel mode.
    pub(super) fn of_tunnel(packet: &[u8], rules: HeaderRules) -> Self {
        let inner = header::tos(packet);
        let dscp = if rules.copy_dscp.out() { inner & 0xfc } else { 0 };
        Self {
            fields: Fields { tos: dscp | header::ecn_out(inner, rules.copy_ecn), hop_limit: None },
            dont_fragment: rules.copy_df && header::dont_fragment(packet),
        }
    }
}

/// RFC 6040 §4.2, RFC 4301 §5.1.2: the inner packet of a tunnel takes what happened to the outer one on its way. False:
/// it is to be dropped.
pub(super) fn arrive(packet: &mut [u8], outer_tos: u8, rules: HeaderRules) -> bool {
    let inner = header::tos(packet);
    let ecn = if rules.copy_ecn { header::ecn_in(inner, outer_tos) } else { Some(inner & 0b11) };
    let Some(ecn) = ecn else { return false };
    let dscp = if rules.copy_dscp.into() { outer_tos & 0xfc } else { inner & 0xfc };
    if dscp | ecn != inner {
        header::set_tos(packet, dscp | ecn);
    }
    true
}

/// IPv4 header, and UDP header if encapsulated, of an ESP packet with DF set. The kernel fills in identification and
/// checksum; the UDP checksum is not used (RFC 3948 §2.1).
#[derive(Debug)]
pub(super) struct WholeHeader {
    bytes: [u8; HEADERS],
    length: usize,
}

impl WholeHeader {
    pub(super) fn new(
        local: (Ipv4Addr, u16),
        remote: (Ipv4Addr, u16),
        encap: bool,
        fields: Fields,
        esp: usize,
    ) -> Option<Self> {
        let length = if encap { HEADERS } else { HEADERS - 8 };
        let total = u16::try_from(length + esp).ok()?.to_be_bytes();
        let udp = u16::try_from(8 + esp).ok()?.to_be_bytes();
        let ([a, b, c, d], [e, f, g, h]) = (local.0.octets(), remote.0.octets());
        let ([s, t], [u, v]) = (local.1.to_be_bytes(), remote.1.to_be_bytes());
        let protocol = if encap { 17 } else { 50 };
        let ttl = fields.hop_limit.unwrap_or(TTL);
        let bytes = [
            0x45, fields.tos, total[0], total[1], 0, 0, 0x40, 0, ttl, protocol, 0, 0, a, b, c, d, e, f, g, h,
            s, t, u, v, udp[0], udp[1], 0, 0,
        ];
        Some(Self { bytes, length })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Both addresses, if they are IPv4.
pub(super) fn both_v4(local: SocketAddr, remote: SocketAddr) -> Option<((Ipv4Addr, u16), (Ipv4Addr, u16))> {
    match (local.ip(), remote.ip()) {
        (IpAddr::V4(l), IpAddr::V4(r)) => Some(((l, local.port()), (r, remote.port()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use adit_ipsec::{CopyDscp, parse_packet};

    use super::*;

    fn packet(v4: bool, tos: u8) -> Vec<u8> {
        let mut packet = if v4 {
            let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
            let checksum = !header::fold(header::sum(&packet, 0));
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            packet
        } else {
            [&[0x60, 0, 0, 0, 0, 0, 59, 64][..], &[0xfd; 32]].concat()
        };
        header::set_tos(&mut packet, tos);
        packet
    }

    /// In by one tunnel, out of it with what happened on the way: DSCP, ECN and DF for every setting.
    #[test]
    fn header_fields_go_through_a_tunnel_as_configured() {
        for v4 in [true, false] {
            for copy_dscp in [CopyDscp::No, CopyDscp::In, CopyDscp::Out, CopyDscp::Yes] {
                for copy_ecn in [true, false] {
                    for copy_df in [true, false] {
                        let rules = HeaderRules { copy_df, copy_ecn, copy_dscp };
                        let mut inner = packet(v4, 0xb8 | 0b10);
                        let outer = Outer::of_tunnel(&inner, rules);
                        assert_eq!(outer.dont_fragment, copy_df, "{rules:?}");
                        let out = matches!(copy_dscp, CopyDscp::Out | CopyDscp::Yes);
                        let expected = if out { 0xb8 } else { 0 } | if copy_ecn { 0b10 } else { 0 };
                        assert_eq!(outer.fields.tos, expected, "{rules:?}");
                        // A router on the way marks congestion and another class.
                        assert!(arrive(&mut inner, 0x28 | 0b11, rules));
                        let into = matches!(copy_dscp, CopyDscp::In | CopyDscp::Yes);
                        let expected = if into { 0x28 } else { 0xb8 } | if copy_ecn { 0b11 } else { 0b10 };
                        assert_eq!(header::tos(&inner), expected, "{rules:?}");
                        if v4 {
                            assert_eq!(header::fold(header::sum(&inner, 0)), 0xffff, "{rules:?}");
                        }
                        // Congestion that the inner transport could not be told of is told by a loss.
                        let mut deaf = packet(v4, 0xb8);
                        assert_eq!(arrive(&mut deaf, 0b11, rules), !copy_ecn, "{rules:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_whole_header_says_what_the_sockets_would() {
        let (local, remote) = ("192.0.2.1:4500".parse().unwrap(), "192.0.2.2:4501".parse().unwrap());
        let (l, r) = both_v4(local, remote).unwrap();
        let fields = Fields { tos: 0xbb, hop_limit: Some(9) };
        for (encap, protocol, ports, length) in [(true, 17, (4500, 4501), 28), (false, 50, (0, 0), 20)] {
            let header = WholeHeader::new(l, r, encap, fields, 100).unwrap();
            assert_eq!(header.as_bytes().len(), length);
            let packet = [header.as_bytes(), &[1; 100]].concat();
            let info = parse_packet(&packet).unwrap();
            assert_eq!((info.src, info.dst), (local.ip(), remote.ip()));
            assert_eq!((info.protocol, info.src_port, info.dst_port), (protocol, ports.0, ports.1));
            assert_eq!((info.total_len, packet[1], packet[8]), (packet.len(), 0xbb, 9));
            assert!(header::dont_fragment(&packet));
        }
        assert!(WholeHeader::new(l, r, true, fields, 65_508).is_none());
        assert!(both_v4(local, "[::1]:1".parse().unwrap()).is_none());
    }
}
