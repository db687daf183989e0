//! A traffic selector: one protocol, one port range, one address range (RFC 7296 §3.13.1, RFC 4301 §4.4.1.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cidr::{self, bits};
use crate::services;

/// Inclusive ranges of addresses and ports, and one protocol.
///
/// Both addresses are of one family and in order; the ports are in order, or are the OPAQUE pair 65535–0 of RFC 7296
/// §3.13.1, which no constructor can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    start: IpAddr,
    end: IpAddr,
    protocol: u8,
    start_port: u16,
    end_port: u16,
}

impl Selector {
    /// A selector of these ranges; `None` if the families differ, or a start lies behind its end (but for OPAQUE ports,
    /// start 65535 and end 0).
    pub fn new(protocol: u8, start_port: u16, end_port: u16, start: IpAddr, end: IpAddr) -> Option<Self> {
        let ports = start_port <= end_port || (start_port == u16::MAX && end_port == 0);
        let addresses = start.is_ipv4() == end.is_ipv4() && start <= end;
        (ports && addresses).then_some(Self { start, end, protocol, start_port, end_port })
    }

    /// Any protocol and port of the network `addr/prefix`; host bits of `addr` are cleared. `None` if the prefix is
    /// longer than the address.
    pub fn from_cidr(addr: IpAddr, prefix: u8) -> Option<Self> {
        let (start, end) = cidr::range(addr, prefix)?;
        Self::new(0, 0, u16::MAX, start, end)
    }

    /// Any protocol and port of one address.
    pub fn host(addr: IpAddr) -> Self {
        Self { start: addr, end: addr, protocol: 0, start_port: 0, end_port: u16::MAX }
    }

    /// All of IPv4.
    pub fn any_v4() -> Self {
        Self {
            start: Ipv4Addr::UNSPECIFIED.into(),
            end: Ipv4Addr::BROADCAST.into(),
            protocol: 0,
            start_port: 0,
            end_port: u16::MAX,
        }
    }

    /// All of IPv6.
    pub fn any_v6() -> Self {
        let end = Ipv6Addr::from_bits(u128::MAX).into();
        Self { start: Ipv6Addr::UNSPECIFIED.into(), end, protocol: 0, start_port: 0, end_port: u16::MAX }
    }

    /// The same addresses with another protocol and port range; `None` if the ports are out of order.
    pub fn with_ports(&self, protocol: u8, start_port: u16, end_port: u16) -> Option<Self> {
        Self::new(protocol, start_port, end_port, self.start, self.end)
    }

    /// IP protocol number, 0 = any.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// First port; for ICMP type × 256 + code.
    pub fn start_port(&self) -> u16 {
        self.start_port
    }

    /// Last port.
    pub fn end_port(&self) -> u16 {
        self.end_port
    }

    /// First address.
    pub fn start(&self) -> IpAddr {
        self.start
    }

    /// Last address.
    pub fn end(&self) -> IpAddr {
        self.end
    }

    /// An IPv4 selector (else IPv6).
    pub fn is_v4(&self) -> bool {
        self.start.is_ipv4()
    }

    /// Selects only packets whose ports cannot be seen.
    pub fn is_opaque(&self) -> bool {
        self.start_port > self.end_port
    }

    /// Every port, and so also packets whose ports cannot be seen.
    fn any_port(&self) -> bool {
        self.start_port == 0 && self.end_port == u16::MAX
    }

    /// Does it select everything that `other` selects?
    pub fn contains(&self, other: &Self) -> bool {
        self.intersect(other).as_ref() == Some(other)
    }

    /// What both select; `None` if there is nothing.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.is_v4() != other.is_v4() {
            return None;
        }
        let protocol = match (self.protocol, other.protocol) {
            (0, p) | (p, 0) => p,
            (a, b) if a == b => a,
            _ => return None,
        };
        let (start_port, end_port) = match (self.is_opaque(), other.is_opaque()) {
            (true, true) => (u16::MAX, 0),
            // RFC 4301 §4.4.1.1: ANY contains OPAQUE, a range of ports does not.
            (true, false) if other.any_port() => (u16::MAX, 0),
            (false, true) if self.any_port() => (u16::MAX, 0),
            (false, false) => (self.start_port.max(other.start_port), self.end_port.min(other.end_port)),
            _ => return None,
        };
        let opaque = start_port == u16::MAX && end_port == 0;
        if start_port > end_port && !(opaque && (self.is_opaque() || other.is_opaque())) {
            return None;
        }
        Self::new(protocol, start_port, end_port, self.start.max(other.start), self.end.min(other.end))
    }

    /// Does it select a packet whose end on this selector's side is `addr` and `port`? The port is 0 where a packet
    /// shows none (a later fragment, a protocol without ports); only a selector of every port, or OPAQUE, takes that.
    pub fn matches(&self, addr: IpAddr, protocol: u8, port: u16) -> bool {
        let protocol_fits = self.protocol == 0 || self.protocol == protocol;
        let port_fits =
            if self.is_opaque() { port == 0 } else { self.start_port <= port && port <= self.end_port };
        protocol_fits && port_fits && self.contains_addr(addr)
    }

    /// Does the address range have this address?
    pub fn contains_addr(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.is_v4() && self.start <= addr && addr <= self.end
    }

    /// The address range as one network, if it is one.
    pub fn to_cidr(&self) -> Option<(IpAddr, u8)> {
        cidr::exact(self.start, self.end)
    }

    /// The fewest networks that make up the address range exactly, in order. Protocol and ports are not in it.
    pub fn cidrs(&self) -> Vec<(IpAddr, u8)> {
        cidr::cover(self.start, self.end)
    }

    /// Number of addresses, as an order of size: the bits that vary. For ranking selectors by how specific they are.
    pub fn address_bits(&self) -> u32 {
        u128::BITS - (bits(self.end) - bits(self.start)).leading_zeros()
    }
}

impl fmt::Display for Selector {
    /// `10.1.0.0/16`, `10.0.0.1..10.0.0.9`, followed by `[tcp/https]`, `[udp/1024-2047]`, `[17]`, `[0/53]`,
    /// `[tcp/OPAQUE]`, `[icmp/8]`, `[icmp/3(1)]` if it is not for everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_cidr() {
            Some((addr, prefix)) => write!(f, "{addr}/{prefix}")?,
            None => write!(f, "{}..{}", self.start, self.end)?,
        }
        services::write_ports(f, self.protocol, self.start_port, self.end_port)
    }
}

/// What both sides want (RFC 7296 §2.9): every overlap of a configured and an offered selector, without those that
/// another one contains. The order is that of the configuration, then of the offer, so that equal input gives equal
/// output.
pub fn narrow(configured: &[Selector], offered: &[Selector]) -> Vec<Selector> {
    let mut found: Vec<Selector> = Vec::new();
    for ours in configured {
        for theirs in offered {
            let Some(both) = ours.intersect(theirs) else { continue };
            if found.iter().any(|f| f.contains(&both)) {
                continue;
            }
            found.retain(|f| !both.contains(f));
            found.push(both);
        }
    }
    found
}
