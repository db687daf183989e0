//! The bodies of the fuzz targets: each takes any bytes, puts them through one decoder and asserts what must hold
//! whatever they are.
//!
//! They live here, outside `fuzz/`, so that a plain `cargo test` replays every committed seed through the very
//! functions that the fuzzers call (`tests/seeds.rs`). A body never touches a file, a clock or a socket, and the same
//! bytes always do the same thing: a finding repeats.

mod conf;
mod eap;
mod esp;
mod pki;
mod vici;
mod wire;

/// One target.
pub type Body = fn(&[u8]);

/// Every target: its name, which is that of its folder in `fuzz/seeds`, and its body.
pub const TARGETS: [(&str, Body); 6] = [
    ("wire", wire::run),
    ("esp", esp::run),
    ("vici", vici::run),
    ("conf", conf::run),
    ("pki", pki::run),
    ("eap", eap::run),
];

/// Runs the body of this name.
///
/// # Panics
/// When there is no such target, and when the bytes are a finding.
pub fn run(name: &str, data: &[u8]) {
    let (_, body) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    body(data);
}
