//! Waiting for what another process does: polling with a deadline, where there is no event to await.

use std::time::{Duration, Instant};

use crate::vm;

const PAUSE: Duration = Duration::from_millis(20);

/// Polls `condition` until it holds; false if it does not within `limit`.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit * vm::patience();
    loop {
        let start = Instant::now();
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        // who asks by a program that takes long must not keep the machine busy with asking
        std::thread::sleep(PAUSE.max(start.elapsed()));
    }
}

/// Polls until `probe` gives a value; panics with `what` if it does not within `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(limit, || {
        found = probe();
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}
