//! The benchmarks.

use std::process::Command;

use crate::report::Outcome;
use crate::shell;

/// Runs them in release; `words` say which.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let build = ["run", "--release", "--locked", "--quiet", "--package", "adit-benches", "--"];
    Outcome::check(shell::run(Command::new(shell::cargo()).args(build).args(words)))
}
