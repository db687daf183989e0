//! Book-keeping that backends share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// One direction's traffic counters of an SA, written by a worker and read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) bytes: AtomicU64,
    pub(crate) packets: AtomicU64,
    /// Milliseconds since the data plane's start, plus one; 0 is never.
    last: AtomicU64,
}

impl Meter {
    pub(crate) fn count(&self, bytes: usize, now_ms: u64) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.packets.fetch_add(1, Relaxed);
        self.last.store(now_ms + 1, Relaxed);
    }

    pub(crate) fn idle(&self, start: Instant) -> Option<Duration> {
        let last = self.last.load(Relaxed).checked_sub(1)?;
        Some(start.elapsed().saturating_sub(Duration::from_millis(last)))
    }
}

/// Milliseconds since `start`.
pub(crate) fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
}
