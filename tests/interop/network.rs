//! What networks do to a tunnel: loss, two clients behind one NAT, all traffic through the tunnel.

use std::process::Stdio;
use std::time::Duration;

use adit_testbed::capture::{Capture, decode};
use adit_testbed::process::{Process, text};
use adit_testbed::{Auth, NODE, NODE6, Peer, Roles, Scenario, Traffic, Tree, World, vm, wait_for};

cases! {
    /// A fifth of all packets lost, each way.
    loss = with_loss;
    /// 0.0.0.0/0 through the tunnel.
    full_tunnel = with_full_tunnel;
    /// Two road-warriors behind the same address.
    two_behind_one_nat = two_clients;
    /// Certificates so large that IKE_AUTH goes in fragments.
    fragments = with_fragments;
    /// The first packet brings up the tunnel.
    trap = with_trap;
    /// IPv4 and IPv6 addresses from two pools.
    dual_stack = with_both_families;
    /// TCP in both directions: segments of full size, packets in bursts.
    bulk = with_bulk;
    /// The road-warrior gets another address, and its tunnel goes on (RFC 4555).
    moved = with_move;
    /// One gateway with three connections, told apart by the client's identity and method.
    three_connections = with_three;
}

/// No NAT between two of ours: ESP without UDP (strongSwan's userspace ESP always encapsulates).
#[test]
fn raw_esp() {
    crate::run(module_path!(), "raw_esp", Roles::BOTH_OURS, with_raw_esp);
}

/// The NAT forgets its mapping: our gateway follows the client to its new port.
#[test]
fn rebinding() {
    crate::run(module_path!(), "rebinding", Roles::OUR_GATEWAY, with_rebinding);
}

/// The same with our client.
#[test]
fn rebinding_both_ours() {
    crate::run(module_path!(), "rebinding_both_ours", Roles::BOTH_OURS, with_rebinding);
}

pub(crate) fn with_loss(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk).impatient(12);
    scenario.rw.conn.set("keyingtries", "3");
    let world = World::start(roles, &scenario);
    world.unreachable_first();
    world.net.traffic(Traffic::Lose(20));
    world.up_within(40);
    assert!(world.net.rw.ping_of(NODE, 15), "not one of fifteen pings through the tunnel");
    let outcome = world.rw.terminate(&world.name);
    assert!(outcome.success, "{}", outcome.all());
    world.nothing_left();
}

fn with_full_tunnel(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.child().set("local_ts", "0.0.0.0/0");
    scenario.rw.child().set("remote_ts", "0.0.0.0/0");
    // strongSwan's userspace ESP would route its own packets into the tunnel
    scenario.rw.plugins = "    kernel-netlink {\n      fwmark = !0x42\n    }\n    socket-default {\n      fwmark = 0x42\n    }\n    \
                           kernel-libipsec {\n      allow_peer_ts = yes\n    }\n"
        .into();
    let world = World::start(roles, &scenario);
    let sa = world.up();
    assert_eq!(sa.children()[0].list("remote-ts"), ["0.0.0.0/0"]);
    world.reachable();
    // the gateway's inner address is reached through the tunnel, too
    assert!(world.net.rw.ping("10.2.0.1"));
    world.down(false);
}

fn two_clients(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.remote.set("id", "*@lab");
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.secrets =
            end.secrets.replace("    id-rw = rw@lab\n", "    id-rw = rw@lab\n    id-rw2 = rw2@lab\n");
    }
    let world = World::start(roles, &scenario);
    let first = world.up();
    let mut second_conf = scenario.rw.clone();
    second_conf.local.set("id", "rw2@lab");
    let second = Peer::start(roles.rw, &world.net.rw2, &world.folder().join("rw2"), &second_conf);
    assert!(!world.net.rw2.ping(NODE), "the node is reachable without a tunnel");
    second.initiate(&world.name, "net", 20).unwrap_or_else(|e| panic!("initiating the second: {e}"));
    let other = second.established(&world.name).expect("the second's IKE_SA");
    assert_ne!(first.list("local-vips"), other.list("local-vips"));
    let limit = Duration::from_secs(5);
    wait_for("both at the gateway", limit, || (world.gw.sas().len() == 2).then_some(()));
    assert_eq!(world.gw.leases_online(), 2);
    world.reachable();
    assert!(world.net.rw2.pings(NODE, 3, 56), "no ping through the second tunnel");
    // one goes, the other stays
    assert!(world.rw.terminate(&world.name).success);
    wait_for("one at the gateway", limit, || (world.gw.sas().len() == 1).then_some(()));
    assert!(world.net.rw2.ping(NODE), "the second tunnel went with the first");
    assert!(!world.net.rw.ping(NODE));
    assert!(second.terminate(&world.name).success);
    world.nothing_left();
}

pub(crate) fn with_fragments(roles: Roles) {
    use adit_testbed::Pki;
    use adit_testbed::pki::{Algorithm, Subject};
    let mut scenario = Scenario::new(Auth::Certificates(Algorithm::EcdsaP256));
    let pki = Pki::new("large root", Algorithm::EcdsaP256);
    scenario.gw.entity = Some(pki.issue_large(Subject::Gateway, 3000));
    scenario.rw.entity = Some(pki.issue_large(Subject::RoadWarrior, 3000));
    scenario.gw.authorities = vec![pki.authority.clone()];
    scenario.rw.authorities = vec![pki.authority];
    let world = World::start(roles, &scenario);
    world.up();
    for (peer, side) in [(&world.rw, "road-warrior"), (&world.gw, "gateway")] {
        assert!(peer.logged(&["splitting IKE message", "fragments"]), "the {side} sent no fragments");
        assert!(peer.logged(&["reassembled fragmented IKE message"]), "the {side} reassembled nothing");
    }
    world.reachable();
    world.down(false);
}

fn with_trap(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.rw.child().set("start_action", "trap");
    if roles.rw.is_strongswan() && !vm::inside() {
        // strongSwan's userspace ESP cannot trap; what it can show is the gateway's side of a start
        scenario.rw.child().set("start_action", "start");
    }
    let world = World::start(roles, &scenario);
    // one request is enough: the first packet waits for the tunnel
    let request = || world.net.rw.ping(NODE).then_some(());
    wait_for("a tunnel brought up by traffic", Duration::from_secs(10), request);
    wait_for("the gateway's IKE_SA", Duration::from_secs(5), || world.gw.established(&world.name));
}

fn with_both_families(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.conn.set("pools", "home, home6");
    scenario.gw.pools += "  home6 {\n    addrs = fd00:3::/120\n  }\n";
    scenario.gw.child().set("local_ts", "10.2.0.0/24, fd00:2::/64");
    scenario.rw.conn.set("vips", "0.0.0.0, ::");
    scenario.rw.child().set("remote_ts", "10.2.0.0/24, fd00:2::/64");
    let world = World::start(roles, &scenario);
    assert!(!world.net.rw.ping(NODE6), "reachable without a tunnel");
    let sa = world.up();
    let virtual_ips = sa.list("local-vips");
    assert_eq!(virtual_ips[0], "10.3.0.1");
    assert!(virtual_ips[1].starts_with("fd00:3::"), "{virtual_ips:?}");
    world.reachable();
    // an IPv6 address may be tentative for its first moments
    wait_for("an IPv6 ping through the tunnel", Duration::from_secs(5), || {
        world.net.rw.ping(NODE6).then_some(())
    });
    assert!(world.net.rw.pings(NODE6, 3, 56), "IPv6 pings lost");
    world.down(false);
    assert!(!world.net.rw.ping(NODE6));
}

pub(crate) fn with_bulk(roles: Roles) {
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    world.up();
    for reverse in [false, true] {
        let mut server = world.net.node.command("iperf3");
        server.args(["-s", "-1", "-B", NODE]).stdout(Stdio::null()).stderr(Stdio::null());
        let _server = Process::spawn("iperf3", server);
        let listens = || world.net.node.sh("ss -Hltn").contains(":5201").then_some(());
        wait_for("iperf3 listening", Duration::from_secs(5), listens);
        let mut client = world.net.rw.command("iperf3");
        client.args(["-c", NODE, "-n", "4M", "-J"]).args(reverse.then_some("-R"));
        let output = client.output().expect("starting iperf3");
        assert!(output.status.success(), "reverse {reverse}: {}", text(&output.stdout));
    }
    world.reachable();
    world.down(false);
}

fn with_three(roles: Roles) {
    let certificates = Scenario::new(Auth::Certificates(adit_testbed::pki::Algorithm::EcdsaP256));
    let mut gw = certificates.gw.clone();
    let connection = |name: &str, local: &str, remote: &str| {
        format!(
            "  {name} {{\n    version = 2\n    local_addrs = 192.168.0.2\n    pools = home\n    local {{\n      id = \
             gw.lab\n{local}    }}\n    remote {{\n{remote}    }}\n    children {{\n      net {{\n        local_ts = \
             10.2.0.0/24\n      }}\n    }}\n  }}\n"
        )
    };
    gw.more = format!(
        "connections {{\n{}{}}}\n",
        connection("psk", "      auth = psk\n", "      auth = psk\n      id = rw2@lab\n"),
        connection(
            "eap",
            "      auth = pubkey\n      certs = peer.pem\n",
            "      auth = eap-mschapv2\n      eap_id = %any\n"
        )
    );
    gw.secrets = gw.secrets.replace("id-rw = rw@lab", "id-rw = rw2@lab");
    let mut world = World::start(roles, &Scenario { gw, rw: certificates.rw.clone() });
    let mut psk = Scenario::new(Auth::Psk).rw;
    psk.local.set("id", "rw2@lab");
    psk.secrets = psk.secrets.replace("id-rw = rw@lab", "id-rw = rw2@lab");
    let mut eap = Scenario::new(Auth::Eap).rw;
    eap.authorities.clone_from(&certificates.rw.authorities);
    for (client, name) in [(&certificates.rw, "cert"), (&psk, "psk"), (&eap, "eap")] {
        world.rw.stop();
        world.rw.configure(client);
        world.rw.launch(&world.net.rw);
        world.rw.load();
        world.name = name.into();
        world.up();
        assert!(world.net.rw.pings(NODE, 3, 56), "no ping through {name}");
        world.down(false);
    }
}

fn with_raw_esp(roles: Roles) {
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    // a client on the gateway's own network, and no NAT
    world.net.nat.sh("nft delete table ip nat");
    let client =
        Peer::start(roles.rw, &world.net.nat, &world.folder().join("near"), &Scenario::new(Auth::Psk).rw);
    let capture = Capture::start(&world.net.gw, "wan", &world.folder().join("wire.pcap"));
    assert!(!world.net.nat.ping(NODE), "the node is reachable without a tunnel");
    client.initiate("psk", "net", 10).unwrap_or_else(|e| panic!("{e}"));
    let sa = client.established("psk").expect("the IKE_SA");
    assert_eq!(sa.children()[0].get("encap"), "", "encapsulated without a NAT");
    assert!(world.net.nat.pings(NODE, 3, 56), "no ping through the tunnel");
    let file = capture.stop();
    let esp = decode(&file, None, "ip.proto == 50 && !udp", &["esp.sequence"]);
    assert_eq!(esp.len(), 6, "{esp:?}");
    assert!(client.terminate("psk").success);
    world.nothing_left();
}

pub(crate) fn with_move(roles: Roles) {
    let mut scenario = Scenario::new(Auth::Psk);
    for end in [&mut scenario.gw, &mut scenario.rw] {
        end.conn.set("mobike", "yes");
    }
    let world = World::start(roles, &scenario);
    let before = world.up();
    world.reachable();
    let keys = |sa: &Tree| {
        let child = &sa.children()[0];
        [sa.get("initiator-spi"), child.get("spi-in"), child.get("spi-out")].map(str::to_owned)
    };
    // As a laptop does that changes its network: the new address is there before the old one goes.
    world.net.rw.sh("ip address add 10.1.0.77/24 dev wan; ip address del 10.1.0.2/24 dev wan");
    wait_for("an answer at the new address", Duration::from_secs(20), || {
        world.net.rw.ping(NODE).then_some(())
    });
    let after = wait_for("the new address in the listing", Duration::from_secs(10), || {
        world.rw.established(&world.name).filter(|sa| sa.get("local-host") == "10.1.0.77")
    });
    assert_eq!(keys(&after), keys(&before), "nothing was made anew");
    assert!(world.net.rw.pings(NODE, 5, 56), "pings are lost after the move");
    world.down(true);
}

fn with_rebinding(roles: Roles) {
    let world = World::start(roles, &Scenario::new(Auth::Psk));
    world.up();
    world.reachable();
    let port = || world.gw.established(&world.name).map(|sa| sa.get("remote-port").to_owned());
    let before = port().expect("the IKE_SA");
    // the address leaves the router and with it every mapping through it; the next packet gets a new port
    world.net.nat.sh("ip address del 192.168.0.1/24 dev wan; ip address add 192.168.0.1/24 dev wan");
    wait_for("an answer by the new mapping", Duration::from_secs(10), || {
        world.net.rw.ping(NODE).then_some(())
    });
    world.reachable();
    wait_for("the new port in the listing", Duration::from_secs(5), || (port()? != before).then_some(()));
    world.down(true);
}
