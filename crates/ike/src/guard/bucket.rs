//! Token buckets: so many per second, with a burst.

use std::collections::BTreeMap;

use crate::time::Instant;

/// A rate. None at all if `per_second` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    /// A rate that lets through at once what it gives in so many seconds.
    pub(crate) const fn seconds(per_second: u32, seconds: u32) -> Self {
        Self { per_second, burst: per_second.saturating_mul(seconds) }
    }
}

const MICROS: u64 = 1_000_000;

/// What has been taken and not grown back, in millionths. A new one is full.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    missing: u64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant, rate: Rate) {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        self.missing = self.missing.saturating_sub(micros.saturating_mul(u64::from(rate.per_second)));
        self.at = now;
    }

    /// Takes one, if `reserve` others would be left.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate, reserve: u32) -> bool {
        if rate.per_second == 0 {
            return true;
        }
        self.refill(now, rate);
        let most = u64::from(rate.burst.saturating_sub(reserve).max(1)) * MICROS;
        let enough = self.missing + MICROS <= most;
        if enough {
            self.missing += MICROS;
        }
        enough
    }

    fn is_full(&mut self, now: Instant, rate: Rate) -> bool {
        self.refill(now, rate);
        self.missing == 0
    }
}

/// Sources whose bucket is remembered.
const MAX_BUCKETS: usize = 16_384;

/// A bucket per key. A full bucket need not be remembered; when too many are not, they all start anew.
#[derive(Default)]
pub(crate) struct Buckets(BTreeMap<u64, Bucket>);

impl Buckets {
    pub(crate) fn take(&mut self, now: Instant, rate: Rate, key: u64) -> bool {
        if rate.per_second == 0 {
            return true;
        }
        if self.0.len() >= MAX_BUCKETS && !self.0.contains_key(&key) {
            self.0.retain(|_, bucket| !bucket.is_full(now, rate));
            if self.0.len() >= MAX_BUCKETS {
                // To forget favours the attacker for one burst; to refuse would lock everybody else out.
                self.0.clear();
            }
        }
        self.0.entry(key).or_default().take(now, rate, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { per_second: 10, burst: 20 };
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now, rate, 0)).count();
        assert_eq!(taken(&mut bucket, at(0)), 20);
        assert_eq!(taken(&mut bucket, at(99)), 0);
        assert_eq!(taken(&mut bucket, at(1000)), 9 + 1);
        assert_eq!(taken(&mut bucket, at(60_000)), 20);
        // a reserve is left alone
        assert_eq!((0..100).filter(|_| bucket.take(at(61_000), rate, 15)).count(), 0);
        assert_eq!((0..100).filter(|_| bucket.take(at(70_000), rate, 15)).count(), 5);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let none = Rate::seconds(0, 5);
        assert!((0..1000).all(|_| Bucket::default().take(at(0), none, 0)));
    }

    #[test]
    fn sources_are_apart_and_bounded() {
        let rate = Rate { per_second: 1, burst: 2 };
        let mut buckets = Buckets::default();
        assert_eq!((0..9).filter(|_| buckets.take(at(0), rate, 7)).count(), 2);
        assert!(buckets.take(at(0), rate, 8));
        for key in 0..3 * MAX_BUCKETS as u64 {
            assert!(buckets.take(at(1), rate, 1000 + key), "a new source is locked out");
            assert!(buckets.0.len() <= MAX_BUCKETS);
        }
    }
}
