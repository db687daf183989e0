//! What an idle IKE_SA with one CHILD_SA keeps at the responder.

use crate::ends::{Auth, End, Setup, handshake};

const COUNT: usize = 10_000;

const ROWS: [(&str, Auth, &str); 2] =
    [("memory:psk", Auth::Psk, "PSK"), ("memory:ecdsa", Auth::Ecdsa, "ECDSA P-256 certificates")];

/// Each row is measured by a process of its own: memory that an earlier row gave back would hide the growth.
pub(crate) fn run() {
    println!(
        "Responder's memory per IKE_SA with CHILD_SA, null data plane, {COUNT} of them (growth of resident memory)"
    );
    println!("{:<44}{:>12}{:>12}", "credentials, x25519, AES_GCM_16_256", "bytes", "MB in all");
    let program = std::env::current_exe().expect("this program");
    for (argument, _, name) in ROWS {
        let output = std::process::Command::new(&program).arg(argument).output().expect("run again");
        let grown: usize = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| {
            panic!("measuring {name} failed: {}", String::from_utf8_lossy(&output.stderr))
        });
        println!("{name:<44}{:>12.0}{:>12.1}", grown as f64 / COUNT as f64, grown as f64 / 1e6);
    }
    println!();
}

/// One row, in its own process; prints bytes. `false` if there is no such row.
pub(crate) fn row(argument: &str) -> bool {
    let Some((_, auth, _)) = ROWS.into_iter().find(|(name, ..)| *name == argument) else { return false };
    let setup = Setup::new(auth);
    let mut responder = setup.responder();
    // what is allocated once, and what the initiators need for a while, is in place before the count starts
    (0..200).for_each(|n| handshake(&setup, &mut responder, n));
    let before = resident();
    (200..200 + COUNT).for_each(|n| handshake(&setup, &mut responder, n));
    println!("{}", resident().saturating_sub(before));
    keep(responder);
    true
}

/// The SAs have to be alive when memory is read.
fn keep(responder: End) {
    assert!(responder.established >= COUNT);
}

/// Bytes of resident memory of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: usize =
        statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of pages");
    pages * 4096
}
