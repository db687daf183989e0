//! What a policy or an SA is for: `struct xfrm_selector`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::{Reader, Writer, family_of};

/// A port and the bits of it that count; the kernel knows no ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Port {
    /// The port.
    pub value: u16,
    /// The bits of it that have to agree; 0 = any port.
    pub mask: u16,
}

impl Port {
    /// Any port.
    pub const ANY: Self = Self { value: 0, mask: 0 };

    /// Exactly this one.
    #[must_use]
    pub const fn one(value: u16) -> Self {
        Self { value, mask: u16::MAX }
    }
}

/// The packets a policy or an SA is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// Source network and prefix length. Bits behind the prefix do not count.
    pub src: (IpAddr, u8),
    /// Destination network and prefix length, of the same family.
    pub dst: (IpAddr, u8),
    /// Protocol number; 0 = any.
    pub protocol: u8,
    /// Source port; for ICMP the type (see [`Selector::icmp`]).
    pub src_port: Port,
    /// Destination port; for ICMP the code.
    pub dst_port: Port,
    /// The outgoing interface; 0 = any.
    pub ifindex: u32,
}

impl Selector {
    /// All packets between two networks.
    #[must_use]
    pub const fn between(src: (IpAddr, u8), dst: (IpAddr, u8)) -> Self {
        Self { src, dst, protocol: 0, src_port: Port::ANY, dst_port: Port::ANY, ifindex: 0 }
    }

    /// All packets of a family.
    #[must_use]
    pub const fn all(v4: bool) -> Self {
        let any =
            if v4 { (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) } else { (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0) };
        Self::between(any, any)
    }

    /// The same, for ICMP of one type, and one code if given. The kernel looks for them where the ports of other
    /// protocols are: the type as source, the code as destination.
    #[must_use]
    pub fn icmp(self, kind: u8, code: Option<u8>) -> Self {
        Self {
            src_port: Port::one(kind.into()),
            dst_port: code.map_or(Port::ANY, |code| Port::one(code.into())),
            ..self
        }
    }

    /// The same without host bits: as the kernel gives it back.
    #[must_use]
    pub fn canonical(self) -> Self {
        Self { src: (masked(self.src), self.src.1), dst: (masked(self.dst), self.dst.1), ..self }
    }

    /// Whether it is for IPv4.
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.dst.0.is_ipv4()
    }

    /// What the kernel would refuse or, worse, read as something else.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let longest = if self.is_v4() { 32 } else { 128 };
        if self.src.0.is_ipv4() != self.is_v4() {
            return Err("a selector's source and destination are of different families");
        }
        if self.src.1 > longest || self.dst.1 > longest {
            return Err("a selector's prefix is longer than its address");
        }
        Ok(())
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.address(masked(self.dst));
        w.address(masked(self.src));
        for port in [self.dst_port, self.src_port] {
            w.be16(port.value);
            w.be16(port.mask);
        }
        w.u16(family_of(self.dst.0));
        w.u8(self.dst.1);
        w.u8(self.src.1);
        w.u8(self.protocol);
        w.zeros(3);
        w.u32(self.ifindex);
        w.u32(0); // user
    }

    /// `None` = too short; `Some(None)` = of no family, which an SA of both has.
    pub(super) fn read(r: &mut Reader<'_>) -> Option<Option<Self>> {
        let (dst, src) = (r.address()?, r.address()?);
        let dst_port = Port { value: r.be16()?, mask: r.be16()? };
        let src_port = Port { value: r.be16()?, mask: r.be16()? };
        let family = r.u16()?;
        let (dst_prefix, src_prefix, protocol) = (r.u8()?, r.u8()?, r.u8()?);
        r.skip(3)?;
        let ifindex = r.u32()?;
        r.skip(4)?;
        let (Some(src), Some(dst)) = (src.of(family), dst.of(family)) else { return Some(None) };
        Some(Some(Self {
            src: (src, src_prefix),
            dst: (dst, dst_prefix),
            protocol,
            src_port,
            dst_port,
            ifindex,
        }))
    }

    /// Whether it keeps nothing out.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::all(self.is_v4())
    }
}

/// "10.3.0.1/32 to 10.2.0.0/24 protocol 6 port 80".
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} to {}/{}", self.src.0, self.src.1, self.dst.0, self.dst.1)?;
        if self.protocol != 0 {
            write!(f, " protocol {}", self.protocol)?;
        }
        for (port, what) in [(self.src_port, "source port"), (self.dst_port, "port")] {
            match port.mask {
                0 => {}
                u16::MAX => write!(f, " {what} {}", port.value)?,
                mask => write!(f, " {what} {}/{mask:#x}", port.value)?,
            }
        }
        if self.ifindex != 0 {
            write!(f, " interface {}", self.ifindex)?;
        }
        Ok(())
    }
}

/// The network's address. The kernel finds a policy by its selector's octets, host bits included.
fn masked((address, prefix): (IpAddr, u8)) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// A value and the bits of it that count (`struct xfrm_mark`); the default is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// The value.
    pub value: u32,
    /// The bits that count; 0 = none.
    pub mask: u32,
}

impl Mark {
    /// Whether there is a mark at all.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.value == 0 && self.mask == 0
    }

    pub(super) fn write(self, w: &mut Writer, kind: u16) {
        if !self.is_none() {
            w.attribute(kind, |w| {
                w.u32(self.value);
                w.u32(self.mask);
            });
        }
    }

    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut r = Reader(payload);
        Some(Self { value: r.u32()?, mask: r.u32()? })
    }
}
