//! The virtual machine: emulated throughout, so that it runs wherever this program does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::packages::Parts;

/// What slows an emulated kernel down and protects nobody here is off.
const LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t tsc=reliable no_timer_check mitigations=off random.trust_cpu=on \
                    rcupdate.rcu_expedited=1 init_on_alloc=0 no5lvl nokaslr audit=0 lsm= hardened_usercopy=off \
                    randomize_kstack_offset=off cryptomgr.notests=1";

/// What is booted.
pub(super) struct Machine<'a> {
    /// The emulator's and the kernel's files.
    pub(super) parts: &'a Parts,
    /// The kernel.
    pub(super) vmlinuz: &'a Path,
    /// What it unpacks, in this order.
    pub(super) archives: &'a [PathBuf],
    /// A folder of this run alone.
    pub(super) folder: &'a Path,
    /// After this long it is ended.
    pub(super) limit: Duration,
    /// Processors; each takes one of this machine's whole.
    pub(super) cpus: u32,
    /// Megabytes.
    pub(super) memory: u32,
    /// The terminal is given to it; then nothing is read back.
    pub(super) interactive: bool,
    /// What it says is not shown as it comes.
    pub(super) quiet: bool,
}

/// How it went.
pub(super) struct Ended {
    /// The command's exit code; 124 if time was up, 125 if the machine died without telling one.
    pub(super) code: u8,
    /// What was said on the console.
    pub(super) output: String,
}

const TIME_UP: u8 = 124;
const DIED: u8 = 125;
const POLL: Duration = Duration::from_millis(20);

/// A disk for what comes out, in bytes; sparse.
const DISK: u64 = 512 << 20;

impl Machine<'_> {
    /// Boots it, shows what it says as it comes, waits for its end.
    pub(super) fn run(&self) -> io::Result<Ended> {
        let at = |name: &str| self.folder.join(name);
        concatenate(self.archives, &at("initrd"))?;
        File::create(at("disk"))?.set_len(DISK)?;
        let mut child = self.spawn(&at("initrd"), &at("result"), &at("disk"))?;
        let deadline = Instant::now() + self.limit;
        let (console, quiet) = (child.stdout.take(), self.quiet);
        let output = std::thread::spawn(move || console.map(|c| read(c, quiet)).unwrap_or_default());
        // it tells the code when everything was said, and would take a second to end by itself
        let code = loop {
            let result = fs::read_to_string(at("result")).unwrap_or_default();
            if let Some(code) = result.split_once('\n').and_then(|(line, _)| line.trim().strip_prefix("RC="))
            {
                break code.parse().unwrap_or(DIED);
            }
            if child.try_wait()?.is_some() {
                eprintln!("the virtual machine died before its command ended");
                break DIED;
            }
            if !self.interactive && Instant::now() >= deadline {
                eprintln!("the virtual machine did not end within {} s", self.limit.as_secs());
                break TIME_UP;
            }
            std::thread::sleep(POLL);
        };
        child.kill()?;
        child.wait()?;
        Ok(Ended { code, output: output.join().unwrap_or_default() })
    }

    fn spawn(&self, initrd: &Path, result: &Path, disk: &Path) -> io::Result<Child> {
        let emulator = self.parts.tool("qemu-system-x86_64");
        // should this program be killed, the kernel ends the machine
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(emulator.get_program()).args(emulator.get_args());
        command.envs(emulator.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .args(["-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi"])
            .args(["-smp", &self.cpus.to_string(), "-m", &self.memory.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
            .args(["-serial", &format!("file:{}", result.display())])
            .args(["-drive", &format!("file={},format=raw,if=virtio,cache=unsafe", disk.display())])
            .arg("-kernel")
            .arg(self.vmlinuz)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", LINE]);
        if !self.interactive {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
        }
        command.spawn()
    }
}

fn concatenate(archives: &[PathBuf], target: &Path) -> io::Result<()> {
    let mut whole = File::create(target)?;
    for archive in archives {
        io::copy(&mut File::open(archive)?, &mut whole)?;
    }
    Ok(())
}

/// Reads to the end, and shows what comes as it comes unless that is not wanted.
fn read(mut console: impl Read, quiet: bool) -> String {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = console.read(&mut chunk) {
        all.extend_from_slice(&chunk[..count]);
        if !quiet {
            // a closed terminal must not end the run
            let mut shown = io::stdout().lock();
            let _ = shown.write_all(&chunk[..count]).and_then(|()| shown.flush());
        }
    }
    String::from_utf8_lossy(&all).replace('\r', "")
}
