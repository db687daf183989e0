//! Children that this end keeps bringing back after they were lost (`dpd_action`, `close_action`, reauthentication, hard
//! lifetimes): at once the first time, then with growing and random pauses, until they are up or no longer wanted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Connection;
use crate::core::{Core, log};
use crate::time::Instant;

/// The first pause; it doubles from one failure to the next.
const FIRST_PAUSE: Duration = Duration::from_secs(4);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A child that stayed up for so long starts anew when it is lost: what was lost earlier is forgiven.
const STEADY: Duration = Duration::from_secs(120);

/// Connection and child.
type Key = (Arc<str>, Arc<str>);

/// One child that is brought back.
struct Entry {
    /// As configured when it was lost.
    conn: Arc<Connection>,
    /// Losses and failed attempts in a row.
    failures: u32,
    /// When to try next; `None` while an attempt runs, or it is up.
    at: Option<Instant>,
    /// When the last attempt began or the child came up.
    since: Instant,
}

/// All of them. Bounded by the configuration: only what is configured has a place.
#[derive(Default)]
pub(crate) struct Retries(BTreeMap<Key, Entry>);

/// A child that waits for its next attempt, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryView {
    /// Its connection.
    pub conn: Arc<str>,
    /// The child.
    pub child: Arc<str>,
    /// Losses and failed attempts in a row.
    pub failures: u32,
    /// When it is tried again.
    pub at: Instant,
}

impl Retries {
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|entry| entry.at).min()
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = RetryView> {
        self.0.iter().filter_map(|((conn, child), entry)| {
            Some(RetryView {
                conn: Arc::clone(conn),
                child: Arc::clone(child),
                failures: entry.failures,
                at: entry.at?,
            })
        })
    }

    /// Forgets those of a connection (`None`: of all), or one of its children; how many waited.
    pub(crate) fn cancel(&mut self, conn: Option<&str>, child: Option<&str>) -> usize {
        let mut waited = 0;
        self.0.retain(|(c, n), entry| {
            let named = conn.is_none_or(|conn| conn == &**c) && child.is_none_or(|child| child == &**n);
            waited += usize::from(named && entry.at.is_some());
            !named
        });
        waited
    }
}

impl Core {
    /// A child was lost that this end wants back.
    pub(crate) fn bring_back(&mut self, conn: &Arc<str>, child: &Arc<str>) {
        let current = self.config.connections.iter().find(|it| it.name == *conn);
        let Some(current) = current.filter(|it| it.child(child).is_some()).cloned() else { return };
        if self.shutdown.is_some() {
            return;
        }
        let key = (Arc::clone(conn), Arc::clone(child));
        let failures = match self.retries.0.get(&key) {
            // Lost twice at once, as child and with its IKE_SA.
            Some(entry) if entry.at.is_some() => return,
            Some(entry) if self.now - entry.since < STEADY => entry.failures.saturating_add(1),
            _ => 0,
        };
        self.schedule(key, current, failures);
    }

    /// An attempt came to nothing. Concerns only children that are being brought back.
    pub(crate) fn attempt_failed(&mut self, conn: &Arc<str>, child: &Arc<str>) {
        let key = (Arc::clone(conn), Arc::clone(child));
        let Some(entry) = self.retries.0.get(&key).filter(|entry| entry.at.is_none()) else { return };
        let (conn, failures) = (Arc::clone(&entry.conn), entry.failures.saturating_add(1));
        self.schedule(key, conn, failures);
    }

    fn schedule(&mut self, key: Key, conn: Arc<Connection>, failures: u32) {
        let pause = match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(n) => self.pause(n, FIRST_PAUSE, LONGEST_PAUSE),
        };
        if !pause.is_zero() {
            log!(self, Ike, 1, none, "bringing '{}/{}' back in {} seconds", key.0, key.1, pause.as_secs());
        }
        let entry = Entry { conn, failures, at: Some(self.now + pause), since: self.now };
        self.retries.0.insert(key, entry);
    }

    /// The `n`th pause, from 0: `first` doubled so often, at most `longest`, its second half random.
    pub(crate) fn pause(&mut self, n: u32, first: Duration, longest: Duration) -> Duration {
        let whole = first.saturating_mul(1 << n.min(16)).min(longest);
        whole / 2 + self.random_duration(whole / 2)
    }

    /// It is up again.
    pub(crate) fn came_back(&mut self, conn: &Arc<str>, child: &Arc<str>) {
        let now = self.now;
        if let Some(entry) = self.retries.0.get_mut(&(Arc::clone(conn), Arc::clone(child))) {
            (entry.at, entry.since) = (None, now);
        }
    }

    /// Another configuration: what is gone or changed starts over by its own start action.
    pub(crate) fn prune_retries(&mut self) {
        let config = Arc::clone(&self.config);
        self.retries.0.retain(|(name, _), entry| {
            config
                .connections
                .iter()
                .any(|it| it.name == *name && (Arc::ptr_eq(it, &entry.conn) || *it == entry.conn))
        });
    }

    /// Makes the attempts that are due.
    pub(crate) fn run_retries(&mut self) {
        let now = self.now;
        let due: Vec<Key> = self
            .retries
            .0
            .iter_mut()
            .filter(|(_, entry)| entry.at.is_some_and(|at| at <= now))
            .map(|(key, entry)| {
                (entry.at, entry.since) = (None, now);
                key.clone()
            })
            .collect();
        for (conn, child) in due {
            self.initiate(Some(&conn), Some(&child), 0, None);
        }
    }
}
