//! What every data plane that carries packets does, asked of the kernel's and of the userspace one in the same words; and
//! what the one that carries nothing does all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

mod lab;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use adit_dataplane::{Dataplane, DataplaneEvent, Kernel, Null, Userspace};
use adit_ipsec::{ChildSa, Limits, Mode, Selector, Shunt, ShuntPolicy, TrapPolicy, Usage};
use lab::{Host, PATIENCE, Plane, address, both, crosses, net, planes, sa};

/// Every test by its name, for each data plane.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod kernel {
            $(
                #[test]
                #[ignore = "needs the kernel of cargo xtask kernel"]
                fn $name() {
                    super::$name::<super::Kernel>();
                }
            )*
        }
        mod userspace {
            $(
                #[test]
                fn $name() {
                    super::$name::<super::Userspace>();
                }
            )*
        }
    };
}

conformance![
    traffic_crosses_is_counted_and_nothing_is_left,
    either_family_in_either_encapsulated_or_not,
    transport_mode_crosses,
    a_rekeying_loses_nothing,
    the_successor_sends_when_told_and_the_old_one_receives,
    a_trap_asks_and_its_child_takes_over,
    a_trap_is_back_when_its_child_goes,
    two_children_for_the_same_selectors_do_not_miss_each_other,
    what_shall_be_dropped_is_unless_a_tunnel_is_for_it,
    what_shall_pass_goes_around_the_tunnel,
    a_tunnel_follows_both_ends,
    sequence_numbers_can_be_skipped,
    a_limit_is_told_soft_and_hard,
    a_peer_that_rebinds_is_told,
    what_is_refused_leaves_nothing,
];

/// What also a data plane that carries nothing does: it keeps its books.
#[test]
fn null_keeps_its_books() {
    let mut plane = Null::new();
    let one = lab::sa_of(1, 2, 1);
    assert_eq!((plane.name(), plane.usage(1)), ("null", None));
    plane.install(one.clone()).unwrap();
    plane.install(successor(&one, 1, false)).unwrap();
    plane.activate_outbound(2);
    plane.update_path(2, one.remote, one.local, false);
    plane.skip_sequence(2, 1);
    plane.remove(1);
    plane.remove(1);
    assert_eq!((plane.usage(1), plane.usage(2), plane.len()), (None, Some(Usage::default()), 1));
    plane.shutdown();
    assert!(plane.is_empty());
}

/// An application on each host.
fn apps<P: Plane>(a: &Host<P>, b: &Host<P>) -> (UdpSocket, UdpSocket) {
    (a.socket(SocketAddr::new(a.inner(), 7000)), b.socket(SocketAddr::new(b.inner(), 7000)))
}

fn apps6<P: Plane>(a: &Host<P>, b: &Host<P>) -> (UdpSocket, UdpSocket) {
    (a.socket(SocketAddr::new(a.inner6(), 7000)), b.socket(SocketAddr::new(b.inner6(), 7000)))
}

/// Waits until something is so; traffic in the kernel is counted a moment after it arrived.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

fn usage<P: Plane>(host: &mut Host<P>, id: u32) -> Usage {
    host.plane().usage(id).unwrap()
}

/// Whether what `from` sends comes to `to`, as far as can be told by what is sent after it and known to come.
fn comes(from: &UdpSocket, to: &UdpSocket) -> bool {
    // The kernel may say so at once.
    let _ = from.send_to(b"?", to.local_addr().unwrap());
    to.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let came = to.recv_from(&mut [0; 100]).is_ok();
    to.set_read_timeout(Some(PATIENCE)).unwrap();
    came
}

fn traffic_crosses_is_counted_and_nothing_is_left<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    assert_eq!(a.plane().usage(1), None);
    both(&mut a, &mut b, |_| ());
    assert_eq!(usage(&mut a, 1), Usage::default());
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "there");
    crosses(&y, &x, "and back");
    let seen = usage(&mut a, 1);
    assert_eq!((seen.packets_out, seen.packets_in), (1, 1));
    assert!(seen.bytes_out >= 20 + 8 + 5 && seen.bytes_in >= 20 + 8 + 8, "{seen:?}");
    assert!(seen.idle_in.unwrap() < PATIENCE && seen.idle_out.unwrap() < PATIENCE, "{seen:?}");
    assert!(a.table().contains("10.2.0.0/16"), "{}", a.table());
    let (x6, y6) = apps6(&a, &b);
    crosses(&x6, &y6, "IPv6 inside");
    a.plane().remove(1);
    assert_eq!(a.plane().usage(1), None);
    a.plane().remove(1);
    b.plane().remove(1);
    assert_eq!(a.table(), "");
    for mut host in [a, b] {
        assert_eq!(host.xfrm("xfrm state") + &host.xfrm("xfrm policy list nosock"), "");
        host.shutdown();
        assert!(host.plane.is_none());
    }
}

fn either_family_in_either_encapsulated_or_not<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    let (x, y) = apps(&a, &b);
    let (x6, y6) = apps6(&a, &b);
    for (v6, udp_encap) in [(false, true), (false, false), (true, false), (true, true)] {
        both(&mut a, &mut b, |sa| {
            sa.udp_encap = udp_encap;
            if v6 {
                let outer = |n: u8| SocketAddr::new(address(format!("2001:db8::{n}")), 4500);
                let (here, there) = if sa.spi_in < 0x2000 { (1, 2) } else { (2, 1) };
                (sa.local, sa.remote) = (outer(here), outer(there));
            }
        });
        crosses(&x, &y, "four");
        crosses(&y, &x, "back");
        crosses(&x6, &y6, "six");
        crosses(&y6, &x6, "back");
        a.plane().remove(1);
        b.plane().remove(1);
    }
}

fn transport_mode_crosses<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    both(&mut a, &mut b, |sa| {
        sa.mode = Mode::Transport;
        sa.udp_encap = false;
        let udp = |address| Selector::host(address).with_ports(17, 7000, 7000);
        (sa.local_ts, sa.remote_ts) = (vec![udp(sa.local.ip())], vec![udp(sa.remote.ip())]);
    });
    let x = a.socket(SocketAddr::new(a.outer(), 7000));
    let y = b.socket(SocketAddr::new(b.outer(), 7000));
    crosses(&x, &y, "there");
    crosses(&y, &x, "and back");
    assert_eq!(usage(&mut a, 1).packets_out, 1);
    assert_eq!(usage(&mut b, 1).packets_out, 1);
    // Another port is not for the SA: in the clear by the kernel, not at all by the device that userspace has.
    let z = a.socket(SocketAddr::new(a.outer(), 7001));
    let _ = z.send_to(b"other", SocketAddr::new(b.outer(), 7001));
    crosses(&x, &y, "afterwards");
    assert_eq!(usage(&mut a, 1).packets_out, 2);
}

fn successor(old: &ChildSa, series: u32, outbound_ready: bool) -> ChildSa {
    let (spi_in, spi_out) = (old.spi_in + series, old.spi_out + series);
    ChildSa {
        id: old.id + series,
        spi_in,
        spi_out,
        keys_in: lab::keys(spi_in),
        keys_out: lab::keys(spi_out),
        outbound_ready,
        replaces: Some(old.id),
        ..old.clone()
    }
}

/// The initiator installs both halves, the responder its inbound one and the outbound one when it hears the delete
/// (RFC 7296 §2.8): at no point is a packet lost.
fn a_rekeying_loses_nothing<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    both(&mut a, &mut b, |_| ());
    let (x, y) = apps(&a, &b);
    let mut olds = (sa(&a, &b, 1), sa(&b, &a, 1));
    for round in 0..5 {
        let news = (successor(&olds.0, 1, true), successor(&olds.1, 1, false));
        let mut number = 0;
        let mut check = || {
            number += 1;
            crosses(&x, &y, &format!("{round} {number} there"));
            crosses(&y, &x, &format!("{round} {number} back"));
        };
        check();
        b.plane().install(news.1.clone()).unwrap();
        check();
        a.plane().install(news.0.clone()).unwrap();
        check();
        b.plane().activate_outbound(news.1.id);
        check();
        b.plane().remove(olds.1.id);
        check();
        a.plane().remove(olds.0.id);
        check();
        olds = news;
    }
    let carried = usage(&mut a, olds.0.id);
    assert!(carried.packets_in >= 2 && carried.packets_out >= 3, "{carried:?}");
}

fn the_successor_sends_when_told_and_the_old_one_receives<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    both(&mut a, &mut b, |_| ());
    let (x, y) = apps(&a, &b);
    let (old_a, old_b) = (sa(&a, &b, 1), sa(&b, &a, 1));
    let (new_a, new_b) = (successor(&old_a, 1, false), successor(&old_b, 1, true));
    a.plane().install(new_a).unwrap();
    b.plane().install(new_b).unwrap();
    crosses(&x, &y, "on the old one");
    crosses(&y, &x, "on the new one");
    assert_eq!((usage(&mut a, 1).packets_out, usage(&mut a, 1).packets_in), (1, 0));
    assert_eq!((usage(&mut a, 2).packets_out, usage(&mut a, 2).packets_in), (0, 1));
    a.plane().activate_outbound(2);
    a.plane().activate_outbound(2);
    crosses(&x, &y, "on the new one, too");
    assert_eq!((usage(&mut a, 1).packets_out, usage(&mut a, 2).packets_out), (1, 1));
    // One that was never activated goes without a trace, too.
    let third = successor(&successor(&old_a, 1, true), 1, false);
    a.plane().install(third).unwrap();
    a.plane().remove(3);
    crosses(&x, &y, "still");
}

fn trap<P: Plane>(here: &Host<P>, there: &Host<P>) -> TrapPolicy {
    let like = sa(here, there, 1);
    TrapPolicy {
        id: 7,
        name: like.name,
        ike_name: like.ike_name,
        reqid: like.reqid,
        mode: like.mode,
        local_ts: like.local_ts,
        remote_ts: like.remote_ts,
        local: Some(here.outer()),
        remote: Some(there.outer()),
        options: like.options,
    }
}

fn asked<P: Plane>(host: &Host<P>) -> adit_ipsec::PacketInfo {
    match host.event() {
        DataplaneEvent::Acquire { trap_id: 7, packet } => packet,
        other => panic!("{other:?}"),
    }
}

fn a_trap_asks_and_its_child_takes_over<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    let wanted = trap(&a, &b);
    a.plane().add_trap(wanted).unwrap();
    assert!(a.table().contains("10.2.0.0/16"), "{}", a.table());
    let (x, y) = apps(&a, &b);
    x.send_to(b"anybody?", y.local_addr().unwrap()).unwrap();
    let packet = asked(&a);
    assert_eq!((packet.src, packet.dst), (a.inner(), b.inner()));
    assert_eq!((packet.protocol, packet.src_port, packet.dst_port), (17, 7000, 7000));
    both(&mut a, &mut b, |_| ());
    // The packet that asked may have waited, or not: the kernel drops it.
    x.send_to(b"now", y.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 100];
    loop {
        let (length, _) = y.recv_from(&mut buffer).expect("a packet");
        if &buffer[..length] == b"now" {
            break;
        }
    }
    crosses(&y, &x, "back");
    a.plane().remove_trap(7);
    crosses(&x, &y, "the child does not need it");
    a.plane().remove(1);
    a.shutdown();
}

fn a_trap_is_back_when_its_child_goes<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    let wanted = trap(&a, &b);
    both(&mut a, &mut b, |_| ());
    // In either order.
    a.plane().add_trap(wanted).unwrap();
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "through the child");
    a.plane().remove(1);
    x.send_to(b"anybody?", y.local_addr().unwrap()).unwrap();
    assert_eq!(asked(&a).dst, b.inner());
    a.shutdown();
}

fn two_children_for_the_same_selectors_do_not_miss_each_other<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    let (x, y) = apps(&a, &b);
    for gone in [1, 2] {
        for series in [1, 2] {
            let (mut one, mut two) = (sa(&a, &b, series), sa(&b, &a, series));
            (one.reqid, two.reqid) = (series, series);
            a.plane().install(one).unwrap();
            b.plane().install(two).unwrap();
            crosses(&x, &y, "there");
            crosses(&y, &x, "back");
        }
        // First the older, then the newer.
        for id in [gone, 3 - gone] {
            a.plane().remove(id);
            b.plane().remove(id);
            if id == gone {
                crosses(&x, &y, "by the other");
                crosses(&y, &x, "by the other");
            }
        }
    }
    a.shutdown();
    b.shutdown();
}

fn shunt(kind: Shunt, local: &str, remote: &str) -> ShuntPolicy {
    ShuntPolicy {
        id: 1,
        name: "around".into(),
        ike_name: "lab".into(),
        kind,
        local_ts: vec![net(local)],
        remote_ts: vec![net(remote)],
        options: std::sync::Arc::default(),
    }
}

fn what_shall_be_dropped_is_unless_a_tunnel_is_for_it<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    let x = a.socket(SocketAddr::new(a.outer(), 7000));
    let y = b.socket(SocketAddr::new(b.outer(), 7000));
    crosses(&x, &y, "clear");
    let mut outside = shunt(Shunt::Drop, "192.0.2.1/32", "192.0.2.2/32");
    outside.remote_ts = outside.remote_ts.iter().map(|s| s.with_ports(17, 7000, 7000)).collect();
    a.plane().add_shunt(outside).unwrap();
    a.plane().add_shunt(ShuntPolicy { id: 2, ..shunt(Shunt::Drop, "10.1.0.0/16", "10.2.0.0/16") }).unwrap();
    assert!(!comes(&x, &y));
    both(&mut a, &mut b, |_| ());
    let (inner_x, inner_y) = apps(&a, &b);
    crosses(&inner_x, &inner_y, "through the tunnel");
    crosses(&inner_y, &inner_x, "and back");
    a.plane().remove_shunt(1);
    crosses(&x, &y, "clear again");
    a.shutdown();
}

fn what_shall_pass_goes_around_the_tunnel<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    both(&mut a, &mut b, |sa| {
        for (n, selectors) in [(1, &mut sa.local_ts), (2, &mut sa.remote_ts)] {
            let n = if sa.spi_in < 0x2000 { n } else { 3 - n };
            selectors.push(Selector::host(address(format!("192.0.2.{n}"))));
        }
        sa.udp_encap = true;
    });
    for (host, other) in [(&mut a, "192.0.2.2/32"), (&mut b, "192.0.2.1/32")] {
        let own = format!("192.0.2.{}/32", host.n);
        host.plane().add_shunt(shunt(Shunt::Pass, &own, other)).unwrap();
    }
    let x = a.socket(SocketAddr::new(a.outer(), 7000));
    let y = b.socket(SocketAddr::new(b.outer(), 7000));
    crosses(&x, &y, "around");
    crosses(&y, &x, "around");
    assert_eq!(usage(&mut a, 1).packets_out, 0);
    a.plane().remove_shunt(1);
    b.plane().remove_shunt(1);
    crosses(&x, &y, "through");
    assert_eq!(usage(&mut a, 1).packets_out, 1);
    a.shutdown();
    b.shutdown();
}

fn a_tunnel_follows_both_ends<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    a.ip("addr add 192.0.2.11/24 dev eth0");
    b.ip("addr add 192.0.2.12/24 dev eth0");
    both(&mut a, &mut b, |_| ());
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "before");
    crosses(&y, &x, "before");
    let at = |text: &str, port| SocketAddr::new(address(text), port);
    let paths = [
        (at("192.0.2.11", 4500), at("192.0.2.2", 4500), true),
        (at("192.0.2.11", 4500), at("192.0.2.12", 4500), false),
        (at("2001:db8::1", 4500), at("2001:db8::2", 4500), true),
        (at("192.0.2.1", 4500), at("192.0.2.2", 4500), true),
    ];
    for (local, remote, encap) in paths {
        a.plane().update_path(1, local, remote, encap);
        b.plane().update_path(1, remote, local, encap);
        crosses(&x, &y, "after");
        crosses(&y, &x, "after");
    }
    // A move makes nobody forget what went before.
    let seen = usage(&mut a, 1);
    assert_eq!((seen.packets_in, seen.packets_out), (5, 5));
    a.plane().remove(1);
    b.plane().remove(1);
    a.ip("addr del 192.0.2.11/24 dev eth0");
    b.ip("addr del 192.0.2.12/24 dev eth0");
    a.shutdown();
    b.shutdown();
}

fn sequence_numbers_can_be_skipped<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    both(&mut a, &mut b, |_| ());
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "1");
    a.plane().skip_sequence(1, 1 << 20);
    crosses(&x, &y, "a million later");
    a.plane().skip_sequence(1, u64::MAX);
    // Whoever has none left sends nothing more.
    assert!(!comes(&x, &y));
}

fn a_limit_is_told_soft_and_hard<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    let limits = Limits { soft_packets: Some(3), hard_packets: Some(6), ..Limits::default() };
    let (mut one, two) = (sa(&a, &b, 1), sa(&b, &a, 1));
    one.limits = limits;
    a.plane().install(one).unwrap();
    b.plane().install(two).unwrap();
    let (x, y) = apps(&a, &b);
    let mut told = Vec::new();
    for _ in 0..10 {
        let _ = x.send_to(b"more", y.local_addr().unwrap());
    }
    while told.last() != Some(&true) {
        match a.event() {
            DataplaneEvent::Expired { id: 1, hard } => told.push(hard),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [false, true]);
}

fn a_peer_that_rebinds_is_told<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    both(&mut a, &mut b, |_| ());
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "from where it should");
    // Somebody between has given b another port.
    b.ip("addr add 192.0.2.22/24 dev eth0");
    let moved = SocketAddr::new(address("192.0.2.22"), 4500);
    let peer = SocketAddr::new(a.outer(), 4500);
    b.plane().update_path(1, moved, peer, true);
    crosses(&y, &x, "from elsewhere");
    match a.event() {
        DataplaneEvent::Remapped { id: 1, remote } => assert_eq!(remote, moved),
        other => panic!("{other:?}"),
    }
    let own = SocketAddr::new(a.outer(), 4500);
    a.plane().update_path(1, own, moved, true);
    crosses(&x, &y, "there");
}

fn what_is_refused_leaves_nothing<P: Plane>() {
    let Some((mut a, mut b)) = planes::<P>() else { return };
    both(&mut a, &mut b, |_| ());
    let listing = a.listing();
    let same_spi = ChildSa { id: 2, ..sa(&a, &b, 1) };
    assert!(a.plane().install(same_spi).is_err());
    let same_id = ChildSa { spi_in: 0x7777, spi_out: 0x7778, ..sa(&a, &b, 1) };
    assert!(a.plane().install(same_id).is_err());
    let mut unknown = sa(&a, &b, 2);
    unknown.keys_in.encr = 999;
    assert!(a.plane().install(unknown).is_err());
    assert_eq!(a.listing(), listing);
    let (x, y) = apps(&a, &b);
    crosses(&x, &y, "as before");
    until("nothing else is told", || a.events.try_recv().is_err());
}
