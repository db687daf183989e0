//! Why what is configured is not up: the last failure of each connection and child, with its cure.
//!
//! Bounded: one entry per configured name, and a few for peers that matched no connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// One remembered failure.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// When.
    pub at: SystemTime,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// What happened, one sentence.
    pub sentence: String,
    /// What to do about it, and on which end.
    pub cure: String,
}

/// Failures of peers that matched no connection are kept up to this many.
const MAX_STRANGERS: usize = 16;

type Key = (Arc<str>, Option<Arc<str>>);

/// All that is remembered.
#[derive(Default)]
pub(crate) struct Failures {
    named: BTreeMap<Key, Failure>,
    strangers: VecDeque<Failure>,
}

impl Failures {
    /// Remembers the newest failure of a child, a connection, or a stranger.
    pub(crate) fn record(&mut self, conn: Option<Arc<str>>, child: Option<Arc<str>>, failure: Failure) {
        match conn {
            Some(conn) => {
                self.named.insert((conn, child), failure);
            }
            None => {
                self.strangers.push_back(failure);
                if self.strangers.len() > MAX_STRANGERS {
                    self.strangers.pop_front();
                }
            }
        }
    }

    /// A connection is up: its failures are history. Those of other children stay.
    pub(crate) fn ike_up(&mut self, conn: &str) {
        self.named.retain(|(name, child), _| !(&**name == conn && child.is_none()));
    }

    /// A child is up.
    pub(crate) fn child_up(&mut self, conn: &str, child: &str) {
        self.named.retain(|(name, c), _| !(&**name == conn && c.as_deref() == Some(child)));
    }

    /// Forgets connections that are configured no longer.
    pub(crate) fn keep_only(&mut self, configured: impl Fn(&str) -> bool) {
        self.named.retain(|(name, _), _| configured(name));
    }

    /// The failure of a child, else of its connection.
    pub(crate) fn of(&self, conn: &str, child: Option<&str>) -> Option<&Failure> {
        self.named
            .iter()
            .filter(|((name, c), _)| &**name == conn && (c.is_none() || c.as_deref() == child))
            .map(|(_, failure)| failure)
            .max_by_key(|failure| failure.at)
    }

    /// Peers that matched no connection, oldest first.
    pub(crate) fn strangers(&self) -> impl Iterator<Item = &Failure> {
        self.strangers.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(n: u64) -> Failure {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n);
        Failure { at, peer: None, sentence: format!("s{n}"), cure: String::new() }
    }

    #[test]
    fn the_newest_of_child_and_connection_is_told_until_it_is_up() {
        let mut failures = Failures::default();
        failures.record(Some("home".into()), None, failure(1));
        failures.record(Some("home".into()), Some("net".into()), failure(2));
        assert_eq!(failures.of("home", Some("net")).unwrap().sentence, "s2");
        failures.child_up("home", "net");
        assert_eq!(failures.of("home", Some("net")).unwrap().sentence, "s1");
        failures.ike_up("home");
        assert!(failures.of("home", Some("net")).is_none());
    }

    #[test]
    fn strangers_are_bounded() {
        let mut failures = Failures::default();
        (0..100).for_each(|n| failures.record(None, None, failure(n)));
        assert_eq!(failures.strangers().count(), MAX_STRANGERS);
    }
}
