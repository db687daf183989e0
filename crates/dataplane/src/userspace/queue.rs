//! Packets that wait for the SA their trap has asked for.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Most packets that wait for one trap.
const PACKETS_PER_TRAP: usize = 16;
/// Most bytes that wait in all.
const TOTAL_BYTES: usize = 256 << 10;
/// An unresolved trap asks again after this long, if traffic goes on.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// A packet older than this is of no use to anybody.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Waiting {
    asked: Instant,
    packets: VecDeque<(Instant, Vec<u8>)>,
}

/// The packets of all traps.
#[derive(Debug, Default)]
pub(super) struct Queue {
    traps: BTreeMap<u32, Waiting>,
    bytes: usize,
}

/// What became of a packet given to [`Queue::push`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// The trap should be reported.
    pub(super) ask: bool,
    /// The packet waits (else it is dropped: no room).
    pub(super) queued: bool,
}

impl Queue {
    /// Keeps a copy of a packet for the trap, if there is room.
    pub(super) fn push(&mut self, trap: u32, packet: &[u8], now: Instant) -> Pushed {
        let mut ask = false;
        let waiting = self.traps.entry(trap).or_insert_with(|| {
            ask = true;
            Waiting { asked: now, packets: VecDeque::new() }
        });
        if now.duration_since(waiting.asked) >= ASK_AGAIN {
            waiting.asked = now;
            ask = true;
        }
        let queued = waiting.packets.len() < PACKETS_PER_TRAP && self.bytes + packet.len() <= TOTAL_BYTES;
        if queued {
            self.bytes += packet.len();
            waiting.packets.push_back((now, packet.to_vec()));
        }
        Pushed { ask, queued }
    }

    /// Whether nothing waits and no trap is being asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.traps.is_empty()
    }

    /// Gives each waiting packet to `deliver`, in order; those it returns `false` for go on waiting. A trap for
    /// which nothing waits any more is resolved: its next packet asks at once.
    pub(super) fn flush(&mut self, mut deliver: impl FnMut(&[u8]) -> bool) {
        let bytes = &mut self.bytes;
        self.traps.retain(|_, waiting| {
            waiting.packets.retain(|(_, packet)| {
                let gone = deliver(packet);
                if gone {
                    *bytes = bytes.saturating_sub(packet.len());
                }
                !gone
            });
            !waiting.packets.is_empty()
        });
    }

    /// Drops what has waited too long; returns how many packets.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        let bytes = &mut self.bytes;
        let old = |since: Instant| now.duration_since(since) >= PATIENCE;
        self.traps.retain(|_, waiting| {
            while let Some((_, packet)) = waiting.packets.pop_front_if(|(since, _)| old(*since)) {
                *bytes = bytes.saturating_sub(packet.len());
                dropped += 1;
            }
            !(waiting.packets.is_empty() && old(waiting.asked))
        });
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_asks_once_then_again_after_five_seconds_and_keeps_sixteen_packets() {
        let mut queue = Queue::default();
        let start = Instant::now();
        assert_eq!(queue.push(1, &[0; 100], start), Pushed { ask: true, queued: true });
        for _ in 1..PACKETS_PER_TRAP {
            assert_eq!(queue.push(1, &[0; 100], start), Pushed { ask: false, queued: true });
        }
        assert_eq!(queue.push(1, &[0; 100], start), Pushed { ask: false, queued: false });
        assert_eq!(queue.push(1, &[0; 100], start + ASK_AGAIN), Pushed { ask: true, queued: false });
        assert_eq!(queue.push(2, &[0; 100], start), Pushed { ask: true, queued: true });
        let mut got = 0;
        queue.flush(|_| {
            got += 1;
            true
        });
        assert_eq!(got, 17);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn the_total_is_bounded_and_old_packets_go() {
        let mut queue = Queue::default();
        let start = Instant::now();
        let mut taken = 0;
        for trap in 0..100 {
            taken += u32::from(queue.push(trap, &[0; 60_000], start).queued);
        }
        assert_eq!(taken, 4);
        assert_eq!(queue.expire(start + PATIENCE), 4);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }
}
