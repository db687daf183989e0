//! The kernel judges what this crate asks of it, in network namespaces of its own.

#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy does not take for tests.

mod lab;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_linux::netns::{Namespace, veth};
use adit_linux::route::{Netlink, Route, Rule};
use adit_linux::tun::Tun;
use adit_linux::{nat, raw::EspSocket};
use lab::{ip, namespace};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn namespaces_are_those_of_ip_netns() {
    let Some(a) = namespace("a") else { return };
    let list = std::process::Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains(a.name()));
    let again = Namespace::create(a.name()).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    assert!(a.name().len() > 3 && Namespace::open(a.name()).is_ok());
    a.sysctl("net.ipv4.ip_forward", "1").unwrap();
    let value = a.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")).unwrap().unwrap();
    assert_eq!(value.trim(), "1");
    let name = a.name().to_owned();
    a.delete().unwrap();
    let list = std::process::Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&list.stdout).contains(&name));
}

#[test]
fn addresses_routes_and_rules_come_and_go() {
    let (Some(a), Some(b)) = (namespace("a"), namespace("b")) else { return };
    veth((&a, "v0"), (&b, "v1")).unwrap();
    let before = ip(&a, "rule");
    a.run(|| {
        let mut netlink = Netlink::new().unwrap();
        let index = netlink.link_index("v0").unwrap();
        netlink.add_address(index, address("192.0.2.1"), 24).unwrap();
        netlink.add_address(index, address("192.0.2.1"), 24).unwrap();
        netlink.add_address(index, address("2001:db8::1"), 64).unwrap();
        assert!(
            netlink.addresses().unwrap().iter().any(|x| x.address == address("192.0.2.1") && x.prefix == 24)
        );
        assert_eq!(netlink.source_for(address("192.0.2.9")).unwrap(), address("192.0.2.1"));
        assert_eq!(netlink.path_mtu(address("192.0.2.9")).unwrap(), 1500);
        netlink.set_mtu(index, 1300).unwrap();
        assert_eq!(netlink.path_mtu(address("2001:db8::9")).unwrap(), 1300);

        let route = Route::through((address("10.2.0.0"), 24), 220, index, None);
        netlink.add_route(&route).unwrap();
        netlink.add_route(&Route { src: Some(address("192.0.2.1")), ..route }).unwrap();
        netlink.add_route(&Route::throw((address("192.0.2.9"), 32), 220)).unwrap();
        netlink.add_route(&Route::through((address("fd00::"), 64), 220, index, None)).unwrap();
        for v4 in [true, false] {
            let rule = Rule { priority: 220, table: 220, v4, fwmark: None };
            assert!(netlink.add_rule(&rule).unwrap());
            assert!(!netlink.add_rule(&rule).unwrap());
        }
        assert_eq!(netlink.list_routes(220).unwrap().len(), 3);
    })
    .unwrap();
    assert!(ip(&a, "rule").contains("220:\tfrom all lookup 220"));
    let routes = ip(&a, "route show table 220");
    assert!(routes.contains("10.2.0.0/24 dev v0 proto static src 192.0.2.1"), "{routes}");
    assert!(routes.contains("throw 192.0.2.9 proto 220"), "{routes}");
    // An operator's own route in that table is not ours to remove, nor to overwrite.
    ip(&a, "route add throw 10.9.0.0/16 table 220");
    a.run(|| {
        let mut netlink = Netlink::new().unwrap();
        let index = netlink.link_index("v0").unwrap();
        let other =
            netlink.add_route(&Route::through((address("10.9.0.0"), 16), 220, index, None)).unwrap_err();
        assert_eq!(other.to_string(), "adding route 10.9.0.0/16 dev v0 table 220: File exists (17)");
        assert_eq!(netlink.flush_table(220, Some(index)).unwrap(), 3);
        for v4 in [true, false] {
            let rule = Rule { priority: 220, table: 220, v4, fwmark: None };
            netlink.del_rule(&rule).unwrap();
            netlink.del_rule(&rule).unwrap();
        }
        assert!(netlink.source_for(address("203.0.113.1")).unwrap_err().to_string().contains("203.0.113.1"));
    })
    .unwrap();
    assert_eq!(ip(&a, "rule"), before);
    assert_eq!(ip(&a, "route show table 220").trim(), "throw 10.9.0.0/16");
}

#[test]
fn a_tun_device_lives_as_long_as_its_value_and_takes_over_a_persistent_one() {
    let Some(a) = namespace("a") else { return };
    ip(&a, "tuntap add mode tun name adit0");
    ip(&a, "link set adit0 up");
    ip(&a, "addr add 10.3.0.1/32 dev adit0");
    a.run(|| {
        let tun = Tun::open("adit0").unwrap();
        let taken = Tun::open("adit0").unwrap_err();
        assert_eq!(taken.to_string(), "opening TUN device adit0: Device or resource busy (16)");
        tun.set_mtu(1390).unwrap();
        assert!(ip(&a, "link show adit0").contains("mtu 1390"));
        Netlink::new().unwrap().link_up(tun.index()).unwrap();
        // Something to read: a packet routed into it.
        Netlink::new()
            .unwrap()
            .add_route(&Route::through((address("10.4.0.0"), 16), 254, tun.index(), None))
            .unwrap();
        std::net::UdpSocket::bind("10.3.0.1:0").unwrap().send_to(b"x", "10.4.0.1:9").unwrap();
        let mut buffer = [0; 2000];
        loop {
            let n = tun.recv(&mut buffer).unwrap();
            if buffer[0] >> 4 == 4 {
                assert_eq!((n, &buffer[16..20]), (29, &[10, 4, 0, 1][..]));
                break;
            }
        }
    })
    .unwrap();
    // Where tests share a process, what another one starts may hold the descriptor until it has begun.
    let end = Instant::now() + Duration::from_secs(60);
    while ip(&a, "link").contains("adit0") {
        assert!(Instant::now() < end, "the device is still there");
    }
}

#[test]
fn raw_esp_crosses_a_link_in_both_families() {
    let (Some(a), Some(b)) = (namespace("a"), namespace("b")) else { return };
    veth((&a, "v0"), (&b, "v1")).unwrap();
    for (ns, device, n) in [(&a, "v0", 1), (&b, "v1", 2)] {
        ip(ns, &format!("addr add 192.0.2.{n}/24 dev {device}"));
        ip(ns, &format!("addr add 2001:db8::{n}/64 dev {device} nodad"));
    }
    for (from, to) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        let v4 = from.contains('.');
        let receiver = b.run(|| EspSocket::open(v4, None)).unwrap().unwrap();
        let sender = a.run(|| EspSocket::open(v4, Some(1))).unwrap().unwrap();
        sender.send(Some(address(from)), address(to), b"\x01\x02\x03\x04rest").unwrap();
        let poller = adit_linux::poll::Poller::new().unwrap();
        poller.add(&receiver, 0).unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 200];
        let meta = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[meta.packet], b"\x01\x02\x03\x04rest");
        assert_eq!((meta.local, meta.remote), (address(to), address(from)));
    }
}

#[test]
fn the_masquerade_rule_is_what_nft_would_have_made() {
    let Some(a) = namespace("a") else { return };
    for (random, flag) in [(false, ""), (true, " random")] {
        if let Err(error) = a.run(|| nat::masquerade("wan0", random)).unwrap() {
            println!("SKIPPED: {error}");
            return;
        }
        let Ok(output) = a.command("nft").unwrap().args(["list", "ruleset"]).output() else {
            println!("SKIPPED: no nft to judge by");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("type nat hook postrouting priority srcnat; policy accept;"), "{text}");
        assert_eq!(text.matches(&format!("oifname \"wan0\" masquerade{flag}\n")).count(), 1, "{text}");
    }
}

#[test]
fn a_private_run_hides_what_happens_in_it() {
    if namespace("a").is_none() {
        return;
    }
    let name = format!("al{}-private", std::process::id());
    let inside = name.clone();
    // A mount namespace can belong to one thread (and those it starts).
    std::thread::spawn(move || {
        adit_linux::netns::private_run().unwrap();
        let namespace = Namespace::create(&inside).unwrap();
        assert!(ip(&namespace, "link").contains("LOOPBACK,UP"));
        assert!(!std::path::Path::new("/proc/1/root/run/netns").join(&inside).exists());
        namespace.delete().unwrap();
    })
    .join()
    .unwrap();
}
