//! Every chore of the workspace.
//!
//! `cargo xtask test` is the one command of a fresh machine and of continuous integration: it installs what is
//! missing, runs everything, and says what it did not run and why. Each of its steps is a chore in a file of its own.

mod bench;
mod conformance;
mod debian;
mod deny;
mod fuzz;
mod interop;
mod kernel;
mod packages;
mod peers;
mod quality;
mod report;
mod shell;
mod tests;

use std::process::ExitCode;

use report::{Outcome, Report};

/// A step of `cargo xtask test`.
type Step = (&'static str, fn() -> Outcome);

const STEPS: [Step; 12] = [
    ("packages", packages::install),
    ("peers", peers::fetch),
    ("fmt", quality::format),
    ("clippy", quality::clippy),
    ("doc", quality::doc),
    ("deny", deny::check),
    ("conformance", conformance::check),
    ("tests", tests::workspace),
    ("doctests", tests::doctests),
    ("interop", interop::all),
    ("kernel", kernel::suite),
    ("fuzz", fuzz::smoke),
];

const USAGE: &str = "\
usage: cargo xtask <chore>

  test [step…]                     everything (or these steps), as continuous integration does
  interop [filter]                 our daemon against strongSwan, in network namespaces
  fuzz [--seconds N] [target]      each fuzz target for N seconds (60)
  fuzz target file                 repeats a finding
  bench [what]                     the benchmarks, in release
  bench rekey [--seconds N]        rekeyings under load against strongSwan, and what was lost
  conformance                      write docs/conformance.md from the tests' citations
  packages                         install from Debian what the interop tests need
  kernel [-k 6.1|6.12] [--keep] [--adit] [--peers] [--timeout S] [--cpus N] [--memory MB] [command…]
                                   a command (or a shell) in a virtual machine whose kernel does ESP
  kernel … --tests package… [filter]
                                   tests of these packages there
  kernel --suite                   all that is tested there: half an hour
  peers                            unpack newer peers of theirs into target/peers; the machine stays as it is
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // chores speak in paths relative to the workspace
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    if let Err(error) = std::env::set_current_dir(root) {
        eprintln!("{root}: {error}");
        return ExitCode::FAILURE;
    }
    let outcome = match words.as_slice() {
        ["test", names @ ..] => return test(names),
        ["interop", rest @ ..] => interop::run(rest.first().copied()),
        ["fuzz", rest @ ..] => match fuzz::Options::parse(rest) {
            Ok(options) => fuzz::run(&options),
            Err(error) => return usage(&error),
        },
        ["bench", rest @ ..] => bench::run(rest),
        ["kernel", "--suite"] => kernel::everything(),
        ["kernel", rest @ ..] => return kernel(rest),
        ["packages"] => packages::install(),
        ["peers"] => peers::fetch(),
        ["conformance"] => conformance::write(),
        [] => return usage("which chore?"),
        [other, ..] => return usage(&format!("no chore `{other}`")),
    };
    let mut report = Report::default();
    report.add(words[0], std::time::Duration::ZERO, outcome);
    report.print_brief()
}

fn usage(error: &str) -> ExitCode {
    eprint!("{error}\n\n{USAGE}");
    ExitCode::from(2)
}

fn kernel(words: &[&str]) -> ExitCode {
    let options = match kernel::Options::parse(words) {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    match kernel::run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("no virtual machine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test(names: &[&str]) -> ExitCode {
    if let Some(unknown) = names.iter().find(|n| !STEPS.iter().any(|(name, _)| name == *n)) {
        let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        return usage(&format!("no step `{unknown}`; there are {}", known.join(", ")));
    }
    let mut report = Report::default();
    for (name, step) in STEPS {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        println!("\n==== {name} ====");
        let start = std::time::Instant::now();
        let outcome = step();
        report.add(name, start.elapsed(), outcome);
    }
    report.print()
}
