//! strongSwan's own Python client drives both daemons through the same script; what it prints must be the same, in the
//! same order, with times, SPIs and counters masked.

use std::path::PathBuf;
use std::process::Command;

use adit_testbed::process::text;
use adit_testbed::{Auth, Roles, Scenario, World, skip};

/// `$ADIT_VICI_PYTHON`, or the one that `cargo xtask packages` makes in the target folder.
fn python() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ADIT_VICI_PYTHON") {
        return Some(path.into());
    }
    let test = std::env::current_exe().ok()?;
    let path = test.ancestors().nth(3)?.join("tools/vici/bin/python");
    path.exists().then_some(path)
}

fn session(roles: Roles, python: &PathBuf) -> String {
    let mut scenario = Scenario::new(Auth::Psk);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        // the defaults differ, on purpose
        end.conn.set("proposals", "aes256gcm16-prfsha384-x25519");
        end.child().set("esp_proposals", "aes128gcm16");
    }
    let world = World::start(roles, &scenario);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/vici_client.py");
    let output = Command::new(python).arg(script).arg(world.rw.socket()).output().expect("starting python");
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{:?}:\n{printed}{}", world.rw.kind, text(&output.stderr));
    printed
}

/// The same script, the same answers.
#[test]
fn python_client() {
    crate::run(module_path!(), "python_client", Roles::OUR_CLIENT, |roles| {
        let Some(python) = python() else {
            return skip(
                "vici_client::python_client",
                "no Python with the package vici (cargo xtask packages)",
            );
        };
        let reference = session(Roles::REFERENCE, &python);
        let ours = session(roles, &python);
        let differences: Vec<String> = difference(&reference, &ours);
        assert!(differences.is_empty(), "- strongSwan, + ours:\n{}", differences.join("\n"));
    });
}

/// The reference alone: the script itself is sound.
#[test]
fn python_client_reference() {
    crate::run(module_path!(), "python_client_reference", Roles::REFERENCE, |roles| {
        let Some(python) = python() else {
            return skip(
                "vici_client::python_client_reference",
                "no Python with the package vici (cargo xtask packages)",
            );
        };
        let printed = session(roles, &python);
        assert!(printed.contains("sas left 0"), "{printed}");
    });
}

fn difference(reference: &str, ours: &str) -> Vec<String> {
    let missing =
        reference.lines().filter(|line| !ours.lines().any(|l| l == *line)).map(|line| format!("- {line}"));
    let added =
        ours.lines().filter(|line| !reference.lines().any(|l| l == *line)).map(|line| format!("+ {line}"));
    let all: Vec<String> = missing.chain(added).collect();
    if all.is_empty() && reference != ours { vec!["the order of the lines".into()] } else { all }
}
