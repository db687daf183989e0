//! WireGuard stays the default VPN: with an interface of it up, as `wg-quick` leaves it, nothing of it is touched, and both
//! VPNs carry traffic at once.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use adit_testbed::net::Namespace;
use adit_testbed::process::text;
use adit_testbed::{Auth, Kind, NODE, Network, Peer, Roles, Scenario, wait_for};

const LONG: Duration = Duration::from_secs(60);

/// All rules, routes, addresses and the firewall of a host, and its WireGuard interfaces, as the tools print them, without
/// what is ours: table 220 with its rule, the TUN device, tables whose names begin with `adit`, and virtual addresses.
fn surroundings(host: &Namespace) -> [String; 6] {
    // One shell: processes are dear under emulation.
    let all = host.sh(
        "ip -4 rule; ip -6 rule; echo ====; ip -4 route show table all; ip -6 route show table all; echo ====; ip -o \
         address show; echo ====; wg show all dump; echo ====; nft -s -a list ruleset; echo ====; cd \
         /proc/sys/net/ipv4/conf; grep . all/src_valid_mark */rp_filter */forwarding ../ip_forward",
    );
    let ours = ["220:", " table 220", " adit0", "adit0/", "10.3.0."];
    let mut parts = all.split("====\n").map(|part| {
        let kept = part.split_inclusive('\n').filter(|line| !ours.iter().any(|it| line.contains(it)));
        kept.collect::<String>()
    });
    let [rules, routes, addresses, wireguard, nftables, switches] =
        [(); 6].map(|()| parts.next().expect("a part"));
    // Without when was the last handshake and how much was carried.
    let lasting = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let peer = columns.len() == 9;
        columns
            .iter()
            .enumerate()
            .filter(|(i, _)| !peer || !(5..8).contains(i))
            .fold(String::new(), |all, (_, it)| all + it + " ")
    };
    let wireguard = wireguard.lines().map(lasting).collect();
    let tables = nftables
        .split("\ntable ")
        .filter(|it| !it.split(' ').nth(1).is_some_and(|name| name.starts_with("adit")));
    let nftables = tables.map(|it| it.trim_end().to_owned() + "\n").collect();
    [rules, routes, addresses, wireguard, nftables, switches]
}

/// One end of WireGuard.
struct End<'a> {
    host: &'a Namespace,
    address: &'a str,
    /// Where it listens.
    outer: &'a str,
    /// What goes through it to the other end.
    to_it: &'a str,
}

/// Has `wg-quick` bring up both ends.
fn connect(folder: &Path, ends: [End<'_>; 2]) {
    let keys = [0, 1].map(|_| {
        let private = ends[0].host.sh("wg genkey").trim().to_owned();
        let public = ends[0].host.sh(&format!("echo {private} | wg pubkey")).trim().to_owned();
        (private, public)
    });
    for (this, other) in [(0, 1), (1, 0)] {
        let (end, peer) = (&ends[this], &ends[other]);
        let text = format!(
            "[Interface]\nPrivateKey = {}\nAddress = {}/24\nListenPort = 7777\n[Peer]\nPublicKey = {}\nAllowedIPs = \
             {}\nEndpoint = {}:7777\nPersistentKeepalive = 5\n",
            keys[this].0, end.address, keys[other].1, peer.to_it, peer.outer
        );
        let folder = folder.join(format!("{}-{}", end.host.name(), end.address));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("wg0.conf");
        std::fs::write(&path, text).expect("wg0.conf");
        end.host.sh(&format!("chmod 600 {0}; wg-quick up {0} 2>&1", path.display()));
    }
    wait_for("WireGuard", LONG, || ends[0].host.ping(ends[1].address).then_some(()));
}

/// What came in by WireGuard, in bytes.
fn received(host: &Namespace) -> u64 {
    let text = host.sh("wg show wg0 transfer");
    text.split_whitespace().nth(1).and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// The gateway has WireGuard to the node, the road-warrior to the router, and both send everything through it that has no
/// route of its own: IPsec's packets of the road-warrior, too.
fn side_by_side() {
    let net = Network::build();
    let folder = tempfile::tempdir().expect("a folder");
    let all = "0.0.0.0/0";
    connect(
        folder.path(),
        [
            End { host: &net.gw, address: "10.9.0.1", outer: "10.2.0.1", to_it: "10.9.0.0/24" },
            End { host: &net.node, address: "10.9.0.2", outer: NODE, to_it: all },
        ],
    );
    connect(
        folder.path(),
        [
            End { host: &net.rw, address: "10.9.1.2", outer: "10.1.0.2", to_it: "10.9.1.0/24" },
            End { host: &net.nat, address: "10.9.1.1", outer: "10.1.0.1", to_it: all },
        ],
    );
    let hosts = [&net.gw, &net.rw];
    for host in hosts {
        let settled = || (!host.sh("ip -6 -o address show").contains("tentative")).then_some(());
        wait_for("addresses", LONG, settled);
        assert!(
            host.sh("ip rule").contains("not from all fwmark 0xca6c lookup 51820"),
            "wg-quick did something else"
        );
    }
    let before = hosts.map(surroundings);
    for dataplane in ["userspace", "kernel"] {
        with_a_tunnel(dataplane, &net, &folder.path().join(dataplane), &|when| {
            assert_eq!(before, hosts.map(surroundings), "{dataplane}: {when}");
        });
    }
}

/// A tunnel comes and goes; `compare` looks whether anything is different.
fn with_a_tunnel(dataplane: &str, net: &Network, folder: &Path, compare: &dyn Fn(&str)) {
    let mut scenario = Scenario::new(Auth::Psk);
    let ours = format!("  dataplane = {dataplane}\n  firewall = table\n");
    (scenario.gw.adit, scenario.rw.adit) = (ours.clone(), ours);
    let mut gw = Peer::start(Kind::Adit, &net.gw, &folder.join("gw"), &scenario.gw);
    let mut rw = Peer::start(Kind::Adit, &net.rw, &folder.join("rw"), &scenario.rw);
    rw.initiate(&scenario.rw.name, "net", 60).unwrap_or_else(|e| panic!("{e}"));
    wait_for("the gateway's IKE_SA", LONG, || gw.established(&scenario.gw.name));
    let in_place =
        || net.gw.sh("nft list map inet adit from4 2>/dev/null || true").contains("goto").then_some(());
    wait_for("the child's rules", LONG, in_place);

    let carried = [received(&net.gw), received(&net.rw)];
    let pings = |host: &Namespace, address: &str| {
        let mut command = host.command("ping");
        command.args(["-q", "-n", "-c", "20", "-i", "0.1", "-W", "5", address]).stdout(Stdio::piped());
        command.spawn().expect("starting ping")
    };
    // By IPsec, by the gateway's WireGuard, by the road-warrior's.
    let running = [pings(&net.rw, NODE), pings(&net.gw, "10.9.0.2"), pings(&net.rw, "10.9.1.1")];
    for ping in running {
        let output = text(&ping.wait_with_output().expect("ping").stdout);
        assert!(output.contains(" 20 received"), "{output}");
    }
    assert!(received(&net.gw) >= carried[0] + 20 * 84, "WireGuard did not carry it");
    assert!(received(&net.rw) >= carried[1] + 40 * 84, "WireGuard did not carry it, or not IPsec");
    let counted = net.gw.sh("nft list counter inet adit in-psk/net");
    assert!(counted.contains("packets 20 "), "IPsec did not carry it: {counted}");
    compare("with a tunnel");

    assert!(rw.terminate(&scenario.rw.name).success);
    for peer in [&mut rw, &mut gw] {
        peer.wait_until_empty(LONG);
        peer.stop();
    }
    compare("without the daemons");
    for host in [&net.gw, &net.rw] {
        assert!(!host.sh("nft list tables").contains(" adit"));
        assert!(!host.sh("ip -o link").contains(" adit0"));
        assert!(!host.sh("ip rule; ip route show table all").contains("220"));
    }
}

/// One network for both data planes: setting it up takes the longest.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn both_data_planes() {
    crate::run(module_path!(), "both_data_planes", Roles::BOTH_OURS, |_| side_by_side());
}
