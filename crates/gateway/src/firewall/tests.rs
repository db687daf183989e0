use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use adit_conf::StrongswanConf;
use adit_conf::swanctl::{self, SwanctlConf};
use adit_ipsec::{ChildSa, Selector};
use adit_linux::netns::Namespace;

use super::style::Style;
use super::table::Table;
use super::{dropin, nft};

fn selectors(text: &str) -> Vec<Selector> {
    let one = |text: &str| {
        let (range, ports) = text.split_once('[').map_or((text, ""), |(range, ports)| (range, ports));
        let (address, prefix) = range.split_once('/').unwrap();
        let selector = Selector::from_cidr(address.parse().unwrap(), prefix.parse().unwrap()).unwrap();
        match ports.trim_end_matches(']').split_once('/') {
            Some((protocol, port)) => {
                let port: u16 = port.parse().unwrap();
                selector.with_ports(protocol.parse().unwrap(), port, port)
            }
            None => selector,
        }
    };
    text.split_whitespace().map(one).collect()
}

pub(super) fn child(id: u32, name: &str, remote: &str, local: &str) -> ChildSa {
    let (conn, child) = name.split_once('/').unwrap();
    ChildSa {
        id,
        name: Arc::from(child),
        ike_name: Arc::from(conn),
        local_ts: selectors(local),
        remote_ts: selectors(remote),
        ..blank()
    }
}

fn blank() -> ChildSa {
    ChildSa {
        id: 0,
        reqid: 1,
        name: "".into(),
        ike_name: "".into(),
        mode: adit_ipsec::Mode::Tunnel,
        spi_in: 1,
        spi_out: 2,
        keys_in: adit_ipsec::SaKeys::default(),
        keys_out: adit_ipsec::SaKeys::default(),
        local_ts: Vec::new(),
        remote_ts: Vec::new(),
        local: "192.0.2.1:4500".parse().unwrap(),
        remote: "192.0.2.2:4500".parse().unwrap(),
        udp_encap: true,
        esn: false,
        replay_window: 32,
        headers: adit_ipsec::HeaderRules::default(),
        tfc_padding: 0,
        virtual_ips: Vec::new(),
        outbound_ready: true,
        replaces: None,
        limits: adit_ipsec::Limits::default(),
        options: Arc::default(),
    }
}

pub(super) fn style(dataplane: &str) -> Style {
    Style::new(&StrongswanConf::default(), dataplane).unwrap()
}

fn pool() -> Vec<(IpAddr, IpAddr)> {
    vec![("10.3.0.1".parse().unwrap(), "10.3.0.254".parse().unwrap())]
}

/// `UPDATE_GOLDEN=1` writes them anew.
fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/firewall/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
}

/// Runs `work` in a network namespace of its own.
fn in_namespace(name: &str, work: impl FnOnce() + Send) {
    let namespace = Namespace::create(&format!("adit-fw-{name}-{}", std::process::id())).unwrap();
    namespace.run(work).unwrap();
    namespace.delete().unwrap();
}

pub(super) fn apply(text: &str) {
    let ran = nft::apply(text);
    assert!(ran.result.is_ok(), "{:?}\n{text}", ran.result);
}

/// The ruleset without what depends on the order in which it was made.
fn listed() -> Vec<String> {
    let text = nft::run(&["list", "ruleset"], "").result.unwrap();
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        if ["chain", "counter", "set", "map"].iter().any(|it| line.starts_with(&format!("\t{it} "))) {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut().filter(|_| line.starts_with('\t')) {
            block.push_str(line);
        }
    }
    blocks.sort();
    blocks
}

#[test]
fn a_gateway_with_both_data_planes() {
    for dataplane in ["userspace", "kernel"] {
        let mut table = Table::new(style(dataplane));
        table.set_pools(pool());
        let local = "10.0.4.0/24 10.233.64.0/18";
        table.child_up(&child(1, "rw-eap/net-1", "172.20.150.0/24", local));
        table.child_up(&child(
            2,
            "rw-eap/net \"2\"",
            "172.20.150.16/28 2001:db8:2::/64",
            "10.0.4.0/24[6/443] 2001:db8:1::/64",
        ));
        table.set_passed(vec![(selectors("172.20.150.1/32[17/53]")[0], selectors("10.0.4.1/32")[0])]);
        let whole = table.whole();
        golden(&format!("{dataplane}.nft"), &whole);
        in_namespace(dataplane, move || {
            apply(&whole);
            apply(&whole);
        });
    }
}

#[test]
fn what_changes_is_written_and_nothing_else() {
    let mut table = Table::new(style("userspace"));
    table.set_pools(pool());
    table.whole();
    assert_eq!(table.changes(), None);
    let road_warrior = |id, address: &str| child(id, "home/net", address, "10.2.0.0/24");
    let mut story = String::new();
    let mut tell = |what: &str, changes: Option<String>| {
        story.push_str(&format!("# {what}\n{}", changes.unwrap_or_default()));
    };
    table.child_up(&road_warrior(1, "10.3.0.1/32"));
    tell("the first client", table.changes());
    table.child_up(&road_warrior(2, "10.3.0.2/32"));
    tell("another one of the same child", table.changes());
    table.child_up(&road_warrior(3, "10.3.0.1/32"));
    table.child_down(1);
    tell("the first one's child is rekeyed", table.changes());
    table.child_up(&child(4, "home/other", "10.3.0.1/32", "10.9.0.0/24"));
    tell("it has another child", table.changes());
    table.child_down(3);
    table.child_down(4);
    tell("it is gone", table.changes());
    table.child_down(2);
    table.set_pools(Vec::new());
    tell("all are, and the pool", table.changes());
    golden("changes.nft", &story);
}

/// Whatever happens in whatever order: changes lead where writing the whole table leads, and the kernel takes all of it.
#[test]
fn changes_lead_to_the_whole() {
    in_namespace("walk", || {
        let mut table = Table::new(style("kernel"));
        apply(&table.whole());
        let remotes = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.2.3/32",
            "0.0.0.0/0",
            "192.0.2.0/24 10.1.0.0/24",
            "::/0",
            "2001:db8::/32 10.1.2.0/25",
            "2001:db8::1/128",
            "10.1.2.3/32[6/80]",
        ];
        let locals =
            ["10.20.0.0/16", "10.20.0.0/16 10.30.0.0/16", "2001:db8:9::/48 10.20.0.0/24", "0.0.0.0/0"];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 8).unwrap() % below
        };
        for turn in 0..60 {
            for _ in 0..=random(4) {
                let id = u32::try_from(random(12)).unwrap();
                if random(3) == 0 {
                    table.child_down(id);
                } else {
                    let name = format!("c{}/x", random(5));
                    table.child_up(&child(
                        id,
                        &name,
                        remotes[random(remotes.len())],
                        locals[random(locals.len())],
                    ));
                }
            }
            if let Some(changes) = table.changes() {
                apply(&changes);
            }
            if turn % 6 == 5 {
                let changed = listed();
                apply(&table.whole());
                assert_eq!(changed, listed(), "turn {turn}");
            }
        }
        for id in 0..12 {
            table.child_down(id);
        }
        apply(&table.changes().unwrap());
        let left = listed();
        apply(&Table::new(style("kernel")).whole());
        assert_eq!(left, listed());
    });
}

fn connections(text: &str) -> SwanctlConf {
    let tree = adit_conf::tree::parse("swanctl.conf", text).unwrap();
    let (conf, diagnostics) = swanctl::from_tree(&tree.root);
    assert!(!diagnostics.iter().any(adit_conf::Diagnostic::is_error), "{diagnostics:?}");
    conf
}

/// The operator's configuration, and the ruleset that the file goes into.
#[test]
fn the_file_for_the_operators_ruleset() {
    let conf = connections(
        "net-base {\n local_ts = 10.0.4.0/24, 10.233.64.0/18\n}\n\
         connections { rw-eap {\n local_addrs = 10.0.4.50\n pools = home\n local {\n auth = psk\n id = 203.0.113.20\n}\n\
         remote {\n auth = psk\n id = peerid\n}\n children {\n net-1 : net-base { remote_ts = 172.20.150.0/24 }\n\
         net-2 : net-base { remote_ts = 172.20.150.128/25, 10.0.0.0/8, 2001:db8::/64 }\n dyn : net-base { }\n }\n} }\n\
         pools { home { addrs = 10.3.0.0/24 } }\n",
    );
    let pools = dropin::pool_ranges(conf.pools.iter());
    let mut settings = StrongswanConf::default();
    settings.adit.dropin.services = vec![(8888, 8888), (9100, 9110)];
    let text = dropin::render(&settings, conf.connections.iter(), &pools);
    golden("dropin.nft", &text);
    let operators = "flush ruleset\ntable inet filter {\n chain input { type filter hook input priority 0; policy drop; }\n\
         chain forward { type filter hook forward priority 0; policy drop; }\n}\n\
         table ip nat {\n chain postrouting { type nat hook postrouting priority 100; }\n}\n";
    let whole = format!(
        "{operators}{text}table ip nat {{\n chain postrouting {{ fib saddr type != local masquerade\n}}\n}}\n"
    );
    in_namespace("dropin", || {
        apply(operators);
        let all = Style::configured(&settings);
        let found = super::blocking(&all).unwrap();
        assert_eq!(
            found.iter().map(|it| it.chain.as_str()).collect::<Vec<_>>(),
            ["inet filter input", "inet filter forward"]
        );
        apply(&whole);
        assert_eq!(super::blocking(&all).unwrap(), []);
    });
    settings.adit.dataplane = adit_conf::strongswan::DataplaneKind::Userspace;
    settings.adit.dropin.postrouting = None;
    settings.adit.dropin.services.clear();
    let dynamic = connections(
        "connections { home {\n remote_addrs = 192.0.2.7\n vips = 0.0.0.0\n local {\n auth = psk\n}\n remote {\n auth = psk\n}\n children { net { } }\n} }\n",
    );
    golden("dropin-client.nft", &dropin::render(&settings, dynamic.connections.iter(), &[]));
}

#[test]
fn a_file_is_written_only_when_it_changes_and_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("20-adit.conf");
    assert!(dropin::write(&path, "one\n").unwrap());
    assert!(!dropin::write(&path, "one\n").unwrap());
    std::os::unix::fs::symlink("/nonexistent/elsewhere", folder.path().join("20-adit.conf.new")).unwrap();
    assert!(dropin::write(&path, "two\n").unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(dropin::write(&folder.path().join("no/such"), "x").is_err());
}

/// Each of its own name and network: what there is of a child is made once, and the kernel looks for nothing among all.
#[test]
fn thousands_of_children() {
    in_namespace("many", || {
        let mut table = Table::new(style("userspace"));
        for id in 0..3000u32 {
            let network = format!("10.{}.{}.0/24", 100 + id / 256, id % 256);
            table.child_up(&child(id, &format!("site-{id}/net"), &network, "10.2.0.0/24 10.4.0.0/24"));
        }
        let before = std::time::Instant::now();
        let whole = table.whole();
        apply(&whole);
        let all = before.elapsed();
        table.child_up(&child(9999, "one/more", "10.99.0.0/16", "10.2.0.0/24"));
        let changes = table.changes().unwrap();
        assert!(changes.lines().count() < 12, "{changes}");
        apply(&changes);
        println!("3000 children {all:?}, one more {:?}", before.elapsed() - all);
        let elements = nft::run(&["list", "map", "inet", "adit", "from4"], "").result.unwrap();
        assert_eq!(elements.matches("goto").count(), 3001);
    });
}
