//! Lines about strangers' messages are limited: a flood must not flood the log.

use crate::time::Instant;

/// Messages per second that are logged about.
const PER_SECOND: u32 = 20;
const SECOND: u64 = 1_000_000;

/// Counts in whole seconds, so that one line can tell of what had none.
#[derive(Default)]
pub(crate) struct Quiet {
    second: u64,
    spoken: u32,
    /// Messages of this and earlier seconds that were not logged and not told of.
    swallowed: u64,
}

/// What to do about one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Speak,
    Hush,
    /// Speak, and tell first of so many messages that had no line.
    Recap(u64),
}

impl Quiet {
    pub(crate) fn voice(&mut self, now: Instant) -> Voice {
        let second = now.as_micros() / SECOND;
        let swallowed = if second == self.second { 0 } else { std::mem::take(&mut self.swallowed) };
        if second != self.second {
            (self.second, self.spoken) = (second, 0);
        }
        self.spoken = self.spoken.saturating_add(1);
        if self.spoken > PER_SECOND {
            self.swallowed += 1;
            return Voice::Hush;
        }
        if swallowed > 0 { Voice::Recap(swallowed) } else { Voice::Speak }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_a_recap() {
        let mut quiet = Quiet::default();
        let mut spoken = 0;
        for micros in (0..3 * SECOND).step_by(1000) {
            match quiet.voice(Instant::from_micros(micros)) {
                Voice::Speak => spoken += 1,
                Voice::Hush => {}
                Voice::Recap(count) => {
                    spoken += 1;
                    assert_eq!(count, 1000 - u64::from(PER_SECOND));
                }
            }
        }
        assert_eq!(spoken, 3 * PER_SECOND);
    }
}
