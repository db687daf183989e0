//! The newer peers of the interop tests, from the Debian release after this one, in a folder of their own.
//!
//! The packages and every library they stand on, glibc included, are unpacked below `target/peers/<suite>`; a test
//! binds `usr` and `etc` of it over its own before it starts the daemon. Nothing is installed and apt's own state is
//! not touched: apt runs with a state, a cache and a list of sources in `target/peers/apt`. The mirror is the one this
//! machine uses; the signature is checked by apt against Debian's keyring, which carries the keys of later releases.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::report::Outcome;
use crate::shell::{run, succeeds};

const SUITE: &str = "trixie";
const FOLDER: &str = "target/peers";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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

/// Fetches and unpacks them, unless that was done before.
pub(crate) fn fetch() -> Outcome {
    let stamp = Path::new(FOLDER).join(SUITE).join("packages");
    if fs::read_to_string(&stamp).is_ok_and(|text| text.starts_with(&asked())) {
        println!("the peers of {SUITE} are in {FOLDER}/{SUITE}");
        return Outcome::check(true);
    }
    let (Some(mirror), true) = (mirror(), succeeds(Command::new("dpkg-deb").arg("--version"))) else {
        return Outcome::skip(format!("the peers of {SUITE}: this machine's apt has no Debian mirror"));
    };
    let start = Instant::now();
    match unpack(&mirror) {
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

/// Where this machine gets its Debian from.
fn mirror() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let value = |key: &str| release.lines().find_map(|l| l.strip_prefix(key)).map(|v| v.trim_matches('"'));
    if value("ID=") != Some("debian") {
        return None;
    }
    let own = value("VERSION_CODENAME=").unwrap_or("stable");
    let format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"];
    let output = Command::new("apt-get").args(format).output().ok()?;
    // the release itself, not its updates or its security archive
    let wanted = [own, "stable", "oldstable"];
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [uri, release, "main"] if wanted.contains(&release) => Some(uri.to_owned()),
        _ => None,
    })
}

/// Fetches the closures and unpacks them beside the folder, then puts it in place: how many packages and bytes.
fn unpack(mirror: &str) -> io::Result<(usize, u64)> {
    let base = std::path::absolute(FOLDER)?;
    let (apt, root, done) = (base.join("apt"), base.join(format!("{SUITE}.new")), base.join(SUITE));
    for folder in [&apt, &root] {
        remove(folder)?;
    }
    let configuration = configure(&apt, mirror)?;
    let apt_get = |words: &[&str]| {
        let held = run(Command::new("apt-get").args(words).env("APT_CONFIG", &configuration));
        let refused = || io::Error::other(format!("`apt-get {}` failed, see above", words.join(" ")));
        held.then_some(()).ok_or_else(refused)
    };
    // no archive that cannot be verified, and no half of one
    apt_get(&["update", "--quiet", "--error-on=any"])?;
    for closure in CLOSURES {
        apt_get(&[&["install", "--download-only", "--yes", "-qq"], closure].concat())?;
    }
    let mut packages: Vec<PathBuf> = fs::read_dir(apt.join("cache/archives"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    packages.retain(|path| path.extension().is_some_and(|e| e == "deb"));
    packages.sort();
    let (mut names, mut bytes) = (asked(), 0);
    for package in &packages {
        if !Command::new("dpkg-deb").arg("-x").args([package, &root]).status()?.success() {
            return Err(io::Error::other(format!("{} does not unpack", package.display())));
        }
        bytes += fs::metadata(package)?.len();
        let name = package.file_stem().unwrap_or_default().to_string_lossy();
        names.push_str(&format!("{}\n", name.replace("%3a", ":")));
    }
    for unneeded in ["usr/share/doc", "usr/share/man", "usr/share/locale"] {
        remove(&root.join(unneeded))?;
    }
    fs::write(root.join("packages"), names)?;
    remove(&done)?;
    fs::rename(&root, &done)?;
    remove(&apt)?;
    Ok((packages.len(), bytes))
}

/// Writes an apt configuration that knows nothing of this machine but how to reach a mirror (proxies, time limits).
fn configure(apt: &Path, mirror: &str) -> io::Result<PathBuf> {
    for folder in ["state/lists/partial", "cache/archives/partial", "log"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    fs::write(apt.join("state/status"), "")?;
    fs::write(apt.join("sources.list"), format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n"))?;
    let reach = Command::new("apt-config").args(["dump", "Acquire"]).output()?;
    let at = |name: &str| apt.join(name).display().to_string();
    let own = [
        ("Dir::State", at("state")),
        ("Dir::State::status", at("state/status")),
        ("Dir::Cache", at("cache")),
        ("Dir::Log", at("log")),
        ("Dir::Etc::sourcelist", at("sources.list")),
        ("Dir::Etc::sourceparts", "/dev/null".into()),
        ("Dir::Etc::main", "/dev/null".into()),
        ("Dir::Etc::parts", "/dev/null".into()),
        ("Dir::Etc::preferences", "/dev/null".into()),
        ("Dir::Etc::preferencesparts", "/dev/null".into()),
        ("Dir::Etc::trustedparts", "/dev/null".into()),
        ("APT::Install-Recommends", "false".into()),
        ("Acquire::Languages", "none".into()),
        // its own user could not write below target/
        ("APT::Sandbox::User", "root".into()),
    ];
    let lines: String = own.iter().map(|(key, value)| format!("{key} \"{value}\";\n")).collect();
    let file = apt.join("apt.conf");
    let reach = String::from_utf8_lossy(&reach.stdout).into_owned();
    // what else an index may come with (translations, software centres) is not wanted
    let unwanted = ["Acquire::Languages", "Acquire::IndexTargets"];
    let kept: Vec<&str> = reach.lines().filter(|l| !unwanted.iter().any(|u| l.starts_with(u))).collect();
    let kept = kept.join("\n");
    fs::write(&file, format!("{kept}\n{lines}"))?;
    Ok(file)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
