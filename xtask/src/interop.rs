//! Our daemon against strongSwan, in network namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Outcome;
use crate::shell;
use crate::tests;

/// All cases.
pub(crate) fn all() -> Outcome {
    run(None)
}

/// The cases whose name contains `filter`, with a release build of the daemon.
pub(crate) fn run(filter: Option<&str>) -> Outcome {
    let Some((aditd, adit)) = programs() else {
        return Outcome::check(false);
    };
    let skips = target().join("interop-skips");
    // from the run before
    let _ = std::fs::remove_file(&skips);
    let log = skips.display().to_string();
    // the cases wait more than they compute
    let environment =
        [("ADITD", aditd.as_str()), ("ADIT", &adit), ("ADIT_SKIP_LOG", &log), ("TEST_THREADS", "8")];
    let filters: Vec<&str> = filter.into_iter().collect();
    let mut outcome = tests::run(&["--package", "adit-interop"], &filters, &environment);
    let reasons = std::fs::read_to_string(&skips).unwrap_or_default();
    for reason in reasons.lines() {
        // the runner counts a case that found nothing to do as passed
        outcome.passed = outcome.passed.saturating_sub(1);
        outcome.skipped.push(reason.into());
    }
    outcome
}

/// Builds the daemon and the command in release: their paths, unless that fails.
pub(crate) fn programs() -> Option<(String, String)> {
    let build = ["build", "--release", "--locked", "--package", "adit", "--bins"];
    let built = shell::run(Command::new(shell::cargo()).args(build));
    let program = |name: &str| target().join("release").join(name).display().to_string();
    built.then(|| (program("aditd"), program("adit")))
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    std::path::absolute(Path::new(&folder)).unwrap_or_else(|_| PathBuf::from(folder))
}
