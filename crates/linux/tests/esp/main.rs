//! A kernel that does ESP judges what is asked of it, with packets where they tell more than a listing.

#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy does not take for tests.

mod events;
mod hosts;
#[path = "../lab/mod.rs"]
mod lab;
mod packets;
mod sas;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_linux::poll::Poller;
use adit_linux::xfrm::{Algorithms, Event, Mode, Monitor, Sa};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Longer than any kernel takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// AES-GCM-16 with a key that `seed` chooses.
fn gcm(seed: u8) -> Algorithms {
    Algorithms::from_iana(20, &[seed; 20], 0, &[]).unwrap()
}

fn cbc(seed: u8) -> Algorithms {
    Algorithms::from_iana(12, &[seed; 32], 12, &[seed; 32]).unwrap()
}

fn sa(src: &str, dst: &str, spi: u32, algorithms: Algorithms) -> Sa {
    Sa { reqid: 5, ..Sa::esp(address(src), address(dst), spi, Mode::Tunnel, algorithms) }
}

/// What a monitor has to tell up to now.
fn drained(monitor: &mut Monitor) -> Vec<Event> {
    std::iter::from_fn(|| monitor.next_event().unwrap()).collect()
}

/// Waits for an event that `wanted` takes; others are passed over.
fn awaited<T>(monitor: &mut Monitor, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let poller = Poller::new().unwrap();
    poller.add(&*monitor, 0).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        while let Some(event) = monitor.next_event().unwrap() {
            if let Some(found) = wanted(event) {
                return found;
            }
        }
        let left = end.checked_duration_since(Instant::now());
        assert!(left.is_some(), "the event did not come");
        poller.wait(&mut Vec::new(), left).unwrap();
    }
}
