//! How long an SA lasts and what it did: `struct xfrm_lifetime_cfg` and `xfrm_lifetime_cur`.

use super::bytes::{Reader, Writer};

/// `XFRM_INF`.
const INFINITE: u64 = u64::MAX;

/// A soft limit asks for a successor, a hard one ends the SA; `None` = no limit. For octets and packets it is the packet
/// behind the limit that makes the kernel see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// When an EXPIRE event asks for a successor.
    pub soft: Option<u64>,
    /// When the kernel removes the SA, with an EXPIRE event.
    pub hard: Option<u64>,
}

/// How long an SA lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Octets.
    pub bytes: Limit,
    /// Packets.
    pub packets: Limit,
    /// Seconds since it was added.
    pub seconds: Limit,
    /// Seconds since its first use.
    pub seconds_used: Limit,
}

impl Limits {
    pub(super) fn write(&self, w: &mut Writer) {
        for limit in [self.bytes, self.packets] {
            w.u64(limit.soft.unwrap_or(INFINITE));
            w.u64(limit.hard.unwrap_or(INFINITE));
        }
        for limit in [self.seconds, self.seconds_used] {
            w.u64(limit.soft.unwrap_or(0));
            w.u64(limit.hard.unwrap_or(0));
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        let mut limit = |none: u64| {
            let mut value = || r.u64().map(|value| Some(value).filter(|value| *value != none));
            Some(Limit { soft: value()?, hard: value()? })
        };
        Some(Self {
            bytes: limit(INFINITE)?,
            packets: limit(INFINITE)?,
            seconds: limit(0)?,
            seconds_used: limit(0)?,
        })
    }
}

/// What an SA or a policy has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// When it was added, in seconds since 1970.
    pub added: u64,
    /// An SA's first use, a policy's last, in seconds since 1970; 0 = never.
    pub used: u64,
}

impl Usage {
    pub(super) fn read(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { bytes: r.u64()?, packets: r.u64()?, added: r.u64()?, used: r.u64()? })
    }
}
