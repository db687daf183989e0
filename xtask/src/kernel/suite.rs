//! What `cargo xtask test` runs in virtual machines, and the table of what passed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::packages::{KERNELS, Parts};
use super::payload::{DATAPLANE, SKIPPED};
use super::qemu::Ended;
use super::{Job, LAB, Options, PEERS, boot, image, run};
use crate::report::Outcome;
use crate::{peers, tests};

/// Tests that share a boot: of a package, those that `filter` names, with ours on this data plane where one plays.
struct Run {
    package: &'static str,
    dataplane: Option<&'static str>,
    filter: &'static [&'static str],
}

/// A boot: a kernel, and what is run in it.
struct Boot {
    kernel: &'static str,
    runs: &'static [Run],
}

/// These need no kernel, and are slow under emulation.
const ENCODINGS_ASIDE: &[&str] = &["--skip", "xfrm::tests::"];

/// The boots of `cargo xtask test`; as many at a time as there are processors. Five minutes in all, so of each kind of thing
/// one.
const BOOTS: [Boot; 3] = [
    Boot {
        kernel: "6.12",
        runs: &[
            lab("kernel", FEW),
            Run { package: "adit-gateway", dataplane: None, filter: &["firewall::esp"] },
            LINUX,
        ],
    },
    Boot {
        kernel: "6.12",
        runs: &[
            lab("userspace", FEWER),
            Run { package: "adit-dataplane", dataplane: None, filter: &["kernel::"] },
        ],
    },
    Boot { kernel: "6.1", runs: &[lab("kernel", FEWER), LINUX] },
];

/// The boots of `cargo xtask kernel --suite`: everything.
const ALL: [Boot; 4] = [
    Boot {
        kernel: "6.12",
        runs: &[lab("kernel", FULL), lab("kernel", ALONE), lab("kernel", SWITCHES), LINUX],
    },
    Boot { kernel: "6.12", runs: &[lab("userspace", FULL), lab("userspace", OPENIKED_CALLS)] },
    Boot {
        kernel: "6.12",
        runs: &[
            lab("kernel", BESIDE_CHARON),
            // these choose the data plane themselves
            Run { package: LAB, dataplane: None, filter: &["wireguard", "by_the_kernel"] },
            Run { package: "adit-gateway", dataplane: None, filter: &["firewall::esp"] },
            Run { package: "adit-dataplane", dataplane: None, filter: &[] },
        ],
    },
    Boot { kernel: "6.1", runs: &[lab("userspace", SHORT), lab("kernel", SHORT), LINUX] },
];

const fn lab(dataplane: &'static str, filter: &'static [&'static str]) -> Run {
    Run { package: LAB, dataplane: Some(dataplane), filter }
}

const LINUX: Run = Run { package: "adit-linux", dataplane: None, filter: ENCODINGS_ASIDE };

/// Of the lab in five minutes: raw and in UDP, tunnel and transport, a question of the kernel, a peer that is not strongSwan.
const FEW: &[&str] = &[
    "--test-threads=3",
    "matrix::psk::our_client",
    "kernel::raw::our_gateway",
    "kernel::transport::our_client",
    "network::trap::our_client",
    "libreswan::traffic",
];

/// The same once more, elsewhere.
const FEWER: &[&str] =
    &["--test-threads=3", "kernel::raw::our_client", "kernel::transport_in_udp::our_gateway"];

/// Of the lab: each way that ESP goes, each peer, in both roles; what the kernel tells (acquire, expire), a move, keys
/// that change under traffic, a bad path. A case costs ten to twenty seconds of a processor.
const FULL: &[&str] = &[
    "--test-threads=3",
    "--skip=::reference",
    "--skip=::both_ours",
    "matrix::psk::our_client",
    "newer::psk::our_gateway",
    "network::trap",
    "network::moved",
    "kernel::raw",
    "kernel::transport::our_client",
    "kernel::transport_in_udp::our_gateway",
    "kernel::expire::our_client",
    "kernel::netem::our_gateway",
    "libreswan::traffic",
];

/// OpenIKED has the kernel try all its ciphers at each start, for which nobody else should have to wait.
const ALONE: &[&str] = &["--test-threads=1", "openiked::"];

/// The one of these that is known to pass with ours in user space.
const OPENIKED_CALLS: &[&str] = &["--test-threads=1", "openiked::client"];

/// What the kernel holds for us and for charon, and what scripts are told.
const BESIDE_CHARON: &[&str] = &["--test-threads=2", "side_by_side", "tables::", "updown::marks"];

/// No packet lost when keys change. With ours in user space that is tried where nothing is emulated.
const SWITCHES: &[&str] = &["--test-threads=1", "switches::our_gateway"];

/// Of the lab on another kernel.
const SHORT: &[&str] = &[
    "--test-threads=3",
    "matrix::psk::our_gateway",
    "kernel::raw::our_client",
    "kernel::transport_in_udp::our_gateway",
];

/// On each kernel whether it does ESP at all, then what `cargo xtask test` has time for.
pub(crate) fn suite() -> Outcome {
    play_all(&BOOTS)
}

/// The same with all that there is: half an hour.
pub(crate) fn everything() -> Outcome {
    play_all(&ALL)
}

fn play_all(boots: &[Boot]) -> Outcome {
    let peers =
        Parts::get().and_then(|_| image::peers(&peers::folder(), PEERS.as_ref()).map_err(|e| e.to_string()));
    if let Err(reason) = peers {
        return Outcome::skip(format!("the virtual machine: {reason}"));
    }
    let mut outcome = Outcome::default();
    for (kernel, _) in KERNELS {
        println!("---- kernel {kernel} ----");
        let smoke = Options { kernel, words: vec![include_str!("smoke.sh").into()], ..Options::default() };
        outcome = outcome.and(Outcome::check(run(&smoke) == Ok(0)));
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let at_once = thread::available_parallelism().map_or(1, |n| n.get().min(boots.len()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(one) = boots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = play(one);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((one.kernel, result));
                }
            });
        }
    });
    let mut table = Table::default();
    for (kernel, result) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match result {
            Ok(ended) => {
                table.read(kernel, &ended.output);
                outcome = outcome.and(count(&ended));
            }
            Err(reason) => {
                eprintln!("{reason}");
                outcome = outcome.and(Outcome::check(false));
            }
        }
    }
    println!("\n{table}");
    outcome
}

/// A boot, and what it said once it has ended.
fn play(one: &Boot) -> Result<Ended, String> {
    let jobs = one.runs.iter().map(|run| Job {
        package: run.package.into(),
        filter: run.filter.iter().map(|word| (*word).into()).collect(),
        dataplane: run.dataplane,
    });
    let options = Options {
        kernel: one.kernel,
        tests: jobs.collect(),
        release: true,
        quiet: true,
        cpus: 1,
        memory: 1536,
        ..Options::default()
    };
    let start = Instant::now();
    let ended = boot(&options)?;
    println!("---- tests on {}, {} s ----\n{}", one.kernel, start.elapsed().as_secs(), ended.output);
    Ok(ended)
}

/// What a boot came to; a test that found nothing to do has said so.
fn count(ended: &Ended) -> Outcome {
    let mut outcome = tests::count(ended.code == 0, &ended.output);
    // what the filters leave out was not asked for
    outcome.skipped =
        ended.output.lines().filter_map(|line| line.strip_prefix(SKIPPED)).map(Into::into).collect();
    outcome.passed = outcome.passed.saturating_sub(u32::try_from(outcome.skipped.len()).unwrap_or(u32::MAX));
    outcome
}

/// What passed: a row per test of the lab, a column per kernel and data plane.
#[derive(Default)]
struct Table {
    columns: Vec<String>,
    rows: BTreeMap<String, BTreeMap<usize, String>>,
}

impl Table {
    fn column(&mut self, name: String) -> usize {
        self.columns.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.columns.push(name);
            self.columns.len() - 1
        })
    }

    fn read(&mut self, kernel: &str, output: &str) {
        let mut column = None;
        for line in output.lines() {
            if let Some(rest) = line.strip_prefix("==== ") {
                let dataplane = rest.strip_prefix(DATAPLANE).and_then(|rest| rest.split(' ').next());
                column = dataplane.map(|name| self.column(format!("{kernel} {name}")));
            }
            let test = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
            if let (Some(column), Some((name, verdict))) = (column, test) {
                self.rows.entry(name.into()).or_default().insert(column, verdict.into());
            }
            if let (Some(rest), Some(column)) = (line.strip_prefix(SKIPPED), column) {
                let name = rest.split(": ").next().unwrap_or_default();
                self.rows.entry(name.into()).or_default().insert(column, "skipped".into());
            }
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| case | {} |", self.columns.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(self.columns.len()))?;
        for (name, verdicts) in &self.rows {
            let cells = (0..self.columns.len()).map(|c| verdicts.get(&c).map_or("", String::as_str));
            writeln!(f, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_table_has_a_column_per_kernel_and_data_plane() {
        let mut table = Table::default();
        let said = "==== adit-linux: esp-1 ====\ntest x ... ok\n==== ADIT_DATAPLANE=kernel adit-interop: interop-1 \
                    ====\ntest a::b ... ok\ntest c ... FAILED\nSKIPPED a::b: no tun\n";
        table.read("6.12", said);
        table.read("6.1", "==== ADIT_DATAPLANE=userspace adit-interop: interop-1 ====\ntest c ... ok\n");
        let wanted = "| case | 6.12 kernel | 6.1 userspace |\n|---|---|---|\n| a::b | skipped |  |\n| c | FAILED | ok |\n";
        assert_eq!(table.to_string(), wanted);
    }

    #[test]
    fn what_was_skipped_did_not_pass() {
        let output = "test result: ok. 3 passed; 0 failed; 0 ignored\nSKIPPED a: b\n".to_owned();
        let outcome = count(&Ended { code: 0, output });
        assert_eq!(
            (outcome.passed, outcome.failed, outcome.skipped.as_slice()),
            (2, 0, &["a: b".to_owned()][..])
        );
    }
}
