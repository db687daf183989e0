//! What a policy asks of its packets: `struct xfrm_user_tmpl`.

use std::net::IpAddr;

use super::bytes::{Reader, Writer, family_of};
use super::parts::Mode;

/// Octets of `struct xfrm_user_tmpl`.
pub(super) const SIZE: usize = 64;

/// What a packet has to go through, or have come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// Source of the outer packets; unspecified (of the outer family) in transport mode.
    pub src: IpAddr,
    /// Their destination.
    pub dst: IpAddr,
    /// SPI; 0 = any.
    pub spi: u32,
    /// Protocol number: [`super::ESP`].
    pub protocol: u8,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The SAs that fit; 0 = any.
    pub reqid: u32,
    /// A packet that came in the clear passes as well.
    pub optional: bool,
}

impl Template {
    pub(super) fn write(&self, w: &mut Writer) {
        w.address(self.dst);
        w.be32(self.spi);
        w.u8(self.protocol);
        w.zeros(3);
        w.u16(family_of(self.dst));
        w.zeros(2);
        w.address(self.src);
        w.u32(self.reqid);
        w.u8(self.mode.number());
        w.u8(0); // share
        w.u8(self.optional.into());
        w.zeros(1);
        for _ in 0..3 {
            w.u32(u32::MAX); // Any algorithm: the SAs are ours to choose.
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        let (dst, spi, protocol) = (r.address()?, r.be32()?, r.u8()?);
        r.skip(3)?;
        let family = r.u16()?;
        r.skip(2)?;
        let (src, reqid, mode) = (r.address()?, r.u32()?, r.u8()?);
        r.skip(1)?;
        let optional = r.u8()? != 0;
        r.skip(1 + 12)?;
        Some(Self {
            src: src.of(family)?,
            dst: dst.of(family)?,
            spi,
            protocol,
            mode: Mode::from_number(mode),
            reqid,
            optional,
        })
    }
}
