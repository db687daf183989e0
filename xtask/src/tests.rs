//! Unit and integration tests, by nextest if it is there.

use std::process::Command;

use crate::report::Outcome;
use crate::shell::{cargo, run_and_read, succeeds};

/// All tests that need nothing of the machine.
pub(crate) fn workspace() -> Outcome {
    // the interop tests are a step of their own, with a release build of the daemon
    run(&["--workspace", "--exclude", "adit-interop"], &[], &[])
}

/// Examples in the documentation, which nextest does not run.
pub(crate) fn doctests() -> Outcome {
    let words = ["test", "--doc", "--workspace", "--locked"];
    let (success, output) = run_and_read(Command::new(cargo()).args(words));
    count(success, &output)
}

/// Runs tests of the packages that `select` selects, those whose name contains `filter`.
pub(crate) fn run(select: &[&str], filter: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(cargo());
    if succeeds(Command::new(cargo()).args(["nextest", "--version"])) {
        command.args(["nextest", "run", "--locked", "--no-fail-fast", "--status-level", "fail"]);
        command.args(["--no-tests", "pass"]).args(select).args(filter);
    } else {
        command.args(["test", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]).args(select);
        command.args(filter);
    }
    if let Some((_, threads)) = environment.iter().find(|(name, _)| *name == "TEST_THREADS") {
        command.env("NEXTEST_TEST_THREADS", threads).env("RUST_TEST_THREADS", threads);
    }
    command.envs(environment.iter().copied());
    let (success, output) = run_and_read(&mut command);
    let mut outcome = count(success, &output);
    if !filter.is_empty() {
        // what a filter leaves out was not asked for
        outcome.skipped.clear();
    }
    outcome
}

/// Reads the counts of libtest (`test result: ok. 3 passed; 0 failed; 1 ignored; …`) and of nextest
/// (`Summary [ 1.2s] 3 tests run: 3 passed (1 slow), 1 skipped`).
pub(crate) fn count(success: bool, output: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut ignored = 0;
    for line in output.lines() {
        let Some((_, counts)) = line.split_once("test result: ").or_else(|| line.split_once(" run: ")) else {
            continue;
        };
        if !line.contains("test result: ") && !line.contains("Summary") {
            continue;
        }
        let words: Vec<&str> = counts.split([' ', ';', ',', '(', ')']).filter(|w| !w.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u32>() else { continue };
            match pair[1] {
                "passed" => outcome.passed += number,
                "failed" | "timed" | "exec" => outcome.failed += number,
                "ignored" | "skipped" => ignored += number,
                _ => {}
            }
        }
    }
    if ignored > 0 {
        outcome
            .skipped
            .push(format!("{ignored} tests marked #[ignore]: each says what it waits for (the step `kernel` runs those that wait for its kernel)"));
    }
    if !success && outcome.failed == 0 {
        // it did not even come to running
        outcome.failed = 1;
    }
    outcome
}

#[cfg(test)]
mod unit {
    use super::count;

    #[test]
    fn counts_what_libtest_says() {
        let text = "test result: ok. 41 passed; 0 failed; 2 ignored; 0 measured; 126 filtered out; finished in 1s\n\
                    test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\n";
        let outcome = count(false, text);
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped.len()), (42, 3, 1));
    }

    #[test]
    fn counts_what_nextest_says() {
        let text =
            "     Summary [  19.703s] 44 tests run: 41 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        let outcome = count(false, text);
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped.len()), (41, 3, 1));
    }

    #[test]
    fn a_build_that_breaks_is_a_failure() {
        assert_eq!(count(false, "error: could not compile\n").failed, 1);
    }
}
