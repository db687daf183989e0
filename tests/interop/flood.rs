//! Attacks of strangers while honest clients go about their business.
//!
//! `ADIT_FLOOD_SECONDS` makes each attack last longer than its two seconds, `ADIT_FLOOD_RATE` faster or slower than
//! 50,000 packets per second. Rates and costs are printed, never judged; what is judged is that no honest handshake
//! fails and no tunnel is lost.

use std::time::{Duration, Instant};

use adit_testbed::flood::{self, Attack, Sent};
use adit_testbed::{Auth, NODE, Peer, Roles, Scenario, World};

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Two honest clients: one keeps its tunnel and rekeys it, the other connects again and again.
struct Honest<'a> {
    world: &'a World,
    keeper: Peer,
}

impl Honest<'_> {
    /// One round of both; every step must succeed.
    fn round(&self, during: &str) {
        let (rw, gw) = (&self.world.rw, &self.world.gw);
        let well = |outcome: adit_testbed::swanctl::Outcome, what: &str| {
            assert!(outcome.success, "{during}: {what}: {}", outcome.all());
        };
        if let Err(output) = rw.initiate(&self.world.name, "net", 20) {
            panic!("{during}: an honest handshake failed: {output}\n{}", gw.status());
        }
        assert!(self.world.net.rw.ping_of(NODE, 3), "{during}: no ping through the new tunnel");
        well(self.keeper.swanctl(&["--rekey", "--child", "net"]), "rekeying the CHILD_SA");
        well(self.keeper.swanctl(&["--rekey", "--ike", &self.world.name]), "rekeying the IKE_SA");
        assert!(self.world.net.rw2.ping_of(NODE, 3), "{during}: no ping through the tunnel that stands");
        well(rw.terminate(&self.world.name), "terminating");
    }
}

/// UDP datagrams that the gateway's sockets took in, and those that found their buffers full.
fn datagrams(world: &World) -> (u64, u64) {
    let text = world.net.gw.sh("grep ^Udp: /proc/net/snmp");
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let of = |name| names.iter().position(|n| *n == name).and_then(|i| values[i].parse().ok()).unwrap_or(0);
    (of("InDatagrams"), of("RcvbufErrors"))
}

fn floods(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk).impatient(20);
    scenario.gw.remote.set("id", "*@lab");
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.secrets =
            end.secrets.replace("    id-rw = rw@lab\n", "    id-rw = rw@lab\n    id-rw2 = rw2@lab\n");
    }
    let world = World::start(roles, &scenario);
    flood::prepare(&world.net.node, &world.net.gw, NODE);
    let mut second = scenario.rw.clone();
    second.local.set("id", "rw2@lab");
    let keeper = Peer::start(roles.rw, &world.net.rw2, &world.folder().join("rw2"), &second);
    keeper.initiate(&world.name, "net", 20).unwrap_or_else(|e| panic!("initiating the second: {e}"));
    let honest = Honest { world: &world, keeper };

    let time = Duration::from_secs(number("ADIT_FLOOD_SECONDS", 2).into());
    let rate = number("ADIT_FLOOD_RATE", 50_000);
    // What the honest cost alone, per second.
    let (start, before) = (Instant::now(), world.gw.cpu());
    honest.round("alone");
    let idle = (world.gw.cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("attack            sent/s  read/s    lost  answered  honest rounds  daemon CPU  per packet");
    for attack in Attack::ALL {
        let ((read, lost), before, start) = (datagrams(&world), world.gw.cpu(), Instant::now());
        let mut rounds = 0;
        let sent: Sent = std::thread::scope(|scope| {
            let attacker = scope.spawn(|| flood::run(&world.net.node, attack, rate, time));
            while !attacker.is_finished() {
                honest.round(&format!("{attack:?}"));
                rounds += 1;
            }
            attacker.join().expect("the attacker")
        });
        let (cpu, wall) = ((world.gw.cpu() - before).as_secs_f64(), start.elapsed().as_secs_f64());
        let (read, lost) = (datagrams(&world).0 - read, datagrams(&world).1 - lost);
        let each = (cpu - idle * wall) / read.max(1) as f64;
        let seconds = sent.time.as_secs_f64();
        println!(
            "{:<15}{:>9.0}{:>8.0}{lost:>8}{:>10}{rounds:>15}{cpu:>10.2} s{:>9.2} µs",
            format!("{attack:?}"),
            sent.packets as f64 / seconds,
            read as f64 / seconds,
            sent.answered,
            each * 1e6
        );
        assert!(rounds > 0 && read > 0);
    }
    let stats = world.gw.swanctl(&["--stats", "--raw"]).out;
    println!("{stats}");
    let log = world.gw.log().lines().count();
    println!("{log} lines in the gateway's log");
    // 20 messages of strangers are told of per second, with a few lines each.
    let minutes = (start.elapsed().as_secs() + 60) as usize / 60;
    assert!(log < 40_000 * minutes, "the flood flooded the log: {log} lines");
}

/// 50,000 packets of strangers per second, five kinds of them, and no honest client notices.
#[test]
fn honest_clients_live_through_attacks() {
    crate::run(module_path!(), "honest_clients_live_through_attacks", Roles::BOTH_OURS, floods);
}
