//! What a handshake costs the responder, beside the cryptography that no implementation can avoid.

use std::time::Duration;

use crate::ends::{Auth, Setup, handshake};
use crate::floor;
use crate::measure::ROUNDS;

/// Handshakes per round.
const COUNT: usize = 40;

pub(crate) fn run() {
    println!(
        "Responder's time per handshake with CHILD_SA, null data plane, µs (median of {ROUNDS} rounds of {COUNT})"
    );
    println!(
        "{:<44}{:>8}{:>8}{:>8}{:>16}",
        "credentials, x25519, AES_GCM_16_256", "µs", "floor", "ratio", "handshakes/s"
    );
    let floors = floor::floors();
    for (auth, name, floor) in
        [(Auth::Psk, floor::ROWS[0], floors[0]), (Auth::Ecdsa, floor::ROWS[1], floors[1])]
    {
        let setup = Setup::new(auth);
        let mut samples: Vec<Duration> = (0..=ROUNDS).map(|_| round(&setup)).skip(1).collect();
        samples.sort_unstable();
        let ns = samples[samples.len() / 2].as_nanos() as f64 / COUNT as f64;
        println!("{name:<44}{:>8.1}{:>8.1}{:>8.2}{:>16.0}", ns / 1e3, floor / 1e3, ns / floor, 1e9 / ns);
    }
    println!();
}

fn round(setup: &Setup) -> Duration {
    let mut responder = setup.responder();
    for number in 0..COUNT {
        handshake(setup, &mut responder, number);
    }
    responder.spent
}
