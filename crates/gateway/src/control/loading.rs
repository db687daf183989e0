//! A client that loads: many commands, one load.
//!
//! The protocol knows no beginning and no end of a load. It begins with what takes something away, and ends with the
//! first command that is none of a load, or when the client hangs up.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::Daemon;

/// What takes away what may come back in the same load.
const BEGIN: [&str; 2] = ["clear-creds", "unload-pool"];

/// What else belongs to a load: what `swanctl --load-all` sends, and the questions it asks on the way.
const BELONG: [&str; 17] = [
    "load-conn",
    "unload-conn",
    "get-conns",
    "load-cert",
    "load-key",
    "unload-key",
    "get-keys",
    "load-token",
    "load-shared",
    "unload-shared",
    "get-shared",
    "flush-certs",
    "load-authority",
    "unload-authority",
    "get-authorities",
    "load-pool",
    "get-pools",
];

/// Clients that are loading.
#[derive(Default)]
pub(super) struct Loading(Mutex<BTreeSet<u64>>);

impl Loading {
    /// Before a client's command is carried out.
    pub(super) fn before(&self, daemon: &dyn Daemon, client: u64, command: &str) {
        if BEGIN.contains(&command) {
            // a panic leaves the set as it was
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(client);
        } else if !BELONG.contains(&command) {
            self.end(daemon, client);
        }
    }

    /// A client's load ends; what was taken away goes when nobody loads any more.
    pub(super) fn end(&self, daemon: &dyn Daemon, client: u64) {
        let last = {
            let mut loading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            loading.remove(&client) && loading.is_empty()
        };
        if last {
            daemon.loading_ends();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Fake;

    #[test]
    fn a_load_ends_with_another_command_or_the_client() {
        let fake = Fake::default();
        let loading = Loading::default();
        let mut ends = 0;
        let mut after = |client, command: &str, expected| {
            loading.before(&fake, client, command);
            let now = fake.orders().iter().filter(|order| *order == "loading ends").count();
            assert_eq!(now - ends, expected, "{command}");
            ends = now;
        };
        after(1, "load-shared", 0);
        after(1, "list-sas", 0);
        after(1, "clear-creds", 0);
        after(1, "get-shared", 0);
        // whoever watches does not end it
        after(2, "list-sas", 0);
        after(3, "unload-pool", 0);
        after(1, "initiate", 0);
        after(3, "load-conn", 0);
        loading.end(&fake, 3);
        assert_eq!(fake.orders(), ["loading ends"]);
        loading.end(&fake, 3);
        assert_eq!(fake.orders().len(), 1);
    }
}
