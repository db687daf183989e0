//! The anti-replay window (RFC 4303 §3.4.3 and appendix A2) as a ring of bits.

/// Which sequence numbers have been received.
#[derive(Debug, Clone)]
pub struct ReplayWindow {
    /// Highest number accepted.
    top: u64,
    /// Numbers the window spans; 0 when replays are not looked for.
    size: u32,
    extended: bool,
    /// Number `n` has bit `n % 64` in word `n / 64 % words.len()`. One word more than the window needs, so that a
    /// word is cleared before its numbers come into reach again (RFC 6479).
    words: Box<[u64]>,
}

impl ReplayWindow {
    /// Largest window; configuration beyond it is cut to it.
    pub const MAX_SIZE: u32 = 65_536;

    /// A window of `size` numbers (0 = no protection), inferring the high half of 64-bit numbers if `extended`.
    #[must_use]
    pub fn new(size: u32, extended: bool) -> Self {
        let size = size.min(Self::MAX_SIZE);
        let words = if size == 0 { 0 } else { size.div_ceil(64) as usize + 1 };
        Self { top: 0, size, extended, words: vec![0; words].into_boxed_slice() }
    }

    /// The same, continuing after `top`: for an SA taken over from elsewhere. Nothing up to `top` is accepted again.
    #[must_use]
    pub fn resume_after(mut self, top: u64) -> Self {
        self.top = top;
        self.words.fill(u64::MAX);
        // Numbers above `top` in its own word are still to come.
        let unseen = (u64::MAX << (top % 64)) << 1;
        if let Some(word) = self.word(top) {
            *word &= !unseen;
        }
        self
    }

    /// Highest number accepted.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Whether numbers have 64 bits.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.extended
    }

    /// The full number a packet with the low half `low` has, if it could be accepted; `None` for a replay.
    ///
    /// Changes nothing: the packet is not known to be genuine yet.
    #[must_use]
    pub fn check(&self, low: u32) -> Option<u64> {
        let number = if self.extended { self.infer(low)? } else { u64::from(low) };
        self.is_fresh(number).then_some(number)
    }

    /// Marks the number of a genuine packet as received; false if it had been, or is too old by now.
    pub fn accept(&mut self, number: u64) -> bool {
        if !self.is_fresh(number) {
            return false;
        }
        if number > self.top {
            let (from, to) = (self.top / 64, number / 64);
            // Beyond one round of the ring every word has been cleared.
            let steps = (to - from).min(self.words.len() as u64);
            for step in 0..steps {
                if let Some(word) = self.word((to - step) * 64) {
                    *word = 0;
                }
            }
            self.top = number;
        }
        if let Some(word) = self.word(number) {
            *word |= 1 << (number % 64);
        }
        true
    }

    fn is_fresh(&self, number: u64) -> bool {
        // RFC 4303 §3.3.3: the first packet has number 1.
        if number == 0 {
            return false;
        }
        if number > self.top || self.size == 0 {
            return true;
        }
        if self.top - number >= u64::from(self.size) {
            return false;
        }
        let seen = self.index(number).and_then(|index| self.words.get(index)).copied().unwrap_or(u64::MAX);
        seen & (1 << (number % 64)) == 0
    }

    /// RFC 4303 appendix A2.2: the high half that puts `low` inside the window or ahead of it.
    fn infer(&self, low: u32) -> Option<u64> {
        let (top_high, top_low) = (self.top >> 32, self.top as u32);
        // Without a window there is still an order to infer from.
        let span = self.size.max(32) - 1;
        let bottom = top_low.wrapping_sub(span);
        let high = if top_low >= span {
            // Case A: the window lies within one half-space.
            if low >= bottom { Some(top_high) } else { top_high.checked_add(1) }
        } else if low >= bottom {
            // Case B: it reaches back into the previous one.
            top_high.checked_sub(1)
        } else {
            Some(top_high)
        };
        let high = high.filter(|high| *high <= u64::from(u32::MAX))?;
        Some(high << 32 | u64::from(low))
    }

    fn index(&self, number: u64) -> Option<usize> {
        (number / 64).checked_rem(self.words.len() as u64).map(|index| index as usize)
    }

    fn word(&mut self, number: u64) -> Option<&mut u64> {
        let index = self.index(number)?;
        self.words.get_mut(index)
    }
}

#[cfg(test)]
mod tests;
