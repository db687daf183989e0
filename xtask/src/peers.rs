//! The newer peers of the interop tests, from the Debian release after this one, in a folder of their own.
//!
//! The packages and every library they stand on, glibc included, are unpacked below `target/peers/<suite>`; a test
//! binds `usr` and `etc` of it over its own before it starts the daemon.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::debian::{self, Apt, Present, Source, remove};
use crate::report::Outcome;

const SUITE: &str = "trixie";
const FOLDER: &str = "target/peers";

/// What is unpacked: a closure each, since libreswan and strongSwan exclude one another as packages. A shell and its
/// tools come along where a daemon runs scripts, since the host's do not run on another C library.
const CLOSURES: [&[&str]; 3] = [
    // the legacy provider has the MD4 of EAP-MSCHAPv2
    &[
        "charon-systemd",
        "libcharon-extra-plugins",
        "libcharon-extauth-plugins",
        "libstrongswan-standard-plugins",
        "libstrongswan-extra-plugins",
        "openssl-provider-legacy",
        "dash",
    ],
    &["libreswan", "dash", "coreutils", "grep", "sed", "mawk"],
    &["openiked"],
];

/// Where they are, once [`fetch`] has held.
pub(crate) fn folder() -> PathBuf {
    Path::new(FOLDER).join(SUITE)
}

/// Fetches and unpacks them, unless that was done before.
pub(crate) fn fetch() -> Outcome {
    let stamp = folder().join("packages");
    if fs::read_to_string(&stamp).is_ok_and(|text| text.starts_with(&asked())) {
        println!("the peers of {SUITE} are in {FOLDER}/{SUITE}");
        return Outcome::check(true);
    }
    let start = Instant::now();
    let fetched = debian::mirror().and_then(|own| unpack(own.mirror).map_err(|error| error.to_string()));
    match fetched {
        Ok((packages, bytes)) => {
            let (megabytes, seconds) = (bytes / 1_000_000, start.elapsed().as_secs());
            println!(
                "{packages} packages of {SUITE}, {megabytes} MB, fetched and unpacked into {FOLDER}/{SUITE} in {seconds} s"
            );
            Outcome::check(true)
        }
        Err(error) => Outcome::skip(format!("the peers of {SUITE}: {error}")),
    }
}

/// The first line of the stamp: what this version of the workspace wants.
fn asked() -> String {
    format!("{}\n", CLOSURES.concat().join(" "))
}

/// Fetches the closures and unpacks them beside the folder, then puts it in place: how many packages and bytes.
fn unpack(mirror: String) -> io::Result<(usize, u64)> {
    let base = std::path::absolute(FOLDER)?;
    let (root, done) = (base.join(format!("{SUITE}.new")), base.join(SUITE));
    remove(&root)?;
    let source = Source { mirror, suite: SUITE.into() };
    let apt = Apt::new(&base.join("apt"), &[source], &Present::Nothing)?;
    for closure in CLOSURES {
        apt.fetch(closure)?;
    }
    let (names, bytes) = apt.unpack(&root)?;
    for unneeded in ["usr/share/doc", "usr/share/man", "usr/share/locale"] {
        remove(&root.join(unneeded))?;
    }
    fs::write(root.join("packages"), asked() + &names)?;
    remove(&done)?;
    fs::rename(&root, &done)?;
    apt.done()?;
    Ok((names.lines().count(), bytes))
}
