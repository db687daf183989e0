//! Licences, sources, duplicates and advisories of what we depend on.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Outcome;
use crate::shell::{run, run_cargo, succeeds};

const VERSION: &str = "cargo-deny@0.20.2";
const TOOLS: &str = "target/tools";

/// cargo-deny by `deny.toml`, without fetching anything.
pub(crate) fn check() -> Outcome {
    let Some(program) = program() else {
        return Outcome::check(false);
    };
    // the graph is judged for every platform; without their packages cargo-deny would want to fetch them
    if !run_cargo(&["fetch", "--locked"]) {
        return Outcome::check(false);
    }
    let deny = |what: &[&str]| {
        Outcome::check(run(Command::new(&program)
            .args(["--offline", "check", "--hide-inclusion-graph"])
            .args(what)))
    };
    let outcome = deny(&["bans", "licenses", "sources"]);
    if database() {
        outcome.and(deny(&["advisories"]))
    } else {
        outcome.and(Outcome::skip("advisories: no copy of the RustSec database on this machine"))
    }
}

fn program() -> Option<PathBuf> {
    if succeeds(Command::new("cargo-deny").arg("--version")) {
        return Some("cargo-deny".into());
    }
    let local = Path::new(TOOLS).join("bin/cargo-deny");
    if local.exists() {
        return Some(local);
    }
    println!("cargo-deny is not installed: building it into {TOOLS} (some minutes, once)");
    run_cargo(&["install", "--locked", VERSION, "--root", TOOLS]).then_some(local)
}

/// Has cargo-deny (or somebody) fetched the advisory database before?
fn database() -> bool {
    let Some(home) = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
    else {
        return false;
    };
    std::fs::read_dir(home.join("advisory-dbs")).is_ok_and(|mut entries| entries.next().is_some())
}
