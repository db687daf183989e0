//! XFRM interfaces of the kernel's data plane: made, used, shared, put back and removed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

mod lab;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use adit_dataplane::{Dataplane, DataplaneEvent, Kernel, RouteConfig};
use adit_ipsec::{ChildSa, EntryOptions, TrapPolicy, XfrmInterfaces};
use adit_linux::netns::Namespace;
use adit_linux::route::Watch;
use lab::{Host, PATIENCE, crosses, hosts, net, sa};

fn config(xfrm_interfaces: XfrmInterfaces) -> RouteConfig {
    RouteConfig { xfrm_interfaces, ..RouteConfig::default() }
}

fn planes(kind: XfrmInterfaces) -> Option<(Host<Kernel>, Host<Kernel>)> {
    let (mut a, mut b) = hosts()?;
    a.start(config(kind));
    b.start(config(kind));
    Some((a, b))
}

fn bound(number: u32) -> Arc<EntryOptions> {
    Arc::new(EntryOptions { if_id_in: number, if_id_out: number, ..EntryOptions::default() })
}

/// Installs the SA number `series` of a connection at both ends, bound to its interface.
fn connect(hosts: [&mut Host<Kernel>; 2], connection: &str, series: u32, change: impl Fn(&mut ChildSa)) {
    let [a, b] = hosts;
    let (there, back) = (sa(a, b, series), sa(b, a, series));
    for (mut sa, host) in [(there, a), (back, b)] {
        (sa.ike_name, sa.reqid) = (connection.into(), series);
        sa.options = bound(host.plane().if_id(connection));
        change(&mut sa);
        host.plane().install(sa).unwrap();
    }
}

/// An application on each host.
fn apps(a: &Host<Kernel>, b: &Host<Kernel>) -> (UdpSocket, UdpSocket) {
    (a.socket(SocketAddr::new(a.inner(), 7000)), b.socket(SocketAddr::new(b.inner(), 7000)))
}

/// Packets that came out of an interface and that went into it.
fn counted(host: &Host<Kernel>, interface: &str) -> (u64, u64) {
    let text = host.ip(&format!("-4 -s link show {interface}"));
    let after = |head: &str| {
        let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with(head)).skip(1);
        lines.next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (after("RX:"), after("TX:"))
}

fn interfaces(host: &Host<Kernel>) -> Vec<String> {
    let text = host.ip("-brief link show type xfrm");
    text.lines().map(|line| line.split(['@', ' ']).next().unwrap().to_owned()).collect()
}

/// Waits until the kernel has told of a change of what is ours.
fn disturbed(host: &mut Host<Kernel>, watch: &mut Watch) {
    let end = Instant::now() + PATIENCE;
    while !watch.drain(&host.plane().own()).own {
        assert!(Instant::now() < end, "nothing was told");
        std::thread::yield_now();
    }
}

mod kernel {
    use super::*;

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn traffic_goes_through_the_connections_interface_and_nothing_is_left() {
        let Some((mut a, mut b)) = planes(XfrmInterfaces::Connection) else { return };
        let (x, y) = apps(&a, &b);
        let number = a.plane().if_id("office");
        assert_eq!(b.plane().if_id("office"), number);
        let one = sa(&a, &b, 1);
        a.plane()
            .add_trap(TrapPolicy {
                id: 7,
                name: one.name,
                ike_name: "office".into(),
                reqid: 1,
                mode: one.mode,
                local_ts: one.local_ts,
                remote_ts: one.remote_ts,
                local: Some(one.local.ip()),
                remote: Some(one.remote.ip()),
                options: bound(number),
            })
            .unwrap();
        assert_eq!((interfaces(&a), interfaces(&b).len()), (vec!["adit-office".to_owned()], 0));
        let shown = a.ip("-d link show adit-office");
        assert!(
            shown.contains(",UP") && shown.contains("mtu 1400") && shown.contains("alias adit"),
            "{shown}"
        );
        // The first packet asks. The kernel keeps none that comes by an interface.
        x.send_to(b"first", y.local_addr().unwrap()).unwrap();
        assert!(matches!(a.event(), DataplaneEvent::Acquire { trap_id: 7, .. }));
        connect([&mut a, &mut b], "office", 1, |_| ());
        crosses(&x, &y, "there");
        crosses(&y, &x, "back");
        assert_eq!((counted(&a, "adit-office"), counted(&b, "adit-office")), ((1, 1), (1, 1)));
        assert_eq!(a.table(), "10.2.0.0/16 dev adit-office proto static src 10.1.0.1 \n");
        // A rekeying changes nothing, and the trap keeps the interface.
        connect([&mut a, &mut b], "office", 2, |_| ());
        a.plane().remove(1);
        b.plane().remove(1);
        crosses(&x, &y, "there");
        assert_eq!(counted(&a, "adit-office"), (1, 2));
        a.plane().remove(2);
        b.plane().remove(2);
        assert_eq!((interfaces(&a).len(), interfaces(&b).len()), (1, 0));
        a.plane().remove_trap(7);
        assert_eq!((interfaces(&a).len(), a.table().as_str()), (0, ""));
        // What is there at the end goes, too.
        connect([&mut a, &mut b], "office", 3, |_| ());
        a.shutdown();
        b.shutdown();
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn two_connections_for_the_same_networks_do_not_mix() {
        let Some((mut a, mut b)) = planes(XfrmInterfaces::Connection) else { return };
        connect([&mut a, &mut b], "one", 1, |_| ());
        connect([&mut a, &mut b], "two", 2, |_| ());
        // The newest has the route; a routing daemon may have others.
        assert!(a.table().contains("10.2.0.0/16 dev adit-two"), "{}", a.table());
        for (host, there) in [(&a, 2), (&b, 1)] {
            host.ip(&format!("addr add 10.{}.0.2/32 dev lo", host.n));
            host.ip(&format!("route add 10.{there}.0.1/32 dev adit-one table 220"));
        }
        let (x, y) = apps(&a, &b);
        crosses(&x, &y, "by one");
        crosses(&y, &x, "and back");
        let at = |host: &Host<Kernel>| [counted(host, "adit-one"), counted(host, "adit-two")];
        assert_eq!([at(&a), at(&b)], [[(1, 1), (0, 0)]; 2]);
        let [x, y] =
            [(&a, "10.1.0.2:7000"), (&b, "10.2.0.2:7000")].map(|(h, it)| h.socket(it.parse().unwrap()));
        crosses(&x, &y, "by two");
        crosses(&y, &x, "and back");
        assert_eq!([at(&a), at(&b)], [[(1, 1), (1, 1)]; 2]);
        for host in [&mut a, &mut b] {
            assert_eq!(host.plane().usage(1).unwrap().packets_out, 1);
            assert_eq!(host.plane().usage(2).unwrap().packets_out, 1);
            // The route is the other's when the one that had it goes.
            host.plane().remove(2);
            assert!(host.table().contains("/16 dev adit-one"), "{}", host.table());
            host.ip(&format!("addr del 10.{}.0.2/32 dev lo", host.n));
            host.shutdown();
        }
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn a_full_tunnel_does_not_swallow_itself_and_all_may_share() {
        let Some((mut a, mut b)) = planes(XfrmInterfaces::Shared) else { return };
        connect([&mut a, &mut b], "office", 1, |sa| {
            let wide = if sa.spi_in < 0x2000 { &mut sa.remote_ts } else { &mut sa.local_ts };
            *wide = vec![net("0.0.0.0/0")];
        });
        connect([&mut a, &mut b], "home", 2, |sa| {
            let six = |nets: &mut Vec<_>| nets.retain(|net: &adit_ipsec::Selector| !net.is_v4());
            six(&mut sa.local_ts);
            six(&mut sa.remote_ts);
        });
        assert_eq!(interfaces(&a), ["adit-xfrm"]);
        let table = a.table();
        assert!(table.contains("default dev adit-xfrm proto static"), "{table}");
        assert!(table.contains("throw 192.0.2.2 proto 220"), "{table}");
        let (x, y) = apps(&a, &b);
        crosses(&x, &y, "there");
        crosses(&y, &x, "and back");
        assert_eq!(counted(&a, "adit-xfrm"), (1, 1));
        a.plane().remove(1);
        assert_eq!((interfaces(&a).len(), a.table().as_str()), (1, ""));
        // A tunnel for the peer's own address cannot have a route there.
        let mut own = sa(&a, &b, 3);
        own.options = bound(a.plane().if_id("office"));
        own.remote_ts = vec![net("192.0.2.2/32")];
        let error = a.plane().install(own).unwrap_err().to_string();
        assert!(error.contains("would also catch"), "{error}");
        a.plane().remove(2);
        assert!(interfaces(&a).is_empty());
        a.shutdown();
        b.shutdown();
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn what_somebody_deletes_or_takes_down_is_put_back() {
        let Some((mut a, mut b)) = planes(XfrmInterfaces::Connection) else { return };
        let mut watch = a.namespace.run(|| Watch::new().unwrap()).unwrap();
        connect([&mut a, &mut b], "office", 1, |_| ());
        let table = a.table();
        let (x, y) = apps(&a, &b);
        watch.drain(&a.plane().own());
        for (hand, told) in [("del", "XFRM interface adit-office"), ("set down", "adit-office (it was down)")]
        {
            let command = match hand {
                "del" => "link del adit-office",
                _ => "link set adit-office down",
            };
            a.ip(command);
            disturbed(&mut a, &mut watch);
            a.plane().mend();
            let notes = a.plane().notes().join("\n");
            assert!(notes.contains(told), "{notes}");
            assert_eq!((interfaces(&a).len(), a.table()), (1, table.clone()));
            crosses(&x, &y, hand);
            crosses(&y, &x, "and back");
        }
        // In the place of ours somebody makes one himself: it is used, and is his.
        let number = a.plane().if_id("office");
        a.ip("link del adit-office");
        a.ip(&format!("link add his type xfrm dev lo if_id {number}"));
        a.ip("link set his up");
        a.plane().mend();
        assert!(a.table().contains("10.2.0.0/16 dev his"), "{}", a.table());
        crosses(&x, &y, "by his");
        a.plane().remove(1);
        assert_eq!(interfaces(&a), ["his"]);
        a.ip("link del his");
        a.shutdown();
        b.shutdown();
    }

    #[test]
    #[ignore = "needs the kernel of cargo xtask kernel"]
    fn others_are_used_or_in_the_way_and_a_predecessors_are_removed() {
        let Some((mut a, mut b)) = hosts() else { return };
        let link = |host: &Namespace, words: &str| {
            let done = host.command("ip").unwrap().arg("link").args(words.split(' ')).status().unwrap();
            assert!(done.success(), "{words}");
        };
        for words in [
            "add adit-old type xfrm dev lo if_id 5",
            "set adit-old alias adit",
            "add adit-office type xfrm dev lo if_id 6",
            "add mine type xfrm dev eth0 if_id 77",
            "set mine up",
        ] {
            link(&a.namespace, words);
        }
        a.start(config(XfrmInterfaces::Connection));
        b.start(config(XfrmInterfaces::Connection));
        assert_eq!(interfaces(&a), ["adit-office", "mine"]);
        let notes = a.plane().notes().join("\n");
        assert!(notes.contains("has left: adit-old"), "{notes}");
        let mut office = sa(&a, &b, 1);
        office.options = bound(a.plane().if_id("office"));
        let error = a.plane().install(office).unwrap_err().to_string();
        assert!(error.contains("adit-office with if_id 6"), "{error}");
        assert_eq!((a.xfrm("xfrm policy list nosock") + &a.xfrm("xfrm state")).as_str(), "");
        // A number that is configured: there with one host, and made with the other.
        connect([&mut a, &mut b], "site", 2, |sa| sa.options = bound(77));
        assert_eq!(interfaces(&b), ["adit-77"]);
        let (x, y) = apps(&a, &b);
        crosses(&x, &y, "there");
        crosses(&y, &x, "and back");
        assert_eq!((counted(&a, "mine"), counted(&b, "adit-77")), ((1, 1), (1, 1)));
        a.plane().remove(2);
        b.plane().remove(2);
        assert_eq!((interfaces(&a).len(), interfaces(&b).len()), (2, 0));
        for words in ["del mine", "del adit-office"] {
            link(&a.namespace, words);
        }
        a.shutdown();
        b.shutdown();
    }
}
