//! Entries of the SAD: `struct xfrm_usersa_info` and its attributes.

use std::net::IpAddr;

use super::algorithm::Algorithms;
use super::bytes::{Reader, Writer, bits, family_of};
use super::lifetime::Limits;
use super::number;
use super::parts::{Encap, Mode, Offload};
use super::replay::Replay;
use super::selector::{Mark, Selector};

/// Protocol number of ESP.
pub const ESP: u8 = 50;

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
