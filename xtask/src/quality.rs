//! What the compiler and its companions can judge.

use std::process::Command;

use crate::report::Outcome;
use crate::shell::{cargo, run, run_cargo};

/// rustfmt's shape.
pub(crate) fn format() -> Outcome {
    Outcome::check(run_cargo(&["fmt", "--all", "--check"]))
}

/// Clippy, without a warning.
pub(crate) fn clippy() -> Outcome {
    Outcome::check(run_cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

/// Documentation, without a broken link.
pub(crate) fn doc() -> Outcome {
    let words = ["doc", "--no-deps", "--workspace", "--locked"];
    Outcome::check(run(Command::new(cargo()).args(words).env("RUSTDOCFLAGS", "-D warnings")))
}
