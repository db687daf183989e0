//! Entries of the SAD: `struct xfrm_usersa_info` and its attributes.

use std::net::IpAddr;

use super::algorithm::Algorithms;
use super::bytes::{Reader, Writer, attributes, bits, family_of};
use super::lifetime::{Limits, Usage};
use super::number;
use super::replay::Replay;
use super::selector::{Mark, Selector};

/// Protocol number of ESP.
pub const ESP: u8 = 50;

/// Octets of `struct xfrm_usersa_info`.
pub(super) const INFO: usize = 224;

/// Encapsulation mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Upper-layer payloads inside.
    Transport,
    /// Whole packets inside.
    #[default]
    Tunnel,
    /// Any other, only seen in listings.
    Other(u8),
}

impl Mode {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Transport => 0,
            Self::Tunnel => 1,
            Self::Other(number) => number,
        }
    }

    pub(super) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Transport,
            1 => Self::Tunnel,
            other => Self::Other(other),
        }
    }
}

/// ESP in UDP (RFC 3948).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encap {
    /// Port of the SA's source.
    pub src_port: u16,
    /// Port of the SA's destination.
    pub dst_port: u16,
}

impl Encap {
    pub(super) fn write(self, w: &mut Writer) {
        w.attribute(number::ENCAP, |w| {
            w.u16(number::ESP_IN_UDP);
            w.be16(self.src_port);
            w.be16(self.dst_port);
            w.zeros(2 + 16); // The original address is for checksums in transport mode, which ours corrects.
        });
    }

    pub(super) fn read(payload: &[u8]) -> Option<Option<Self>> {
        let mut r = Reader(payload);
        let kind = r.u16()?;
        let encap = Self { src_port: r.be16()?, dst_port: r.be16()? };
        Some((kind == number::ESP_IN_UDP).then_some(encap))
    }
}

/// An SA that the network card works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offload {
    /// The card's interface.
    pub ifindex: u32,
    /// Whether it is for what is received.
    pub inbound: bool,
    /// The card does all of ESP, policy and replay window included; otherwise only the cipher.
    pub packet: bool,
}

impl Offload {
    pub(super) fn write(self, w: &mut Writer) {
        w.attribute(number::OFFLOAD_DEV, |w| {
            w.u32(self.ifindex);
            w.u8(bits([(self.inbound, number::OFFLOAD_INBOUND), (self.packet, number::OFFLOAD_PACKET)]));
            w.zeros(3);
        });
    }

    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut r = Reader(payload);
        let (ifindex, flags) = (r.u32()?, r.u8()?);
        Some(Self {
            ifindex,
            inbound: flags & number::OFFLOAD_INBOUND != 0,
            packet: flags & number::OFFLOAD_PACKET != 0,
        })
    }
}

/// The way an SA's packets go (Linux 6.10 and later; older kernels ignore it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaDirection {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// Smaller choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaFlags {
    /// The outer header's ECN field is not copied to the inner, nor the inner's to the outer.
    pub no_ecn: bool,
    /// The inner header takes the outer DSCP.
    pub decap_dscp: bool,
    /// The outer header does not take the inner DSCP.
    pub no_encap_dscp: bool,
    /// The outer packet may be fragmented.
    pub no_pmtu_discovery: bool,
    /// ICMP errors about what the selector is for pass too.
    pub icmp: bool,
    /// Packets of either family inside.
    pub af_unspec: bool,
    /// The outgoing sequence number may wrap: without replay protection.
    pub sequence_may_wrap: bool,
}

/// By which an SA is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaId {
    /// Destination.
    pub dst: IpAddr,
    /// SPI.
    pub spi: u32,
    /// Protocol number.
    pub protocol: u8,
    /// The mark it was added with.
    pub mark: Mark,
}

/// "ESP SA c1234567 to 192.0.2.1".
impl std::fmt::Display for SaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            ESP => f.write_str("ESP ")?,
            other => write!(f, "protocol {other} ")?,
        }
        write!(f, "SA {:08x} to {}", self.spi, self.dst)?;
        if !self.mark.is_none() {
            write!(f, " mark {:#x}/{:#x}", self.mark.value, self.mark.mask)?;
        }
        Ok(())
    }
}

/// One SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// Source of the outer packets.
    pub src: IpAddr,
    /// Their destination.
    pub dst: IpAddr,
    /// SPI.
    pub spi: u32,
    /// Protocol number: [`ESP`].
    pub protocol: u8,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Which policies' templates it fits.
    pub reqid: u32,
    /// Packets it is for; `None` = any that a policy sends into it.
    pub selector: Option<Selector>,
    /// What protects its packets.
    pub algorithms: Algorithms,
    /// Replay protection and sequence numbers.
    pub replay: Replay,
    /// ESP in UDP; of other encapsulations listings say nothing.
    pub encap: Option<Encap>,
    /// Only packets with this mark.
    pub mark: Mark,
    /// The mark its packets get.
    pub set_mark: Mark,
    /// Its XFRM interface; 0 = none.
    pub if_id: u32,
    /// How long it lasts.
    pub limits: Limits,
    /// Smaller choices.
    pub flags: SaFlags,
    /// A network card that works on it.
    pub offload: Option<Offload>,
    /// Inner packets are padded to this length (RFC 4303 §2.7); 0 = not.
    pub tfc_pad: u32,
    /// The way its packets go; has to be given with `cpu` and `nat_keepalive`.
    pub direction: Option<SaDirection>,
    /// The one CPU it is for (RFC 9611). Kernels before 6.13 ignore it: read it back.
    pub cpu: Option<u32>,
    /// Seconds between the keepalives that the kernel sends itself (RFC 3948 §2.3; Linux 6.11); 0 = none.
    pub nat_keepalive: u32,
    /// Number of the ACQUIRE it answers; 0 = none.
    pub acquire: u32,
}

impl Sa {
    /// An ESP SA with everything else left at what does nothing.
    #[must_use]
    pub fn esp(src: IpAddr, dst: IpAddr, spi: u32, mode: Mode, algorithms: Algorithms) -> Self {
        Self {
            src,
            dst,
            spi,
            protocol: ESP,
            mode,
            reqid: 0,
            selector: None,
            algorithms,
            replay: Replay::default(),
            encap: None,
            mark: Mark::default(),
            set_mark: Mark::default(),
            if_id: 0,
            limits: Limits::default(),
            flags: SaFlags::default(),
            offload: None,
            tfc_pad: 0,
            direction: None,
            cpu: None,
            nat_keepalive: 0,
            acquire: 0,
        }
    }

    /// By which it is found.
    #[must_use]
    pub const fn id(&self) -> SaId {
        SaId { dst: self.dst, spi: self.spi, protocol: self.protocol, mark: self.mark }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.src.is_ipv4() != self.dst.is_ipv4() {
            return Err("an SA's source and destination are of different families");
        }
        self.selector.as_ref().map_or(Ok(()), Selector::check)?;
        self.algorithms.check()?;
        self.replay.check()
    }

    /// `struct xfrm_usersa_info`.
    pub(super) fn write_info(&self, w: &mut Writer) {
        match &self.selector {
            Some(selector) => selector.write(w),
            // Of no family; without AF_UNSPEC the kernel takes the SA's own.
            None => w.zeros(56),
        }
        w.address(self.dst);
        w.be32(self.spi);
        w.u8(self.protocol);
        w.zeros(3);
        w.address(self.src);
        self.limits.write(w);
        w.zeros(32 + 12); // what it has done
        w.u32(self.acquire);
        w.u32(self.reqid);
        w.u16(family_of(self.dst));
        w.u8(self.mode.number());
        w.u8(self.replay.legacy_window());
        w.u8(self.flags_number());
        w.zeros(7);
    }

    fn flags_number(&self) -> u8 {
        let flags = &self.flags;
        bits([
            (flags.no_ecn, number::STATE_NOECN),
            (flags.decap_dscp, number::STATE_DECAP_DSCP),
            (flags.no_pmtu_discovery, number::STATE_NOPMTUDISC),
            (flags.icmp, number::STATE_ICMP),
            (flags.af_unspec, number::STATE_AF_UNSPEC),
            (self.replay.esn, number::STATE_ESN),
        ])
    }

    pub(super) fn write_attributes(&self, w: &mut Writer) {
        self.algorithms.write(w);
        self.replay.write(w);
        if let Some(encap) = self.encap {
            encap.write(w);
        }
        self.mark.write(w, number::MARK);
        if !self.set_mark.is_none() {
            w.number(number::SET_MARK, self.set_mark.value);
            w.number(number::SET_MARK_MASK, self.set_mark.mask);
        }
        let extra = bits([
            (self.flags.no_encap_dscp, number::XFLAG_DONT_ENCAP_DSCP),
            (self.flags.sequence_may_wrap, number::XFLAG_OSEQ_MAY_WRAP),
        ]);
        for (kind, value) in [
            (number::IF_ID, self.if_id),
            (number::TFCPAD, self.tfc_pad),
            (number::SA_EXTRA_FLAGS, extra.into()),
            (number::NAT_KEEPALIVE_INTERVAL, self.nat_keepalive),
        ] {
            if value != 0 {
                w.number(kind, value);
            }
        }
        if let Some(offload) = self.offload {
            offload.write(w);
        }
        if let Some(direction) = self.direction {
            w.attribute(number::SA_DIR, |w| w.u8(if direction == SaDirection::In { 1 } else { 2 }));
        }
        if let Some(cpu) = self.cpu {
            w.number(number::SA_PCPU, cpu);
        }
    }
}

/// An SA as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaState {
    /// What it is, and where its sequence numbers stand.
    pub sa: Sa,
    /// What it has done.
    pub usage: Usage,
    /// Packets that came too late for the window.
    pub too_old: u32,
    /// Packets that came twice.
    pub replayed: u32,
    /// Packets whose integrity check failed.
    pub forged: u32,
    /// When it was last used, in seconds since 1970, where the kernel keeps it.
    pub last_used: Option<u64>,
}

impl SaState {
    /// From the body of a message: `struct xfrm_usersa_info`, then attributes.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (info, attributes) = body.split_at_checked(INFO)?;
        Self::read_parts(info, attributes)
    }

    /// From the two apart.
    pub(super) fn read_parts(info: &[u8], rest: &[u8]) -> Option<Self> {
        let mut state = Self::read_info(&mut Reader(info))?;
        for (kind, payload) in attributes(rest) {
            state.read_attribute(kind, payload)?;
        }
        Some(state)
    }

    fn read_info(r: &mut Reader<'_>) -> Option<Self> {
        let selector = Selector::read(r)?;
        let (dst, spi, protocol) = (r.address()?, r.be32()?, r.u8()?);
        r.skip(3)?;
        let src = r.address()?;
        let limits = Limits::read(r)?;
        let usage = Usage::read(r)?;
        let (too_old, replayed, forged) = (r.u32()?, r.u32()?, r.u32()?);
        let (acquire, reqid, family, mode) = (r.u32()?, r.u32()?, r.u16()?, r.u8()?);
        let (window, flags) = (r.u8()?, r.u8()?);
        r.skip(7)?;
        let has = |bit: u8| flags & bit != 0;
        let mut sa =
            Sa::esp(src.of(family)?, dst.of(family)?, spi, Mode::from_number(mode), Algorithms::None);
        sa.protocol = protocol;
        sa.reqid = reqid;
        sa.selector = selector.filter(|selector| !selector.is_all());
        sa.replay.window = window.into();
        sa.replay.esn = has(number::STATE_ESN);
        sa.limits = limits;
        sa.acquire = acquire;
        sa.flags.no_ecn = has(number::STATE_NOECN);
        sa.flags.decap_dscp = has(number::STATE_DECAP_DSCP);
        sa.flags.no_pmtu_discovery = has(number::STATE_NOPMTUDISC);
        sa.flags.icmp = has(number::STATE_ICMP);
        sa.flags.af_unspec = has(number::STATE_AF_UNSPEC);
        Some(Self { sa, usage, too_old, replayed, forged, last_used: None })
    }

    fn read_attribute(&mut self, kind: u16, payload: &[u8]) -> Option<()> {
        let sa = &mut self.sa;
        let mut r = Reader(payload);
        match kind {
            number::ENCAP => sa.encap = Encap::read(payload)?,
            number::REPLAY_VAL => sa.replay.read_legacy(payload)?,
            number::REPLAY_ESN_VAL => sa.replay.read_bitmap(payload)?,
            number::MARK => sa.mark = Mark::read(payload)?,
            number::SET_MARK => sa.set_mark.value = r.u32()?,
            number::SET_MARK_MASK => sa.set_mark.mask = r.u32()?,
            number::IF_ID => sa.if_id = r.u32()?,
            number::TFCPAD => sa.tfc_pad = r.u32()?,
            number::NAT_KEEPALIVE_INTERVAL => sa.nat_keepalive = r.u32()?,
            number::SA_PCPU => sa.cpu = Some(r.u32()?),
            number::LASTUSED => self.last_used = Some(r.u64()?),
            number::SA_DIR => {
                sa.direction = match r.u8()? {
                    1 => Some(SaDirection::In),
                    2 => Some(SaDirection::Out),
                    _ => None,
                }
            }
            number::SA_EXTRA_FLAGS => {
                let flags = r.u32()?;
                sa.flags.no_encap_dscp = flags & u32::from(number::XFLAG_DONT_ENCAP_DSCP) != 0;
                sa.flags.sequence_may_wrap = flags & u32::from(number::XFLAG_OSEQ_MAY_WRAP) != 0;
            }
            number::OFFLOAD_DEV => sa.offload = Some(Offload::read(payload)?),
            _ => sa.algorithms.read_attribute(kind, payload)?,
        }
        Some(())
    }
}

impl SaId {
    /// `struct xfrm_usersa_id` and the mark.
    pub(super) fn write(&self, w: &mut Writer) {
        w.address(self.dst);
        w.be32(self.spi);
        w.u16(family_of(self.dst));
        w.u8(self.protocol);
        w.zeros(1);
        self.mark.write(w, number::MARK);
    }

    /// `struct xfrm_usersa_id`, without the mark.
    pub(super) fn read(r: &mut Reader<'_>) -> Option<(Self, u16)> {
        let (dst, spi, family, protocol) = (r.address()?, r.be32()?, r.u16()?, r.u8()?);
        r.skip(1)?;
        Some((Self { dst: dst.of(family)?, spi, protocol, mark: Mark::default() }, family))
    }
}
