//! What SAs and policies have in common: mode, encapsulation, offload.

use super::bytes::{Reader, Writer, bits};
use super::number;

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

/// An SA that the network card works on. A card that cannot has the kernel work itself, without a word, unless all of ESP
/// was asked for: read it back.
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
