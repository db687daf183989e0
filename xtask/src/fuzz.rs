//! Fuzz targets, one after the other.

use std::path::Path;
use std::process::Command;

use crate::report::Outcome;
use crate::shell::{self, cargo};

const FOLDER: &str = "fuzz";

/// What the command line asked for.
pub(crate) struct Options {
    seconds: u32,
    target: Option<String>,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self { seconds: 60, target: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--seconds" => {
                    let value = words.next().ok_or("--seconds wants a number")?;
                    options.seconds =
                        value.parse().map_err(|_| format!("--seconds {value}: not a number"))?;
                }
                target if !target.starts_with('-') => options.target = Some(target.into()),
                other => return Err(format!("fuzz: no option {other}")),
            }
        }
        Ok(options)
    }
}

/// A short run of each, as a part of the tests.
pub(crate) fn smoke() -> Outcome {
    run(&Options { seconds: 5, target: None })
}

/// Builds the targets and runs each for its time; a finding is a failure and stays in `fuzz/artifacts`.
pub(crate) fn run(options: &Options) -> Outcome {
    let manifest = Path::new(FOLDER).join("Cargo.toml");
    let Ok(text) = std::fs::read_to_string(&manifest) else {
        return Outcome::skip("no fuzz targets yet");
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
            .args(["build", "--release", "--manifest-path"])
            .arg(&manifest)
            .args(["--target", &host, "--locked"])
            .args(targets.iter().flat_map(|target| ["--bin", target]))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags),
    );
    if !built {
        return Outcome::check(false);
    }
    let mut outcome = Outcome::default();
    for target in targets {
        let corpus = Path::new(FOLDER).join("corpus").join(target);
        let artifacts = Path::new(FOLDER).join("artifacts").join(target);
        let seeds = Path::new(FOLDER).join("seeds").join(target);
        for folder in [&corpus, &artifacts] {
            if let Err(error) = std::fs::create_dir_all(folder) {
                println!("{}: {error}", folder.display());
                return outcome.and(Outcome::check(false));
            }
        }
        let program = Path::new(FOLDER).join("target").join(&host).join("release").join(target);
        let mut command = Command::new(program);
        command
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args([
                "-max_len=4096",
                "-timeout=5",
                "-rss_limit_mb=2048",
                "-verbosity=0",
                "-print_final_stats=1",
            ])
            .arg(&corpus);
        if seeds.is_dir() {
            command.arg(&seeds);
        }
        outcome = outcome.and(Outcome::check(shell::run(&mut command)));
    }
    outcome
}

/// The names of the `[[bin]]` sections that are fuzz targets.
fn names(manifest: &str) -> impl Iterator<Item = &str> {
    manifest.split("[[bin]]").skip(1).filter(|s| s.contains("fuzz_targets/")).filter_map(|section| {
        let line = section.lines().find(|line| line.trim_start().starts_with("name"))?;
        line.split('"').nth(1)
    })
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap_or("x86_64-unknown-linux-gnu").to_owned()
}
