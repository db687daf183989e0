//! Two userspace data planes with SAs made by hand: what crosses, what is refused, what is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod lab;

use std::net::SocketAddr;
use std::sync::Arc;

use adit_dataplane::{Dataplane, DataplaneEvent, RouteConfig, Userspace, UserspaceConfig};
use adit_ipsec::{ChildSa, EntryOptions, Limits, Mark, Mode, TrapPolicy};
use adit_linux::route::Watch;
use lab::{Host, address, both, crosses, hosts, net, planes, sa, silent};

fn apps(a: &Host, b: &Host) -> (std::net::UdpSocket, std::net::UdpSocket) {
    (a.socket(SocketAddr::new(a.inner(), 7001)), b.socket(SocketAddr::new(b.inner(), 7002)))
}

#[test]
fn traffic_crosses_and_nothing_is_left_behind() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    let (x, y) = apps(&a, &b);
    assert!(x.send_to(b"no route yet", y.local_addr().unwrap()).is_err());
    both(&mut a, &mut b, |_| ());
    crosses(&x, &y, "there");
    crosses(&y, &x, "and back");
    crosses(&x, &y, &"larger than any packet, so it comes in fragments; ".repeat(100));
    let six = a.socket(SocketAddr::new(a.inner6(), 7001));
    crosses(&six, &b.socket(SocketAddr::new(b.inner6(), 7002)), "IPv6 inside IPv4");

    let usage = a.plane().usage(1).unwrap();
    assert!(usage.packets_out >= 6 && usage.packets_in == 1, "{usage:?}");
    assert_eq!(usage.bytes_in, 28 + 8);
    assert!(usage.idle_in.is_some() && usage.idle_out.is_some());
    let routes = a.table();
    assert_eq!(routes.trim(), "10.2.0.0/16 dev adit0 proto static src 10.1.0.1");
    assert!(a.ip("-6 route show table 220").starts_with("fd00:2::/64 dev adit0 proto static src fd00:1::1"));
    assert!(a.ip("rule").contains("220:\tfrom all lookup 220\n"));

    a.plane().remove(1);
    assert_eq!(a.table(), "");
    assert!(a.plane().usage(1).is_none());
    a.shutdown();
    b.shutdown();
}

#[test]
fn what_only_a_kernel_can_do_is_refused_by_name() {
    let Some((mut a, b)) = planes::<Userspace>() else { return };
    let mut marked = sa(&a, &b, 1);
    marked.options =
        Arc::new(EntryOptions { mark_in: Mark { value: 7, mask: 0xff }, ..EntryOptions::default() });
    let refused = a.plane().install(marked.clone()).unwrap_err().to_string();
    assert!(refused.contains("mark_in") && refused.contains("adit.dataplane"), "{refused}");
    assert_eq!(a.table(), "");
    marked.options = Arc::default();
    a.plane().install(marked).unwrap();
}

#[test]
fn an_inner_source_outside_of_the_selectors_is_dropped() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |_| ());
    // Host 1 believes that it may send from anywhere; host 2 knows better.
    a.plane().remove(1);
    let mut wide = sa(&a, &b, 1);
    wide.local_ts = vec![net("0.0.0.0/0")];
    a.plane().install(wide).unwrap();
    a.ip("addr add 172.16.0.9/32 dev lo");
    let (x, y) = apps(&a, &b);
    let liar = a.socket("172.16.0.9:7001".parse().unwrap());
    liar.send_to(b"spoofed", y.local_addr().unwrap()).unwrap();
    match b.event() {
        DataplaneEvent::SelectorMismatch { id: 1, packet } => assert_eq!(packet.src, address("172.16.0.9")),
        other => panic!("{other:?}"),
    }
    silent(&y);
    // Nor may it send to a host behind us that the SA is not for.
    b.ip("addr add 10.2.0.99/32 dev lo");
    b.ip("addr add 172.16.0.8/32 dev lo");
    assert_eq!(b.plane().counters().selector_mismatch, 1);
    crosses(&x, &y, "the honest one");
    assert_eq!(b.plane().counters().received, 1);
}

#[test]
fn a_trap_asks_once_and_its_first_packet_is_delivered() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    let there = sa(&b, &a, 1);
    b.plane().install(there).unwrap();
    let trap = TrapPolicy {
        id: 9,
        name: "net".into(),
        ike_name: "lab".into(),
        reqid: 1,
        mode: Mode::Tunnel,
        local_ts: vec![net("10.1.0.0/16")],
        remote_ts: vec![net("10.2.0.0/16")],
        local: Some(a.outer()),
        remote: Some(b.outer()),
        options: Arc::default(),
    };
    a.plane().add_trap(trap).unwrap();
    assert!(a.table().contains("10.2.0.0/16 dev adit0"));
    let (x, y) = apps(&a, &b);
    for text in ["first", "second"] {
        x.send_to(text.as_bytes(), y.local_addr().unwrap()).unwrap();
    }
    match a.event() {
        DataplaneEvent::Acquire { trap_id: 9, packet } => {
            assert_eq!((packet.src, packet.dst, packet.dst_port), (a.inner(), b.inner(), 7002));
        }
        other => panic!("{other:?}"),
    }
    silent(&y);
    let here = sa(&a, &b, 1);
    a.plane().install(here).unwrap();
    let mut buffer = [0; 100];
    for text in ["first", "second"] {
        let n = y.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], text.as_bytes());
    }
    crosses(&x, &y, "third, at once");
    assert!(a.events.try_recv().is_err(), "asked once only");
    // The SA goes, the trap stays and asks again, its route has stayed all the time.
    a.plane().remove(1);
    assert!(a.table().contains("10.2.0.0/16 dev adit0"));
    x.send_to(b"x", y.local_addr().unwrap()).unwrap();
    assert!(matches!(a.event(), DataplaneEvent::Acquire { trap_id: 9, .. }));
    a.plane().remove_trap(9);
    a.until("the waiting packet is dropped", |c| c.no_policy >= 1);
    a.shutdown();
}

#[test]
fn a_rekey_loses_nothing() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |_| ());
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "on the old SA");
    // The responder of a rekey: inbound only at first.
    let new = sa(&b, &a, 2);
    b.plane().install(ChildSa { replaces: Some(1), outbound_ready: false, ..new }).unwrap();
    crosses(&y, &x, "still on the old one");
    assert_eq!(b.plane().usage(2).unwrap().packets_out, 0);
    let new = sa(&a, &b, 2);
    a.plane().install(ChildSa { replaces: Some(1), ..new }).unwrap();
    crosses(&x, &y, "on the new one");
    crosses(&y, &x, "old one in the other direction");
    assert_eq!((a.plane().usage(1).unwrap().packets_out, a.plane().usage(2).unwrap().packets_out), (1, 1));
    b.plane().activate_outbound(2);
    crosses(&y, &x, "new in both");
    assert_eq!(b.plane().usage(2).unwrap().packets_out, 1);
    a.plane().remove(1);
    b.plane().remove(1);
    crosses(&x, &y, "the old is gone");
    crosses(&y, &x, "on both sides");
    assert!(a.table().contains("10.2.0.0/16"));
    a.plane().remove(2);
    assert_eq!(a.table(), "");
}

#[test]
fn a_full_tunnel_does_not_swallow_its_own_packets() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    let mut here = sa(&a, &b, 1);
    here.remote_ts = vec![net("0.0.0.0/0")];
    here.local_ts = vec![net("10.3.0.1/32")];
    here.virtual_ips = vec![address("10.3.0.1")];
    let mut there = sa(&b, &a, 1);
    there.local_ts = vec![net("0.0.0.0/0")];
    there.remote_ts = vec![net("10.3.0.1/32")];
    // The address comes after the SA: the route learns its source then.
    a.plane().install(here.clone()).unwrap();
    assert_eq!(a.table().lines().next().unwrap().trim(), "default dev adit0 proto static");
    a.plane().add_virtual_ip(address("10.3.0.1"), address("192.0.2.1")).unwrap();
    b.plane().install(there).unwrap();
    let routes = a.table();
    assert!(routes.contains("default dev adit0 proto static src 10.3.0.1"), "{routes}");
    assert!(routes.contains("throw 192.0.2.2 proto 220"), "{routes}");
    let x = a.socket("10.3.0.1:7001".parse().unwrap());
    let y = b.socket(SocketAddr::new(b.inner(), 7002));
    crosses(&x, &y, "through the default route");
    crosses(&y, &x, "and back");
    // A rekey holds the throw route; a move of the peer moves it.
    let again = ChildSa { id: 2, spi_in: 77, spi_out: 78, replaces: Some(1), ..here };
    a.plane().install(again).unwrap();
    a.plane().remove(1);
    assert!(a.table().contains("throw 192.0.2.2"));
    let local = SocketAddr::new(a.outer(), 4500);
    a.plane().update_path(2, local, "192.0.2.77:4500".parse().unwrap(), true);
    let routes = a.table();
    assert!(routes.contains("throw 192.0.2.77") && !routes.contains("throw 192.0.2.2 "), "{routes}");
    // Taking the address away leaves the route without a source, not without a route.
    a.plane().remove_virtual_ip(address("10.3.0.1"));
    assert!(a.table().contains("default dev adit0"));
    a.shutdown();
    b.shutdown();
}

#[test]
fn a_selector_that_is_the_peer_itself_works_by_the_mark_of_our_sockets() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    let (one, two) = (address("192.0.2.1"), address("192.0.2.2"));
    for (host, own, peer) in [(&mut a, one, two), (&mut b, two, one)] {
        let other = if host.n == 1 { 2 } else { 1 };
        let mut child = lab::sa_of(host.n, other, 1);
        (child.local_ts, child.remote_ts) =
            (vec![adit_ipsec::Selector::host(own)], vec![adit_ipsec::Selector::host(peer)]);
        host.plane().install(child).unwrap();
    }
    assert_eq!(a.table().trim(), "192.0.2.2 dev adit0 proto static src 192.0.2.1");
    let rules = a.ip("rule");
    assert!(rules.contains("219:\tfrom all fwmark 0xdc goto 221"), "{rules}");
    assert!(rules.contains("220:\tfrom all lookup 220\n") && rules.contains("221:\tfrom all nop"), "{rules}");
    let x = a.socket("192.0.2.1:7001".parse().unwrap());
    let y = b.socket("192.0.2.2:7002".parse().unwrap());
    crosses(&x, &y, "host to host");
    crosses(&y, &x, "and back");
    assert_eq!(a.plane().counters().sent, 1);
    a.plane().remove(1);
    assert!(!a.ip("rule").contains("goto"));
    a.shutdown();
    // Without a mark there is no telling them apart.
    a.start(UserspaceConfig { routes: RouteConfig::default(), ..UserspaceConfig::default() });
    let mut host = sa(&a, &b, 1);
    host.remote_ts = vec![net("192.0.2.2/32")];
    host.local_ts = vec![net("192.0.2.1/32")];
    let error = a.plane().install(host).unwrap_err();
    assert!(error.sentence.contains("192.0.2.2") && error.sentence.contains("fwmark"), "{error}");
    assert_eq!(a.table(), "");
    a.shutdown();
    b.shutdown();
}

//= rfc7296 2.23-4, 2.23-9
#[test]
fn raw_esp_crosses_and_either_form_is_accepted() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |child| child.udp_encap = false);
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "protocol 50");
    crosses(&y, &x, "and back");
    let (local, remote) = (SocketAddr::new(a.outer(), 4500), SocketAddr::new(b.outer(), 4500));
    a.plane().update_path(1, local, remote, true);
    crosses(&x, &y, "encapsulated, into an SA that is not");
    crosses(&y, &x, "raw, into an SA that is");
    assert!(a.events.try_recv().is_err() && b.events.try_recv().is_err());
}

#[test]
fn ipv6_outside_works_raw_and_encapsulated() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    let (x, y) = apps(&a, &b);
    for (series, encap) in [(1, true), (2, false)] {
        let outer = |n: u8| SocketAddr::new(address(format!("2001:db8::{n}")), 4500);
        let (mut one, mut two) = (sa(&a, &b, series), sa(&b, &a, series));
        (one.local, one.remote, one.udp_encap) = (outer(1), outer(2), encap);
        (two.local, two.remote, two.udp_encap) = (outer(2), outer(1), encap);
        a.plane().install(one).unwrap();
        b.plane().install(two).unwrap();
        crosses(&x, &y, "IPv4 inside IPv6");
        crosses(&y, &x, "and back");
        a.plane().remove(series);
        b.plane().remove(series);
    }
    assert_eq!(a.plane().mtu(), 1400);
}

#[test]
fn a_peer_that_moves_is_reported_once_and_followed_when_told() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |_| ());
    a.ip("addr add 192.0.2.99/24 dev eth0");
    let moved: SocketAddr = "192.0.2.99:4500".parse().unwrap();
    let remote = SocketAddr::new(b.outer(), 4500);
    a.plane().update_path(1, moved, remote, true);
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "from elsewhere");
    crosses(&x, &y, "from elsewhere again");
    match b.event() {
        DataplaneEvent::Remapped { id: 1, remote } => assert_eq!(remote, moved),
        other => panic!("{other:?}"),
    }
    assert!(b.events.try_recv().is_err());
    let local = SocketAddr::new(b.outer(), 4500);
    b.plane().update_path(1, local, moved, true);
    crosses(&y, &x, "to the new place");
    crosses(&x, &y, "nothing new");
    assert!(b.events.try_recv().is_err());
}

#[test]
fn ike_and_strangers_are_told_apart() {
    let Some((a, mut b)) = planes::<Userspace>() else { return };
    let to = SocketAddr::new(b.outer(), 4500);
    let from = Some(a.outer());
    a.sockets[0].send(from, to, &[0xff]).unwrap();
    a.sockets[0].send(from, to, b"\0\0\0\0IKE").unwrap();
    a.sockets[0].send(from, to, b"\x12\x34\x56\x78 no such SA").unwrap();
    let ike = b.ike.recv_timeout(lab::PATIENCE).unwrap();
    assert_eq!((ike.local, ike.remote.ip(), ike.bytes.as_slice()), (to, a.outer(), &b"IKE"[..]));
    assert!(matches!(b.event(), DataplaneEvent::SpiUnknown { spi: 0x1234_5678, .. }));
    // Events about strangers are limited, the counter counts them all.
    for _ in 0..100 {
        a.sockets[0].send(from, to, b"\x12\x34\x56\x78 no such SA").unwrap();
    }
    b.until("all strangers counted", |c| c.unknown_spi == 101);
    assert!(b.events.try_iter().count() < 30);
    assert_eq!(b.plane().counters().open_failed, 0);
}

#[test]
fn limits_are_reported_and_the_hard_one_ends_the_sa() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |child| {
        if child.local.ip() == address("192.0.2.1") {
            child.limits = Limits { soft_packets: Some(2), hard_packets: Some(3), ..Limits::default() };
        }
    });
    let (x, y) = apps(&a, &b);
    for n in 1..=3 {
        crosses(&x, &y, &format!("packet {n}"));
    }
    assert!(matches!(a.event(), DataplaneEvent::Expired { id: 1, hard: false }));
    assert!(matches!(a.event(), DataplaneEvent::Expired { id: 1, hard: true }));
    x.send_to(b"one too many", y.local_addr().unwrap()).unwrap();
    a.until("refused", |c| c.seal_failed == 1);
    silent(&y);
}

#[test]
fn a_killed_predecessor_leaves_no_trace_and_others_keep_theirs() {
    let Some((mut a, _b)) = hosts::<Userspace>() else { return };
    // What an operator has put into the table stays.
    a.ip("route add throw 172.31.0.0/16 table 220");
    a.before = a.listing();
    // A SIGKILL leaves rules and throw routes; a persistent device is the worst case.
    a.ip("tuntap add mode tun name adit0");
    a.ip("link set adit0 up");
    a.ip("addr add 10.3.0.9/32 dev adit0");
    a.ip("route add 10.2.0.0/16 dev adit0 table 220 proto static");
    a.ip("route add throw 192.0.2.2 table 220 proto 220");
    a.ip("rule add pref 220 lookup 220");
    a.ip("-6 rule add pref 220 lookup 220");
    a.start(UserspaceConfig::default());
    assert_eq!(a.table().trim(), "throw 172.31.0.0/16");
    assert_eq!(a.ip("rule").matches("lookup 220").count(), 1);
    assert!(!a.ip("addr").contains("10.3.0.9"));
    a.shutdown();
}

#[test]
fn a_device_set_down_and_emptied_comes_back_with_all_that_was_on_it() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |_| ());
    a.plane().add_virtual_ip(address("10.3.0.1"), address("192.0.2.1")).unwrap();
    a.plane().add_virtual_ip(address("fd03::1"), address("192.0.2.1")).unwrap();
    let shown = |a: &Host| {
        let addresses = a.ip("-brief addr show dev adit0");
        // Its order is not told.
        let mut addresses: Vec<_> = addresses.split_whitespace().map(str::to_owned).collect();
        addresses.sort();
        (a.table(), a.ip("-6 route show table 220"), a.ip("rule"), addresses)
    };
    let before = shown(&a);
    let mut watch = a.namespace.run(|| Watch::new().unwrap()).unwrap();
    // The kernel may still be busy with the other links, whose news are none of ours.
    let mut heard = |a: &mut Host| {
        let news = watch.drain(&a.plane().own());
        (news.own, news.rules)
    };
    for act in [
        "link set adit0 down",
        "addr flush dev adit0",
        "route flush table 220",
        "-6 route flush table 220",
        "rule del pref 220",
    ] {
        a.ip(act);
        assert_eq!(heard(&mut a), (true, act.starts_with("rule")), "{act}");
        let _ = a.plane().mend();
        let notes = a.plane().notes();
        assert!(notes[0].contains("not by us; put back: "), "{act}: {notes:?}");
        assert_eq!(shown(&a), before, "after {act}");
        assert_eq!(heard(&mut a), (false, false), "{act}");
    }
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "as if nothing had been");
    a.shutdown();
    b.shutdown();
}

#[test]
fn a_second_daemon_is_refused_and_the_first_keeps_what_it_has() {
    let Some((a, _b)) = planes::<Userspace>() else { return };
    let error = a
        .namespace
        .run(|| {
            adit_dataplane::userspace::new(
                UserspaceConfig::default(),
                Vec::new(),
                Box::new(drop),
                Arc::new(drop),
            )
            .map(drop)
            .unwrap_err()
        })
        .unwrap();
    assert_eq!(error.to_string(), "opening TUN device adit0: Device or resource busy (16)");
    assert!(a.ip("rule").contains("lookup 220"));
}

#[test]
fn a_small_path_lowers_the_mtu_and_nothing_is_fragmented() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    a.ip("link set eth0 mtu 1400");
    b.ip("link set eth0 mtu 1400");
    both(&mut a, &mut b, |_| ());
    // 1400 - 20 - 8 - 8 - 8 - 16 = 1340, less 2.
    assert_eq!(a.plane().mtu(), 1338);
    assert!(a.ip("link show adit0").contains("mtu 1338"));
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, &"m".repeat(1338 - 28));
    let statistics =
        a.namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap().unwrap();
    let mut ip = statistics.lines().filter(|l| l.starts_with("Ip:"));
    let (names, values) = (ip.next().unwrap(), ip.next().unwrap());
    let at = names.split(' ').position(|n| n == "FragCreates").unwrap();
    assert_eq!(values.split(' ').nth(at), Some("0"));
    a.plane().remove(1);
    assert_eq!(a.plane().mtu(), 1400);
}

#[test]
fn a_device_deleted_by_hand_is_reported() {
    let Some((mut a, _b)) = planes::<Userspace>() else { return };
    a.ip("link del adit0");
    assert!(matches!(a.event(), DataplaneEvent::DeviceLost));
    a.shutdown();
}

#[test]
fn two_thousand_clients_are_told_apart() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    let client = |n: u32| std::net::IpAddr::V4((0x0a01_0000 + n).into());
    let start = std::time::Instant::now();
    for n in 1..=2000 {
        let mut there = sa(&b, &a, n);
        (there.spi_in, there.spi_out) = (0x1_0000 + n, 0x2_0000 + n);
        there.remote_ts = vec![adit_ipsec::Selector::host(client(n))];
        b.plane().install(there).unwrap();
    }
    let installed = start.elapsed();
    let mut here = sa(&a, &b, 1);
    (here.spi_in, here.spi_out) = (0x2_0000 + 1, 0x1_0000 + 1);
    let there = sa(&b, &a, 1);
    (here.keys_in, here.keys_out) = (there.keys_out, there.keys_in);
    a.plane().install(here).unwrap();
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "one of many");
    crosses(&y, &x, "and back");
    assert_eq!(b.table().lines().count(), 2000);
    let start = std::time::Instant::now();
    for n in 1..=2000 {
        b.plane().remove(n);
    }
    println!("installed in {installed:?}, removed in {:?}", start.elapsed());
    assert_eq!(b.table(), "");
}
