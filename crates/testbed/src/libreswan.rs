//! libreswan's pluto, from the newer Debian: its IKE side. It has no data plane but the kernel's; where that has no ESP,
//! IKE_SAs live and CHILD_SAs are negotiated and then fail to be installed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::net::Namespace;
use crate::newer;
use crate::pki::Entity;
use crate::process::{Process, text};
use crate::scenario::SECRET;
use crate::wait::eventually;

const PLUTO: &str = "/usr/libexec/ipsec/pluto";
const START: Duration = Duration::from_secs(20);

/// Why it cannot run here, if it cannot.
pub fn missing() -> Option<String> {
    newer::missing(PLUTO)
}

/// How it proves itself, and what it believes.
pub enum Proof {
    /// The pre-shared key of the tests.
    Psk,
    /// A certificate, and the authority of the other end.
    Certificate(Box<Entity>, String),
}

/// A running pluto with one connection, `lab`.
pub struct Libreswan {
    folder: PathBuf,
    namespace: String,
    process: Process,
}

impl Libreswan {
    /// Starts it in `namespace`; `settings` are lines of the connection (without those of authentication).
    pub fn start(namespace: &Namespace, folder: &Path, settings: &[(&str, &str)], proof: &Proof) -> Self {
        for name in ["etc", "ipsec.d", "nss", "run"] {
            std::fs::create_dir_all(folder.join(name)).expect("folder of pluto");
        }
        let write =
            |name: &str, content: &str| std::fs::write(folder.join(name), content).expect("file of pluto");
        let mut lines: String = settings.iter().map(|(key, value)| format!("    {key}={value}\n")).collect();
        let mut prepare = "certutil -N -d sql:nss --empty-password".to_owned();
        match proof {
            Proof::Psk => {
                lines += "    authby=secret\n";
                write("ipsec.secrets", &format!("@gw.lab rw@lab : PSK \"{SECRET}\"\n"));
            }
            Proof::Certificate(entity, authority) => {
                lines += "    authby=ecdsa-sha2\n    leftcert=peer\n";
                write("ipsec.secrets", "");
                write("ca.pem", authority);
                write("peer.pem", &entity.certificate);
                write("peer.key", &entity.key);
                // its keys live in NSS's database, which takes them from PKCS#12 only
                prepare += " && openssl pkcs12 -export -in peer.pem -inkey peer.key -name peer -passout pass:x -out p12 \
                            && pk12util -i p12 -W x -d sql:nss \
                            && certutil -A -d sql:nss -n ca -t CT,, -i ca.pem";
            }
        }
        write("ipsec.conf", &format!("conn lab\n    keyexchange=ikev2\n    auto=add\n{lines}"));
        write("etc/hosts", "127.0.0.1 localhost\n");
        write("etc/resolv.conf", "");
        write("etc/nsswitch.conf", "hosts: files\n");
        for name in ["protocols", "services", "ssl"] {
            newer::copy_etc(name, &folder.join("etc"));
        }
        let output = File::create(folder.join("daemon.log")).expect("log of pluto");
        let at = |name: &str| folder.join(name).display().to_string();
        let script = format!(
            "{} && cd \"$0\" && ({prepare}) && exec {PLUTO} --nofork --stderrlog --no-dnssec --config {} --secretsfile {} \
             --ipsecdir {} --nssdir {} --rundir {}",
            newer::enter_with(&folder.join("etc")),
            at("ipsec.conf"),
            at("ipsec.secrets"),
            at("ipsec.d"),
            at("nss"),
            at("run"),
        );
        let mut command = namespace.command("sh");
        command
            .args(["-c", &format!("mount -t tmpfs tmpfs /run && {script}")])
            .arg(folder)
            .stdout(output.try_clone().expect("log of pluto"))
            .stderr(output);
        let process = Process::spawn("pluto", command);
        let mut pluto = Self { folder: folder.into(), namespace: namespace.name().into(), process };
        let ready = eventually(START, || {
            pluto.process.ended().is_some() || pluto.logged("listening for IKE messages")
        });
        assert!(ready && pluto.process.ended().is_none(), "pluto did not come up:\n{}", pluto.log());
        let added = pluto
            .call("addconn", &["--config", &at("ipsec.conf"), "--ctlsocket", &at("run/pluto.ctl"), "lab"]);
        assert!(pluto.logged("\"lab\": added IKEv2 connection"), "{added}\n{}", pluto.log());
        pluto
    }

    /// Calls one of its programs (`whack`, `addconn`); what it printed. Their exit codes say little.
    fn call(&self, program: &str, words: &[&str]) -> String {
        let script = format!(
            "{} && exec /usr/libexec/ipsec/{program} \"$@\"",
            newer::enter_with(&self.folder.join("etc"))
        );
        let output = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "timeout", "20", "sh", "-c", &script, "sh"])
            .args(words)
            .output()
            .expect("starting sh");
        text(&[output.stdout, output.stderr].concat())
    }

    /// Tells pluto to do something with the connection: `--initiate`, `--rekey-ike`, `--delete-ike`, …
    pub fn whack(&self, order: &str) -> String {
        let run = self.folder.join("run").display().to_string();
        self.call("whack", &["--rundir", &run, "--name", "lab", "--asynchronous", order])
    }

    /// The states it has, a line each.
    pub fn states(&self) -> Vec<String> {
        let run = self.folder.join("run").display().to_string();
        let shown = self.call("whack", &["--rundir", &run, "--showstates"]);
        shown.lines().filter(|line| line.starts_with('#')).map(Into::into).collect()
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        text(&std::fs::read(self.folder.join("daemon.log")).unwrap_or_default())
    }

    /// Does a line of its log contain this now?
    pub fn logged(&self, words: &str) -> bool {
        self.log().lines().any(|line| line.contains(words))
    }
}

impl Drop for Libreswan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            // it begins with pages of algorithms
            let from = log.lines().count().saturating_sub(60);
            eprintln!("---- log of pluto in {} ----", self.namespace);
            log.lines().skip(from).for_each(|line| eprintln!("{line}"));
            eprintln!("{}", crate::vm::xfrm(&self.namespace));
        }
    }
}
