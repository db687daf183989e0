//! What a client took out and may be about to load again.
//!
//! strongSwan's tool clears credentials and loads them one by one; whoever authenticates in between finds none. So what
//! is cleared goes out of sight at once, and out of use when the client is done: with its next command that loads
//! nothing, when it hangs up, or after [`LONGEST`], whichever is first.

use std::time::{Duration, Instant};

use crate::driver::Driver;

/// How long a client may take to load what it cleared.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

impl Driver {
    /// Something is leaving.
    pub(crate) fn hold_leaving(&mut self) {
        self.leaving_until.get_or_insert_with(|| Instant::now() + LONGEST);
    }

    /// Takes out of use what is out of sight.
    pub(crate) fn sweep(&mut self) {
        if self.leaving_until.take().is_some() {
            self.store.sweep();
            self.pools.sweep();
            self.apply();
        }
    }

    /// Does so if a client took too long.
    pub(crate) fn sweep_if_due(&mut self) {
        if self.leaving_until.is_some_and(|until| until <= Instant::now()) {
            self.sweep();
        }
    }
}
