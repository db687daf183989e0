//! Debian packages of the interop tests.

use std::path::Path;
use std::process::Command;

use crate::report::Outcome;
use crate::shell::{run, succeeds};

const PACKAGES: [&str; 14] = [
    "charon-systemd",
    "strongswan-swanctl",
    "libcharon-extra-plugins",
    "libcharon-extauth-plugins",
    "libstrongswan-standard-plugins",
    "libstrongswan-extra-plugins",
    "iproute2",
    "iputils-ping",
    "nftables",
    "iperf3",
    "tshark",
    "tcpdump",
    "util-linux",
    "python3-venv",
];

/// strongSwan's own Python client, from its author's package: an independent user of our control socket.
const CLIENT: &str = "vici==6.0.3";
const CLIENT_FOLDER: &str = "target/tools/vici";

/// Installs what is missing, after saying so.
pub(crate) fn install() -> Outcome {
    debian().and(python_client())
}

fn python_client() -> Outcome {
    let python = Path::new(CLIENT_FOLDER).join("bin/python");
    if succeeds(Command::new(&python).args(["-c", "import vici"])) {
        return Outcome::check(true);
    }
    println!("installing the Python package {CLIENT} into {CLIENT_FOLDER}");
    let made = run(Command::new("python3").args(["-m", "venv", CLIENT_FOLDER]))
        && run(Command::new(&python).args(["-m", "pip", "install", "--quiet", CLIENT]));
    if made {
        Outcome::check(true)
    } else {
        Outcome::skip(format!("the Python package {CLIENT} could not be installed"))
    }
}

fn debian() -> Outcome {
    if !succeeds(Command::new("dpkg-query").arg("--version")) {
        return Outcome::skip(
            "not a Debian system; the interop tests look for strongSwan where Debian puts it",
        );
    }
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        println!("all packages of the interop tests are installed");
        return Outcome::check(true);
    }
    let list = missing.join(" ");
    if !root() {
        return Outcome::skip(format!(
            "not root; for the interop tests install: apt-get install --no-install-recommends {list}"
        ));
    }
    println!("installing from Debian, for the interop tests: {list}");
    let apt =
        |words: &[&str]| run(Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive"));
    let install = [&["install", "--yes", "--quiet", "--no-install-recommends"], missing.as_slice()].concat();
    Outcome::check(apt(&["update", "--quiet"]) && apt(&install))
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["--show", "--showformat=${Status}", package]).output();
    query.is_ok_and(|output| output.stdout.ends_with(b"ok installed"))
}

fn root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
