//! How often what somebody removes is put back: at once, until it is a war.

use std::time::{Duration, Instant};

/// Incidents in a row that are mended at once.
const AT_ONCE: u32 = 5;
/// The first wait; each further incident doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// Without an incident for so long, beyond the wait, all is forgotten.
const QUIET: Duration = Duration::from_secs(60);

/// Counts incidents.
#[derive(Debug, Default)]
pub(super) struct Patience {
    incidents: u32,
    last: Option<Instant>,
    wait: Duration,
}

impl Patience {
    /// How long nothing is to be put back yet.
    pub(super) fn holds(&self, now: Instant) -> Option<Duration> {
        let until = self.last?.checked_add(self.wait)?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Something was removed, and is back. Returns how long the next one will wait, if it will.
    pub(super) fn incident(&mut self, now: Instant) -> Option<Duration> {
        let calm = |last: Instant| now.saturating_duration_since(last) > QUIET + self.wait;
        if self.last.is_none_or(calm) {
            *self = Self::default();
        }
        self.last = Some(now);
        self.incidents = self.incidents.saturating_add(1);
        if self.incidents >= AT_ONCE {
            self.wait = (self.wait * 2).clamp(FIRST, LONGEST);
        }
        Some(self.wait).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_war_is_slowed_down_and_forgotten_after_a_while() {
        let mut patience = Patience::default();
        let mut now = Instant::now();
        assert_eq!(patience.holds(now), None);
        let mut waits = Vec::new();
        for _ in 0..13 {
            let wait = patience.incident(now);
            assert_eq!(patience.holds(now), wait);
            waits.push(wait.unwrap_or_default().as_secs());
            now += wait.unwrap_or(Duration::from_millis(100));
            assert_eq!(patience.holds(now), None);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        now += Duration::from_secs(61);
        assert_eq!(patience.incident(now), None);
    }
}
