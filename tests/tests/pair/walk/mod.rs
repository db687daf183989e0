//! A random walk: two endpoints, whatever an operator, a machine or a network can do to them, in any order, and after
//! every step everything that has to hold.
//!
//! A walk is a [`script::Script`] drawn from a seed. A step is a datagram that arrives, an answer of the outside, a
//! timer, a command, or a datagram thrown in by a stranger; what must hold after each is in [`watch`], [`wire`],
//! [`traffic`] and [`forge`]. Once in a while the weather clears and both ends have to agree ([`crate::pair`]), at the
//! end nothing may be left. One walk in so many is walked twice, and both must send the same octets.
//!
//! ```text
//! ADIT_WALK_STEPS=5000000 cargo nextest run -p adit-tests walk --no-capture     # longer
//! ADIT_WALK_SEED=4711 cargo nextest run -p adit-tests walk --no-capture         # one seed, and its story
//! ```
//!
//! A seed that fails is shrunk: moves are left out as long as it still fails, and what is left is printed with the story.

mod forge;
mod play;
mod script;
mod shrink;
mod traffic;
mod watch;
pub mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::net::Captured;
use crate::storm::number;
use script::Script;

const SHARDS: u64 = 4;
/// Steps of all shards together, unless time is up before.
const STEPS: u64 = 1_000_000;
/// What a shard may take, unless `ADIT_WALK_STEPS` says how many steps there must be.
const TIME: Duration = Duration::from_secs(60);
/// One walk in so many is walked twice.
const TWICE: u64 = 40;

/// What a walk came to.
#[derive(Default)]
struct Walked {
    steps: u64,
    carried: u64,
    excused: u64,
    trace: Vec<Captured>,
    story: String,
}

fn walk(script: &Script, verbose: bool) -> (Walked, Result<(), String>) {
    let played = catch_unwind(AssertUnwindSafe(|| play::play(script, verbose)));
    match played {
        Ok((play, result)) => {
            let story = if verbose { play.pair.story() } else { String::new() };
            let traffic = &play.watch.traffic;
            let (carried, excused) = (traffic.carried, traffic.excused);
            let walked =
                Walked { steps: play.steps(), carried, excused, trace: play.pair.net.capture, story };
            (walked, result)
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
            (Walked::default(), Err(format!("panic: {text}")))
        }
    }
}

/// What a failure is about, without numbers: shrinking must not slip to another.
fn gist(error: &str) -> String {
    let error = error.split_once(" µs: ").map_or(error, |(_, error)| error);
    error.chars().filter(|c| !c.is_ascii_hexdigit()).take(60).collect()
}

/// The shortest script that fails as this one does, and its story.
fn tell(script: &Script, error: &str) -> String {
    let gist_of = gist(error);
    let fails = |it: &Script| walk(it, false).1.is_err_and(|error| gist(&error) == gist_of);
    let short = shrink::shrink(script, fails);
    let (walked, result) = walk(&short, true);
    let error = result.err().unwrap_or_else(|| "the shrunk walk passes with its log on".to_owned());
    let moves: Vec<String> = short.moves.iter().map(|it| format!("    {it:?}")).collect();
    format!(
        "seed {}: {error}\n  in {} moves, hostile: {}\n{}\n{}",
        script.seed,
        moves.len(),
        short.hostile,
        moves.join("\n"),
        walked.story
    )
}

fn shard(shard: u64) {
    if let Some(seed) = number("ADIT_WALK_SEED") {
        if seed % SHARDS == shard {
            let script = Script::of(seed);
            let (walked, result) = walk(&script, true);
            if let Err(error) = result {
                panic!("{}\n{}", walked.story, tell(&script, &error));
            }
            println!("{}\nseed {seed}: {} steps", walked.story, walked.steps);
        }
        return;
    }
    let began = Instant::now();
    let (limit, wanted) = match number("ADIT_WALK_STEPS") {
        Some(steps) => (Duration::MAX, steps),
        None => (TIME, STEPS),
    };
    let first = number("ADIT_WALK_FIRST").unwrap_or(0);
    let (mut steps, mut walks, mut carried, mut excused) = (0, 0, 0, 0);
    let mut failed: Vec<(Script, String)> = Vec::new();
    while steps < wanted / SHARDS && began.elapsed() < limit && failed.len() < 20 {
        let script = Script::of(first + walks * SHARDS + shard);
        walks += 1;
        let (walked, result) = walk(&script, false);
        steps += walked.steps;
        carried += walked.carried;
        excused += walked.excused;
        match result {
            Err(error) => failed.push((script, error)),
            Ok(()) if walks.is_multiple_of(TWICE) => {
                let (again, _) = walk(&script, false);
                steps += again.steps;
                if again.trace != walked.trace {
                    failed.push((script, "two walks, two traces".to_owned()));
                }
            }
            Ok(()) => {}
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "walk, shard {shard}: seeds {}..{} by {SHARDS}, {walks} walks, {steps} steps, {seconds:.1} s, {:.0} steps/s, \
         {carried} packets looked up, {excused} excused, {} failed",
        first + shard,
        first + walks * SHARDS + shard,
        steps as f64 / seconds,
        failed.len()
    );
    let list: Vec<String> = failed
        .iter()
        .map(|(script, error)| format!("seed {}: {}", script.seed, error.lines().next().unwrap_or("")))
        .collect();
    if let Some((script, error)) = failed.first() {
        panic!("{} of {walks} walks failed\n{}\n{}", failed.len(), list.join("\n"), tell(script, error));
    }
}

#[test]
fn walk_0() {
    shard(0);
}

#[test]
fn walk_1() {
    shard(1);
}

#[test]
fn walk_2() {
    shard(2);
}

#[test]
fn walk_3() {
    shard(3);
}
