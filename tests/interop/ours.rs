//! What only our daemon does: it reads its files by itself, reloads on SIGHUP, and has a command of its own.

use std::process::Command;
use std::time::Duration;

use adit_testbed::{Auth, NODE, Peer, Roles, Scenario, World, eventually, wait_for};
use nix::sys::signal::Signal;

fn both(test: &str, case: fn(World, Scenario)) {
    crate::run(module_path!(), test, Roles::BOTH_OURS, |roles| {
        let scenario = Scenario::new(Auth::Psk);
        case(World::start(roles, &scenario), scenario);
    });
}

fn adit(peer: &Peer, words: &[&str]) -> (bool, String) {
    let output = Command::new(Peer::program("adit").expect("adit is not built"))
        .args(words)
        .args(["--uri", &format!("unix://{}", peer.socket().display())])
        .env("STRONGSWAN_CONF", peer.folder().join("strongswan.conf"))
        .env("SWANCTL_DIR", peer.folder())
        .output()
        .expect("starting adit");
    (output.status.success(), adit_testbed::process::text(&[output.stdout, output.stderr].concat()))
}

/// Configured by its own reading of swanctl.conf: no swanctl needed.
#[test]
fn loads_by_itself() {
    both("loads_by_itself", |mut world, _| {
        for (peer, namespace) in [(&mut world.gw, &world.net.gw), (&mut world.rw, &world.net.rw)] {
            peer.stop();
            peer.launch(namespace);
        }
        assert_eq!(world.rw.conns().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["psk"]);
        world.up();
        world.reachable();
        world.down(false);
    });
}

/// SIGHUP takes a changed file into use; a broken one changes nothing.
#[test]
fn reloads() {
    both("reloads", |mut world, mut scenario| {
        world.up();
        scenario.rw.children.push(("other".into(), Default::default()));
        scenario.rw.children[1].1.set("remote_ts", "10.2.1.0/24");
        world.rw.configure(&scenario.rw);
        world.rw.signal(Signal::SIGHUP);
        let children = |peer: &Peer| {
            let conns = peer.conns();
            conns.first().and_then(|c| c.section("children")).map_or(0, |c| c.sections().len())
        };
        wait_for("the new child", Duration::from_secs(5), || (children(&world.rw) == 2).then_some(()));
        assert!(world.net.rw.ping(NODE), "the reload took the tunnel down");
        std::fs::write(world.rw.folder().join("swanctl.conf"), "connections { psk { versoin = 2 } }\n")
            .expect("file");
        world.rw.signal(Signal::SIGHUP);
        assert!(world.rw.logged(&["swanctl.conf", "version"]), "the nearest known key is not named");
        assert_eq!(children(&world.rw), 2, "a broken file changed the configuration");
        assert!(world.net.rw.ping(NODE));
    });
}

/// `adit up`, `adit status`, `adit down`, `adit check`.
#[test]
fn commands() {
    both("commands", |world, _| {
        world.unreachable_first();
        let (_, status) = adit(&world.rw, &["status"]);
        assert!(status.contains("psk") && status.contains("down"), "{status}");
        let (success, output) = adit(&world.rw, &["up", "net"]);
        assert!(success, "{output}");
        world.reachable();
        let (success, status) = adit(&world.rw, &["status"]);
        assert!(success && status.contains("10.2.0.0/24") && status.contains("10.3.0.1"), "{status}");
        let (success, output) = adit(&world.rw, &["down", "psk"]);
        assert!(success, "{output}");
        world.nothing_left();
    });
}

/// What somebody takes away of routes, rule, address and device comes back by itself, and the log says so.
#[test]
fn survives() {
    both("survives", |world, _| {
        world.up();
        let rw = &world.net.rw;
        let shown = || {
            let mut addresses: Vec<String> = rw.addresses();
            addresses.sort();
            (rw.tunnel_routes(), addresses, rw.sh("ip rule; ip -6 rule"))
        };
        let before = shown();
        for (act, named) in [
            ("ip route flush table 220", "10.2.0.0/24"),
            ("ip rule del pref 220", "rule 220 (IPv4)"),
            ("ip addr del 10.3.0.1/32 dev adit0", "address 10.3.0.1/32"),
            ("ip link set adit0 down", "adit0 (it was down)"),
        ] {
            rw.sh(act);
            assert!(eventually(Duration::from_secs(10), || shown() == before), "after {act}: {:?}", shown());
            assert!(world.rw.logged(&["not by us; put back: ", named]), "{act} is not in the log");
        }
        world.reachable();
        assert_eq!(world.rw.log().matches("not by us; put back: ").count(), 4, "each is told once");
        world.down(false);
    });
}

/// An interface that is left out sends nothing and is not answered on.
#[test]
fn interfaces() {
    both("interfaces", |mut world, mut scenario| {
        let restart = |peer: &mut Peer, namespace, conf: &_| {
            peer.stop();
            peer.configure(conf);
            peer.launch(namespace);
        };
        scenario.gw.charon = "  interfaces_ignore = wan\n".into();
        restart(&mut world.gw, &world.net.gw, &scenario.gw);
        assert!(world.rw.initiate("psk", "net", 2).is_err());
        let stats = world.gw.swanctl(&["--stats", "--raw"]).all();
        let turned_away = stats.split("interface-closed=").nth(1).and_then(|rest| rest.split(' ').next());
        assert!(turned_away.is_some_and(|n| n != "0"), "{stats}");
        assert!(stats.contains("half-open=0"), "{stats}");
        scenario.gw.charon = "  interfaces_use = lan, wan\n".into();
        restart(&mut world.gw, &world.net.gw, &scenario.gw);
        scenario.rw.charon = "  interfaces_use = lo\n".into();
        restart(&mut world.rw, &world.net.rw, &scenario.rw);
        let error = world.rw.initiate("psk", "net", 5).expect_err("there is no interface to start from");
        assert!(error.contains("no route"), "{error}");
        scenario.rw.charon = "  interfaces_use = wan\n".into();
        restart(&mut world.rw, &world.net.rw, &scenario.rw);
        world.up();
        world.reachable();
        world.down(false);
    });
}

/// What swanctl shows beyond the SAs.
#[test]
fn listings() {
    both("listings", |world, _| {
        world.up();
        let show = |peer: &Peer, words: &[&str]| {
            let outcome = peer.swanctl(words);
            assert!(outcome.success, "{words:?}: {}", outcome.all());
            outcome.out
        };
        assert!(show(&world.gw, &["--version", "--daemon"]).contains("aditd"));
        assert!(show(&world.gw, &["--stats"]).contains("IKE_SAs: 1 total, 0 half-open"));
        let leases = show(&world.gw, &["--list-pools", "--leases"]);
        assert!(
            leases.contains("10.3.0.1") && leases.contains("online") && leases.contains("rw@lab"),
            "{leases}"
        );
        let sas = show(&world.rw, &["--list-sas"]);
        for wanted in
            ["psk: #", "ESTABLISHED, IKEv2", "net: #", "INSTALLED, TUNNEL-in-UDP", "remote 10.2.0.0/24"]
        {
            assert!(sas.contains(wanted), "no `{wanted}` in\n{sas}");
        }
        let raw = show(&world.rw, &["--list-sas", "--raw"]);
        assert!(raw.starts_with("list-sa event {psk {uniqueid="), "{raw}");
        let conns = show(&world.rw, &["--list-conns"]);
        assert!(conns.contains("psk: IKEv2") && conns.contains("net: TUNNEL"), "{conns}");
        let policies = world.rw.swanctl(&["--list-pols"]);
        assert!(policies.success, "{}", policies.all());
    });
}

/// SIGTERM of the gateway: the client hears of it, nothing stays.
#[test]
fn gateway_stops_in_time() {
    both("gateway_stops_in_time", |mut world, _| {
        world.up();
        let (took, well) = world.gw.stop().expect("it ends on SIGTERM");
        assert!(well && took < Duration::from_secs(1), "took {took:?}, well: {well}");
        world.rw.wait_until_empty(Duration::from_secs(5));
        assert!(!world.net.rw.has_virtual_ip());
        assert!(world.net.gw.tunnel_routes().is_empty());
        assert!(eventually(Duration::from_secs(1), || !world.net.gw.sh("ip link show").contains("adit0")));
    });
}
