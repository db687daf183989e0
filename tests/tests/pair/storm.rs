//! Ten thousand runs in bad weather, each from its own seed: loss up to 40 %, duplicates, reordering, a slow outside, and
//! in it a pair that is brought up, perhaps rekeyed, perhaps taken down. When the weather clears, both ends have to agree.
//!
//! `ADIT_SEED=n` runs that seed alone and tells its story; `ADIT_STORM_RUNS=n` changes how many there are.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_crypto::SeededRandom;
use adit_ike::{ChildAction, Command, LogLevels, Unique};

use crate::host::Question;
use crate::net::{Captured, End, Link};
use crate::pair::{Pair, SECOND};
use crate::pki::Algorithm;
use crate::setup::{Auth, Setup};

const RUNS: u64 = 10_000;
const SHARDS: u64 = 2;
/// One in so many is run twice and compared.
const TWICE: u64 = 50;

pub struct Dice(pub SeededRandom);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn end(&mut self) -> End {
        End::BOTH[self.below(2) as usize]
    }
}

/// A random case; signatures are rare, for they cost more than all the rest, and never ECDSA, which is not repeatable.
pub fn setup(dice: &mut Dice, verbose: bool) -> Setup {
    let auth = match dice.below(100) {
        0..=84 => Auth::Psk,
        85..=93 => Auth::EapAndPsk,
        94..=96 => Auth::EapAndCert(Algorithm::Ed25519),
        _ => Auth::Cert(Algorithm::Ed25519),
    };
    let mut setup = Setup::new(auth);
    if dice.chance(40) {
        setup.behind_nat();
    }
    if dice.chance(40) {
        setup.road_warrior();
    } else if dice.chance(30) {
        setup.add_child("voice", "10.11.0.0/16", "10.12.0.0/16");
        if dice.chance(50) {
            setup.add_child("six", "fd01::/64", "fd02::/64");
        }
    }
    match dice.below(10) {
        0 => {
            setup.client.ike(&["aes256gcm16-prfsha384-x25519-ecp256"]);
            setup.gateway.ike(&["aes256gcm16-prfsha384-ecp256"]);
        }
        1 => setup.both(|side| side.ike(&["aes128-sha256-x25519"])),
        2 => setup.both(|side| side.ike(&["chacha20poly1305-prfsha256-ecp256"])),
        _ => {}
    }
    match dice.below(10) {
        0 => setup.both(|side| side.esp(&["aes128gcm16-x25519"])),
        1 => setup.both(|side| side.esp(&["aes256-sha256"])),
        2 => {
            setup.client.esp(&["aes256gcm16-x25519-ecp256"]);
            setup.gateway.esp(&["aes256gcm16-ecp256"]);
        }
        _ => {}
    }
    if dice.chance(10) {
        setup.gateway.settings.cookie_threshold = 1;
        setup.half_open = 1;
    }
    if dice.chance(20) {
        let delay = 1 + dice.below(1_000_000);
        setup.both(|side| side.outside.delay = delay);
    }
    if dice.chance(10) {
        setup.both(|side| side.settings.fragment_size = 576);
    }
    if dice.chance(10) {
        // Both ends rekey by the clock, so that they often want it at the same time.
        setup.both(|side| {
            side.conn.rekey_time = Duration::from_secs(60);
            side.conn.rand_time = Duration::from_secs(20);
            for child in &mut side.conn.children {
                let child = Arc::make_mut(child);
                child.rekey_time = Duration::from_secs(25);
                child.rand_time = Duration::from_secs(10);
                child.life_time = Duration::from_secs(40);
            }
        });
    }
    if dice.chance(10) {
        setup.client.child().dpd_action = ChildAction { trap: false, start: true };
        setup.client.child().close_action = ChildAction { trap: false, start: true };
    }
    setup.gateway.conn.unique = match dice.below(10) {
        0 => Unique::Replace,
        1 => Unique::Keep,
        2 => Unique::Never,
        _ => Unique::No,
    };
    for link in &mut setup.links {
        *link = Link {
            loss: dice.below(41) as u32,
            duplicates: dice.below(41) as u32,
            delay: 1000 + dice.below(100_000),
            jitter: dice.below(500_000),
        };
    }
    let levels = LogLevels::all(if verbose { 2 } else { -1 });
    setup.both(|side| side.settings.log_levels = levels);
    setup
}

/// What one end does to what is up.
fn act(pair: &mut Pair, dice: &mut Dice, end: End) {
    let child = pair.children(end).first().copied();
    let ike = pair.ikes(end).first().copied();
    match (dice.below(12), child, ike) {
        (0..=3, Some(id), _) => pair.command(end, Command::RekeyChild { id }),
        (4..=6, _, Some(id)) => pair.command(end, Command::RekeyIke { id }),
        (7, Some(id), _) => {
            let tag = pair.tag();
            pair.command(end, Command::TerminateChild { id, tag })
        }
        (8, _, Some(_)) => {
            pair.initiate(end, Some("net"));
        }
        (9, ..) => {
            if let Some(nat) = &mut pair.net.nat {
                nat.rebind();
            }
        }
        (10, Some(id), _) => pair.command(end, Command::ChildExpired { id, hard: dice.chance(50) }),
        (11, ..) => {
            let failing = &mut pair.host_mut(end).outside.failing;
            if !failing.insert(Question::Install) {
                failing.clear();
            }
        }
        _ => {}
    }
}

fn weather(seed: u64, verbose: bool) -> (Pair, Result<(), String>) {
    let mut dice = Dice(SeededRandom::new(seed));
    let mut pair = Pair::new(setup(&mut dice, verbose), seed);
    let result = (|| {
        pair.net.replays = if dice.chance(30) { 10 } else { 0 };
        pair.net.bends = if dice.chance(20) { 10 } else { 0 };
        let initiator = if pair.net.nat.is_some() || dice.chance(90) { End::Client } else { End::Gateway };
        let _ = pair.up(initiator);
        for _ in 0..dice.below(4) {
            let end = dice.end();
            act(&mut pair, &mut dice, end);
            if dice.chance(30) {
                // A second thing while the first is under way, from the same side.
                pair.run_for(dice.below(300_000));
                act(&mut pair, &mut dice, end);
            }
            // Long enough for the first retransmissions; the next may well begin before this one is through.
            let deadline = pair.now + 30 * SECOND;
            pair.run_until(deadline, Pair::is_quiet);
        }
        match dice.below(4) {
            0 => {
                let end = dice.end();
                if let Some(id) = pair.ikes(end).first().copied() {
                    let force = dice.chance(20);
                    let tag = pair.tag();
                    pair.command(end, Command::TerminateIke { id, force, tag });
                }
            }
            1 => {
                let end = dice.end();
                pair.crash(end);
                pair.run_for(dice.below(SECOND));
                let _ = pair.up(End::Client);
            }
            _ => {}
        }
        // The weather clears.
        pair.net.links = [Link::CLEAN; 2];
        (pair.net.replays, pair.net.bends) = (0, 0);
        for end in End::BOTH {
            pair.host_mut(end).outside.failing.clear();
        }
        pair.settle()?;
        pair.shut_down().map_err(|left| format!("after shutdown: {left}"))
    })();
    (pair, result)
}

fn run(seed: u64, verbose: bool) -> Result<Vec<Captured>, String> {
    match catch_unwind(|| weather(seed, verbose)) {
        Ok((pair, Ok(()))) => {
            if verbose {
                println!("{}", pair.story());
            }
            Ok(pair.net.capture)
        }
        Ok((pair, Err(error))) => {
            if verbose {
                println!("{}", pair.story());
            }
            Err(error)
        }
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "panic".to_owned())),
    }
}

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|value| value.parse().ok())
}

fn shard(shard: u64) {
    if let Some(seed) = number("ADIT_SEED") {
        if seed % SHARDS == shard {
            let trace = run(seed, true).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(trace == run(seed, false).unwrap(), "seed {seed}: two runs, two traces");
        }
        return;
    }
    let (runs, began) = (number("ADIT_STORM_RUNS").unwrap_or(RUNS), Instant::now());
    let (mut failed, mut datagrams, mut count) = (Vec::new(), 0, 0);
    for seed in (0..runs).filter(|seed| seed % SHARDS == shard) {
        count += 1;
        match run(seed, false) {
            Ok(trace) => {
                datagrams += trace.len();
                if (seed / SHARDS).is_multiple_of(TWICE) && run(seed, false).as_ref() != Ok(&trace) {
                    failed.push(format!("seed {seed}: two runs, two traces"));
                }
            }
            Err(error) => failed.push(format!("seed {seed}: {}", error.lines().next().unwrap_or(""))),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "storm, shard {shard}: {count} runs, {datagrams} datagrams, {} failed, {seconds:.1} s, {:.0} runs/s",
        failed.len(),
        count as f64 / seconds
    );
    assert!(
        failed.is_empty(),
        "{} of {count} runs failed; repeat one with ADIT_SEED=n\n{}",
        failed.len(),
        failed[..failed.len().min(40)].join("\n")
    );
}

#[test]
fn storm_even() {
    shard(0);
}

#[test]
fn storm_odd() {
    shard(1);
}
