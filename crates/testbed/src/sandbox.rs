//! Where a case may run: as root, or as root of a user namespace of its own.
//!
//! Making network namespaces needs CAP_SYS_ADMIN. A test that has it runs in place; one that has not runs its own
//! binary again under `unshare -Urnm --map-root-user`, with a private /run, and takes the exit code for its result.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const MARK: &str = "ADIT_TEST_SANDBOX";

/// What the lab needs on this machine, program by program.
const PROGRAMS: [(&str, &str); 9] = [
    ("/usr/sbin/charon-systemd", "charon-systemd"),
    ("/usr/sbin/swanctl", "strongswan-swanctl"),
    ("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so", "libcharon-extra-plugins"),
    ("/usr/lib/ipsec/plugins/libstrongswan-eap-mschapv2.so", "libcharon-extauth-plugins"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/iperf3", "iperf3"),
    ("/usr/bin/tcpdump", "tcpdump"),
    ("/usr/bin/tshark", "tshark"),
    ("/dev/net/tun", "the tun device"),
];

/// Of these, what the virtual machine does without.
const ELSEWHERE: [&str; 2] = ["kernel-libipsec", "tshark"];

/// Runs `case` under the name `test` (as the test runner knows it), or says why it cannot.
pub fn run_case(test: &str, case: impl FnOnce()) {
    for (path, package) in PROGRAMS {
        let elsewhere = crate::vm::inside() && ELSEWHERE.iter().any(|part| path.contains(part));
        if !elsewhere && !Path::new(path).exists() {
            return skip(test, &format!("{path} is missing ({package})"));
        }
    }
    if nix::unistd::geteuid().is_root() {
        return case();
    }
    if std::env::var_os(MARK).is_some() {
        return skip(test, "not root even in a user namespace");
    }
    let probe =
        Command::new("unshare").args(["-Urnm", "--map-root-user", "true"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip(test, "not root, and this kernel refuses unprivileged user namespaces");
    }
    let enter = "mount -t tmpfs tmpfs /run && mkdir /run/netns && exec \"$0\" --exact \"$1\" --nocapture";
    let status = Command::new("unshare")
        .args(["-Urnm", "--map-root-user", "sh", "-c", enter])
        .arg(std::env::current_exe().expect("path of the test"))
        .arg(test)
        .env(MARK, "1")
        .status()
        .expect("starting unshare");
    assert!(status.success(), "{test} failed in its user namespace: {status}");
}

/// Says that `test` did not run and why. With `CI` set this is a failure; `ADIT_SKIP_LOG` names a file that collects
/// the reasons (the runner captures what a passing test prints).
pub fn skip(test: &str, reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|v| v.is_empty()), "{test} would be skipped: {reason}");
    println!("SKIP {test}: {reason}");
    let Some(path) = std::env::var_os("ADIT_SKIP_LOG") else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("ADIT_SKIP_LOG");
    file.write_all(format!("{test}: {reason}\n").as_bytes()).expect("ADIT_SKIP_LOG");
}
