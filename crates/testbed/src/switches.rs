//! Does a tunnel lose packets when its keys change? A steady load and a numbered probe cross a tunnel whose CHILD_SA
//! is rekeyed every few seconds, by either side in turn, and its IKE_SA now and then; each loss is looked at for its
//! distance from a switch. The same load without rekeyings runs before, to show that the load alone loses nothing.

use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::events::Events;
use crate::net::{NODE, Namespace};
use crate::probe::{Flow, Probe};
use crate::process::{Process, text};
use crate::scenario::{Auth, Roles, Scenario};
use crate::wait::wait_for;
use crate::world::World;

/// How long and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long rekeyings go on.
    pub rekeying: Duration,
    /// How long the same load runs without them.
    pub control: Duration,
    /// From one rekeying of the CHILD_SA to the next.
    pub child_every: Duration,
    /// From one rekeying of the IKE_SA to the next.
    pub ike_every: Duration,
    /// Datagrams of the probe, a second, each way.
    pub rate: u32,
    /// Of iperf3, each way, in Mbit/s; none if 0.
    pub load: u32,
}

impl Plan {
    /// Every 2 s and every 10 s for this long.
    pub fn lasting(seconds: u64) -> Self {
        Self {
            rekeying: Duration::from_secs(seconds),
            control: Duration::from_secs((seconds / 4).clamp(3, 30)),
            child_every: Duration::from_secs(2),
            ike_every: Duration::from_secs(10),
            rate: 500,
            load: 10,
        }
    }
}

/// A loss this near to a change of keys is put down to it.
const NEAR: Duration = Duration::from_millis(100);

/// One run.
#[derive(Debug)]
pub struct Tally {
    /// Rekeyings of the CHILD_SA and of the IKE_SA, as the gateway reported them.
    pub rekeyed: (usize, usize),
    /// Calls to rekey that a daemon refused.
    pub refused: Vec<String>,
    /// Both directions of the probe: sent, and lost near a switch, lost elsewhere, doubled, overtaken.
    pub flows: [Counts; 2],
    /// What iperf3 said at its end.
    pub load: String,
    /// Datagrams that a full socket of a daemon dropped meanwhile.
    pub overruns: u64,
}

/// Of one direction.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Datagrams sent.
    pub sent: usize,
    /// Lost within 100 ms of a switch at either side.
    pub lost_at_switch: usize,
    /// Lost at other times.
    pub lost_elsewhere: usize,
    /// Arrived more than once.
    pub doubled: usize,
    /// Arrived after a later one.
    pub overtaken: u32,
    /// For each loss, the seconds since the last switch before it (the first twenty).
    pub distances: Vec<f32>,
}

impl Counts {
    fn of(flow: &Flow, switches: &[Instant]) -> Self {
        let mut counts = Self {
            sent: flow.sent.len(),
            doubled: flow.doubled(),
            overtaken: flow.overtaken,
            ..Self::default()
        };
        for lost in flow.lost() {
            let distance = |s: &Instant| s.max(&lost).duration_since(*s.min(&lost));
            match switches.iter().any(|s| distance(s) <= NEAR) {
                true => counts.lost_at_switch += 1,
                false => counts.lost_elsewhere += 1,
            }
            if let Some(before) = switches.iter().filter(|s| **s <= lost).max()
                && counts.distances.len() < 20
            {
                counts.distances.push(lost.duration_since(*before).as_secs_f32());
            }
        }
        counts
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (child, ike) = self.rekeyed;
        writeln!(
            f,
            "  {child} rekeyings of the CHILD_SA, {ike} of the IKE_SA; {} refused",
            self.refused.len()
        )?;
        for (flow, way) in self.flows.iter().zip(["to the gateway", "from the gateway"]) {
            let Counts { sent, lost_at_switch, lost_elsewhere, doubled, overtaken, distances } = flow;
            writeln!(
                f,
                "  {way:<17} {sent:>7} sent; lost {lost_at_switch} at switches, {lost_elsewhere} elsewhere; {doubled} \
                 doubled, {overtaken} overtaken"
            )?;
            if !distances.is_empty() {
                writeln!(f, "    seconds after a switch: {distances:.3?}")?;
            }
        }
        writeln!(f, "  iperf3: {}; {} datagrams dropped by full sockets", self.load, self.overruns)
    }
}

/// Runs `plan` with these ends: the control run, then the one with rekeyings.
pub fn run(roles: Roles, plan: &Plan) -> (Tally, Tally) {
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    world.up();
    world.reachable();
    let control = measure(&world, plan, plan.control, false);
    (control, measure(&world, plan, plan.rekeying, true))
}

/// The events of both daemons that are switches, of the CHILD_SA and of the IKE_SA.
const SWITCHES: [&str; 2] = ["child-rekey", "ike-rekey"];

fn measure(world: &World, plan: &Plan, length: Duration, rekey: bool) -> Tally {
    let events = [&world.gw, &world.rw].map(|peer| Events::listen(&peer.socket(), &SWITCHES));
    let overruns = || overruns(&world.net.gw) + overruns(&world.net.rw);
    let before = overruns();
    let load = (plan.load > 0).then(|| Load::start(world, plan.load, length));
    let probe = Probe::start((&world.net.rw, "10.3.0.1"), (&world.net.node, NODE), plan.rate);
    let refused = if rekey {
        rekeyings(world, plan, length)
    } else {
        std::thread::sleep(length);
        Vec::new()
    };
    let flows = probe.stop();
    let load = load.map_or_else(|| "none".into(), Load::end);
    let of = |name: &&str| events.iter().flat_map(|e| e.times(name)).collect::<Vec<_>>();
    let switches = SWITCHES.iter().flat_map(of).collect::<Vec<_>>();
    let count = |name| events[0].times(name).len();
    Tally {
        rekeyed: (count(SWITCHES[0]), count(SWITCHES[1])),
        refused,
        flows: flows.map(|flow| Counts::of(&flow, &switches)),
        load,
        overruns: overruns() - before,
    }
}

/// Rekeys by plan, the two sides in turn; what was refused.
fn rekeyings(world: &World, plan: &Plan, length: Duration) -> Vec<String> {
    let start = Instant::now();
    let (mut refused, mut children, mut ikes) = (Vec::new(), 0, 0);
    let sides = [&world.gw, &world.rw];
    let mut rekey = |side: usize, what: [&str; 2]| {
        let outcome = sides[side % 2].swanctl(&["--rekey", what[0], what[1]]);
        if !outcome.success {
            refused.push(outcome.all());
        }
    };
    while start.elapsed() < length {
        children += 1;
        rekey(children, ["--child", "net"]);
        let due = plan.child_every * u32::try_from(children).expect("a number");
        if start.elapsed() >= plan.ike_every * (ikes + 1) {
            ikes += 1;
            // between two rekeyings of the CHILD_SA
            std::thread::sleep((due - plan.child_every / 2).saturating_sub(start.elapsed()));
            rekey(ikes as usize, ["--ike", &world.name]);
        }
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    refused
}

/// What a namespace's UDP sockets dropped since they were made.
fn overruns(namespace: &Namespace) -> u64 {
    let text = namespace.sh("grep '^Udp:' /proc/net/snmp");
    let mut lines = text.lines().map(str::split_whitespace);
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let found = names.zip(values).find(|(name, _)| *name == "RcvbufErrors");
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// iperf3 with TCP in both directions at a limited rate and with a small window, so that no queue on its way fills.
struct Load {
    client: std::process::Child,
    _server: Process,
}

impl Load {
    fn start(world: &World, rate: u32, length: Duration) -> Self {
        let mut server = world.net.node.command("iperf3");
        server.args(["-s", "-1", "-B", NODE]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Process::spawn("iperf3", server);
        let listens = || world.net.node.sh("ss -Hltn").contains(":5201").then_some(());
        wait_for("iperf3 listening", Duration::from_secs(5), listens);
        let (rate, seconds) = (format!("{rate}M"), length.as_secs().to_string());
        let mut client = world.net.rw.command("iperf3");
        client
            .args(["-c", NODE, "--bidir", "-b", &rate, "-w", "32K", "-l", "4K", "-t", &seconds, "-f", "m"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { client: client.spawn().expect("starting iperf3"), _server: server }
    }

    /// Its last lines: rates and retransmissions of both directions.
    fn end(self) -> String {
        let output = self.client.wait_with_output().expect("iperf3");
        let said = text(&output.stdout);
        if !output.status.success() {
            return format!("failed: {said}{}", text(&output.stderr));
        }
        let senders = said.lines().filter(|line| line.ends_with("sender"));
        let words = senders.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        words.collect::<Vec<_>>().join("; ")
    }
}
