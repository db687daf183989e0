//! Fuzz targets, one after the other.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Outcome;
use crate::shell::{self, cargo};

const FOLDER: &str = "fuzz";
/// Lines of a fuzzer's output that are kept for the case that it finds something.
const KEPT: usize = 200;

/// What the command line asked for.
pub(crate) struct Options {
    seconds: u32,
    target: Option<String>,
    /// An input to replay instead.
    input: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self { seconds: 60, target: None, input: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--seconds" => {
                    let value = words.next().ok_or("--seconds wants a number")?;
                    options.seconds =
                        value.parse().map_err(|_| format!("--seconds {value}: not a number"))?;
                    if options.seconds == 0 {
                        // which means forever to libFuzzer
                        return Err("--seconds 0: at least one".into());
                    }
                }
                other if other.starts_with('-') => return Err(format!("fuzz: no option {other}")),
                target if options.target.is_none() => options.target = Some(target.into()),
                input if options.input.is_none() => options.input = Some(input.into()),
                other => return Err(format!("fuzz: and what is {other}?")),
            }
        }
        Ok(options)
    }
}

/// A short run of each, as a part of the tests.
pub(crate) fn smoke() -> Outcome {
    run(&Options { seconds: 5, target: None, input: None })
}

/// Builds the targets and runs each for its time; a finding is a failure and stays in `fuzz/artifacts`.
pub(crate) fn run(options: &Options) -> Outcome {
    let manifest = Path::new(FOLDER).join("Cargo.toml");
    let text = match std::fs::read_to_string(&manifest) {
        Ok(text) => text,
        Err(error) => {
            println!("{}: {error}", manifest.display());
            return Outcome::check(false);
        }
    };
    let targets: Vec<&str> =
        names(&text).filter(|n| options.target.as_deref().is_none_or(|t| t == *n)).collect();
    if targets.is_empty() {
        println!("no such fuzz target; there are: {}", names(&text).collect::<Vec<_>>().join(", "));
        return Outcome::check(false);
    }
    let host = host();
    // coverage and AddressSanitizer are unstable options; the fuzzers need no other thing of a nightly compiler
    let flags = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                 -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Zsanitizer=address -Cdebug-assertions \
                 -Ccodegen-units=1";
    let built = shell::run(
        Command::new(cargo())
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(&manifest)
            .args(["--target", &host])
            .args(targets.iter().flat_map(|target| ["--bin", target]))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags),
    );
    if !built {
        return Outcome::check(false);
    }
    let programs = Path::new(FOLDER).join("target").join(&host).join("release");
    if let Some(input) = &options.input {
        return Outcome::check(shell::run(Command::new(programs.join(targets[0])).arg(input)));
    }
    targets.into_iter().fold(Outcome::default(), |outcome, target| {
        outcome.and(Outcome::check(fuzz(&programs, target, options.seconds)))
    })
}

/// Runs one target; true when its time passed without a finding.
fn fuzz(programs: &Path, target: &str, seconds: u32) -> bool {
    let folder = |kind: &str| Path::new(FOLDER).join(kind).join(target);
    let (corpus, artifacts, seeds) = (folder("corpus"), folder("artifacts"), folder("seeds"));
    for folder in [&corpus, &artifacts] {
        if let Err(error) = std::fs::create_dir_all(folder) {
            println!("{}: {error}", folder.display());
            return false;
        }
    }
    println!("{target}: {seconds} s");
    let mut command = Command::new(programs.join(target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(&corpus)
        .arg(&seeds)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let spawned = command.spawn().map(|mut child| (child.stderr.take(), child));
    let (stderr, mut child) = match spawned {
        Ok((Some(stderr), child)) => (stderr, child),
        Ok((None, _)) => return false,
        Err(error) => {
            println!("{target}: {error}");
            return false;
        }
    };
    let mut last = VecDeque::new();
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Some(Ok(line)) = lines.next() {
        last.push_back(String::from_utf8_lossy(&line).into_owned());
        if last.len() > KEPT {
            last.pop_front();
        }
    }
    let passed = child.wait().is_ok_and(|status| status.success());
    let said = |start: &str| last.iter().rev().find_map(|line| line.strip_prefix(start)).map(str::trim);
    if passed {
        let number = |what: &str| said(&format!("stat::{what}:")).unwrap_or("?");
        let coverage =
            last.iter().rev().find_map(|line| line.split_once("DONE")).map_or("", |(_, c)| c.trim());
        println!(
            "{target}: {} executions, {} a second, nothing found; {coverage}",
            number("number_of_executed_units"),
            number("average_exec_per_sec"),
        );
        return true;
    }
    for line in last.iter().filter(|line| !line.starts_with('#')) {
        println!("{line}");
    }
    let written = last.iter().rev().find_map(|line| line.split_once("Test unit written to ")).map(|(_, f)| f);
    match written {
        Some(file) => println!("{target}: a finding; `cargo xtask fuzz {target} {file}` repeats it"),
        None => println!("{target}: ended, and left no input that would repeat it"),
    }
    false
}

/// The names of the `[[bin]]` sections that are targets.
fn names(manifest: &str) -> impl Iterator<Item = &str> {
    manifest.split("[[bin]]").skip(1).filter(|section| section.contains("fuzz_targets/")).filter_map(
        |section| {
            let line = section.lines().find(|line| line.trim_start().starts_with("name"))?;
            line.split('"').nth(1)
        },
    )
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap_or("x86_64-unknown-linux-gnu").to_owned()
}
