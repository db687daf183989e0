//! OpenIKED from the newer Debian. Its CHILD_SAs are the kernel's, which it is told of by PF_KEY; so it runs where the
//! kernel has that and does ESP.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::net::Namespace;
use crate::newer;
use crate::process::{Process, run, text};
use crate::wait::eventually;

const IKED: &str = "/usr/sbin/iked";
/// At its start the kernel tries each algorithm that it knows the name of, and loads the modules.
const START: Duration = Duration::from_secs(40);
/// Where its processes lock themselves in; the package makes it.
const CHROOT: &str = "/var/lib/openiked/empty";

/// Why it cannot run here, if it cannot.
pub fn missing() -> Option<String> {
    newer::missing(IKED)
}

/// A running iked.
pub struct OpenIked {
    folder: PathBuf,
    namespace: String,
    process: Process,
}

impl OpenIked {
    /// Starts it in `namespace` with this configuration (the lines of iked.conf).
    pub fn start(namespace: &Namespace, folder: &Path, conf: &str) -> Self {
        let etc = folder.join("etc");
        for place in [&etc, Path::new(CHROOT)] {
            fs::create_dir_all(place).expect("folder of iked");
        }
        for name in ["iked", "protocols", "services", "ssl"] {
            newer::copy_etc(name, &etc);
        }
        let write = |name: &str, content: &str| fs::write(folder.join(name), content).expect("file of iked");
        write(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\n_iked:x:100:100::/:/bin/sh\n_openiked:x:100:100::/:/bin/sh\n",
        );
        write("etc/group", "root:x:0:\n_iked:x:100:\n_openiked:x:100:\n");
        write("iked.conf", conf);
        // it holds secrets
        fs::set_permissions(folder.join("iked.conf"), Permissions::from_mode(0o600)).expect("iked.conf");
        let key = etc.join("iked/private/local.key").display().to_string();
        run("openssl", &["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", &key]);
        let output = File::create(folder.join("daemon.log")).expect("log of iked");
        let at = |name: &str| folder.join(name).display().to_string();
        let script = format!(
            "mount -t tmpfs tmpfs /run && {} && exec {IKED} -dv -f {} -s {}",
            newer::enter_with(&etc),
            at("iked.conf"),
            at("socket")
        );
        let mut command = namespace.command("sh");
        command.args(["-c", &script]).stdout(output.try_clone().expect("log of iked")).stderr(output);
        let process = Process::spawn("iked", command);
        let mut iked = Self { folder: folder.into(), namespace: namespace.name().into(), process };
        let ready = eventually(START, || iked.process.ended().is_some() || iked.control(&["show", "sa"]).0);
        assert!(ready && iked.process.ended().is_none(), "iked did not come up:\n{}", iked.log());
        iked
    }

    /// Calls `ikectl`: whether it succeeded, and what it printed.
    pub fn control(&self, words: &[&str]) -> (bool, String) {
        let socket = self.folder.join("socket");
        let script = format!(
            "{} && exec /usr/sbin/ikectl -s {} {}",
            newer::enter_with(&self.folder.join("etc")),
            socket.display(),
            words.join(" ")
        );
        let output = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "timeout", "20", "sh", "-c", &script])
            .output()
            .expect("starting sh");
        (output.status.success(), text(&[output.stdout, output.stderr].concat()))
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        text(&fs::read(self.folder.join("daemon.log")).unwrap_or_default())
    }
}

impl Drop for OpenIked {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of iked in {} ----\n{}", self.namespace, self.log());
            eprintln!("{}{}", self.control(&["show", "sa"]).1, crate::vm::xfrm(&self.namespace));
        }
        self.process.signal(nix::sys::signal::Signal::SIGTERM);
        self.process.wait(Duration::from_secs(5));
    }
}
