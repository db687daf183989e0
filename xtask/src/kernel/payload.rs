//! What a run brings into the virtual machine: its command, and test executables under the paths they have here.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Job;
use super::cpio::Archive;
use super::packages::Parts;
use crate::shell::{cargo, run_and_read, succeeds};

/// How a job's data plane is named in what is printed.
pub(super) const DATAPLANE: &str = "ADIT_DATAPLANE=";

/// What a line begins with that says what a test did not do.
pub(super) const SKIPPED: &str = "SKIPPED ";

/// Where tests say what they did not do.
const SKIPS: &str = "/run/skips";

/// A test executable and the folder of its package.
pub(super) struct Executable {
    path: PathBuf,
    folder: PathBuf,
}

/// An archive of this run alone.
pub(super) struct Payload<'a> {
    parts: &'a Parts,
    archive: Archive<BufWriter<File>>,
    path: PathBuf,
    scratch: PathBuf,
    script: String,
    /// Programs and folders that are in it.
    brought: BTreeSet<PathBuf>,
}

impl<'a> Payload<'a> {
    pub(super) fn new(parts: &'a Parts, folder: &Path) -> io::Result<Self> {
        let path = folder.join("payload.cpio");
        let archive = Archive::new(BufWriter::new(File::create(&path)?));
        let mut script = "export ADIT_VM=1\n".to_owned();
        // what a person or continuous integration says to the tests is said to them there
        for (name, value) in std::env::vars() {
            if name.starts_with("ADIT_") || ["CI", "RUST_BACKTRACE"].contains(&name.as_str()) {
                script += &format!("export {name}={}\n", quoted(&value));
            }
        }
        Ok(Self { parts, archive, path, scratch: folder.join("stripped"), script, brought: BTreeSet::new() })
    }

    /// Sets a variable of the command's environment.
    pub(super) fn export(&mut self, name: &str, value: &str) {
        self.script += &format!("export {name}={}\n", quoted(value));
    }

    /// A further line of the script that is run.
    pub(super) fn line(&mut self, line: &str) {
        self.script += line;
        self.script.push('\n');
    }

    /// An empty file that the first process looks for.
    pub(super) fn flag(&mut self, name: &str) -> io::Result<()> {
        self.archive.file(&Path::new("vm").join(name), 0o644, &[])
    }

    /// A command of this name for a program of ours.
    pub(super) fn link(&mut self, name: &str, program: &Path) -> io::Result<()> {
        self.archive.link(&Path::new("usr/local/bin").join(name), &std::path::absolute(program)?)
    }

    /// A program of ours under the path it has here, without what only a debugger reads, and its libraries.
    pub(super) fn program(&mut self, program: &Path) -> io::Result<()> {
        let program = std::path::absolute(program)?;
        let stripped =
            Command::new("strip").arg("--strip-debug").arg("-o").arg(&self.scratch).arg(&program).status();
        let content = match stripped {
            Ok(status) if status.success() => fs::read(&self.scratch)?,
            _ => fs::read(&program)?,
        };
        self.archive.file(&program, 0o755, &content)?;
        let listed = Command::new("ldd").arg(&program).output()?.stdout;
        for line in String::from_utf8_lossy(&listed).lines() {
            let Some(library) = line.split("=> ").nth(1).and_then(|rest| rest.split(" (").next()) else {
                continue;
            };
            let name = Path::new(library).file_name().unwrap_or_default();
            let there =
                ["lib", "usr/lib"].map(|l| self.parts.userland().join(l).join("x86_64-linux-gnu").join(name));
            if !there.iter().any(|path| path.exists()) {
                self.archive.file(
                    &Path::new("usr/lib/x86_64-linux-gnu").join(name),
                    0o755,
                    &fs::read(library)?,
                )?;
            }
        }
        Ok(())
    }

    /// Test executables with the folders of their packages, and lines that run them; the last failure counts.
    pub(super) fn tests(&mut self, jobs: &[Job], executables: &[Vec<Executable>]) -> io::Result<()> {
        self.export("ADIT_SKIP_LOG", SKIPS);
        self.line("result=0");
        for (job, executables) in jobs.iter().zip(executables) {
            let words: Vec<String> = job.filter.iter().map(|word| quoted(word)).collect();
            for executable in executables {
                let (path, folder) =
                    (std::path::absolute(&executable.path)?, std::path::absolute(&executable.folder)?);
                if self.brought.insert(path.clone()) {
                    self.program(&path)?;
                }
                if self.brought.insert(folder.clone()) {
                    self.archive.tree(&folder, &folder)?;
                }
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let dataplane = job.dataplane.map(|name| format!("{DATAPLANE}{name} ")).unwrap_or_default();
                self.line(&format!("echo '==== {dataplane}{}: {name} ===='", job.package));
                self.line(&format!(
                    "cd {} && {dataplane}CARGO_MANIFEST_DIR=$PWD {} --include-ignored {} || result=$?",
                    quoted(&folder.display().to_string()),
                    quoted(&path.display().to_string()),
                    words.join(" "),
                ));
                self.line(&format!("[ ! -e {SKIPS} ] || sed 's/^/{SKIPPED}/' {SKIPS}; rm -f {SKIPS}"));
            }
        }
        self.line("exit $result");
        Ok(())
    }

    /// Closes the archive.
    pub(super) fn finish(mut self) -> io::Result<PathBuf> {
        self.archive.file(Path::new("vm/command"), 0o755, self.script.as_bytes())?;
        self.archive.finish()?;
        // nothing was stripped if there was no program
        let _ = fs::remove_file(&self.scratch);
        Ok(self.path)
    }
}

/// Builds the tests of a package: its executables, or why there are none.
pub(super) fn build(package: &str) -> Result<Vec<Executable>, String> {
    let folder = Command::new(cargo())
        .args(["pkgid", "--package", package])
        .output()
        .ok()
        .and_then(|output| folder_of(&String::from_utf8_lossy(&output.stdout)))
        .ok_or_else(|| format!("this workspace has no package {package}"))?;
    let words = ["test", "--no-run", "--locked", "--tests", "--package", package];
    let (built, output) = run_and_read(Command::new(cargo()).args(words).env("CARGO_TERM_COLOR", "never"));
    if !built {
        return Err(format!("the tests of {package} do not build"));
    }
    let executable = |line: &str| {
        let path = line.trim().strip_prefix("Executable ")?.rsplit_once('(')?.1.strip_suffix(')')?;
        Some(Executable { path: path.into(), folder: folder.clone() })
    };
    let found: Vec<Executable> = output.lines().filter_map(executable).collect();
    if found.is_empty() { Err(format!("{package} has no tests")) } else { Ok(found) }
}

/// `path+file://FOLDER#adit-linux@0.1.0` says where a package is.
fn folder_of(id: &str) -> Option<PathBuf> {
    let path = id.trim().strip_prefix("path+file://")?.split('#').next()?;
    Some(path.into())
}

/// As one word for the shell.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Can this side strip and list libraries?
pub(super) fn able() -> bool {
    succeeds(Command::new("ldd").arg("--version"))
}
