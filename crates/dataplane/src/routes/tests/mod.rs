//! The book on the path, as the kernel's data plane uses it, in network namespaces.

mod survival;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use adit_ipsec::{EntryOptions, Mode, Selector};
use adit_linux::netns::{Namespace, veth};

use super::{Needs, Owner, Place, RouteBook, RouteConfig};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A host with `192.0.2.1` and `2001:db8::1` on `eth0`, a router `.254` behind it, and `10.1.0.1`, `fd01::1` on `lo`.
pub(super) struct Host {
    namespace: Namespace,
    _other: Namespace,
}

pub(super) fn host() -> Option<Host> {
    let make = |what: &str| {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Namespace::create(&format!("adr{}-{number}-{what}", std::process::id()))
            .map_err(|error| println!("SKIPPED: {error}"))
            .ok()
    };
    let (namespace, other) = (make("a")?, make("b")?);
    veth((&namespace, "eth0"), (&other, "eth0")).unwrap();
    let host = Host { namespace, _other: other };
    for line in [
        "addr add 192.0.2.1/24 dev eth0",
        "addr add 2001:db8::1/64 dev eth0 nodad",
        "addr add 10.1.0.1/32 dev lo",
        "addr add fd01::1/128 dev lo nodad",
        "route add default via 192.0.2.254",
        "route add default via 2001:db8::fe dev eth0",
    ] {
        host.ip(line);
    }
    Some(host)
}

impl Host {
    pub(super) fn ip(&self, arguments: &str) -> String {
        let output = self.namespace.command("ip").unwrap().args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn start(&self, config: RouteConfig) -> RouteBook {
        self.namespace.run(|| RouteBook::start(config, Place::Path).unwrap()).unwrap()
    }

    /// Table 220, the IPv4 routes first, a line each.
    pub(super) fn table(&self) -> Vec<String> {
        let all = self.ip("-4 route show table all") + &self.ip("-6 route show table all");
        let ours = all.lines().filter(|line| line.contains(" table 220"));
        ours.map(|line| line.replace(" table 220", "").replace(" pref medium", "").trim().to_owned())
            .collect()
    }
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn net(text: &str) -> Selector {
    let (address, prefix) = text.split_once('/').unwrap();
    Selector::from_cidr(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
}

/// From `192.0.2.1` (or `2001:db8::1`) to this peer.
pub(super) fn needs(peer: &str, local: &[&str], remote: &[&str]) -> Needs {
    let peer = address(peer);
    Needs {
        name: "net".into(),
        mode: Mode::Tunnel,
        options: Arc::default(),
        local_ts: local.iter().map(|text| net(text)).collect(),
        remote_ts: remote.iter().map(|text| net(text)).collect(),
        virtual_ips: Vec::new(),
        local: Some(address(if peer.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" })),
        peer: Some(peer),
    }
}

#[test]
fn a_site_gets_a_route_on_the_way_to_its_gateway() {
    let Some(host) = host() else { return };
    let before = host.ip("rule");
    let mut book = host.start(RouteConfig::default());
    assert!(
        host.ip("rule").contains("220:\tfrom all lookup 220 \n")
            || host.ip("rule").contains("220:\tfrom all lookup 220\n")
    );
    // Behind the router, and on the link.
    book.add(Owner::Child(1), needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16"])).unwrap();
    book.add(Owner::Child(2), needs("192.0.2.2", &["10.1.0.0/16"], &["10.3.0.0/16", "10.4.0.0/16"])).unwrap();
    book.add(Owner::Child(3), needs("2001:db8:7::7", &["fd01::/64"], &["fd02::/64"])).unwrap();
    assert_eq!(
        host.table(),
        [
            "10.2.0.0/16 via 192.0.2.254 dev eth0 proto static src 10.1.0.1",
            "10.3.0.0/16 via 192.0.2.2 dev eth0 proto static src 10.1.0.1",
            "10.4.0.0/16 via 192.0.2.2 dev eth0 proto static src 10.1.0.1",
            "fd02::/64 via 2001:db8::fe dev eth0 proto static src fd01::1 metric 1024",
        ]
    );
    // A rekey takes the route over, whoever goes first.
    book.add(Owner::Child(4), needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16"])).unwrap();
    book.remove(Owner::Child(1));
    assert_eq!(host.table().len(), 4);
    // IPv4 inside IPv6: the next hop is of the other family.
    book.add(Owner::Child(5), needs("2001:db8:7::7", &["10.1.0.0/16"], &["10.5.0.0/16"])).unwrap();
    assert!(host.table().contains(&"10.5.0.0/16 dev eth0 proto static src 10.1.0.1".to_owned()));
    for id in [2, 3, 4, 5] {
        book.remove(Owner::Child(id));
    }
    assert!(host.table().is_empty());
    book.clear();
    assert_eq!(host.ip("rule"), before);
}

#[test]
fn the_newest_user_of_a_prefix_has_its_route() {
    let Some(host) = host() else { return };
    let mut book = host.start(RouteConfig::default());
    book.add(Owner::Trap(1), needs("198.51.100.7", &["10.1.0.0/16"], &["10.2.0.0/16"])).unwrap();
    book.add(Owner::Trap(2), needs("198.51.100.7", &["10.1.0.0/16", "192.0.2.0/24"], &["10.2.0.0/16"]))
        .unwrap();
    assert_eq!(host.table(), ["10.2.0.0/16 via 192.0.2.254 dev eth0 proto static src 192.0.2.1"]);
    // A gateway that only forwards does not take it away.
    book.add(Owner::Trap(3), needs("198.51.100.7", &["10.9.0.0/16"], &["10.2.0.0/16"])).unwrap();
    assert_eq!(host.table().len(), 1);
    let pass = Needs { peer: None, local: None, ..needs("192.0.2.2", &["0.0.0.0/0"], &["10.2.0.0/16"]) };
    book.add(Owner::Shunt(4), pass).unwrap();
    assert_eq!(host.table(), ["throw 10.2.0.0/16 proto static"]);
    book.remove(Owner::Shunt(4));
    book.remove(Owner::Trap(2));
    assert_eq!(host.table(), ["10.2.0.0/16 via 192.0.2.254 dev eth0 proto static src 10.1.0.1"]);
}

#[test]
fn table_main_keeps_its_default_route_and_routes_have_their_metrics() {
    let Some(host) = host() else { return };
    let before = host.ip("rule") + &host.ip("route");
    let config = RouteConfig { table: 0, mtu: Some(1300), mss: Some(1260), ..RouteConfig::default() };
    let mut book = host.start(config);
    book.add(Owner::Child(1), needs("198.51.100.7", &["10.1.0.0/16"], &["0.0.0.0/0"])).unwrap();
    let routes = host.ip("route");
    for half in ["0.0.0.0/1", "128.0.0.0/1"] {
        let line = format!("{half} via 192.0.2.254 dev eth0 proto static src 10.1.0.1 mtu 1300 advmss 1260");
        assert!(routes.contains(&line), "{routes}");
    }
    assert!(!host.ip("rule").contains("220"));
    book.clear();
    assert_eq!(host.ip("rule") + &host.ip("route"), before);
}

#[test]
fn a_virtual_ip_goes_where_it_is_told_to() {
    let Some(host) = host() else { return };
    let on = |name: &str| RouteConfig { install_virtual_ip_on: Some(name.into()), ..RouteConfig::default() };
    let mut book = host.start(on("lo"));
    book.add_vip(address("10.9.0.1"), address("192.0.2.1")).unwrap();
    assert!(host.ip("addr show dev lo").contains("10.9.0.1/32"));
    book.clear();
    // Where there is no such interface, the one with the outer address will do.
    let mut book = host.start(on("nowhere0"));
    book.add_vip(address("10.9.0.1"), address("192.0.2.1")).unwrap();
    assert!(host.ip("addr show dev eth0").contains("10.9.0.1/32"));
    book.clear();
    let mut book = host.start(RouteConfig { install_virtual_ip: false, ..RouteConfig::default() });
    book.add_vip(address("10.9.0.1"), address("192.0.2.1")).unwrap();
    assert!(!host.ip("addr").contains("10.9.0.1"));
}

#[test]
fn who_needs_no_route_gets_none() {
    let Some(host) = host() else { return };
    let mut book = host.start(RouteConfig::default());
    let tunnel = || needs("192.0.2.2", &["10.1.0.0/16"], &["10.2.0.0/16"]);
    // A gateway that is not in its own local selector only forwards.
    book.add(Owner::Child(1), needs("192.0.2.2", &["10.9.0.0/16"], &["10.2.0.0/16"])).unwrap();
    book.add(Owner::Child(2), Needs { mode: Mode::Transport, ..tunnel() }).unwrap();
    let one = |options: EntryOptions| Needs { options: Arc::new(options), ..tunnel() };
    book.add(Owner::Child(3), one(EntryOptions { if_id_out: 7, ..EntryOptions::default() })).unwrap();
    book.add(Owner::Child(4), one(EntryOptions { policies: false, ..EntryOptions::default() })).unwrap();
    let web = Selector::new(6, 80, 80, address("10.2.0.0"), address("10.2.255.255")).unwrap();
    book.add(Owner::Child(5), Needs { remote_ts: vec![web], ..tunnel() }).unwrap();
    assert!(host.table().is_empty());
    let mut none = host.start(RouteConfig { install_routes: false, ..RouteConfig::default() });
    none.add(Owner::Child(1), tunnel()).unwrap();
    assert!(host.table().is_empty());
}

#[test]
fn a_full_tunnel_leads_where_its_own_packets_go() {
    let Some(host) = host() else { return };
    let mut book = host.start(RouteConfig::default());
    let mut full = needs("198.51.100.7", &["10.9.0.1/32"], &["0.0.0.0/0"]);
    full.virtual_ips = vec![address("10.9.0.1")];
    // The route waits for its address.
    book.add(Owner::Child(1), full).unwrap();
    assert!(host.table().is_empty());
    book.add_vip(address("10.9.0.1"), address("192.0.2.1")).unwrap();
    let route = "default via 192.0.2.254 dev eth0 proto static src 10.9.0.1";
    assert_eq!(host.table(), [route]);
    assert!(host.ip("addr show dev eth0").contains("inet 10.9.0.1/32 scope global eth0"));
    // The way to another peer is not the tunnel's, although the kernel says so.
    book.add(Owner::Child(2), needs("198.51.100.8", &["10.1.0.0/16"], &["10.2.0.0/16"])).unwrap();
    assert!(
        host.table().contains(&"10.2.0.0/16 via 192.0.2.254 dev eth0 proto static src 10.1.0.1".to_owned())
    );
    // The way to the peer changes: the kernel says so, the routes follow.
    host.ip("route replace default via 192.0.2.253");
    book.refresh();
    assert!(host.table().iter().all(|route| route.contains("via 192.0.2.253")), "{:?}", host.table());
    // The peer moves to the link.
    book.move_path(Owner::Child(1), address("192.0.2.1"), address("192.0.2.9")).unwrap();
    assert!(
        host.table().contains(&"default via 192.0.2.9 dev eth0 proto static src 10.9.0.1".to_owned()),
        "{:?}",
        host.table()
    );
    book.remove_vip(address("10.9.0.1"));
    assert_eq!(host.table().len(), 1);
    assert!(!host.ip("addr").contains("10.9.0.1"));
}

#[test]
fn a_virtual_ip_of_ipv6_is_not_chosen_by_others_and_one_that_was_there_stays() {
    let Some(host) = host() else { return };
    let before = host.ip("addr show dev lo");
    let mut book = host.start(RouteConfig::default());
    book.add_vip(address("fd09::1"), address("192.0.2.1")).unwrap();
    book.add_vip(address("10.1.0.1"), address("192.0.2.1")).unwrap();
    let shown = host.ip("addr show dev eth0");
    assert!(shown.contains("inet6 fd09::1/128 scope global nodad deprecated"), "{shown}");
    book.add_vip(address("fd09::1"), address("192.0.2.1")).unwrap();
    book.remove_vip(address("fd09::1"));
    assert!(host.ip("addr").contains("fd09::1"));
    book.clear();
    assert!(!host.ip("addr").contains("fd09::1"));
    assert_eq!(host.ip("addr show dev lo"), before);
    assert!(
        book.add_vip(address("10.9.0.1"), address("192.0.2.77"))
            .unwrap_err()
            .to_string()
            .contains("192.0.2.77")
    );
}
