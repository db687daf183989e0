//! Benchmarks, run as `cargo run --release -p adit-benches -- [esp|floor|handshake|memory|spoofed]`.
//!
//! Each prints one small table. What is compared is measured in the same run, round by round in turn, because absolute
//! times on a shared machine mean little; figures are medians over the rounds, in CPU time of the one thread.

mod ends;
mod esp;
mod floor;
mod handshake;
mod measure;
mod memory;
mod spoofed;

type Bench = (&'static str, fn());

const BENCHES: [Bench; 5] = [
    ("esp", esp::run),
    ("floor", floor::run),
    ("handshake", handshake::run),
    ("memory", memory::run),
    ("spoofed", spoofed::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.iter().any(|argument| memory::row(argument)) {
        return;
    }
    if let Some(unknown) = wanted.iter().find(|name| !BENCHES.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no benchmark \"{unknown}\"; there are: {}", known.join(", "));
        std::process::exit(2);
    }
    for (name, run) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            run();
        }
    }
}
