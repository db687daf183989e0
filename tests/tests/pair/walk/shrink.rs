//! A script that fails, made as short as it still fails.

use super::script::{Move, Script};

/// Runs that shrinking may take.
const TRIES: usize = 600;

/// Leaves out whatever is not needed for a script to fail.
pub fn shrink(script: &Script, fails: impl Fn(&Script) -> bool) -> Script {
    let (mut best, mut tries) = (script.clone(), 0);
    let mut attempt = |candidate: Script, best: &mut Script| {
        tries += 1;
        let failed = tries <= TRIES && fails(&candidate);
        if failed {
            *best = candidate;
        }
        failed
    };
    attempt(Script { hostile: false, ..best.clone() }, &mut best);
    loop {
        let before = best.moves.len();
        let mut chunk = best.moves.len().div_ceil(2);
        while chunk > 0 {
            // From behind: what happened last is what the end needs least often.
            let mut end = best.moves.len();
            while end > 0 {
                let start = end.saturating_sub(chunk);
                let mut moves = best.moves.clone();
                moves.drain(start..end);
                attempt(Script { moves, ..best.clone() }, &mut best);
                end = start.min(best.moves.len());
            }
            chunk /= 2;
        }
        if best.moves.len() == before {
            break;
        }
    }
    // Shorter waits tell more.
    for n in 0..best.moves.len() {
        while let Move::Wait(micros) = best.moves[n] {
            let mut moves = best.moves.clone();
            moves[n] = Move::Wait(micros / 4);
            if micros < 1000 || !attempt(Script { moves, ..best.clone() }, &mut best) {
                break;
            }
        }
    }
    best
}
