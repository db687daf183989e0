//! What the virtual machine is made of, from Debian 12's packages, in folders below `target/kernel`: the emulator (with
//! what this machine lacks of it), a userland of its own, kernels. Nothing is installed.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::debian::{self, Apt, Present, Source, remove};

const FOLDER: &str = "target/kernel";
const SUITE: &str = "bookworm";

/// Programs of this side.
const TOOLS: [&str; 3] = ["qemu-system-x86", "kmod", "xz-utils"];

/// Programs of the other side.
const USERLAND: [&str; 35] = [
    "base-files",
    "bash",
    "dash",
    "coreutils",
    "findutils",
    "grep",
    "sed",
    "mawk",
    "tar",
    "util-linux",
    "mount",
    "procps",
    "kmod",
    "netbase",
    "libgcc-s1",
    "iproute2",
    "iputils-ping",
    "nftables",
    "wireguard-tools",
    "conntrack",
    "ethtool",
    "tcpdump",
    "iperf3",
    "socat",
    "strace",
    "openssl",
    "charon-systemd",
    "strongswan-swanctl",
    "libcharon-extra-plugins",
    "libcharon-extauth-plugins",
    "libstrongswan-standard-plugins",
    "libstrongswan-extra-plugins",
    "libcap2-bin",
    "hostname",
    "diffutils",
];

/// Kernels by the name they are asked for, and the empty package that leads to the newest of the kind.
pub(crate) const KERNELS: [(&str, &str); 2] =
    [("6.12", "linux-image-6.12-cloud-amd64"), ("6.1", "linux-image-cloud-amd64")];

/// Left out of the userland.
const UNNEEDED: [&str; 18] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/share/bash-completion",
    "usr/share/zoneinfo",
    "usr/share/mime",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/libperl.so.5.36.0",
    "usr/bin/perl",
    "usr/bin/perl5.36.0",
    "lib/udev",
    "var",
];

/// The emulator and what it runs, unpacked.
pub(crate) struct Parts {
    folder: PathBuf,
    /// Names and versions of everything, a line each, after a line of what was asked for.
    pub(crate) stamp: String,
}

impl Parts {
    /// Finds them, or fetches and unpacks them.
    pub(crate) fn get() -> Result<Self, String> {
        let folder = std::path::absolute(FOLDER).map_err(|error| error.to_string())?;
        let stamp = fs::read_to_string(folder.join("parts/packages")).unwrap_or_default();
        if stamp.starts_with(&asked()) {
            return Ok(Self { folder: folder.join("parts"), stamp });
        }
        let start = Instant::now();
        let own = debian::mirror()?;
        if own.suite != SUITE {
            return Err(format!(
                "this machine is Debian's {}, and the virtual machine is made of {SUITE}'s packages",
                own.suite
            ));
        }
        let stamp = unpack(&folder, own).map_err(|error| error.to_string())?;
        println!("emulator, userland and kernels are in {FOLDER} after {} s", start.elapsed().as_secs());
        Ok(Self { folder: folder.join("parts"), stamp })
    }

    /// The root of the userland.
    pub(crate) fn userland(&self) -> PathBuf {
        self.folder.join("userland")
    }

    /// The root of a kernel's package.
    pub(crate) fn kernel(&self, name: &str) -> PathBuf {
        self.folder.join(format!("linux-{name}"))
    }

    /// A program of this side: the machine's, or the unpacked one with its libraries and data.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let root = self.folder.join("tools");
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let found = ["usr/bin", "usr/sbin", "bin", "sbin"].map(|bin| root.join(bin).join(program));
        let Some(path) = found.iter().find(|path| path.symlink_metadata().is_ok()) else {
            return Command::new(program);
        };
        // links between programs of a package may be absolute
        let target = fs::read_link(path).ok().filter(|target| target.is_absolute());
        let mut command = Command::new(target.map_or_else(|| path.clone(), |target| inside(&target)));
        let [usr, lib] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|lib| root.join(lib));
        command.arg0(program).env("QEMU_MODULE_DIR", usr.join("qemu"));
        command.env("LD_LIBRARY_PATH", format!("{}:{}", usr.display(), lib.display()));
        if program.starts_with("qemu") {
            for data in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(data));
            }
        }
        command
    }
}

/// The first line of the stamp: what this version of the workspace wants.
fn asked() -> String {
    let kernels = KERNELS.map(|(_, package)| package);
    let lists = [&TOOLS[..], &USERLAND, &kernels, &UNNEEDED];
    format!("{}\n", lists.map(|list| list.join(" ")).join(" / "))
}

fn unpack(folder: &Path, own: Source) -> io::Result<String> {
    let (new, done) = (folder.join("parts.new"), folder.join("parts"));
    remove(&new)?;
    println!("fetching the virtual machine's parts into {FOLDER}; nothing is installed");
    let security = format!("{SUITE}-security");
    let security = debian::mirror_of(&security).map(|mirror| Source { mirror, suite: security });
    let sources: Vec<Source> = std::iter::once(own).chain(security).collect();
    let mut stamp = asked();
    // the emulator runs here and may stand on what is here
    let status = Path::new("/var/lib/dpkg/status");
    let apt = Apt::new(&folder.join("apt"), &sources, &Present::Installed(status))?;
    apt.fetch(&TOOLS)?;
    stamp += &apt.unpack(&new.join("tools"))?.0;
    apt.count_on(&Present::Nothing)?;
    apt.fetch(&USERLAND)?;
    stamp += &apt.unpack(&new.join("userland"))?.0;
    for unneeded in UNNEEDED {
        let path = new.join("userland").join(unneeded);
        if path.is_dir() {
            remove(&path)?;
        } else if path.exists() {
            fs::remove_file(&path)?;
        }
    }
    for (name, package) in KERNELS {
        let image = apt.first_dependency(package)?;
        apt.fetch_alone(&[&image])?;
        stamp += &apt.unpack(&new.join(format!("linux-{name}")))?.0;
    }
    apt.done()?;
    fs::write(new.join("packages"), &stamp)?;
    remove(&done)?;
    fs::rename(&new, &done)?;
    Ok(stamp)
}
