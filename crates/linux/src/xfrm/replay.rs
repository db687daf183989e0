//! Sequence numbers and the replay window: `struct xfrm_replay_state` up to 32 packets, `xfrm_replay_state_esn` beyond.

use super::bytes::{Reader, Writer};
use super::number;

/// Bits of the largest window (`XFRMA_REPLAY_ESN_MAX`).
pub const LARGEST_WINDOW: u32 = 4096;

/// Bits of the window that needs no bitmap of its own.
const LEGACY: u32 = 32;

/// Replay protection of one SA.
///
/// Kernels differ about an SA that only sends: before 6.10 extended sequence numbers need a window of at least 1 there
/// too; with [`super::Sa::direction`] set to out it has to be 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replay {
    /// Packets; 0 = no replay protection.
    pub window: u32,
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
    /// Where it stands; a new SA begins at zero.
    pub position: Position,
}

/// Where an SA stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// Last sequence number sent.
    pub sent: u64,
    /// Highest sequence number received.
    pub received: u64,
    /// The window's bits, 32 in each, in the kernel's order; empty = none seen yet.
    pub seen: Vec<u32>,
}

impl Replay {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.window > LARGEST_WINDOW || self.position.seen.len() > LARGEST_WINDOW as usize / 32 {
            return Err("a replay window is larger than 4096 packets");
        }
        Ok(())
    }

    const fn in_bitmap(&self) -> bool {
        self.esn || self.window > LEGACY
    }

    /// What goes into `xfrm_usersa_info.replay_window`, which has to be 0 beside a bitmap.
    pub(super) fn legacy_window(&self) -> u8 {
        if self.in_bitmap() { 0 } else { u8::try_from(self.window).unwrap_or(u8::MAX) }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        let Position { sent, received, seen } = &self.position;
        if self.in_bitmap() {
            let words = (self.window.div_ceil(32) as usize).max(seen.len());
            w.attribute(number::REPLAY_ESN_VAL, |w| {
                w.u32(u32::try_from(words).unwrap_or(u32::MAX));
                w.u32(low(*sent));
                w.u32(low(*received));
                w.u32(high(*sent));
                w.u32(high(*received));
                w.u32(self.window);
                for word in seen {
                    w.u32(*word);
                }
                // The bitmap of a new SA may be left out.
                w.zeros(if seen.is_empty() { 0 } else { (words - seen.len()) * 4 });
            });
        } else if self.position != Position::default() {
            w.attribute(number::REPLAY_VAL, |w| {
                w.u32(low(*sent));
                w.u32(low(*received));
                w.u32(seen.first().copied().unwrap_or(0));
            });
        }
    }

    /// `XFRMA_REPLAY_VAL`.
    pub(super) fn read_legacy(&mut self, payload: &[u8]) -> Option<()> {
        let mut r = Reader(payload);
        self.position.sent = r.u32()?.into();
        self.position.received = r.u32()?.into();
        self.position.seen = vec![r.u32()?];
        self.position.seen.retain(|word| *word != 0);
        Some(())
    }

    /// `XFRMA_REPLAY_ESN_VAL`.
    pub(super) fn read_bitmap(&mut self, payload: &[u8]) -> Option<()> {
        let mut r = Reader(payload);
        let words = r.u32()?;
        let (sent, received, sent_high, received_high) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        self.window = r.u32()?;
        self.position.sent = u64::from(sent_high) << 32 | u64::from(sent);
        self.position.received = u64::from(received_high) << 32 | u64::from(received);
        let mut seen = Reader(r.take(usize::try_from(words).ok()?.checked_mul(4)?)?);
        self.position.seen = std::iter::from_fn(|| seen.u32()).collect();
        if self.position.seen.iter().all(|word| *word == 0) {
            self.position.seen.clear();
        }
        Some(())
    }
}

const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
