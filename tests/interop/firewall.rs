//! `adit.firewall` beside an operator's own ruleset.

use std::process::Stdio;
use std::time::Duration;

use adit_testbed::net::Namespace;
use adit_testbed::process::Process;
use adit_testbed::{Auth, NODE, Roles, Scenario, World, wait_for};

const LONG: Duration = Duration::from_secs(20);
/// The operator's ruleset: everything is dropped that is not allowed, here with their own rule for the tunnel's packets.
const OPERATORS: &str = "flush ruleset
define ipsec_nets = { 10.3.0.0/24 }
table inet filter {
  set ipsec_local { type ipv4_addr; flags interval; elements = { 10.2.0.0/24 }; }
  chain input { type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname \"lo\" accept
    udp dport { 500, 4500 } accept
  }
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    TUNNEL
  }
}
table ip nat {
  chain postrouting { type nat hook postrouting priority 100;
    ip saddr $ipsec_nets return
    oifname \"wan\" masquerade
  }
}
INCLUDE
";
const THEIR_RULE: &str =
    "iifname \"adit0\" ct state new ip saddr $ipsec_nets ip daddr @ipsec_local counter accept";
/// The same where the kernel does ESP.
const THEIR_RULE_KERNEL: &str = "iifname \"wan\" oifname \"lan\" meta secpath exists ct state new ip saddr $ipsec_nets ip \
                                 daddr @ipsec_local counter accept";

/// Loads it, as `systemctl reload nftables` does.
fn load_operators(gw: &Namespace, tunnel: &str, include: &str) {
    let text = OPERATORS.replace("TUNNEL", tunnel).replace("INCLUDE", include);
    gw.sh(&format!("nft -f - <<'EOF'\n{text}EOF\n"));
}

/// Everything but our table, without counters, with handles: the same only if nobody touched it.
fn others(gw: &Namespace) -> String {
    let tables = gw.sh("nft list tables");
    let theirs = tables.lines().filter(|line| *line != "table inet adit");
    theirs.map(|table| gw.sh(&format!("nft -s -j list {table}"))).collect()
}

fn has_table(gw: &Namespace) -> bool {
    gw.sh("nft list tables").lines().any(|line| line == "table inet adit")
}

/// The packets of a named counter of our table.
fn counter(gw: &Namespace, name: &str) -> u64 {
    let text = gw.sh(&format!("nft list counter inet adit {name}"));
    let packets = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    packets.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

fn child_is_in_place(world: &World) {
    let in_place = || {
        let maps = world.net.gw.sh("nft list map inet adit from4 2>/dev/null || true");
        maps.contains("goto in-").then_some(())
    };
    wait_for("the child's rules", LONG, in_place);
}

/// Sends `count` echo requests from the client's inner address on the gateway's outer network, in the clear.
fn spoof(world: &World, address: &str, count: u32) {
    world.net.nat.sh(&format!(
        "ip address add {address}/32 dev lo 2>/dev/null || true\nip route replace 10.2.0.0/24 via 192.168.0.2\n\
         nft flush chain ip nat post\nping -q -n -c {count} -i 0.05 -W 1 -I {address} {NODE} >/dev/null || true\n\
         nft add rule ip nat post oifname wan masquerade random"
    ));
}

/// What the node got from an address.
fn node_counts(world: &World, address: &str) {
    world.net.node.sh(&format!(
        "nft -f - <<'EOF'\ntable ip seen {{\n counter pings {{ }}\n chain pre {{ type filter hook prerouting priority 0;\n \
         ip saddr {address} icmp type echo-request counter name \"pings\"\n }}\n}}\nEOF\n"
    ));
}

fn seen_by_node(world: &World) -> u64 {
    let text = world.net.node.sh("nft list counter ip seen pings");
    text.split("packets ").nth(1).and_then(|it| it.split(' ').next()).unwrap().parse().unwrap()
}

fn start(firewall: &str) -> World {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.adit = firewall.to_owned();
    World::start(Roles::BOTH_OURS, &scenario)
}

/// A decrypted packet passes the operator's forward rule; the same packet in the clear from the WAN is dropped.
#[test]
fn spoofed_and_decrypted() {
    crate::run(module_path!(), "spoofed_and_decrypted", Roles::BOTH_OURS, |_| {
        told_apart("userspace", THEIR_RULE);
    });
}

/// The same where the kernel decrypts.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn spoofed_and_decrypted_by_the_kernel() {
    crate::run(module_path!(), "spoofed_and_decrypted_by_the_kernel", Roles::BOTH_OURS, |_| {
        told_apart("kernel", THEIR_RULE_KERNEL);
    });
}

fn told_apart(dataplane: &str, rule: &str) {
    let world = start(&format!("  dataplane = {dataplane}\n  firewall = table\n"));
    let gw = &world.net.gw;
    load_operators(gw, rule, "");
    wait_for("the table after the reload", LONG, || has_table(gw).then_some(()));
    let before = others(gw);
    let sa = world.up();
    let address = sa.list("local-vips")[0].to_owned();
    child_is_in_place(&world);
    node_counts(&world, &address);
    let (came, went) = (counter(gw, "in-psk/net"), counter(gw, "out-psk/net"));
    assert!(world.net.rw.pings(NODE, 20, 56), "the tunnel's packets do not pass");
    assert_eq!(counter(gw, "in-psk/net"), came + 20);
    assert_eq!(counter(gw, "out-psk/net"), went + 20);
    assert_eq!((counter(gw, "spoofed"), seen_by_node(&world)), (0, 20));

    spoof(&world, &address, 7);
    assert_eq!((counter(gw, "spoofed"), seen_by_node(&world)), (7, 20));
    assert_eq!(counter(gw, "in-psk/net"), came + 20, "counted as if it had come out of the tunnel");
    // An address of the pool that nobody has is no better.
    spoof(&world, "10.3.0.77", 3);
    assert_eq!(counter(gw, "spoofed"), 10);
    assert!(world.net.rw.pings(NODE, 3, 56), "the tunnel's packets do not pass any more");
    let status = world.gw.status();
    assert!(status.contains("firewall: table inet adit, 10 packets dropped that only pretended"), "{status}");
    assert!(
        !status.contains("forward drops by policy") && status.contains("input drops by policy"),
        "{status}"
    );

    assert_eq!(before, others(gw), "somebody else's ruleset was touched");
    world.down(false);
    wait_for("the child's rules gone", LONG, || {
        (!gw.sh("nft list table inet adit").contains("in-psk")).then_some(())
    });
    assert_eq!(before, others(gw));
}

/// Flushed while traffic flows, reloaded, deleted, changed: it comes back, and the log says so once.
#[test]
fn put_back() {
    crate::run(module_path!(), "put_back", Roles::BOTH_OURS, |_| {
        let mut world = start("  firewall = table\n");
        wait_for("the table", LONG, || has_table(&world.net.gw).then_some(()));
        world.up();
        child_is_in_place(&world);
        let mut ping = world.net.rw.command("ping");
        ping.args(["-q", "-n", "-i", "0.05", NODE]).stdout(Stdio::null()).stderr(Stdio::null());
        let _ping = Process::spawn("ping", ping);
        let gw = &world.net.gw;
        let whole = |what: &str| {
            let counted = || {
                (has_table(gw) && gw.sh("nft list table inet adit").contains("goto in-psk/net"))
                    .then(|| counter(gw, "in-psk/net"))
                    .filter(|packets| *packets > 3)
            };
            wait_for(what, LONG, counted);
        };
        for (what, script) in [
            ("after a flush", "nft flush ruleset"),
            ("after a deletion", "nft delete table inet adit"),
            ("after a rule was flushed", "nft flush chain inet adit prerouting"),
        ] {
            gw.sh(script);
            whole(what);
        }
        load_operators(gw, THEIR_RULE, "");
        whole("after a reload");
        let before = others(gw);
        let told = world.gw.log().matches("it is put back").count();
        assert_eq!(told, 1, "{}", world.gw.log());
        // A rule of somebody else in our table does not stay.
        gw.sh("nft insert rule inet adit prerouting counter accept");
        wait_for("the rule gone", LONG, || {
            (has_table(gw) && !gw.sh("nft list chain inet adit prerouting").contains("counter")).then_some(())
        });
        assert_eq!(before, others(gw));
        world.gw.stop();
        assert!(!has_table(&world.net.gw), "the table is left");
        assert_eq!(before, others(&world.net.gw));
    });
}

/// A killed daemon leaves its table; the next one replaces it, and leaves others' alone.
#[test]
fn killed() {
    crate::run(module_path!(), "killed", Roles::BOTH_OURS, |_| {
        let mut world = start("  firewall = table\n");
        world.net.gw.sh("nft add table inet adit2; nft add table ip adit; nft add chain ip adit mine");
        let before = others(&world.net.gw);
        world.up();
        child_is_in_place(&world);
        world.gw.kill();
        assert!(world.net.gw.sh("nft list table inet adit").contains("goto in-psk/net"));
        world.gw.launch(&world.net.gw);
        wait_for("a table without the child", LONG, || {
            (has_table(&world.net.gw) && !world.net.gw.sh("nft list table inet adit").contains("in-psk"))
                .then_some(())
        });
        assert_eq!(before, others(&world.net.gw));
    });
}

/// The operator's chains drop: it is said, the file is written, and included it lets the tunnel's packets pass.
#[test]
fn dropin() {
    crate::run(module_path!(), "dropin", Roles::BOTH_OURS, |_| {
        let folder = std::env::temp_dir().join(format!("adit-nft.d-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("20-adit.conf");
        let world = start(&format!(
            "  firewall = dropin\n  dropin {{\n    file = {}\n    services = 8888\n  }}\n",
            file.display()
        ));
        let gw = &world.net.gw;
        wait_for("the file", LONG, || file.exists().then_some(()));
        load_operators(gw, "", "");
        let before = others(gw);
        world.up();
        node_counts(&world, "10.3.0.1");
        assert!(!world.net.rw.ping(NODE), "nothing lets it pass, and it passes");
        let warned = || {
            let status = world.gw.status();
            (status.contains("the chain inet filter forward drops by policy")
                && status.contains("systemctl reload nftables"))
            .then_some(())
        };
        wait_for("the warning", LONG, warned);
        assert!(world.gw.logged(&["firewall: the chain inet filter input drops by policy"]));
        assert_eq!(before, others(gw), "the file was executed");
        assert!(!has_table(gw));

        load_operators(gw, "", &format!("include \"{}/*.conf\"", folder.display()));
        assert!(world.net.rw.pings(NODE, 5, 56), "the file does not let the tunnel's packets pass");
        wait_for("no warning", LONG, || (!world.gw.status().contains("drops by policy")).then_some(()));
        let seen = seen_by_node(&world);
        let address = world.rw.established(&world.name).expect("up").list("local-vips")[0].to_owned();
        spoof(&world, &address, 5);
        assert_eq!(seen_by_node(&world), seen, "a packet in the clear passed");
        let dropped = gw.sh("nft list chain inet filter forward");
        assert!(dropped.contains("@adit_guarded4 counter packets 5 "), "{dropped}");
        let written = std::fs::metadata(&file).unwrap().modified().unwrap();
        assert!(world.gw.swanctl(&["--load-all"]).success);
        world.gw.status();
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written, "rewritten without need");
        world.down(false);
        std::fs::remove_dir_all(folder).unwrap();
    });
}
