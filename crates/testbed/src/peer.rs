//! A daemon in a namespace: strongSwan or ours, behind one face.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::net::Namespace;
use crate::process::Process;
use crate::scenario::Conf;
use crate::swanctl::{self, Outcome};
use crate::tree::Tree;
use crate::vm;
use crate::wait::{eventually, wait_for};

/// Which implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian's charon-systemd; with userspace ESP, or the kernel's in the virtual machine.
    StrongSwan,
    /// The one of Debian 13, strongSwan 6.0.1, with its own libraries.
    StrongSwan6,
    /// `aditd` of this workspace.
    Adit,
}

impl Kind {
    /// Is it strongSwan, whatever the version?
    pub fn is_strongswan(self) -> bool {
        matches!(self, Self::StrongSwan | Self::StrongSwan6)
    }

    /// Why it cannot run on this machine, if it cannot (what every case needs is looked for elsewhere).
    pub fn missing(self) -> Option<String> {
        match self {
            Self::StrongSwan => None,
            Self::StrongSwan6 => crate::newer::missing(CHARON),
            Self::Adit if Peer::program("aditd").is_some() => None,
            Self::Adit => Some("aditd is not built (cargo build --bins)".into()),
        }
    }
}

const CHARON: &str = "/usr/sbin/charon-systemd";
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(5);

/// What charon loads. kernel-libipsec must stand before kernel-netlink: the first to offer ESP wins, and kernels
/// without ESP are common.
const PLUGINS: &str = "random nonce openssl pem pkcs1 pkcs8 x509 revocation constraints pubkey curve25519 aes sha2 sha1 \
                       hmac gcm chapoly kdf drbg md4 md5 gmp eap-identity eap-mschapv2 socket-default kernel-libipsec \
                       kernel-netlink vici updown resolve counters attr save-keys";

/// The plugins for this kernel: where it does ESP, it is to do it.
fn plugins() -> String {
    if vm::inside() { PLUGINS.replace("kernel-libipsec ", "") } else { PLUGINS.into() }
}

/// A daemon and the tool that drives it.
pub struct Peer {
    /// Who it is.
    pub kind: Kind,
    namespace: String,
    folder: PathBuf,
    process: Option<Process>,
    starts: u32,
}

impl Peer {
    /// The path of a program of this workspace, if it was built: `$ADITD`, or beside the test's own folder.
    pub fn program(name: &str) -> Option<PathBuf> {
        if let Some(path) = std::env::var_os(name.to_uppercase()) {
            return Some(path.into());
        }
        let test = std::env::current_exe().ok()?;
        let target = test.ancestors().nth(3)?;
        let profile = test.ancestors().nth(2)?.file_name()?.to_owned();
        [profile.as_os_str(), "release".as_ref(), "debug".as_ref()]
            .into_iter()
            .map(|profile| target.join(profile).join(name))
            .find(|path| path.exists())
    }

    /// Writes the configuration to `folder`, starts the daemon in `namespace`, and has swanctl load everything.
    pub fn start(kind: Kind, namespace: &Namespace, folder: &Path, conf: &Conf) -> Self {
        let mut peer = Self {
            kind,
            namespace: namespace.name().into(),
            folder: folder.into(),
            process: None,
            starts: 0,
        };
        peer.configure(conf);
        peer.launch(namespace);
        peer.load();
        peer
    }

    /// Writes the configuration anew; the daemon does not know yet.
    pub fn configure(&self, conf: &Conf) {
        let folder = &self.folder;
        for name in swanctl::FOLDERS.into_iter().chain(["keys"]) {
            std::fs::create_dir_all(folder.join(name)).expect("folder of a peer");
        }
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("file of a peer");
        write("tool.conf", swanctl::TOOL_CONF);
        write("light.conf", swanctl::LIGHT_CONF);
        write("swanctl.conf", &conf.swanctl_conf());
        write("strongswan.conf", &self.strongswan_conf(conf));
        for (number, authority) in conf.authorities.iter().enumerate() {
            write(&format!("x509ca/ca{number}.pem"), authority);
        }
        if let Some(entity) = &conf.entity {
            crate::pki::place(folder, "peer", entity);
        }
    }

    fn strongswan_conf(&self, conf: &Conf) -> String {
        let at = |name: &str| self.folder.join(name).display().to_string();
        format!(
            "charon {{\n  load_modular = no\n  load = {}\n  install_virtual_ip = yes\n  install_routes = yes\n{}  \
             plugins {{\n    vici {{\n      socket = unix://{}\n    }}\n    resolve {{\n      file = {}\n    }}\n    save-keys \
             {{\n      load = yes\n      ike = yes\n      esp = yes\n      wireshark_keys = {}\n    }}\n{}  }}\n  filelog {{\n    \
             main {{\n      path = {}\n      default = 1\n      flush_line = yes\n      append = yes\n      ike_name = \
             yes\n      time_format = %H:%M:%S\n    }}\n  }}\n}}\ncharon-systemd {{\n  journal {{\n    default = -1\n  \
             }}\n}}\nadit {{\n  dataplane = {}\n{}}}\n",
            plugins(),
            conf.charon,
            at("vici"),
            at("resolv.conf"),
            at("keys"),
            conf.plugins,
            at("daemon.log"),
            vm::dataplane(),
            conf.adit,
        )
    }

    /// Starts the daemon (again).
    pub fn launch(&mut self, namespace: &Namespace) {
        assert!(self.process.is_none(), "it runs already");
        let program = match self.kind {
            Kind::StrongSwan | Kind::StrongSwan6 => PathBuf::from(CHARON),
            Kind::Adit => Self::program("aditd").expect("aditd is not built"),
        };
        // its own /run hides the system's sockets from it
        let mut script = "mount -t tmpfs tmpfs /run && ".to_owned();
        if self.kind == Kind::StrongSwan6 {
            script += &format!("{} && ", crate::newer::enter());
        }
        script += "exec \"$0\"";
        let mut command = namespace.command("sh");
        let output =
            File::options().create(true).append(true).open(self.folder.join("output")).expect("output");
        command
            .args(["-c", &script])
            .arg(program)
            .env("STRONGSWAN_CONF", self.folder.join("strongswan.conf"))
            .env("SWANCTL_DIR", &self.folder)
            .stdout(output.try_clone().expect("output"))
            .stderr(output);
        let mut process = Process::spawn("the daemon", command);
        let socket = self.socket();
        let ready = eventually(START, || process.ended().is_some() || UnixStream::connect(&socket).is_ok());
        let ended = process.ended();
        self.process = Some(process);
        self.starts += 1;
        assert!(ready && ended.is_none(), "{:?} did not come up ({ended:?}):\n{}", self.kind, self.log());
    }

    /// The VICI socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("vici")
    }

    /// Its folder: configuration, log, key log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Calls swanctl on it.
    pub fn swanctl(&self, args: &[&str]) -> Outcome {
        swanctl::call(&self.folder, &self.socket(), args)
    }

    /// `swanctl --load-all`, which must succeed.
    pub fn load(&self) {
        let loaded = self.swanctl(&["--load-all", "--noprompt"]);
        assert!(loaded.success, "swanctl --load-all on {:?}:\n{}\n{}", self.kind, loaded.all(), self.log());
    }

    /// Initiates a child; the error is what swanctl printed.
    pub fn initiate(&self, ike: &str, child: &str, seconds: u32) -> Result<String, String> {
        let seconds = (seconds * vm::patience()).to_string();
        let outcome = self.swanctl(&["--initiate", "--ike", ike, "--child", child, "--timeout", &seconds]);
        if outcome.success { Ok(outcome.all()) } else { Err(outcome.all()) }
    }

    /// Terminates an IKE_SA by name.
    pub fn terminate(&self, ike: &str) -> Outcome {
        let seconds = (10 * vm::patience()).to_string();
        self.swanctl(&["--terminate", "--ike", ike, "--timeout", &seconds])
    }

    /// Its IKE_SAs, each named after its connection.
    pub fn sas(&self) -> Vec<Tree> {
        self.events("--list-sas", "list-sa event")
    }

    /// Its connections.
    pub fn conns(&self) -> Vec<Tree> {
        self.events("--list-conns", "list-conn event")
    }

    fn events(&self, command: &str, event: &str) -> Vec<Tree> {
        let outcome = self.swanctl(&[command, "--pretty"]);
        assert!(outcome.success, "swanctl {command} on {:?}: {}", self.kind, outcome.all());
        let trees = Tree::parse(&outcome.out);
        trees.into_iter().filter(|t| t.name == event).flat_map(|t| t.sections().to_vec()).collect()
    }

    /// The established IKE_SA `name` with a child that is installed, if it is there.
    pub fn established(&self, name: &str) -> Option<Tree> {
        let up = |sa: &Tree| {
            sa.name == name
                && sa.get("state") == "ESTABLISHED"
                && sa.children().iter().any(|c| c.get("state") == "INSTALLED")
        };
        self.sas().into_iter().find(up)
    }

    /// How many leases of the pool `home` are online.
    pub fn leases_online(&self) -> u64 {
        let outcome = self.swanctl(&["--list-pools", "--pretty"]);
        let trees = Tree::parse(&outcome.out);
        trees.iter().find_map(|t| t.section("home")).map_or(0, |pool| pool.number("online"))
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        ["daemon.log", "output"]
            .map(|name| std::fs::read(self.folder.join(name)).unwrap_or_default())
            .map(|bytes| crate::process::text(&bytes))
            .concat()
    }

    /// Waits for a line of its log that contains all of `parts`.
    pub fn logged(&self, parts: &[&str]) -> bool {
        eventually(Duration::from_secs(2), || {
            self.log().lines().any(|line| parts.iter().all(|p| line.contains(p)))
        })
    }

    /// What `adit status` says of it; only for ours.
    pub fn status(&self) -> String {
        let adit = Self::program("adit").expect("adit is not built");
        let output = std::process::Command::new(adit)
            .args(["status", "--uri"])
            .arg(format!("unix://{}", self.socket().display()))
            .env("STRONGSWAN_CONF", self.folder.join("strongswan.conf"))
            .env("SWANCTL_DIR", &self.folder)
            .output()
            .expect("starting adit");
        crate::process::text(&[output.stdout, output.stderr].concat())
    }

    /// Does it still run?
    pub fn running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|p| p.ended().is_none())
    }

    /// CPU time of its threads so far.
    pub fn cpu(&self) -> Duration {
        let pid = self.process.as_ref().map_or(0, Process::pid);
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let nanoseconds = |folder: std::fs::DirEntry| {
            let text = std::fs::read_to_string(folder.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(threads.filter_map(nanoseconds).sum())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// A signal to it.
    pub fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("it runs").signal(signal);
    }

    /// SIGTERM; how long it took to end, and whether well.
    pub fn stop(&mut self) -> Option<(Duration, bool)> {
        let mut process = self.process.take()?;
        let start = std::time::Instant::now();
        process.signal(Signal::SIGTERM);
        let status = process.wait(STOP)?;
        Some((start.elapsed(), status.success()))
    }

    /// Waits until it has no IKE_SA at all.
    pub fn wait_until_empty(&self, limit: Duration) {
        let what = format!("no SA left at {:?}", self.kind);
        wait_for(&what, limit, || self.sas().is_empty().then_some(()));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(120);
            eprintln!("---- log of {:?} in {} ----", self.kind, self.namespace);
            log.lines().skip(from).for_each(|line| eprintln!("{line}"));
            if vm::inside() {
                eprintln!("{}", vm::xfrm(&self.namespace));
            }
        }
        self.stop();
    }
}
