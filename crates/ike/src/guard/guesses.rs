//! Failed authentications by identity: a secret cannot be guessed at the rate at which packets can be sent.
//!
//! Counted per identity and source, so that who guesses at somebody's secret from afar does not lock that somebody out;
//! and, ten times as generously, per identity alone.

use std::collections::BTreeMap;
use std::time::Duration;

use adit_ipsec::Identity;

use super::Source;
use crate::time::Instant;

/// Identities and sources that are remembered; beyond, the one that is nearest to being forgiven is forgotten.
const MAX_ENTRIES: usize = 4096;
/// How much more an identity may fail from all sources together than from one.
const EVERYWHERE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// The memory of failures: by digest of the identity and source (0 = all), when it will be forgiven altogether. Each
/// failure moves that by the time in which one is allowed.
#[derive(Default)]
pub(crate) struct Guesses(BTreeMap<(u64, u64), Instant>);

/// The entries that count for an identity and source, each with the time in which one failure is allowed.
fn entries(identity: &Identity, source: Source, per_minute: u32) -> [((u64, u64), Duration); 2] {
    let digest = adit_crypto::sha1(&[identity.to_string().as_bytes()]);
    let who = digest.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
    let step = MINUTE / per_minute.max(1);
    [((who, source.number()), step), ((who, 0), step / EVERYWHERE)]
}

impl Guesses {
    /// Whether that identity failed too often from there, or everywhere. `known`: it is in use from there, so that only
    /// the first counts.
    pub(crate) fn exceeded(
        &self,
        now: Instant,
        per_minute: u32,
        (identity, source): (&Identity, Source),
        known: bool,
    ) -> bool {
        if per_minute == 0 || self.0.is_empty() {
            return false;
        }
        let counted = if known { 1 } else { 2 };
        entries(identity, source, per_minute)
            .into_iter()
            .take(counted)
            .any(|(key, step)| self.0.get(&key).is_some_and(|owed| *owed + step > now + MINUTE))
    }

    /// An authentication failed.
    pub(crate) fn failed(&mut self, now: Instant, per_minute: u32, identity: &Identity, source: Source) {
        if per_minute == 0 {
            return;
        }
        for (key, step) in entries(identity, source, per_minute) {
            if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(&key) {
                let next = self.0.iter().min_by_key(|(_, owed)| **owed).map(|(key, _)| *key);
                next.map(|key| self.0.remove(&key));
            }
            let owed = self.0.entry(key).or_insert(now);
            *owed = (*owed).max(now) + step;
        }
    }

    /// It succeeded from there: mistakes before that are forgiven.
    pub(crate) fn succeeded(&mut self, identity: &Identity, source: Source) {
        if !self.0.is_empty() {
            let [(own, _), _] = entries(identity, source, 1);
            self.0.remove(&own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    fn source(n: u32) -> Source {
        Source::of(std::net::Ipv4Addr::from(n).into())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn five_a_minute_from_one_source_and_others_go_on() {
        let (mut guesses, alice) = (Guesses::default(), id("alice@example.net"));
        for n in 0..5 {
            assert!(!guesses.exceeded(at(0), 5, (&alice, source(1)), false), "{n}");
            guesses.failed(at(0), 5, &alice, source(1));
        }
        assert!(guesses.exceeded(at(0), 5, (&alice, source(1)), false));
        assert!(!guesses.exceeded(at(0), 5, (&alice, source(2)), false));
        assert!(!guesses.exceeded(at(0), 5, (&id("bob@example.net"), source(1)), false));
        // One more every twelve seconds.
        assert!(guesses.exceeded(at(11), 5, (&alice, source(1)), false));
        assert!(!guesses.exceeded(at(12), 5, (&alice, source(1)), false));
        guesses.succeeded(&alice, source(1));
        assert!(!guesses.exceeded(at(0), 5, (&alice, source(1)), false));
        assert!(!guesses.exceeded(at(0), 0, (&alice, source(1)), false));
    }

    #[test]
    fn many_sources_at_one_identity_do_not_lock_out_where_it_is_in_use() {
        let (mut guesses, alice) = (Guesses::default(), id("alice@example.net"));
        (0..50).for_each(|n| guesses.failed(at(0), 5, &alice, source(n)));
        assert!(guesses.exceeded(at(0), 5, (&alice, source(99)), false));
        assert!(!guesses.exceeded(at(0), 5, (&alice, source(99)), true));
    }

    #[test]
    fn memory_has_a_bound() {
        let mut guesses = Guesses::default();
        for n in 0..2 * MAX_ENTRIES {
            guesses.failed(at(n as u64), 5, &id(&format!("{n}@example.net")), source(1));
            assert!(guesses.0.len() <= MAX_ENTRIES);
        }
    }
}
