//! What strangers may cost: everything that is counted, timed and limited before a peer has proved who it is.
//!
//! Two crowds are kept apart. *Half-open* is an IKE_SA whose IKE_SA_INIT was answered and whose peer has not come back;
//! spoofed packets make those, until cookies are demanded. *Pending* is one whose peer has sent a genuine IKE_AUTH and
//! has not proved itself yet; only real addresses make those (the deviation attack stalls there). A crowd that is full
//! makes room at the source that takes most of it, so an attacker crowds out itself.
//!
//! Nothing that a spoofed packet can cause is counted against the address it bears: only requests with a good cookie
//! draw from their source's bucket.

mod bucket;
mod crowd;
mod guesses;
mod quiet;
mod source;

use std::time::Duration;

use crate::settings::Settings;
use crate::time::Instant;

pub(crate) use bucket::{Bucket, Buckets, Rate};
pub(crate) use crowd::{Crowd, Waiting};
pub(crate) use guesses::Guesses;
pub(crate) use quiet::{Quiet, Voice};
pub(crate) use source::Source;

/// Unprotected answers per second, over all peers.
const UNPROTECTED: Rate = Rate { per_second: 200, burst: 200 };
/// A half-open IKE_SA younger than this is not given up for another one of its address: its IKE_AUTH may be lost, and
/// comes again after strongSwan's first retransmission timeout of 4 s.
const STALLED: Duration = Duration::from_secs(5);

/// Verdict on a request that bears a good cookie, or needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rated {
    Admitted,
    /// Its source makes too many.
    Source,
    /// All sources together make too many.
    Everyone,
}

/// Tables and rates about strangers; all of them bounded.
#[derive(Default)]
pub(crate) struct Guard {
    pub half_open: Crowd,
    pub pending: Crowd,
    pub guesses: Guesses,
    /// Lines about messages that were not admitted.
    pub quiet: Quiet,
    /// Lines about handshakes that were, and did not get far.
    pub quiet_admitted: Quiet,
    unprotected: Bucket,
    unproven: Bucket,
    proven: Bucket,
    sources: Buckets,
}

impl Guard {
    pub(crate) fn crowd(&mut self, pending: bool) -> &mut Crowd {
        if pending { &mut self.pending } else { &mut self.half_open }
    }

    /// Whether one more answer to a message outside of any IKE_SA may be sent (RFC 7296 §2.21).
    pub(crate) fn may_answer_unprotected(&mut self, now: Instant) -> bool {
        self.unprotected.take(now, UNPROTECTED, 0)
    }

    /// RFC 7296 §2.6: whether a request from there has to show a cookie. A yes takes nothing, a no draws from what may
    /// be worked on without one.
    pub(crate) fn wants_cookie(&mut self, now: Instant, settings: &Settings, source: Source) -> bool {
        let over = |threshold: u32, count: usize| threshold > 0 && count >= threshold as usize;
        over(settings.cookie_threshold, self.half_open.len())
            || over(settings.cookie_threshold_ip, self.half_open.of(source))
            || !self.unproven.take(now, Rate::seconds(settings.init_rate_unproven, 2), 0)
    }

    /// Draws one request with a good cookie from its source's and everybody's bucket.
    pub(crate) fn rate(&mut self, now: Instant, settings: &Settings, source: Source) -> Rated {
        let own = Rate::seconds(settings.init_rate_ip, 5);
        if !self.sources.take(now, own, source.number()) {
            return Rated::Source;
        }
        let all = Rate::seconds(settings.init_rate, 2);
        // Half of it is for those who have nothing under way: whoever keeps many waiting does not get at that.
        let waiting = self.half_open.of(source) + self.pending.of(source) > 0;
        let reserve = if waiting { all.burst / 2 } else { 0 };
        if self.proven.take(now, all, reserve) { Rated::Admitted } else { Rated::Everyone }
    }

    /// The half-open IKE_SA of a blocked source that stalls, and goes for a request that shows a cookie.
    pub(crate) fn stalled(&self, now: Instant, source: Source) -> Option<u32> {
        self.half_open.oldest(source).filter(|(since, _)| now - *since >= STALLED).map(|(_, id)| id)
    }

    /// Sizes of the tables that have to be empty once all IKE_SAs are gone, by name.
    pub(crate) fn leftovers(&self) -> [(&'static str, usize); 4] {
        [
            ("half-open IKE_SAs", self.half_open.len()),
            ("half-open addresses", self.half_open.sources()),
            ("pending IKE_SAs", self.pending.len()),
            ("pending addresses", self.pending.sources()),
        ]
    }
}
