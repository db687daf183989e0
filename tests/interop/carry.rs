//! What one connection carries beyond a tunnel between networks: transport mode, IPv6 outside, policies without an SA.
//!
//! strongSwan's userspace ESP has no transport mode and no shunts; what it can judge is how transport mode is declined.

use std::process::Stdio;
use std::time::Duration;

use adit_testbed::process::{Process, text};
use adit_testbed::{Auth, NODE, NODE_TOO, NODE6, Peer, Roles, Scenario, Tree, World, wait_for};

pub(crate) const GW: &str = "192.168.0.2";
/// Where a packet of the peer's that is not ESP must not go into the tunnel, for strongSwan.
const FWMARK: &str = "    kernel-netlink {\n      fwmark = !0x42\n    }\n    socket-default {\n      fwmark = 0x42\n    }\n    \
                      kernel-libipsec {\n      allow_peer_ts = yes\n    }\n";

/// UDP-encapsulated transport mode through a NAT between two of ours: TCP, so checksums matter.
#[test]
fn transport_through_a_nat() {
    crate::run(module_path!(), "transport_through_a_nat", Roles::BOTH_OURS, with_transport_through_a_nat);
}

pub(crate) fn with_transport_through_a_nat(roles: Roles) {
    let world = World::start(roles, &host_to_host("transport", "transport"));
    let sa = bring_up(&world, &world.rw);
    assert_eq!((sa.get("mode"), sa.get("encap")), ("TRANSPORT", "yes"));
    assert_eq!(sa.list("local-ts"), ["10.1.0.2/32"]);
    assert_eq!(sa.list("remote-ts"), ["192.168.0.2/32"]);
    let theirs = world.gw.established(&world.name).expect("the gateway's").children()[0].clone();
    assert_eq!(theirs.get("mode"), "TRANSPORT");
    assert_eq!(theirs.list("remote-ts"), ["192.168.0.1/32"]);
    let before = sa.number("bytes-out");
    let mut server = world.net.gw.command("iperf3");
    server.args(["-s", "-1", "-B", GW]).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Process::spawn("iperf3", server);
    let listens = || world.net.gw.sh("ss -Hltn").contains(":5201").then_some(());
    wait_for("iperf3 listening", Duration::from_secs(5), listens);
    let mut client = world.net.rw.command("iperf3");
    let output = client.args(["-c", GW, "-n", "2M", "-J"]).output().expect("starting iperf3");
    assert!(output.status.success(), "{}", text(&output.stdout));
    // What arrived went by the SA, all of it: iperf3 stops when it has handed over its bytes, not when they are there.
    let report = text(&output.stdout);
    let received = report.split("\"sum_received\"").nth(1).and_then(|rest| rest.split("\"bytes\":").nth(1));
    let digits = received.unwrap_or("").trim_start().split(|c: char| !c.is_ascii_digit()).next();
    let received: u64 = digits.unwrap_or("").parse().unwrap_or_else(|_| panic!("{report}"));
    let after = world.rw.established(&world.name).expect("still up").children()[0].number("bytes-out");
    assert!(
        received > 500_000 && after >= before + received,
        "{received} received, {before} to {after} by the SA"
    );
    // IKE goes beside it: a rekeying keeps the mode.
    let outcome = world.rw.swanctl(&["--rekey", "--child", "net"]);
    assert!(outcome.success, "{}", outcome.all());
    wait_for("the new child", Duration::from_secs(5), || {
        // The old one is kept for a while, to receive what is under way.
        let now = world.rw.established(&world.name)?;
        let new = now.children().iter().find(|c| c.get("spi-in") != sa.get("spi-in"))?;
        (new.get("state") == "INSTALLED" && new.get("mode") == "TRANSPORT").then_some(())
    });
    assert!(world.net.rw.pings(GW, 3, 56), "no ping after the rekeying");
    assert!(world.rw.terminate(&world.name).success);
    world.nothing_left();
    assert!(!world.net.rw.sh("ip rule").contains("goto"));
}

/// Whoever wants a tunnel gets one, from strongSwan and from us.
#[test]
fn transport_declined_by_us() {
    crate::run(module_path!(), "transport_declined_by_us", Roles::OUR_GATEWAY, |roles| {
        declined(roles, "transport", "tunnel")
    });
}

/// The other way around.
#[test]
fn transport_declined_by_strongswan() {
    crate::run(module_path!(), "transport_declined_by_strongswan", Roles::OUR_CLIENT, |roles| {
        declined(roles, "transport", "tunnel");
    });
}

pub(crate) fn host_to_host(client: &str, gateway: &str) -> Scenario {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.conn.remove("pools");
    scenario.rw.conn.remove("vips");
    scenario.gw.child().remove("local_ts").set("mode", gateway);
    scenario.rw.child().remove("remote_ts").set("mode", client);
    scenario
}

pub(crate) fn bring_up(world: &World, client: &Peer) -> Tree {
    client.initiate(&world.name, "net", 30).unwrap_or_else(|e| panic!("{e}"));
    wait_for("the gateway's IKE_SA", Duration::from_secs(5), || world.gw.established(&world.name));
    client.established(&world.name).expect("the IKE_SA").children()[0].clone()
}

fn declined(roles: Roles, client_mode: &str, gateway_mode: &str) {
    let mut scenario = host_to_host(client_mode, gateway_mode);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.plugins = FWMARK.into();
        end.conn.set("encap", "yes");
    }
    let world = World::start(roles, &scenario);
    // On the gateway's own network, so that both call themselves what the other calls them.
    world.net.nat.sh("nft delete table ip nat");
    let near = Peer::start(roles.rw, &world.net.nat, &world.folder().join("near"), &scenario.rw);
    let sa = bring_up(&world, &near);
    assert_eq!((sa.get("mode"), sa.get("encap")), ("TUNNEL", "yes"));
    assert_eq!(sa.list("remote-ts"), ["192.168.0.2/32"]);
    assert!(world.net.nat.pings(GW, 3, 56), "no ping through the tunnel");
    let packets =
        near.established(&world.name).expect("the IKE_SA").children()[0].get("packets-in").to_owned();
    assert!(packets.parse::<u32>().unwrap() >= 3, "{packets} packets came by the SA");
    assert!(near.terminate(&world.name).success);
}

/// IPv6 outside, raw and in UDP, both families inside; between two of ours.
#[test]
fn ipv6_outside() {
    crate::run(module_path!(), "ipv6_outside", Roles::BOTH_OURS, with_ipv6_outside);
}

pub(crate) fn with_ipv6_outside(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.conn.set("local_addrs", "192.168.0.2, fd00:9::2").set("pools", "home, home6");
    scenario.gw.pools += "  home6 {\n    addrs = fd00:3::/120\n  }\n";
    scenario.gw.child().set("local_ts", "10.2.0.0/24, fd00:2::/64");
    scenario.rw.conn.set("vips", "0.0.0.0, ::").set("remote_addrs", "fd00:9::2");
    scenario.rw.child().set("remote_ts", "10.2.0.0/24, fd00:2::/64");
    let world = World::start(roles, &scenario);
    world.net.gw.sh("ip -6 address add fd00:9::2/64 dev wan nodad");
    world.net.nat.sh("ip -6 address add fd00:9::1/64 dev wan nodad");
    for encap in ["no", "yes"] {
        scenario.rw.conn.set("encap", encap);
        let folder = world.folder().join(format!("near-{encap}"));
        let near = Peer::start(roles.rw, &world.net.nat, &folder, &scenario.rw);
        let sa = bring_up(&world, &near);
        assert_eq!(sa.get("encap"), if encap == "yes" { "yes" } else { "" });
        for node in [NODE, NODE6] {
            wait_for("a ping", Duration::from_secs(5), || world.net.nat.ping(node).then_some(()));
            assert!(world.net.nat.pings(node, 3, 56), "{node}: no small pings");
            assert!(world.net.nat.pings(node, 2, 1300), "{node}: no large pings");
        }
        assert!(near.terminate(&world.name).success);
        world.nothing_left();
    }
}

/// `mode = pass` and `drop` beside a tunnel that would take everything.
#[test]
fn shunts() {
    crate::run(module_path!(), "shunts", Roles::BOTH_OURS, with_shunts);
}

fn with_shunts(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.child().set("local_ts", "0.0.0.0/0");
    scenario.rw.child().set("remote_ts", "0.0.0.0/0");
    scenario.rw.more = "connections {\n  shunts {\n    remote_addrs = 127.0.0.1\n    children {\n      router {\n        mode = \
                        pass\n        start_action = trap\n        local_ts = 0.0.0.0/0\n        remote_ts = \
                        10.1.0.1/32\n      }\n      quiet {\n        mode = drop\n        start_action = trap\n        \
                        local_ts = 0.0.0.0/0\n        remote_ts = 10.1.0.0/24[udp/9], 192.168.0.0/24[udp/9]\n      \
                        }\n    }\n  }\n}\n"
        .into();
    let world = World::start(roles, &scenario);
    let listed = |kind: &str| world.rw.swanctl(&["--list-pols", kind]).out;
    let (pass, drop) = (listed("--pass"), listed("--drop"));
    assert!(pass.contains("shunts/router, PASS") && !pass.contains("quiet"), "{pass}");
    assert!(drop.contains("shunts/quiet, DROP") && drop.contains("10.1.0.0/24[udp/9]"), "{drop}");
    let send = |to: &str, port: u16| {
        let script = format!("bash -c 'echo x > /dev/udp/{to}/{port}'");
        world.net.rw.command("sh").args(["-c", &script]).output().expect("starting sh").status.success()
    };
    // Without a tunnel: what is dropped does not leave, the rest does.
    assert!(!send(GW, 9), "a packet that is to be dropped was sent");
    assert!(send(GW, 10));
    world.up();
    world.reachable();
    assert!(world.net.rw.ping(NODE_TOO));
    let packets = || -> u32 {
        let sa = world.rw.established(&world.name).expect("the IKE_SA");
        sa.children()[0].get("packets-out").parse().unwrap()
    };
    let before = packets();
    assert!(world.net.rw.pings("10.1.0.1", 3, 56), "the router does not answer");
    assert_eq!(packets(), before, "what passes went into the tunnel");
    // The tunnel goes before the drop, the pass before the tunnel.
    assert!(send("192.168.0.77", 9));
    wait_for("the packet in the tunnel", Duration::from_secs(5), || (packets() == before + 1).then_some(()));
    let outcome = world.rw.swanctl(&["--uninstall", "--child", "router"]);
    assert!(outcome.success, "{}", outcome.all());
    assert!(!listed("--pass").contains("router"));
    world.down(false);
    assert!(!send(GW, 9));
    // Unloading takes the rest.
    let mut without = scenario.rw.clone();
    without.more.clear();
    world.rw.configure(&without);
    world.rw.load();
    assert_eq!(listed("--drop"), "");
    assert!(send(GW, 9));
    assert!(!world.net.rw.sh("ip rule; nft list tables").contains("adit"));
}
