//! A kernel that does ESP, in a virtual machine: Debian's 6.12 or 6.1 under QEMU's plain emulation, with a userland of
//! Debian's packages in memory. One boot takes about five seconds, so a suite is one boot.

mod cpio;
mod image;
mod modules;
mod packages;
mod payload;
mod qemu;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use packages::{KERNELS, Parts};
use payload::Payload;
use qemu::{Ended, Machine};

use crate::debian::remove;
use crate::interop::target;
use crate::peers;
use crate::report::Outcome;
use crate::shell;
use crate::tests;

/// The tests that play whole daemons.
const LAB: &str = "adit-interop";

/// Where the newer peers are in the virtual machine.
const PEERS: &str = "/peers";

/// Tests that need a kernel with ESP: the kernel, the package, which of its tests.
const SUITE: &[(&str, &str, &[&str])] = &[
    ("6.12", "adit-linux", ENCODINGS_ASIDE),
    ("6.1", "adit-linux", ENCODINGS_ASIDE),
    ("6.12", "adit-dataplane", &["kernel::"]),
    ("6.12", "adit-gateway", &["firewall::esp"]),
    ("6.12", LAB, &["wireguard", "by_the_kernel"]),
];

/// These need no kernel, and are slow under emulation.
const ENCODINGS_ASIDE: &[&str] = &["--skip", "xfrm::tests::"];

/// What is run, and in what.
pub(crate) struct Options {
    /// A name of [`KERNELS`].
    kernel: &'static str,
    /// Leave the files of the run where they are.
    keep: bool,
    limit: Duration,
    cpus: u32,
    memory: u32,
    /// Packages whose tests are run.
    tests: Vec<String>,
    /// Bring aditd and adit along.
    daemon: bool,
    /// Bring the newer peers along.
    peers: bool,
    /// The command, or the filter of the tests.
    words: Vec<String>,
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
            daemon: false,
            peers: false,
            words: Vec::new(),
        }
    }
}

impl Options {
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
                "--tests" => options.tests.push(value()?.into()),
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

/// What `cargo xtask test` runs in virtual machines: on each kernel whether it does ESP at all, and the tests in [`SUITE`].
pub(crate) fn suite() -> Outcome {
    let (ready, reason) = match Parts::get() {
        Ok(_) => (true, String::new()),
        Err(reason) => (false, reason),
    };
    if !ready {
        return Outcome::skip(format!("the virtual machine: {reason}"));
    }
    let mut outcome = Outcome::default();
    for (kernel, _) in KERNELS {
        println!("---- kernel {kernel} ----");
        let smoke = Options { kernel, words: vec![include_str!("smoke.sh").into()], ..Options::default() };
        outcome = outcome.and(Outcome::check(run(&smoke) == Ok(0)));
    }
    for &(kernel, package, filter) in SUITE {
        println!("---- tests of {package} on {kernel} ----");
        let words = filter.iter().map(|word| (*word).to_owned()).collect();
        let options = Options { kernel, tests: vec![package.into()], words, ..Options::default() };
        outcome = outcome.and(match boot(&options) {
            Ok(ended) => tests::count(ended.code == 0, &ended.output),
            Err(reason) => {
                eprintln!("{reason}");
                Outcome::check(false)
            }
        });
    }
    outcome
}

fn boot(options: &Options) -> Result<Ended, String> {
    if !payload::able() {
        return Err("`ldd` is missing (libc-bin)".into());
    }
    let mut executables = Vec::new();
    for package in &options.tests {
        executables.extend(payload::build(package)?);
    }
    let lab = options.tests.iter().any(|package| package == LAB);
    let programs = if options.daemon || lab { daemon()? } else { Vec::new() };
    let parts = Parts::get()?;
    let folder = target().join("kernel").join(format!("run-{}", std::process::id()));
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
    executables: &[payload::Executable],
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
    if options.peers || options.tests.iter().any(|package| package == LAB) {
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
        payload.tests(executables, &options.words)?;
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
    };
    machine.run()
}

/// The daemon and the command: those that `$ADITD` and `$ADIT` name, or a debug build.
fn daemon() -> Result<Vec<PathBuf>, String> {
    let named = ["ADITD", "ADIT"].map(std::env::var_os);
    if let [Some(aditd), Some(adit)] = named {
        return Ok(vec![aditd.into(), adit.into()]);
    }
    let build = ["build", "--locked", "--package", "adit", "--bins"];
    if !shell::run(Command::new(shell::cargo()).args(build)) {
        return Err("aditd does not build".into());
    }
    Ok(["aditd", "adit"].map(|name| target().join("debug").join(name)).into())
}
