//! Rules, routes and addresses as strongSwan with the kernel's ESP leaves them, and as we do: the same configuration, side by
//! side. What differs is named here with its reason.

use adit_testbed::net::Namespace;
use adit_testbed::scenario::Settings;
use adit_testbed::{Auth, Roles, Scenario, World};

/// A configuration, and the children that are brought up.
type Case = (&'static str, fn() -> Scenario, &'static [&'static str]);

const CASES: [Case; 3] = [
    ("road-warrior, virtual IPs of both families, three children", road_warrior, &["net", "too", "six"]),
    ("site to site, IPv6, the peer inside its own selector", sites, &["net", "six", "near"]),
    ("full tunnel", full_tunnel, &["net"]),
];

/// What differs for a reason, theirs and ours: that an IPv6 virtual address is deprecated keeps it from being the source of
/// what does not go into the tunnel.
const EXPLAINED: [&str; 2] =
    ["valid_lft forever preferred_lft forever", "deprecated \\ valid_lft forever preferred_lft 0sec"];

fn child(local: Option<&str>, remote: Option<&str>) -> Settings {
    let mut settings = Settings::default();
    for (key, value) in [("local_ts", local), ("remote_ts", remote)] {
        if let Some(value) = value {
            settings.set(key, value);
        }
    }
    settings
}

fn road_warrior() -> Scenario {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.rw.conn.set("vips", "0.0.0.0, ::");
    scenario.gw.conn.set("pools", "home, six");
    scenario.gw.pools += "  six {\n    addrs = fd00:3::/64\n  }\n";
    for (name, net) in [("too", "10.2.1.0/24"), ("six", "fd00:2::/64")] {
        scenario.gw.children.push((name.into(), child(Some(net), None)));
        scenario.rw.children.push((name.into(), child(None, Some(net))));
    }
    scenario
}

fn sites() -> Scenario {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.rw.conn.remove("vips");
    scenario.gw.conn.remove("pools");
    let children = [
        ("net", "10.1.0.0/24", "10.2.0.0/24"),
        ("six", "fd00:1::/64", "fd00:2::/64"),
        ("near", "10.1.0.0/24", "192.168.0.0/24"),
    ];
    let list = |turned: bool| {
        let one = |(name, here, there): &(&str, &str, &str)| {
            let (local, remote) = if turned { (*there, *here) } else { (*here, *there) };
            ((*name).to_owned(), child(Some(local), Some(remote)))
        };
        children.iter().map(one).collect()
    };
    (scenario.rw.children, scenario.gw.children) = (list(false), list(true));
    scenario
}

fn full_tunnel() -> Scenario {
    let mut scenario = Scenario::new(Auth::Psk);
    scenario.gw.child().set("local_ts", "0.0.0.0/0");
    scenario.rw.child().set("remote_ts", "0.0.0.0/0");
    scenario
}

/// What is compared, a line each; link-local entries and what the kernel numbers aside.
fn shown(namespace: &Namespace) -> Vec<String> {
    let mut lines = Vec::new();
    for (what, script) in [
        ("rule", "ip rule; ip -6 rule"),
        ("route", "ip route show table 220 2>/dev/null; ip -6 route show table 220 2>/dev/null; true"),
        ("address", "ip -o addr show | sed 's/^[0-9]*: //; s/ *valid_lft/ valid_lft/'"),
    ] {
        let text = namespace.sh(script);
        let mut found: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("fe80") && !line.trim().is_empty())
            .map(|line| format!("{what}: {}", line.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        found.sort();
        lines.extend(found);
    }
    lines
}

/// Of each case what the gateway and the client have while its children are up, and afterwards.
fn tables(roles: Roles) -> Vec<[Vec<String>; 3]> {
    CASES
        .iter()
        .map(|(_, scenario, children)| {
            let world = World::start(roles, &scenario());
            world.net.rw.sh("ip -6 addr add fd00:1::1/64 dev lo nodad");
            for child in *children {
                if let Err(output) = world.rw.initiate("psk", child, 60) {
                    panic!("initiating {child} failed:\n{output}");
                }
            }
            let (gw, rw) = (shown(&world.net.gw), shown(&world.net.rw));
            assert!(world.rw.terminate("psk").success);
            [gw, rw, shown(&world.net.rw)]
        })
        .collect()
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn side_by_side() {
    let mut theirs = Vec::new();
    crate::run(module_path!(), "reference", Roles::REFERENCE, |roles| theirs = tables(roles));
    let mut ours = Vec::new();
    crate::run(module_path!(), "side_by_side", Roles::BOTH_OURS, |roles| ours = tables(roles));
    let mut differences = Vec::new();
    for ((name, ..), (theirs, ours)) in CASES.iter().zip(theirs.iter().zip(&ours)) {
        for (end, (theirs, ours)) in
            ["gateway", "client", "client, after"].iter().zip(theirs.iter().zip(ours))
        {
            println!("== {name}: {end}, charon");
            theirs.iter().for_each(|line| println!("{line}"));
            println!("== {name}: {end}, ours");
            ours.iter().for_each(|line| println!("{line}"));
            let explained = |line: &String| match line.contains(" fd00:3::") {
                true => line.replace(EXPLAINED[1], &format!("\\ {}", EXPLAINED[0])),
                false => line.clone(),
            };
            if *theirs != ours.iter().map(explained).collect::<Vec<_>>() {
                differences.push(format!("{name}: {end}"));
            }
        }
    }
    assert!(!ours.is_empty() && differences.is_empty(), "{differences:#?}");
}
