//! The few fields of an IP packet that selectors look at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most IPv6 extension headers that are walked; a packet with more is judged by the header it stopped at.
const MAX_EXTENSION_HEADERS: usize = 8;

/// What selectors look at in an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketInfo {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Source port; for ICMP type × 256 + code (as in `dst_port`); 0 where there is none or it is not in this fragment.
    pub src_port: u16,
    /// Destination port, by the same rules.
    pub dst_port: u16,
    /// Length of the packet by its own header, at most what was given: bytes behind it are padding.
    pub total_len: usize,
}

/// Reads an IPv4 or IPv6 packet. `None` if it is neither, is shorter than its header says, or its IPv6 extension
/// headers do not end in it.
pub fn parse_packet(ip: &[u8]) -> Option<PacketInfo> {
    match ip.first()? >> 4 {
        4 => parse_v4(ip),
        6 => parse_v6(ip),
        _ => None,
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

fn parse_v4(ip: &[u8]) -> Option<PacketInfo> {
    let header_len = usize::from(ip.first()? & 0x0f) * 4;
    let total_len = usize::from(be16(ip, 2)?);
    if header_len < 20 || total_len < header_len || total_len > ip.len() {
        return None;
    }
    let src: [u8; 4] = ip.get(12..16)?.try_into().ok()?;
    let dst: [u8; 4] = ip.get(16..20)?.try_into().ok()?;
    let protocol = *ip.get(9)?;
    let later_fragment = be16(ip, 6)? & 0x1fff != 0;
    let upper = ip.get(header_len..total_len)?;
    let (src_port, dst_port) = if later_fragment { (0, 0) } else { ports(protocol, upper) };
    let (src, dst) = (Ipv4Addr::from(src).into(), Ipv4Addr::from(dst).into());
    Some(PacketInfo { src, dst, protocol, src_port, dst_port, total_len })
}

fn parse_v6(ip: &[u8]) -> Option<PacketInfo> {
    let total_len = usize::from(be16(ip, 4)?) + 40;
    let packet = ip.get(..total_len)?;
    let src: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let dst: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    let mut protocol = *packet.get(6)?;
    let mut at = 40;
    let mut later_fragment = false;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let len = match protocol {
            // Hop-by-hop, routing, destination options: length in 8 byte units, not counting the first.
            0 | 43 | 60 => (usize::from(*packet.get(at + 1)?) + 1) * 8,
            // Authentication header: length in 4 byte units, less two.
            51 => (usize::from(*packet.get(at + 1)?) + 2) * 4,
            44 => {
                later_fragment = be16(packet, at + 2)? & 0xfff8 != 0;
                8
            }
            _ => break,
        };
        protocol = *packet.get(at)?;
        at += len;
        if at > packet.len() {
            return None;
        }
        if later_fragment {
            break;
        }
    }
    let upper = packet.get(at..)?;
    let (src_port, dst_port) = if later_fragment { (0, 0) } else { ports(protocol, upper) };
    let (src, dst) = (Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into());
    Some(PacketInfo { src, dst, protocol, src_port, dst_port, total_len })
}

/// Ports of the protocols that have them; type and code of ICMP, the type of a mobility header (RFC 4301 §4.4.1.1).
fn ports(protocol: u8, upper: &[u8]) -> (u16, u16) {
    match protocol {
        6 | 17 | 33 | 132 | 136 => (be16(upper, 0).unwrap_or(0), be16(upper, 2).unwrap_or(0)),
        1 | 58 => {
            let both = be16(upper, 0).unwrap_or(0);
            (both, both)
        }
        135 => {
            let both = upper.get(2).map_or(0, |kind| u16::from_be_bytes([*kind, 0]));
            (both, both)
        }
        _ => (0, 0),
    }
}
