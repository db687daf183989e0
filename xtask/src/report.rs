//! What ran, what did not and why.

use std::process::ExitCode;
use std::time::Duration;

/// What a step came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Checks that held.
    pub(crate) passed: u32,
    /// Checks that did not, or the step itself.
    pub(crate) failed: u32,
    /// What did not run: a line each, with the reason.
    pub(crate) skipped: Vec<String>,
}

impl Outcome {
    /// A step that is one check.
    pub(crate) fn check(held: bool) -> Self {
        Self { passed: u32::from(held), failed: u32::from(!held), skipped: Vec::new() }
    }

    /// A step that did not run.
    pub(crate) fn skip(reason: impl Into<String>) -> Self {
        Self { skipped: vec![reason.into()], ..Self::default() }
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self
    }
}

/// All steps of a run.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<(String, Duration, Outcome)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, took: Duration, outcome: Outcome) {
        self.steps.push((name.into(), took, outcome));
    }

    /// The table, the skips, the closing line.
    pub(crate) fn print(&self) -> ExitCode {
        println!("\n==== summary ====");
        for (name, took, outcome) in &self.steps {
            let Outcome { passed, failed, skipped } = outcome;
            let verdict = match (failed, passed) {
                (0, 0) => "skipped",
                (0, _) => "ok",
                _ => "FAILED",
            };
            let skipped = skipped.len();
            println!(
                "{name:<10} {verdict:<8} {passed:>5} passed {failed:>3} failed {skipped:>3} skipped {:>7.1} s",
                took.as_secs_f32()
            );
        }
        self.print_brief()
    }

    /// The skips and the closing line.
    pub(crate) fn print_brief(&self) -> ExitCode {
        for (name, _, outcome) in &self.steps {
            for reason in &outcome.skipped {
                println!("skipped in {name}: {reason}");
            }
        }
        let total = |count: fn(&Outcome) -> usize| self.steps.iter().map(|(_, _, o)| count(o)).sum::<usize>();
        let failed = total(|o| o.failed as usize);
        println!(
            "{} passed, {failed} failed, {} skipped",
            total(|o| o.passed as usize),
            total(|o| o.skipped.len())
        );
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
