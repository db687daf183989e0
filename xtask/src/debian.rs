//! Packages of Debian in a folder: fetched, verified and unpacked, never installed.
//!
//! apt runs with a state, a cache and a list of sources of its own, so that the machine's stay as they are. The mirror
//! is the one this machine uses; the signature is checked by apt against Debian's keyring, which carries the keys of
//! later releases.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{run, succeeds};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A part of Debian's archive: where it is, and its name.
pub(crate) struct Source {
    /// The mirror.
    pub(crate) mirror: String,
    /// `trixie`, `bookworm-security`, …
    pub(crate) suite: String,
}

/// What a closure may count on.
pub(crate) enum Present<'a> {
    /// Nothing: it comes with every library it stands on.
    Nothing,
    /// What this machine has installed, by its record.
    Installed(&'a Path),
}

/// An apt that knows nothing of this machine but how to reach a mirror.
pub(crate) struct Apt {
    folder: PathBuf,
    configuration: PathBuf,
}

impl Apt {
    /// Makes it in `folder` (emptied before) and fetches the indices of `sources`.
    pub(crate) fn new(folder: &Path, sources: &[Source], present: &Present<'_>) -> io::Result<Self> {
        remove(folder)?;
        let apt = Self { folder: folder.into(), configuration: configure(folder, sources)? };
        apt.count_on(present)?;
        // no archive that cannot be verified, and no half of one
        apt.get(&["update", "--quiet", "--error-on=any"])?;
        Ok(apt)
    }

    /// What the closures to come may count on.
    pub(crate) fn count_on(&self, present: &Present<'_>) -> io::Result<()> {
        let record = match present {
            Present::Nothing => Vec::new(),
            Present::Installed(path) => fs::read(path)?,
        };
        fs::write(self.folder.join("state/status"), record)
    }

    fn get(&self, words: &[&str]) -> io::Result<()> {
        let mut command = Command::new("apt-get");
        command.args(words).env("APT_CONFIG", &self.configuration).current_dir(self.archives());
        let refused = || io::Error::other(format!("`apt-get {}` failed, see above", words.join(" ")));
        run(&mut command).then_some(()).ok_or_else(refused)
    }

    fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    /// Fetches packages with everything they depend on and that is not present.
    pub(crate) fn fetch(&self, closure: &[&str]) -> io::Result<()> {
        self.get(&[&["install", "--download-only", "--yes", "-qq"], closure].concat())
    }

    /// Fetches just these packages.
    pub(crate) fn fetch_alone(&self, packages: &[&str]) -> io::Result<()> {
        self.get(&[&["download", "-qq"], packages].concat())
    }

    /// What a package depends on first: how an empty package leads to the one of the day.
    pub(crate) fn first_dependency(&self, package: &str) -> io::Result<String> {
        let mut command = Command::new("apt-cache");
        let output = command
            .args(["depends", "--important", package])
            .env("APT_CONFIG", &self.configuration)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        found.map(Into::into).ok_or_else(|| io::Error::other(format!("the archive has no package {package}")))
    }

    /// Unpacks what was fetched into `root`: names and versions, a line each, and how many bytes they were.
    pub(crate) fn unpack(&self, root: &Path) -> io::Result<(String, u64)> {
        fs::create_dir_all(root)?;
        let mut packages: Vec<PathBuf> =
            fs::read_dir(self.archives())?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        packages.retain(|path| path.extension().is_some_and(|e| e == "deb"));
        packages.sort();
        let (mut names, mut bytes) = (String::new(), 0);
        for package in &packages {
            if !Command::new("dpkg-deb").arg("-x").args([package.as_path(), root]).status()?.success() {
                return Err(io::Error::other(format!("{} does not unpack", package.display())));
            }
            bytes += fs::metadata(package)?.len();
            let name = package.file_stem().unwrap_or_default().to_string_lossy();
            names.push_str(&format!("{}\n", name.replace("%3a", ":")));
            fs::remove_file(package)?;
        }
        Ok((names, bytes))
    }

    /// Removes what it kept for itself.
    pub(crate) fn done(self) -> io::Result<()> {
        remove(&self.folder)
    }
}

/// Where this machine gets its Debian from, and that Debian's name; or why that cannot be said.
pub(crate) fn mirror() -> Result<Source, String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| release.lines().find_map(|l| l.strip_prefix(key)).map(|v| v.trim_matches('"'));
    if value("ID=") != Some("debian") || !succeeds(Command::new("dpkg-deb").arg("--version")) {
        return Err("this machine is not a Debian".into());
    }
    let own = value("VERSION_CODENAME=").unwrap_or("stable");
    // the release itself, not its updates or its security archive
    let found = [own, "stable", "oldstable"].into_iter().find_map(mirror_of);
    found
        .map(|mirror| Source { mirror, suite: own.into() })
        .ok_or_else(|| "this machine's apt has no Debian mirror".into())
}

/// Where this machine gets a suite from.
pub(crate) fn mirror_of(suite: &str) -> Option<String> {
    let format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"];
    let output = Command::new("apt-get").args(format).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [uri, release, "main"] if release == suite => Some(uri.to_owned()),
        _ => None,
    })
}

/// Writes the configuration; of this machine's it keeps how a mirror is reached (proxies, time limits).
fn configure(apt: &Path, sources: &[Source]) -> io::Result<PathBuf> {
    for folder in ["state/lists/partial", "cache/archives/partial", "log"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    let line =
        |Source { mirror, suite }: &Source| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
    fs::write(apt.join("sources.list"), sources.iter().map(line).collect::<String>())?;
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

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
