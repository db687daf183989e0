//! The topology: road-warriors, a NAT router, a gateway, a node behind it.
//!
//! ```text
//! rw  10.1.0.2 ── 10.1.0.1 [nat: masquerade random] 192.168.0.1 ── 192.168.0.2 [gw] 10.2.0.1 ── 10.2.0.2 node
//! rw2 10.1.1.2 ── 10.1.1.1 [nat]
//! ```

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::process::{self, command};

/// The gateway's outer address.
pub const GW: &str = "192.168.0.2";
/// The first road-warrior's address behind the NAT.
pub const RW: &str = "10.1.0.2";
/// The node behind the gateway.
pub const NODE: &str = "10.2.0.2";
/// The same node in the second network behind the gateway, 10.2.1.0/24.
pub const NODE_TOO: &str = "10.2.1.2";
/// The same node by IPv6.
pub const NODE6: &str = "fd00:2::2";

const FOLDER: &str = "/run/netns";
const PREFIX: &str = "adit-test-";

/// Which packets the NAT router drops at random.
#[derive(Clone, Copy, Debug)]
pub enum Traffic {
    /// This many of a hundred, each way.
    Lose(u8),
    /// All of them.
    Cut,
    /// None.
    Pass,
}

/// A network namespace; deleted when dropped.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Its name below /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> std::path::PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// A command that will run inside, with the caller's pid becoming the program's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = command("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a program inside to its end: from a thread that has gone there, which starts two programs less than
    /// [`Self::command`] and leaves `/sys` as it is.
    fn output(&self, program: &str, args: &[&str]) -> Output {
        let place = File::open(self.path()).expect("the namespace");
        let run = || {
            setns(place, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
            process::try_run(program, args)
        };
        std::thread::scope(|scope| scope.spawn(run).join()).expect("a thread")
    }

    /// Runs a shell script inside, one that must succeed.
    pub fn sh(&self, script: &str) -> String {
        let output = self.output("sh", &["-ec", script]);
        assert!(
            output.status.success(),
            "in {}: {script}\n{}{}",
            self.name,
            process::text(&output.stdout),
            process::text(&output.stderr)
        );
        process::text(&output.stdout)
    }

    /// Does `address` answer one of `count` echo requests sent 200 ms apart, the last given a second?
    pub fn ping_of(&self, address: &str, count: u32) -> bool {
        let count = count.to_string();
        let args = ["-q", "-n", "-c", &count, "-i", "0.2", "-W", "1", address];
        let output = self.output("ping", &args);
        output.status.success()
    }

    /// Does `address` answer an echo request within a second?
    pub fn ping(&self, address: &str) -> bool {
        self.ping_of(address, 1)
    }

    /// Do all of `count` echo requests of `size` bytes get their answer?
    pub fn pings(&self, address: &str, count: u32, size: u32) -> bool {
        let (n, s) = (count.to_string(), size.to_string());
        let args = ["-q", "-n", "-c", &n, "-i", "0.2", "-W", "1", "-s", &s, address];
        let output = self.output("ping", &args);
        process::text(&output.stdout).contains(&format!(" {count} received"))
    }

    /// The routes of table 220, a line each; `throw` routes (which only keep traffic out of it) left out.
    pub fn tunnel_routes(&self) -> Vec<String> {
        let show = |family| {
            process::text(
                &process::try_run("ip", &["-n", &self.name, family, "route", "show", "table", "220"]).stdout,
            )
        };
        let lines = show("-4") + &show("-6");
        lines.lines().filter(|l| !l.is_empty() && !l.starts_with("throw")).map(|l| l.trim().into()).collect()
    }

    /// All IPv4 addresses with their device, a line each.
    pub fn addresses(&self) -> Vec<String> {
        let lines = process::run("ip", &["-n", &self.name, "-4", "-o", "address", "show"]);
        lines.lines().map(Into::into).collect()
    }

    /// Is one of the pool's addresses on one of its devices?
    pub fn has_virtual_ip(&self) -> bool {
        self.addresses().iter().any(|line| line.contains("inet 10.3.0."))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        process::try_run("ip", &["netns", "delete", &self.name]);
    }
}

/// The whole topology; gone when dropped. Names are unique per process and instance, so tests run side by side.
pub struct Network {
    /// The road-warrior.
    pub rw: Namespace,
    /// A second one behind the same NAT.
    pub rw2: Namespace,
    /// The router between.
    pub nat: Namespace,
    /// The gateway.
    pub gw: Namespace,
    /// What it protects.
    pub node: Namespace,
}

static INSTANCE: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// Builds it.
    pub fn build() -> Self {
        let prefix = format!("{PREFIX}{}-{}", std::process::id(), INSTANCE.fetch_add(1, Ordering::Relaxed));
        // `ip netns add` makes /run/netns a mount point on first use, and two at once fail
        let lock = File::create("/run/adit-test.lock").expect("/run/adit-test.lock");
        lock.lock().expect("/run/adit-test.lock");
        remove_stale();
        let net = Self::named(|role| Namespace { name: format!("{prefix}-{role}") });
        let names = net.all().map(|ns| format!("netns add {}\n", ns.name()));
        batch(&names.concat());
        drop(lock);
        batch(
            &[
                link((&net.rw, "wan"), (&net.nat, "lan")),
                link((&net.rw2, "wan"), (&net.nat, "lan2")),
                link((&net.nat, "wan"), (&net.gw, "wan")),
                link((&net.gw, "lan"), (&net.node, "lan")),
            ]
            .concat(),
        );
        let devices = |ns: &Namespace, setup: &str, more: &str| {
            ns.sh(&format!(
                "for c in all default; do echo 0 > /proc/sys/net/ipv4/conf/$c/rp_filter; echo 1 > \
                 /proc/sys/net/ipv4/conf/$c/promote_secondaries; done\nip -batch - <<'EOF'\nlink set lo \
                 up\n{setup}EOF\n{more}"
            ))
        };
        let up = |device: &str, address: &str| {
            format!("address add {address}/24 dev {device}\nlink set {device} up\n")
        };
        let way = |router: &str| format!("route add default via {router}\n");
        devices(&net.rw, &(up("wan", RW) + &way("10.1.0.1")), "");
        devices(&net.rw2, &(up("wan", "10.1.1.2") + &way("10.1.1.1")), "");
        devices(
            &net.nat,
            &(up("lan", "10.1.0.1") + &up("lan2", "10.1.1.1") + &up("wan", "192.168.0.1")),
            "echo 1 > /proc/sys/net/ipv4/ip_forward\n\
             nft 'table ip nat { chain post { type nat hook postrouting priority 100; oifname \"wan\" masquerade random; }; }'",
        );
        devices(
            &net.gw,
            &(up("wan", GW)
                + &up("lan", "10.2.0.1")
                + "address add 10.2.1.1/24 dev lan\naddress add fd00:2::1/64 dev lan nodad\n"),
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
        );
        devices(
            &net.node,
            &(up("lan", NODE)
                + &format!(
                    "address add {NODE_TOO}/24 dev lan\naddress add {NODE6}/64 dev lan nodad\n{}route add default via \
                     fd00:2::1\n",
                    way("10.2.0.1")
                )),
            "",
        );
        net
    }

    fn named(create: impl Fn(&str) -> Namespace) -> Self {
        Self {
            rw: create("rw"),
            rw2: create("rw2"),
            nat: create("nat"),
            gw: create("gw"),
            node: create("node"),
        }
    }

    fn all(&self) -> [&Namespace; 5] {
        [&self.rw, &self.rw2, &self.nat, &self.gw, &self.node]
    }

    /// What the router does with the packets it forwards from now on.
    pub fn traffic(&self, traffic: Traffic) {
        let rule = match traffic {
            Traffic::Lose(percent) => format!("numgen random mod 100 < {percent} drop"),
            Traffic::Cut => "drop".into(),
            Traffic::Pass => String::new(),
        };
        self.nat.sh(&format!(
            "nft -f - <<'EOF'\ntable inet loss\ndelete table inet loss\ntable inet loss {{\n chain f {{\n  type filter \
             hook forward priority 0;\n  {rule}\n }}\n}}\nEOF\n"
        ));
    }
}

/// A line that links two namespaces by devices of these names.
fn link(a: (&Namespace, &str), b: (&Namespace, &str)) -> String {
    format!("link add {} netns {} type veth peer name {} netns {}\n", a.1, a.0.name(), b.1, b.0.name())
}

/// Runs lines of `ip`, which must succeed: one program, not one per line.
fn batch(lines: &str) {
    process::run("sh", &["-ec", &format!("ip -batch - <<'EOF'\n{lines}EOF")]);
}

/// Removes namespaces of test processes that were killed.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return };
    for name in entries.flatten().filter_map(|e| e.file_name().into_string().ok()) {
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            process::try_run("ip", &["netns", "delete", &name]);
        }
    }
}
