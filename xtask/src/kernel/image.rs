//! What the virtual machine begins with: archives that are made once for what is in them.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use super::cpio::Archive;
use super::modules;
use super::packages::Parts;
use crate::debian::remove;

const FOLDER: &str = "target/kernel";
const INIT: &str = include_str!("init");

/// Files that packages would have made when installed.
const FILES: [(&str, &str); 9] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/shadow", "root:*:19000::::::\n"),
    ("etc/hosts", "127.0.0.1 localhost adit-vm\n::1 localhost\n"),
    ("etc/hostname", "adit-vm\n"),
    ("etc/resolv.conf", ""),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n"),
    ("root/.bashrc", "PS1='vm# '\n"),
];

/// The archive of the userland.
pub(super) fn userland(parts: &Parts) -> io::Result<PathBuf> {
    cached("userland", &(&parts.stamp, INIT, FILES), |archive, _| {
        for top in ["bin", "sbin", "lib", "lib64"] {
            // straight into the archive: its own merging would follow the link
            archive.top_link(top, &Path::new("usr").join(top))?;
        }
        archive.tree(&parts.userland(), Path::new("/"))?;
        archive.link(Path::new("usr/bin/awk"), Path::new("mawk"))?;
        archive.file(Path::new("init"), 0o755, INIT.as_bytes())?;
        for (name, content) in FILES {
            archive.file(Path::new(name), 0o644, content.as_bytes())?;
        }
        for folder in ["proc", "sys", "dev", "run", "tmp", "root", "mnt", "var/lib", "vm"] {
            archive.folder(Path::new(folder))?;
        }
        Ok(())
    })
}

/// The archive of a kernel's modules.
pub(super) fn modules(parts: &Parts, kernel: &str) -> io::Result<PathBuf> {
    let name = format!("modules-{kernel}");
    cached(&name, &(&parts.stamp, include_str!("modules.rs")), |archive, scratch| {
        let release = modules::collect(parts, kernel, scratch)?;
        let below = Path::new("usr/lib/modules").join(release);
        archive.tree(&scratch.join(&below), &below)
    })
}

/// The kernel itself.
pub(super) fn vmlinuz(parts: &Parts, kernel: &str) -> io::Result<PathBuf> {
    let boot = fs::read_dir(parts.kernel(kernel).join("boot"))?.collect::<io::Result<Vec<_>>>()?;
    let image = boot.iter().find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz"));
    image.map(fs::DirEntry::path).ok_or_else(|| io::Error::other("the kernel's package has no kernel"))
}

/// The archive of a folder of another Debian, as `at`.
pub(super) fn peers(folder: &Path, at: &Path) -> io::Result<PathBuf> {
    let stamp = fs::read_to_string(folder.join("packages")).map_err(|error| {
        let text =
            format!("{}: {error}; `cargo xtask peers` fetches them", folder.join("packages").display());
        io::Error::new(error.kind(), text)
    })?;
    cached("peers", &(stamp, at), |archive, _| {
        archive.file(&at.join("packages"), 0o644, &fs::read(folder.join("packages"))?)?;
        archive.tree(&folder.join("etc"), &at.join("etc"))?;
        archive.tree(&folder.join("usr"), &at.join("usr"))
    })
}

type Fill<'a> = &'a dyn Fn(&mut Archive<BufWriter<File>>, &Path) -> io::Result<()>;

/// The archive for `content`: the one of an earlier run, or one made by `fill`, which may use a scratch folder. Those of
/// the same name for another content go.
fn cached(
    name: &str,
    content: &impl Hash,
    fill: impl Fn(&mut Archive<BufWriter<File>>, &Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    include_str!("image.rs").hash(&mut hasher);
    include_str!("cpio.rs").hash(&mut hasher);
    let path = std::path::absolute(FOLDER)?.join(format!("{name}-{:016x}.cpio", hasher.finish()));
    if !path.exists() {
        make(&path, name, &fill)?;
    }
    Ok(path)
}

fn make(path: &Path, name: &str, fill: Fill<'_>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let process = std::process::id();
    let (new, scratch) = (folder.join(format!("new-{process}")), folder.join(format!("scratch-{process}")));
    remove(&scratch)?;
    fs::create_dir_all(&scratch)?;
    let mut archive = Archive::new(BufWriter::with_capacity(1 << 20, File::create(&new)?));
    fill(&mut archive, &scratch).map_err(|error| io::Error::other(format!("making {name}: {error}")))?;
    archive.finish()?;
    remove(&scratch)?;
    for entry in fs::read_dir(folder)? {
        let old = entry?.path();
        let stem = old.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem.rsplit_once('-').is_some_and(|(kind, _)| kind == name) && old != path {
            fs::remove_file(old)?;
        }
    }
    println!("made {} ({} MB)", path.display(), fs::metadata(&new)?.len() / 1_000_000);
    fs::rename(new, path)
}
