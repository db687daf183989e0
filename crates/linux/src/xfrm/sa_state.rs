//! What the kernel says of an SA: `struct xfrm_usersa_info` and its attributes, read.

use super::algorithm::Algorithms;
use super::bytes::{Reader, attributes};
use super::lifetime::{Limits, Usage};
use super::number;
use super::parts::{Encap, Mode, Offload};
use super::sa::{Sa, SaDirection};
use super::selector::{Mark, Selector};

/// Octets of `struct xfrm_usersa_info`.
pub(super) const INFO: usize = 224;

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
