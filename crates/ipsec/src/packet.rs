//! The five values of an IP packet that selectors look at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a selector can match of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PacketInfo {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Source port; ICMP type and code as `type << 8 | code` (RFC 4301 §4.4.1.1); 0 in later fragments.
    pub src_port: u16,
    /// Destination port; as `src_port` for ICMP.
    pub dst_port: u16,
    /// Length of the packet by its header, at most what was given.
    pub total_len: usize,
}

/// IPv6 extension headers that are skipped before giving up.
const MAX_EXTENSIONS: usize = 8;

/// Reads an IPv4 or IPv6 packet; `None` if it is none or its header is cut.
pub fn parse_packet(ip: &[u8]) -> Option<PacketInfo> {
    match ip.first()? >> 4 {
        4 => parse_v4(ip),
        6 => parse_v6(ip),
        _ => None,
    }
}

fn parse_v4(ip: &[u8]) -> Option<PacketInfo> {
    let header: &[u8; 20] = ip.first_chunk()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < 20 || total_len < header_len || total_len > ip.len() {
        return None;
    }
    let first_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let upper = if first_fragment { ip.get(header_len..total_len)? } else { &[] };
    let (src_port, dst_port) = ports(header[9], upper);
    Some(PacketInfo {
        src: IpAddr::V4(Ipv4Addr::new(header[12], header[13], header[14], header[15])),
        dst: IpAddr::V4(Ipv4Addr::new(header[16], header[17], header[18], header[19])),
        protocol: header[9],
        src_port,
        dst_port,
        total_len,
    })
}

fn parse_v6(ip: &[u8]) -> Option<PacketInfo> {
    let header: &[u8; 40] = ip.first_chunk()?;
    let total_len = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if total_len > ip.len() {
        return None;
    }
    let address = |range: std::ops::Range<usize>| -> Option<IpAddr> {
        let bytes: [u8; 16] = header.get(range)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(bytes)))
    };
    let (protocol, upper) = skip_extensions(header[6], ip.get(40..total_len)?)?;
    let (src_port, dst_port) = ports(protocol, upper);
    Some(PacketInfo { src: address(8..24)?, dst: address(24..40)?, protocol, src_port, dst_port, total_len })
}

fn skip_extensions(mut next: u8, mut rest: &[u8]) -> Option<(u8, &[u8])> {
    for _ in 0..MAX_EXTENSIONS {
        let length = match next {
            // hop-by-hop, routing, destination options
            0 | 43 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
            44 => {
                let offset = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) & 0xfff8;
                if offset != 0 {
                    return Some((*rest.first()?, &[]));
                }
                8
            }
            _ => return Some((next, rest)),
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
    None
}

fn ports(protocol: u8, upper: &[u8]) -> (u16, u16) {
    match (protocol, upper) {
        // TCP, UDP, SCTP, DCCP, UDP-Lite
        (6 | 17 | 33 | 132 | 136, [a, b, c, d, ..]) => {
            (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        (1 | 58, [kind, code, ..]) => {
            let both = u16::from_be_bytes([*kind, *code]);
            (both, both)
        }
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16, upper: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend((20 + upper.len() as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(upper);
        packet
    }

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((rest.len() as u16).to_be_bytes());
        packet.extend([next, 64]);
        packet.extend([0xfd; 16]);
        packet.extend([0xfe; 16]);
        packet.extend(rest);
        packet
    }

    fn read(packet: &[u8]) -> (u8, u16, u16) {
        let info = parse_packet(packet).unwrap();
        assert_eq!(info.total_len, packet.len());
        (info.protocol, info.src_port, info.dst_port)
    }

    #[test]
    fn ports_of_the_first_fragment_only() {
        let upper = [0x30, 0x39, 0, 53, 0, 8, 0, 0];
        assert_eq!(read(&v4(17, 0, &upper)), (17, 12345, 53));
        assert_eq!(read(&v4(17, 0x2000, &upper)), (17, 12345, 53));
        assert_eq!(read(&v4(17, 0x2001, &upper)), (17, 0, 0));
        assert_eq!(read(&v4(1, 0, &[8, 0, 1, 2])), (1, 0x0800, 0x0800));
        assert_eq!(read(&v4(50, 0, &upper)), (50, 0, 0));
        assert_eq!(read(&v4(6, 0, &[1, 2])), (6, 0, 0));
    }

    #[test]
    fn extension_headers_are_walked_but_not_for_ever() {
        let tcp = [1, 187, 0, 80];
        let hop = |next: u8| [next, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&v6(6, &tcp)), (6, 443, 80));
        assert_eq!(read(&v6(0, &[hop(60).as_slice(), &hop(6), &tcp].concat())), (6, 443, 80));
        let fragment = |offset: u16| [6, 0, (offset >> 8) as u8, offset as u8, 0, 0, 0, 1];
        assert_eq!(read(&v6(44, &[fragment(1).as_slice(), &tcp].concat())), (6, 443, 80));
        assert_eq!(read(&v6(44, &[fragment(8).as_slice(), &tcp].concat())), (6, 0, 0));
        let endless = [hop(0); 40].concat();
        assert_eq!(parse_packet(&v6(0, &endless)), None);
        // a header that says it is longer than the packet
        assert_eq!(parse_packet(&v6(0, &[6, 9, 0, 0, 0, 0, 0, 0])), None);
    }

    #[test]
    fn what_is_cut_is_no_packet_and_padding_is_left_out() {
        for packet in [v4(17, 0, &[0; 8]), v6(0, &[17, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2])] {
            for cut in 0..packet.len() {
                assert_eq!(parse_packet(&packet[..cut]), None);
            }
            let padded = [packet.as_slice(), &[0; 9]].concat();
            assert_eq!(parse_packet(&padded).unwrap().total_len, packet.len());
        }
        let mut short_header = v4(17, 0, &[0; 8]);
        short_header[0] = 0x44;
        assert_eq!(parse_packet(&short_header), None);
    }
}
