//! The benchmarks.

use std::process::Command;

use crate::interop;
use crate::report::Outcome;
use crate::shell;

/// Runs them in release; `words` say which.
pub(crate) fn run(words: &[&str]) -> Outcome {
    if let ["rekey", words @ ..] = words {
        return rekey(words);
    }
    let build = ["run", "--release", "--locked", "--quiet", "--package", "adit-benches", "--"];
    Outcome::check(shell::run(Command::new(shell::cargo()).args(build).args(words)))
}

/// Rekeyings under load in the namespace lab, which knows the daemon from outside only.
fn rekey(words: &[&str]) -> Outcome {
    let Some((aditd, _)) = interop::programs() else {
        return Outcome::check(false);
    };
    let lab = ["run", "--locked", "--quiet", "--package", "adit-testbed", "--bin", "rekey-lab", "--"];
    let mut command = Command::new(shell::cargo());
    command
        .args(lab)
        .args(words)
        .env("ADITD", aditd)
        .env("ADIT_PEERS", interop::target().join("peers/trixie"));
    Outcome::check(shell::run(&mut command))
}
