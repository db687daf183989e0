//! One end's daemon: this program again, in a namespace.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use adit_linux::netns::Namespace;

use super::Failure;

/// A running daemon; killed when dropped.
pub(super) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Its VICI socket.
    pub(super) socket: PathBuf,
}

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(3);

impl Daemon {
    /// Writes the configuration, starts the daemon and waits until it says that it is ready.
    pub(super) fn start(
        namespace: &Namespace,
        folder: &Path,
        name: &'static str,
        swanctl: &str,
    ) -> Result<Self, Failure> {
        let folder = folder.join(name);
        let io = |what: &str, e: std::io::Error| format!("{what} of {name}: {e}");
        std::fs::create_dir_all(&folder).map_err(|e| io("folder", e))?;
        let socket = folder.join("vici");
        let log = folder.join("log");
        let daemon_conf = format!(
            "charon {{\n  plugins {{\n    vici {{\n      socket = unix://{}\n    }}\n    resolve {{\n      file = {}\n    \
             }}\n  }}\n}}\nadit {{\n  dataplane = userspace\n}}\n",
            socket.display(),
            folder.join("resolv.conf").display()
        );
        std::fs::write(folder.join("strongswan.conf"), daemon_conf).map_err(|e| io("strongswan.conf", e))?;
        std::fs::write(folder.join("swanctl.conf"), swanctl).map_err(|e| io("swanctl.conf", e))?;
        let notify_path = folder.join("notify");
        let notify = UnixDatagram::bind(&notify_path).map_err(|e| io("notify socket", e))?;
        notify.set_read_timeout(Some(START)).map_err(|e| io("notify socket", e))?;
        let out = std::fs::File::create(&log).map_err(|e| io("log", e))?;
        let program = std::env::current_exe().map_err(|e| io("path", e))?;
        let child = namespace
            .bound_command(program)
            .map_err(|e| io("command", e))?
            .arg("daemon")
            .env("STRONGSWAN_CONF", folder.join("strongswan.conf"))
            .env("SWANCTL_DIR", &folder)
            .env("NOTIFY_SOCKET", &notify_path)
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(|e| io("log", e))?)
            .stderr(out)
            .spawn()
            .map_err(|e| io("start", e))?;
        let daemon = Self { name, child, log, socket };
        let mut word = [0u8; 64];
        match notify.recv(&mut word) {
            Ok(_) => Ok(daemon),
            Err(_) => Err(format!("the daemon of {name} did not become ready; its log:\n{}", daemon.log())),
        }
    }

    /// What it logged, for an error.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM, and waits until it is gone.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(format!("{} ended with {status}:\n{}", self.name, self.log()));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(format!("waiting for {}: {error}", self.name)),
            }
        }
        Err(format!("{} did not stop:\n{}", self.name, self.log()))
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // gone already: nothing to signal
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A pre-shared key nobody else knows, for these two processes; 128 bits from the kernel.
pub(super) fn secret() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(|e| format!("reading /dev/urandom: {e}"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
