//! Traffic selectors: ranges of addresses and ports (RFC 4301 §4.4.1.1, RFC 7296 §3.13.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An inclusive range of addresses and ports for one protocol or any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    start: IpAddr,
    end: IpAddr,
    protocol: u8,
    start_port: u16,
    end_port: u16,
}

impl Selector {
    /// `None` if the families differ, start lies behind end, or the ports do (but for OPAQUE, 65535–0).
    pub fn new(protocol: u8, start_port: u16, end_port: u16, start: IpAddr, end: IpAddr) -> Option<Self> {
        let opaque = start_port == u16::MAX && end_port == 0;
        let valid = start.is_ipv4() == end.is_ipv4() && start <= end && (start_port <= end_port || opaque);
        valid.then_some(Self { start, end, protocol, start_port, end_port })
    }

    /// Every port and protocol of a prefix; host bits are cleared. `None` if the prefix is too long.
    pub fn from_cidr(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = width(address);
        if u32::from(prefix) > bits {
            return None;
        }
        let host = host_mask(bits - u32::from(prefix));
        let start = number(address) & !host;
        let v4 = address.is_ipv4();
        Self::new(0, 0, u16::MAX, address_of(start, v4), address_of(start | host, v4))
    }

    /// Everything of one address.
    pub const fn host(address: IpAddr) -> Self {
        Self { start: address, end: address, protocol: 0, start_port: 0, end_port: u16::MAX }
    }

    /// 0.0.0.0/0.
    pub const fn any_v4() -> Self {
        Self {
            start: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            end: IpAddr::V4(Ipv4Addr::BROADCAST),
            protocol: 0,
            start_port: 0,
            end_port: u16::MAX,
        }
    }

    /// ::/0.
    pub const fn any_v6() -> Self {
        Self {
            start: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            end: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            protocol: 0,
            start_port: 0,
            end_port: u16::MAX,
        }
    }

    /// Upper-layer protocol; 0 = any.
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// First port.
    pub const fn start_port(&self) -> u16 {
        self.start_port
    }

    /// Last port.
    pub const fn end_port(&self) -> u16 {
        self.end_port
    }

    /// First address.
    pub const fn start(&self) -> IpAddr {
        self.start
    }

    /// Last address.
    pub const fn end(&self) -> IpAddr {
        self.end
    }

    /// Is it a range of IPv4 addresses?
    pub const fn is_v4(&self) -> bool {
        self.start.is_ipv4()
    }

    /// Ports OPAQUE: matches only packets whose ports cannot be seen.
    pub const fn is_opaque(&self) -> bool {
        self.start_port == u16::MAX && self.end_port == 0
    }

    /// Does `self` cover all of `other`?
    pub fn contains(&self, other: &Self) -> bool {
        self.intersect(other).is_some_and(|both| both == *other)
    }

    /// What both cover.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.is_v4() != other.is_v4() {
            return None;
        }
        let protocol = match (self.protocol, other.protocol) {
            (0, p) | (p, 0) => p,
            (a, b) if a == b => a,
            _ => return None,
        };
        let (start_port, end_port) = self.common_ports(other)?;
        Self::new(protocol, start_port, end_port, self.start.max(other.start), self.end.min(other.end))
    }

    fn common_ports(&self, other: &Self) -> Option<(u16, u16)> {
        let all = |s: &Self| s.start_port == 0 && s.end_port == u16::MAX;
        if self.is_opaque() || other.is_opaque() {
            let both = (self.is_opaque() || all(self)) && (other.is_opaque() || all(other));
            return both.then_some((u16::MAX, 0));
        }
        let (start, end) = (self.start_port.max(other.start_port), self.end_port.min(other.end_port));
        (start <= end).then_some((start, end))
    }

    /// Does a packet's address, protocol and port lie inside? A port that cannot be seen (later fragments, protocols
    /// without ports) is 0, and lies only inside every port and OPAQUE.
    pub fn matches(&self, address: IpAddr, protocol: u8, port: u16) -> bool {
        // RFC 4301 §4.4.1.1: OPAQUE is for packets whose ports cannot be seen, which read as port 0
        let port_fits =
            if self.is_opaque() { port == 0 } else { (self.start_port..=self.end_port).contains(&port) };
        self.contains_addr(address) && (self.protocol == 0 || self.protocol == protocol) && port_fits
    }

    /// Does an address lie inside?
    pub fn contains_addr(&self, address: IpAddr) -> bool {
        self.is_v4() == address.is_ipv4() && self.start <= address && address <= self.end
    }

    /// Address and prefix length, if the range is a prefix.
    pub fn to_cidr(&self) -> Option<(IpAddr, u8)> {
        match self.cidrs().as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The fewest prefixes that cover the range exactly, in order: what routes are made of.
    pub fn cidrs(&self) -> Vec<(IpAddr, u8)> {
        let (bits, v4) = (width(self.start), self.is_v4());
        let (mut at, last) = (number(self.start), number(self.end));
        let mut cover = Vec::new();
        loop {
            let mut host = if at == 0 { bits } else { at.trailing_zeros().min(bits) };
            while host > 0 && at | host_mask(host) > last {
                host -= 1;
            }
            let prefix = u8::try_from(bits - host).unwrap_or(u8::MAX);
            cover.push((address_of(at, v4), prefix));
            let end = at | host_mask(host);
            if end >= last {
                return cover;
            }
            at = end + 1;
        }
    }

    /// Is it all one address?
    pub fn is_host(&self, address: IpAddr) -> bool {
        self.start == address && self.end == address
    }

    /// The same protocol and ports, at one address (RFC 7296 §2.23.1).
    #[must_use]
    pub const fn at(self, address: IpAddr) -> Self {
        Self { start: address, end: address, ..self }
    }

    /// The same range for one protocol and ports; ports in the wrong order (but for OPAQUE, 65535–0) are swapped.
    #[must_use]
    pub const fn with_ports(self, protocol: u8, start_port: u16, end_port: u16) -> Self {
        let opaque = start_port == u16::MAX && end_port == 0;
        let (start_port, end_port) =
            if start_port <= end_port || opaque { (start_port, end_port) } else { (end_port, start_port) };
        Self { protocol, start_port, end_port, ..self }
    }
}

/// What the peer offered cut down to what is configured (RFC 7296 §2.9): every intersection once, without those that
/// another contains, in the order of the configuration.
pub fn narrow(configured: &[Selector], offered: &[Selector]) -> Vec<Selector> {
    let mut found: Vec<Selector> = Vec::new();
    for ours in configured {
        for common in offered.iter().filter_map(|theirs| ours.intersect(theirs)) {
            if !found.iter().any(|f| f.contains(&common)) {
                found.retain(|f| !common.contains(f));
                found.push(common);
            }
        }
    }
    found
}

/// A configured selector; `dynamic` stands for the host's own or virtual address until it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelectorSpec {
    /// The address that the negotiation brings.
    Dynamic {
        /// Upper-layer protocol; 0 = any.
        protocol: u8,
        /// First port.
        start_port: u16,
        /// Last port.
        end_port: u16,
    },
    /// A fixed range.
    Fixed(Selector),
}

impl SelectorSpec {
    /// `dynamic` without protocol and ports.
    pub const DYNAMIC: Self = Self::Dynamic { protocol: 0, start_port: 0, end_port: u16::MAX };

    /// The selectors it stands for when `hosts` are the addresses of this side.
    pub fn resolve(&self, hosts: &[IpAddr]) -> Vec<Selector> {
        match self {
            Self::Fixed(selector) => vec![*selector],
            Self::Dynamic { protocol, start_port, end_port } => hosts
                .iter()
                .map(|h| Selector::host(*h).with_ports(*protocol, *start_port, *end_port))
                .collect(),
        }
    }
}

impl FromStr for SelectorSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (range, upper) = match text.split_once('[') {
            Some((range, rest)) => {
                let upper =
                    rest.strip_suffix(']').ok_or_else(|| format!("'{text}' lacks the closing ']'"))?;
                (range.trim_end(), Some(upper))
            }
            None => (text, None),
        };
        let (protocol, start_port, end_port) = upper.map_or(Ok((0, 0, u16::MAX)), parse_upper)?;
        if range == "dynamic" {
            return Ok(Self::Dynamic { protocol, start_port, end_port });
        }
        let selector = parse_range(range)
            .ok_or_else(|| format!("'{range}' is not a CIDR, an address range or 'dynamic'"))?;
        Ok(Self::Fixed(selector.with_ports(protocol, start_port, end_port)))
    }
}

fn parse_range(text: &str) -> Option<Selector> {
    if let Some((address, prefix)) = text.split_once('/') {
        return Selector::from_cidr(address.parse().ok()?, prefix.parse().ok()?);
    }
    if let Some((start, end)) = text.split_once("..").or_else(|| text.split_once('-')) {
        return Selector::new(0, 0, u16::MAX, start.trim().parse().ok()?, end.trim().parse().ok()?);
    }
    text.parse().ok().map(Selector::host)
}

fn parse_upper(text: &str) -> Result<(u8, u16, u16), String> {
    let (protocol, port) = text.split_once('/').map_or((text, None), |(p, rest)| (p, Some(rest)));
    let number = protocol_number(protocol.trim()).ok_or_else(|| format!("'{protocol}' is not a protocol"))?;
    let Some(port) = port.map(str::trim) else { return Ok((number, 0, u16::MAX)) };
    let bad = || format!("'{port}' is not a port or port range");
    match port {
        "" | "any" | "%any" => Ok((number, 0, u16::MAX)),
        "opaque" | "OPAQUE" => Ok((number, u16::MAX, 0)),
        _ => {
            // an ICMP type is the high byte, its code the low one
            let icmp = matches!(number, 1 | 58);
            let single = |s: &str| if icmp { icmp_range(s) } else { port_number(s).map(|p| (p, p)) };
            let (start, end) = match port.split_once('-') {
                Some((a, b)) => (single(a.trim()).ok_or_else(bad)?.0, single(b.trim()).ok_or_else(bad)?.1),
                None => single(port).ok_or_else(bad)?,
            };
            if start <= end { Ok((number, start, end)) } else { Err(bad()) }
        }
    }
}

fn icmp_range(text: &str) -> Option<(u16, u16)> {
    let (kind, code) = match text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        Some((kind, code)) => (kind.parse::<u8>().ok()?, Some(code.parse::<u8>().ok()?)),
        None => (text.parse::<u8>().ok()?, None),
    };
    let high = u16::from(kind) << 8;
    Some(code.map_or((high, high | 0xff), |c| (high | u16::from(c), high | u16::from(c))))
}

const PROTOCOLS: [(&str, u8); 10] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ipv6-icmp", 58),
    ("sctp", 132),
    ("udplite", 136),
];

const PORTS: [(&str, u16); 14] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("kerberos", 88),
    ("ntp", 123),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("ldaps", 636),
    ("l2tp", 1701),
];

fn protocol_number(text: &str) -> Option<u8> {
    match text {
        "" | "any" | "%any" => Some(0),
        "icmpv6" | "icmp6" => Some(58),
        _ => PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, n)| *n).or_else(|| text.parse().ok()),
    }
}

fn port_number(text: &str) -> Option<u16> {
    PORTS.iter().find(|(name, _)| *name == text).map(|(_, n)| *n).or_else(|| text.parse().ok())
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_cidr() {
            Some((address, prefix)) => write!(f, "{address}/{prefix}")?,
            None => write!(f, "{}..{}", self.start, self.end)?,
        }
        upper(f, self.protocol, self.start_port, self.end_port)
    }
}

impl fmt::Display for SelectorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(selector) => selector.fmt(f),
            Self::Dynamic { protocol, start_port, end_port } => {
                f.write_str("dynamic")?;
                upper(f, *protocol, *start_port, *end_port)
            }
        }
    }
}

/// `[tcp/https]`, as the clients of the field print it.
fn upper(f: &mut fmt::Formatter<'_>, protocol: u8, start: u16, end: u16) -> fmt::Result {
    let all = start == 0 && end == u16::MAX;
    if protocol == 0 && all {
        return Ok(());
    }
    f.write_str("[")?;
    match PROTOCOLS.iter().find(|(_, n)| *n == protocol) {
        Some((name, _)) => f.write_str(name)?,
        None => write!(f, "{protocol}")?,
    }
    if !all {
        f.write_str("/")?;
        match (start, end) {
            (u16::MAX, 0) => f.write_str("OPAQUE")?,
            (s, e) if matches!(protocol, 1 | 58) => icmp(f, s, e)?,
            (s, e) if s == e => match PORTS.iter().find(|(_, n)| *n == s) {
                Some((name, _)) => f.write_str(name)?,
                None => write!(f, "{s}")?,
            },
            (s, e) => write!(f, "{s}-{e}")?,
        }
    }
    f.write_str("]")
}

/// `8`, `3(1)`, `3-4`, `3(0)-3(4)`: a type stands alone where all its codes are meant.
fn icmp(f: &mut fmt::Formatter<'_>, start: u16, end: u16) -> fmt::Result {
    let ([kind, code], [last_kind, last_code]) = (start.to_be_bytes(), end.to_be_bytes());
    match (kind == last_kind, code == 0 && last_code == u8::MAX) {
        (true, true) => write!(f, "{kind}"),
        (false, true) => write!(f, "{kind}-{last_kind}"),
        _ if start == end => write!(f, "{kind}({code})"),
        _ => write!(f, "{kind}({code})-{last_kind}({last_code})"),
    }
}

const fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

const fn host_mask(bits: u32) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

fn address_of(number: u128, v4: bool) -> IpAddr {
    if v4 {
        IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)))
    } else {
        IpAddr::V6(Ipv6Addr::from(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> SelectorSpec {
        text.parse().unwrap()
    }

    fn fixed(text: &str) -> Selector {
        match spec(text) {
            SelectorSpec::Fixed(selector) => selector,
            SelectorSpec::Dynamic { .. } => panic!("{text} is dynamic"),
        }
    }

    #[test]
    fn text_forms_round_trip() {
        for text in [
            "10.1.0.0/16",
            "10.0.0.1..10.0.0.9",
            "dynamic",
            "dynamic[udp/domain]",
            "0.0.0.0/0[tcp/https]",
            "10.0.0.1/32[udp/1024-2047]",
            "::/0[17]".replace("17", "udp").as_str(),
            "10.0.0.0/8[icmp/8]",
            "10.0.0.0/8[icmp/3(1)]",
            "10.0.0.0/8[icmp/3-4]",
            "10.0.0.0/8[icmp/3(0)-3(4)]",
            "::/0[ipv6-icmp/128-129]",
            "10.0.0.0/8[99]",
            "10.0.0.0/8[0/domain]",
            "10.0.0.0/8[tcp/OPAQUE]",
            "2001:db8::/64",
        ] {
            assert_eq!(spec(text).to_string(), text);
        }
        assert_eq!(spec("10.0.0.1-10.0.0.9").to_string(), "10.0.0.1..10.0.0.9");
        assert_eq!(spec("10.1.2.3/16").to_string(), "10.1.0.0/16");
        for bad in [
            "10.0.0.0/33",
            "nonsense",
            "10.0.0.9-10.0.0.1",
            "10.0.0.0/8[tcp",
            "10.0.0.0/8[foo]",
            "10.0.0.0/8[tcp/9-1]",
        ] {
            assert!(bad.parse::<SelectorSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn cover_is_exact() {
        assert_eq!(fixed("0.0.0.0/0").to_cidr(), Some(("0.0.0.0".parse().unwrap(), 0)));
        assert_eq!(fixed("::/0").to_cidr(), Some(("::".parse().unwrap(), 0)));
        let range: Vec<String> =
            fixed("10.0.0.1..10.0.0.6").cidrs().iter().map(|(a, p)| format!("{a}/{p}")).collect();
        assert_eq!(range, ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
    }

    #[test]
    fn narrowing_keeps_every_common_part_once() {
        let ours = [fixed("10.2.0.0/24"), fixed("10.4.0.0/16")];
        assert_eq!(narrow(&ours, &[Selector::any_v4()]), ours);
        assert_eq!(narrow(&ours, &[fixed("10.4.1.0/24"), fixed("10.4.0.0/15")]), [fixed("10.4.0.0/16")]);
        assert!(narrow(&ours, &[fixed("192.0.2.0/24"), Selector::any_v6()]).is_empty());
        let tcp = fixed("0.0.0.0/0[tcp]");
        assert_eq!(narrow(&ours, &[tcp])[0].to_string(), "10.2.0.0/24[tcp]");
    }

    #[test]
    fn opaque_meets_only_any_and_opaque() {
        let opaque = fixed("10.0.0.0/8[tcp/opaque]");
        assert_eq!(opaque.intersect(&fixed("10.0.0.0/8")), Some(opaque));
        assert_eq!(opaque.intersect(&fixed("10.0.0.0/8[tcp/80]")), None);
        let address = "10.0.0.1".parse().unwrap();
        assert!(opaque.matches(address, 6, 0) && !opaque.matches(address, 6, 80));
        assert!(!fixed("10.0.0.0/8[tcp/80]").matches(address, 6, 0));
    }

    #[test]
    fn ports_stay_in_order() {
        let host = Selector::host("10.0.0.1".parse().unwrap());
        assert_eq!(host.with_ports(6, 9, 1), host.with_ports(6, 1, 9));
        assert!(host.with_ports(6, u16::MAX, 0).is_opaque());
    }
}
