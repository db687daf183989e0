//! A kernel that does ESP, in a virtual machine: Debian's 6.12 or 6.1 under QEMU's plain emulation, with a userland of
//! Debian's packages in memory. One boot takes about five seconds, so a suite is one boot.

mod cpio;
mod image;
mod modules;
mod packages;
mod payload;
mod qemu;
mod suite;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) use suite::{everything, suite};

use packages::{KERNELS, Parts};
use payload::Payload;
use qemu::{Ended, Machine};

use crate::debian::remove;
use crate::interop::{self, target};
use crate::peers;
use crate::shell;

/// The tests that play whole daemons.
const LAB: &str = "adit-interop";

/// Where the newer peers are in the virtual machine.
const PEERS: &str = "/peers";

/// What is run, and in what.
pub(crate) struct Options {
    /// A name of [`KERNELS`].
    kernel: &'static str,
    /// Leave the files of the run where they are.
    keep: bool,
    limit: Duration,
    cpus: u32,
    memory: u32,
    /// Whose tests are run.
    tests: Vec<Job>,
    /// Others run beside it: what it says is shown at its end.
    quiet: bool,
    /// Bring aditd and adit along.
    daemon: bool,
    /// As the interop step builds them, which is faster under emulation.
    release: bool,
    /// Bring the newer peers along.
    peers: bool,
    /// The command.
    words: Vec<String>,
}

/// Tests of one package.
#[derive(Clone)]
struct Job {
    package: String,
    /// Which of them: words for the executable.
    filter: Vec<String>,
    /// What carries our daemon's packets, where one plays.
    dataplane: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kernel: KERNELS[0].0,
            keep: false,
            limit: Duration::from_secs(900),
            cpus: 2,
            memory: 2048,
            tests: Vec::new(),
            quiet: false,
            daemon: false,
            release: false,
            peers: false,
            words: Vec::new(),
        }
    }
}

impl Options {
    /// Do whole daemons play?
    fn lab(&self) -> bool {
        self.tests.iter().any(|job| job.package == LAB)
    }

    /// Reads the words of the command line.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = || rest.next().copied().ok_or_else(|| format!("{word} wants a value"));
            match *word {
                "-k" | "--kernel" => {
                    let asked = value()?;
                    let known = KERNELS.map(|(name, _)| name);
                    let found = known.into_iter().find(|name| *name == asked);
                    options.kernel = found
                        .ok_or_else(|| format!("no kernel `{asked}`; there are {}", known.join(", ")))?;
                }
                "--keep" => options.keep = true,
                "--adit" => options.daemon = true,
                "--peers" => options.peers = true,
                "--tests" => {
                    let package = value()?.into();
                    options.tests.push(Job { package, filter: Vec::new(), dataplane: None });
                }
                "--timeout" => options.limit = Duration::from_secs(number(value()?)?.into()),
                "--cpus" => options.cpus = number(value()?)?,
                "--memory" => options.memory = number(value()?)?,
                "--" => options.words.extend(rest.by_ref().map(|w| (*w).to_owned())),
                option if option.starts_with('-') && options.tests.is_empty() => {
                    return Err(format!("no option `{option}`"));
                }
                _ => options.words.push((*word).into()),
            }
        }
        if !options.tests.is_empty() {
            let filter = std::mem::take(&mut options.words);
            options.tests.iter_mut().for_each(|job| job.filter.clone_from(&filter));
        }
        Ok(options)
    }
}

fn number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number"))
}

/// Runs the command or the tests: how it ended, or why it could not begin.
pub(crate) fn run(options: &Options) -> Result<u8, String> {
    boot(options).map(|ended| ended.code)
}

fn boot(options: &Options) -> Result<Ended, String> {
    if !payload::able() {
        return Err("`ldd` is missing (libc-bin)".into());
    }
    if (options.peers || options.lab()) && peers::fetch().passed == 0 {
        return Err("the newer peers are not there".into());
    }
    let mut executables = Vec::new();
    for job in &options.tests {
        executables.push(payload::build(&job.package)?);
    }
    let programs = if options.daemon || options.lab() { daemon(options.release)? } else { Vec::new() };
    let parts = Parts::get()?;
    static RUN: AtomicU32 = AtomicU32::new(0);
    let number = RUN.fetch_add(1, Ordering::Relaxed);
    let folder = target().join("kernel").join(format!("run-{}-{number}", std::process::id()));
    let ended = prepare_and_run(options, &parts, &folder, &executables, &programs);
    if options.keep {
        println!("the files of this run are in {}", folder.display());
    } else {
        remove(&folder).map_err(|error| error.to_string())?;
    }
    ended.map_err(|error| error.to_string())
}

fn prepare_and_run(
    options: &Options,
    parts: &Parts,
    folder: &Path,
    executables: &[Vec<payload::Executable>],
    programs: &[PathBuf],
) -> io::Result<Ended> {
    remove(folder)?;
    fs::create_dir_all(folder)?;
    let mut archives = vec![image::userland(parts)?, image::modules(parts, options.kernel)?];
    let mut payload = Payload::new(parts, folder)?;
    payload.export("ADIT_KERNEL", options.kernel);
    for program in programs {
        payload.program(program)?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        payload.export(&name.to_uppercase(), &program.display().to_string());
        payload.link(&name, program)?;
    }
    if options.peers || options.lab() {
        archives.push(image::peers(&peers::folder(), Path::new(PEERS))?);
        payload.export("ADIT_PEERS", PEERS);
    }
    if options.keep {
        payload.flag("keep")?;
        payload.line("mkdir -p /out");
    }
    let interactive = executables.is_empty() && options.words.is_empty();
    if interactive {
        payload.flag("shell")?;
    } else if executables.is_empty() {
        payload.line(&options.words.join(" "));
    } else {
        payload.tests(&options.tests, executables)?;
    }
    archives.push(payload.finish()?);
    let machine = Machine {
        parts,
        vmlinuz: &image::vmlinuz(parts, options.kernel)?,
        archives: &archives,
        folder,
        limit: options.limit,
        cpus: options.cpus,
        memory: options.memory,
        interactive,
        quiet: options.quiet,
    };
    machine.run()
}

/// The daemon and the command: those that `$ADITD` and `$ADIT` name, or a build of them.
fn daemon(release: bool) -> Result<Vec<PathBuf>, String> {
    if let [Some(aditd), Some(adit)] = ["ADITD", "ADIT"].map(std::env::var_os) {
        return Ok(vec![aditd.into(), adit.into()]);
    }
    let broken = || "aditd does not build".to_owned();
    if release {
        let (aditd, adit) = interop::programs().ok_or_else(broken)?;
        return Ok(vec![aditd.into(), adit.into()]);
    }
    let build = ["build", "--locked", "--package", "adit", "--bins"];
    if !shell::run(Command::new(shell::cargo()).args(build)) {
        return Err(broken());
    }
    Ok(["aditd", "adit"].map(|name| target().join("debug").join(name)).into())
}
