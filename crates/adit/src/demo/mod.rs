//! `adit demo`: the whole way from a configuration file to a ping through an encrypted tunnel, on one machine.
//!
//! Four network namespaces stand for road-warrior, NAT router, gateway and node. Both ends run this very program as
//! the daemon. Everything made here is taken down again, also when the demo is interrupted or a step fails.

mod config;
mod daemon;
mod network;
mod probe;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_vici::client::Client;
use adit_vici::message::Message;

use daemon::Daemon;
use network::Network;

/// What a step failed with: a sentence.
type Failure = String;

/// Runs the demo; the exit code of the program.
pub fn run() -> u8 {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&interrupted)) {
            eprintln!("adit demo: cannot watch for signals: {error}");
            return 1;
        }
    }
    let mut steps = Steps { interrupted, count: 0, started: Instant::now() };
    match play(&mut steps) {
        Ok(()) => {
            println!(
                "done in {:.1} s: nothing of it is left on this machine",
                steps.started.elapsed().as_secs_f32()
            );
            0
        }
        Err(failure) => {
            eprintln!("adit demo: {failure}");
            1
        }
    }
}

/// Numbers, times and prints what happens; refuses to go on after an interrupt.
struct Steps {
    interrupted: Arc<AtomicBool>,
    count: u32,
    started: Instant,
}

impl Steps {
    fn step<T>(
        &mut self,
        title: &str,
        work: impl FnOnce() -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        const INTERRUPTED: &str = "interrupted; everything was taken down";
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(INTERRUPTED.into());
        }
        self.count += 1;
        let started = Instant::now();
        let interrupted = &self.interrupted;
        let (value, result) = work().map_err(|cause| match interrupted.load(Ordering::Relaxed) {
            true => INTERRUPTED.to_owned(),
            false => format!("{title}: {cause}"),
        })?;
        let took = started.elapsed().as_secs_f32() * 1000.0;
        println!("{:>2}  {title:<52} {result}  ({took:.0} ms)", self.count);
        Ok(value)
    }
}

/// A folder for configuration, logs and sockets; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("adit-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| format!("creating {}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // what cannot be removed is a temporary file less tidy, nothing worse
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn play(steps: &mut Steps) -> Result<(), Failure> {
    println!("{}", config::PICTURE);
    let folder = Folder::create()?;
    // Declared before the daemons, so that it is taken down after them.
    let net = steps.step("build four namespaces: rw, nat, gw, node", || {
        Network::build().map(|n| (n, "joined by veth, NAT masquerades".into()))
    })?;
    let (gw, rw) = steps.step("start a daemon on gateway and road-warrior", || start(&folder.0, &net))?;
    steps.step("without the tunnel: rw pings the node 10.2.0.2", || {
        match probe::ping(&net.rw, config::NODE, 1, Duration::from_millis(500))? {
            replies if replies.is_empty() => Ok(((), "no answer, as it should be".into())),
            _ => Err("the node answered although there is no tunnel".into()),
        }
    })?;
    steps.step("rw initiates: IKE_SA_INIT, IKE_AUTH through the NAT", || initiate(&rw).map(|t| ((), t)))?;
    show(&net, &rw)?;
    steps.step("through the tunnel: rw pings the node", || {
        let replies = probe::ping(&net.rw, config::NODE, 5, Duration::from_secs(2))?;
        match median(replies) {
            Some((5, rtt)) => Ok(((), format!("5/5, median {rtt:.2} ms"))),
            other => Err(format!("only {} of 5 pings came back", other.map_or(0, |(n, _)| n))),
        }
    })?;
    steps.step("the node pings the road-warrior's virtual address", || {
        let replies = probe::ping(&net.node, config::VIRTUAL, 3, Duration::from_secs(2))?;
        if replies.len() == 3 {
            Ok(((), "3/3".into()))
        } else {
            Err(format!("{} of 3 came back", replies.len()))
        }
    })?;
    let took = Duration::from_secs(2);
    steps.step("TCP rw -> node for two seconds", || {
        probe::throughput(&net.rw, &net.node, config::NODE, took)
            .map(|bits| ((), format!("{:.0} Mbit/s", bits / 1e6)))
    })?;
    steps.step("TCP node -> rw for two seconds", || {
        probe::throughput(&net.node, &net.rw, config::VIRTUAL, took)
            .map(|b| ((), format!("{:.0} Mbit/s", b / 1e6)))
    })?;
    steps.step("stop both: DELETE to the peer, addresses and routes go", || stop(rw, gw, &net))?;
    Ok(())
}

fn start(folder: &Path, net: &Network) -> Result<((Daemon, Daemon), String), Failure> {
    let secret = daemon::secret()?;
    let gw = Daemon::start(&net.gw, folder, "gw", &config::GATEWAY.replace("DEMO-PSK", &secret))?;
    let rw = Daemon::start(&net.rw, folder, "rw", &config::ROAD_WARRIOR.replace("DEMO-PSK", &secret))?;
    Ok(((gw, rw), "both ready".into()))
}

fn initiate(rw: &Daemon) -> Result<String, Failure> {
    let mut client = Client::connect(&rw.socket).map_err(|e| format!("connecting to the daemon: {e}"))?;
    let request = Message::new().kv("child", "net").kv("timeout", "10000").kv("loglevel", "0");
    let reply = client
        .stream("initiate", "control-log", &request, |_| {})
        .map_err(|e| format!("asking the daemon: {e}\n{}", rw.log()))?;
    if reply.get_str("success") == Some("yes") {
        Ok("established".into())
    } else {
        Err(format!("{}\n{}", reply.get_str("errmsg").unwrap_or("no reason given"), rw.log()))
    }
}

/// Prints what the road-warrior has now: its SA and its routes.
fn show(net: &Network, rw: &Daemon) -> Result<(), Failure> {
    let mut client = Client::connect(&rw.socket).map_err(|e| format!("connecting to the daemon: {e}"))?;
    let mut text = String::new();
    let seen = client.stream("list-sas", "list-sa", &Message::new(), |event| {
        for (name, sa) in event.sections() {
            let field = |key| sa.get_str(key).unwrap_or("?").to_owned();
            let _ = writeln!(
                text,
                "    {name}: {} {} === {} {}",
                field("local-host"),
                field("local-id"),
                field("remote-host"),
                field("remote-id")
            );
            let _ = writeln!(
                text,
                "    {}-{}/{}/{}",
                field("encr-alg"),
                field("encr-keysize"),
                field("prf-alg"),
                field("dh-group")
            );
        }
    });
    seen.map_err(|e| format!("listing the SAs: {e}"))?;
    for route in net.routes_of_rw()? {
        let _ = writeln!(text, "    table 220: {route}");
    }
    print!("{text}");
    Ok(())
}

fn stop(mut rw: Daemon, mut gw: Daemon, net: &Network) -> Result<((), String), Failure> {
    rw.stop()?;
    gw.stop()?;
    let left = net.routes_of_rw()?;
    if left.is_empty() {
        Ok(((), "clean".into()))
    } else {
        Err(format!("left behind in table 220: {}", left.join(", ")))
    }
}

fn median(mut replies: Vec<Duration>) -> Option<(usize, f32)> {
    replies.sort_unstable();
    let middle = replies.get(replies.len() / 2)?;
    Some((replies.len(), middle.as_secs_f32() * 1000.0))
}
