//! What crosses beyond the plain tunnel: both families in both, transport mode, several selectors, header fields, padding,
//! and policies without an SA.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests, which clippy does not take for tests.

mod lab;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_dataplane::{Dataplane, Userspace};
use adit_ipsec::{ChildSa, CopyDscp, Mode, Selector, SelectorSpec, Shunt, ShuntPolicy};
use adit_linux::Fields;
use lab::{Host, address, both, crosses, keys, planes, silent};

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn selector(text: &str) -> Selector {
    match text.parse().unwrap() {
        SelectorSpec::Fixed(selector) => selector,
        SelectorSpec::Dynamic { .. } => panic!("{text}"),
    }
}

fn outer(n: u8, v6: bool) -> IpAddr {
    address(if v6 { format!("2001:db8::{n}") } else { format!("192.0.2.{n}") })
}

/// The number of the host whose SPI it is, in the scheme of the lab.
fn is_first(child: &ChildSa) -> bool {
    child.spi_in >> 12 == 1
}

fn paths(child: &mut ChildSa, v6: bool) {
    let (here, there) = if is_first(child) { (1, 2) } else { (2, 1) };
    child.local = at(outer(here, v6), 4500);
    child.remote = at(outer(there, v6), 4500);
}

#[test]
fn either_family_crosses_in_either_raw_and_encapsulated() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    for outer_v6 in [false, true] {
        for encap in [true, false] {
            both(&mut a, &mut b, |child| {
                paths(child, outer_v6);
                child.udp_encap = encap;
            });
            for inner_v6 in [false, true] {
                let inner = |host: &Host| if inner_v6 { host.inner6() } else { host.inner() };
                let (x, y) = (a.socket(at(inner(&a), 7001)), b.socket(at(inner(&b), 7002)));
                let what = format!("v6 {inner_v6} in v6 {outer_v6}, encapsulated {encap}");
                crosses(&x, &y, &what);
                crosses(&y, &x, &what);
                // As large as the device takes, and larger: in fragments.
                crosses(&x, &y, &"m".repeat(1352));
                crosses(&y, &x, &"m".repeat(4000));
            }
            for host in [&mut a, &mut b] {
                let counters = host.plane().counters();
                assert_eq!((counters.send_failed, counters.open_failed, counters.too_big), (0, 0, 0));
                host.plane().remove(1);
            }
        }
    }
    a.shutdown();
    b.shutdown();
}

fn transport(child: &mut ChildSa, v6: bool, encap: bool) {
    paths(child, v6);
    child.mode = Mode::Transport;
    child.udp_encap = encap;
    child.local_ts = vec![Selector::host(child.local.ip())];
    child.remote_ts = vec![Selector::host(child.remote.ip())];
}

#[test]
fn transport_mode_carries_the_hosts_own_packets() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    for v6 in [false, true] {
        for encap in [true, false] {
            // Other keys each time: what is still under way of the last SA must not be for this one.
            let series = u32::from(v6) << 5 | u32::from(encap) << 4;
            both(&mut a, &mut b, |child| {
                transport(child, v6, encap);
                (child.spi_in, child.spi_out) = (child.spi_in + series, child.spi_out + series);
                (child.keys_in, child.keys_out) = (keys(child.spi_in), keys(child.spi_out));
            });
            let before = a.plane().counters();
            let (x, y) = (a.socket(at(outer(1, v6), 7001)), b.socket(at(outer(2, v6), 7002)));
            let what = format!("v6 {v6}, encapsulated {encap}");
            crosses(&x, &y, &what);
            crosses(&y, &x, &what);
            // TCP, with DF and full-size segments, there and back.
            let server =
                b.namespace.run(|| std::net::TcpListener::bind(at(outer(2, v6), 7003))).unwrap().unwrap();
            let sent = vec![7u8; 200_000];
            let copy = sent.clone();
            let client = a
                .namespace
                .run(|| std::net::TcpStream::connect_timeout(&at(outer(2, v6), 7003), lab::PATIENCE))
                .unwrap()
                .unwrap();
            let writer = std::thread::spawn(move || {
                use std::io::Write;
                (&client).write_all(&copy).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let (stream, _) = server.accept().unwrap();
            stream.set_read_timeout(Some(lab::PATIENCE)).unwrap();
            let mut got = Vec::new();
            std::io::Read::read_to_end(&mut &stream, &mut got).unwrap();
            writer.join().unwrap();
            assert!(got == sent, "{what}: {} bytes", got.len());
            let after = a.plane().counters();
            assert!(after.sent > before.sent + 100, "{what}: it went by the SA: {after:?}");
            assert_eq!((after.send_failed, after.selector_mismatch), (0, 0), "{what}");
            a.plane().remove(1);
            b.plane().remove(1);
        }
    }
    a.shutdown();
    b.shutdown();
}

/// The first host is behind a NAT: what it calls 10.99.0.1 comes from its outer address.
#[test]
fn transport_mode_through_a_nat_mends_checksums() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    let own = address("10.99.0.1");
    a.ip("addr add 10.99.0.1/32 dev eth0");
    let rule = "add table ip lab; add chain ip lab post { type nat hook postrouting priority 100 ; }; add rule ip lab \
                post ip saddr 10.99.0.1 udp sport 4500 snat to 192.0.2.1:4509";
    let output = a.namespace.command("nft").unwrap().arg(rule).output().unwrap();
    if !output.status.success() {
        println!("SKIPPED: nft: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    both(&mut a, &mut b, |child| {
        transport(child, false, true);
        if is_first(child) {
            child.local = at(own, 4500);
            child.local_ts = vec![Selector::host(own)];
        } else {
            child.remote.set_port(4509);
        }
    });
    let (x, y) = (a.socket(at(own, 7001)), b.socket(at(b.outer(), 7002)));
    x.send_to(b"from behind", y.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 100];
    let (n, from) = y.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..n], from), (&b"from behind"[..], at(a.outer(), 7001)));
    y.send_to(b"and back", from).unwrap();
    let (n, from) = x.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..n], from), (&b"and back"[..], at(b.outer(), 7002)));
}

#[test]
fn only_what_the_selectors_name_goes_through() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |child| {
        let near = vec![selector("10.1.0.0/16[udp/7000-7010]"), selector("10.1.0.0/16[icmp/8]")];
        let far = vec![
            selector("10.2.0.0/16[udp/7002]"),
            selector("10.2.0.0/16[udp/8000-8009]"),
            selector("10.2.0.0/16[icmp]"),
        ];
        (child.local_ts, child.remote_ts) = if is_first(child) { (near, far) } else { (far, near) };
    });
    let x = a.socket(at(a.inner(), 7001));
    let (y, z) = (b.socket(at(b.inner(), 7002)), b.socket(at(b.inner(), 8009)));
    crosses(&x, &y, "a port");
    crosses(&x, &z, "a range");
    crosses(&z, &x, "and back");
    // Neither another port there nor another one here.
    let outside = b.socket(at(b.inner(), 8010));
    x.send_to(b"no", outside.local_addr().unwrap()).unwrap();
    a.until("another port there", |c| c.no_policy == 1);
    let w = a.socket(at(a.inner(), 6999));
    w.send_to(b"no", y.local_addr().unwrap()).unwrap();
    a.until("another port here", |c| c.no_policy == 2);
    // An echo request is type 8; its answer is not, and finds no way back.
    let ping =
        a.namespace.command("ping").unwrap().args(["-c1", "-W1", "-I", "10.1.0.1", "10.2.0.1"]).output();
    assert!(!ping.unwrap().status.success());
    b.until("the answer", |c| c.no_policy == 1);
    silent(&outside);
    // Fragments but the first have no ports to be seen: they are for OPAQUE alone.
    x.send_to(&[7; 4000], y.local_addr().unwrap()).unwrap();
    a.until("later fragments", |c| c.no_policy >= 4);
    for host in [&mut a, &mut b] {
        host.plane().remove(1);
    }
    both(&mut a, &mut b, |child| {
        let of = |n: u8| {
            vec![selector(&format!("10.{n}.0.0/16[udp]")), selector(&format!("10.{n}.0.0/16[udp/opaque]"))]
        };
        let (here, there) = if is_first(child) { (1, 2) } else { (2, 1) };
        (child.local_ts, child.remote_ts) = (of(here), of(there));
    });
    crosses(&x, &y, &"all of it".repeat(400));
}

#[test]
fn the_narrower_of_two_children_takes_its_packets() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    for (series, local) in [(1, "10.1.0.0/16[udp/7001]"), (2, "10.1.0.0/16")] {
        for host in [&mut a, &mut b] {
            let other = if host.n == 1 { 2 } else { 1 };
            let mut child = lab::sa_of(host.n, other, series);
            let (near, far) = (vec![selector(local)], vec![selector("10.2.0.0/16")]);
            (child.local_ts, child.remote_ts) = if host.n == 1 { (near, far) } else { (far, near) };
            host.plane().install(child).unwrap();
        }
    }
    let y = b.socket(at(b.inner(), 7002));
    crosses(&a.socket(at(a.inner(), 7001)), &y, "narrow");
    crosses(&a.socket(at(a.inner(), 7009)), &y, "wide");
    let sent = |host: &mut Host, id| host.plane().usage(id).unwrap().packets_out;
    assert_eq!((sent(&mut a, 1), sent(&mut a, 2)), (1, 1));
}

/// A packet of the first host as it comes to the second one's worker: sealed here, sent with chosen header fields.
fn send_sealed(a: &Host, sequence: u32, tos: u8, next_header: u8, payload: &[u8], tfc: usize) {
    let outbound =
        adit_esp::Outbound::new(0x2001, &keys(0x2001), true).unwrap().resume_after(u64::from(sequence));
    let mut packet = Vec::new();
    let mut random = adit_crypto::SystemRandom;
    outbound.seal_padded(next_header, payload, tfc, &mut random, &mut packet).unwrap();
    let to = at(address("192.0.2.2"), 4500);
    let fields = Fields { tos, hop_limit: None };
    a.sockets[0].send_with(Some(a.outer()), to, fields, &packet).unwrap();
}

/// A UDP packet from 10.1.0.1:7001 to 10.2.0.1:7002.
fn udp(tos: u8, text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(28 + text.len()).unwrap().to_be_bytes();
    let mut packet =
        vec![0x45, tos, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1];
    let sum = !adit_ipsec::header::fold(adit_ipsec::header::sum(&packet, 0));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([0x1b, 0x59, 0x1b, 0x5a, 0, length[1] - 20, 0, 0]);
    packet.extend(text);
    packet
}

/// Receives with the TOS byte.
fn tos_of(host: &Host, port: u16) -> adit_linux::udp::UdpSocket {
    let local = at(host.inner(), port);
    host.namespace.run(|| adit_linux::udp::UdpSocket::bind(local, None)).unwrap().unwrap()
}

fn receive(socket: &adit_linux::udp::UdpSocket) -> (Vec<u8>, u8) {
    let mut buffer = [0; 2000];
    let end = std::time::Instant::now() + lab::PATIENCE;
    loop {
        match socket.recv(&mut buffer) {
            Ok((n, meta)) => return (buffer[..n].to_vec(), meta.fields.tos),
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(e) => panic!("{e}"),
        }
        assert!(std::time::Instant::now() < end, "nothing arrived");
    }
}

//= rfc6040 4.1-1, 4.1-2, 4.2-1, 4.2-2, 4.2-3, 4.2-4, 4.2-5, 4.3-1, 4.4-2
//= rfc7296 2.24-1
#[test]
fn ecn_and_dscp_come_out_as_rfc_6040_says() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    b.plane().install(lab::sa_of(2, 1, 1)).unwrap();
    let y = tos_of(&b, 7002);
    let table = [
        (0b00, 0b00, Some(0b00)),
        (0b00, 0b10, Some(0b00)),
        (0b00, 0b01, Some(0b00)),
        (0b00, 0b11, None),
        (0b10, 0b00, Some(0b10)),
        (0b10, 0b01, Some(0b01)),
        (0b10, 0b11, Some(0b11)),
        (0b01, 0b10, Some(0b01)),
        (0b01, 0b11, Some(0b11)),
        (0b11, 0b00, Some(0b11)),
        (0b11, 0b01, Some(0b11)),
    ];
    for (sequence, (inner, outer, expected)) in (0..).zip(table) {
        send_sealed(&a, sequence, outer | 0x28, 4, &udp(inner | 0xb8, &[inner << 4 | outer]), 0);
        match expected {
            // The DSCP inside stays what it was.
            Some(ecn) => {
                assert_eq!(receive(&y), (vec![inner << 4 | outer], 0xb8 | ecn), "{inner:02b} {outer:02b}")
            }
            None => b.until("the packet is dropped", |c| c.congested == 1),
        }
    }
    // Going out: ECN and DSCP are copied, and TOS comes as it was sent.
    a.plane().install(lab::sa_of(1, 2, 1)).unwrap();
    b.plane().remove(1);
    b.plane().install(ChildSa { id: 2, ..lab::sa_of(2, 1, 1) }).unwrap();
    let x = tos_of(&a, 7005);
    x.send_with(None, at(b.inner(), 7002), Fields { tos: 0xb9, hop_limit: None }, b"out").unwrap();
    assert_eq!(receive(&y), (b"out".to_vec(), 0xb9));
    // With copy_dscp = in at the receiver, the class of the way counts.
    b.plane().remove(2);
    let mut into = ChildSa { id: 3, ..lab::sa_of(2, 1, 1) };
    into.headers.copy_dscp = CopyDscp::In;
    b.plane().install(into).unwrap();
    send_sealed(&a, 1000, 0x28, 4, &udp(0xb8, b"in"), 0);
    assert_eq!(receive(&y), (b"in".to_vec(), 0x28));
}

#[test]
fn padded_and_dummy_packets_are_understood() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    b.plane().install(lab::sa_of(2, 1, 1)).unwrap();
    let y = b.socket(at(b.inner(), 7002));
    send_sealed(&a, 0, 0, adit_esp::NEXT_HEADER_DUMMY, &[0; 900], 0);
    send_sealed(&a, 1, 0, 4, &udp(0, b"padded"), 700);
    let mut buffer = [0; 100];
    let n = y.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"padded");
    let counters = b.plane().counters();
    assert_eq!((counters.dummies, counters.received, counters.selector_mismatch), (1, 1, 0));
    // Our own padding: all packets of one size on the wire, and never too large for it.
    b.plane().remove(1);
    both(&mut a, &mut b, |child| child.tfc_padding = u16::MAX);
    let x = a.socket(at(a.inner(), 7001));
    let bytes = |host: &Host| -> u64 {
        // The line after "TX: bytes …" begins with their number.
        let text = host.ip("-s link show eth0");
        let line = text.lines().skip_while(|line| !line.contains("TX:")).nth(1).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let mut sizes = Vec::new();
    for text in ["s", "a longer one", &"m".repeat(1372)] {
        // What IPv6 says on the link by itself may fall into one of the turns, not into all.
        let turns = (0..5).map(|_| {
            let before = bytes(&a);
            crosses(&x, &y, text);
            bytes(&a) - before
        });
        sizes.push(turns.min().unwrap());
    }
    assert!(sizes.iter().all(|size| (1490..=1514).contains(size)), "{sizes:?}");
}

#[test]
fn what_must_not_be_fragmented_and_does_not_fit_is_told_to_its_sender() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    both(&mut a, &mut b, |_| ());
    // The path becomes smaller than it was when the SA was made.
    a.ip("route add 192.0.2.2 dev eth0 mtu 1300");
    for (inner, v6) in [(a.inner(), false), (a.inner6(), true)] {
        let x = a.socket(at(inner, 7001));
        let to = if v6 { b.inner6() } else { b.inner() };
        let y = b.socket(at(to, 7002));
        let before = a.plane().counters().too_big;
        x.send_to(&[1; 1330], y.local_addr().unwrap()).unwrap();
        a.until("told", |c| c.too_big == before + 1);
        // Now the host knows, and sends in fragments that fit.
        let mut buffer = [0; 2000];
        let mut got = 0;
        for _ in 0..100 {
            x.send_to(&[2; 1330], y.local_addr().unwrap()).unwrap();
            y.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
            if let Ok(n) = y.recv(&mut buffer) {
                got = n;
                break;
            }
        }
        assert_eq!(got, 1330, "v6 {v6}: {:?}", a.plane().counters());
    }
}

fn shunt(id: u32, kind: Shunt, local: &str, remote: &str) -> ShuntPolicy {
    ShuntPolicy {
        id,
        name: format!("{}-{id}", kind.name()).into(),
        ike_name: "shunts".into(),
        kind,
        local_ts: vec![selector(local)],
        remote_ts: vec![selector(remote)],
        options: Arc::default(),
    }
}

#[test]
fn what_passes_goes_around_the_tunnel() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    // A full tunnel; the peer's network is also reachable in the clear.
    let mut here = lab::sa_of(1, 2, 1);
    here.remote_ts = vec![selector("0.0.0.0/0"), selector("::/0")];
    let mut there = lab::sa_of(2, 1, 1);
    there.local_ts = here.remote_ts.clone();
    a.plane().install(here).unwrap();
    b.plane().install(there).unwrap();
    a.ip("route add 10.2.0.0/16 via 192.0.2.2");
    a.ip("route add fd00:2::/64 via 2001:db8::2");
    b.ip("route add 10.1.0.0/16 via 192.0.2.1 table 219");
    let (x, y) = (a.socket(at(a.inner(), 7001)), b.socket(at(b.inner(), 7002)));
    crosses(&x, &y, "through the tunnel");
    let sent = |host: &mut Host| host.plane().counters().sent;
    assert_eq!(sent(&mut a), 1);
    let before = a.ip("rule");
    a.plane()
        .add_shunt(shunt(1, Shunt::Pass, "10.1.0.0/16[udp/7001]", "10.2.0.0/16[udp/7000-7009]"))
        .unwrap();
    crosses(&x, &y, "in the clear");
    assert_eq!(sent(&mut a), 1);
    crosses(&a.socket(at(a.inner(), 7111)), &y, "another port is not for it");
    assert_eq!(sent(&mut a), 2);
    // The other family, every protocol.
    let (x6, y6) = (a.socket(at(a.inner6(), 7001)), b.socket(at(b.inner6(), 7002)));
    crosses(&x6, &y6, "through the tunnel");
    a.plane().add_shunt(shunt(2, Shunt::Pass, "::/0", "fd00:2::/64")).unwrap();
    crosses(&x6, &y6, "in the clear");
    assert_eq!(sent(&mut a), 3);
    a.plane().remove_shunt(1);
    a.plane().remove_shunt(2);
    a.plane().remove_shunt(2);
    assert_eq!(a.ip("rule"), before);
    crosses(&x, &y, "through the tunnel again");
    assert_eq!(sent(&mut a), 4);
    for (local, remote, why) in [
        ("10.1.0.0/16[icmp/8]", "10.2.0.0/16", "ICMP"),
        ("10.1.0.0/16[udp/1024-65535]", "10.2.0.0/16", "port range"),
        ("10.1.0.0/16[udp/opaque]", "10.2.0.0/16", "ports"),
        ("10.1.0.0/16", "fd00::/16", "no local and remote selector"),
    ] {
        let error = a.plane().add_shunt(shunt(3, Shunt::Pass, local, remote)).unwrap_err();
        assert!(error.sentence.contains(why), "{error}");
    }
    assert_eq!(a.ip("rule"), before);
}

#[test]
fn what_is_dropped_passes_in_no_direction_unless_by_a_tunnel() {
    let Some((mut a, mut b)) = planes::<Userspace>() else { return };
    a.ip("route add 10.2.0.0/16 via 192.0.2.2");
    b.ip("route add 10.1.0.0/16 via 192.0.2.1");
    a.ip("-6 route add fd00:2::/64 via 2001:db8::2");
    b.ip("-6 route add fd00:1::/64 via 2001:db8::1");
    let (x, y) = (a.socket(at(a.inner(), 7001)), b.socket(at(b.inner(), 7002)));
    let (x6, y6) = (a.socket(at(a.inner6(), 7001)), b.socket(at(b.inner6(), 7002)));
    crosses(&x, &y, "in the clear");
    crosses(&y, &x, "and back");
    if let Err(error) =
        a.plane().add_shunt(shunt(1, Shunt::Drop, "10.1.0.0/16[udp/7000-7005]", "10.2.0.0/16"))
    {
        println!("SKIPPED: {error}");
        return;
    }
    println!("{}", nft(&a, "list ruleset"));
    let refused = x.send_to(b"x", y.local_addr().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    y.send_to(b"x", x.local_addr().unwrap()).unwrap();
    crosses(&y, &a.socket(at(a.inner(), 7006)), "after it: another port");
    silent(&x);
    crosses(&x6, &y6, "another family");
    a.plane().add_shunt(shunt(2, Shunt::Drop, "::/0", "fd00:2::/64")).unwrap();
    assert!(x6.send_to(b"x", y6.local_addr().unwrap()).is_err());
    // Passing goes before dropping.
    a.plane().add_shunt(shunt(3, Shunt::Pass, "10.1.0.0/16", "10.2.0.0/16")).unwrap();
    crosses(&x, &y, "passes");
    a.plane().remove_shunt(3);
    assert!(x.send_to(b"x", y.local_addr().unwrap()).is_err());
    // And a tunnel goes before dropping.
    both(&mut a, &mut b, |_| ());
    crosses(&x, &y, "through the tunnel");
    crosses(&y, &x, "and back");
    crosses(&x6, &y6, "in the other family, too");
    a.plane().remove(1);
    b.plane().remove(1);
    assert!(x.send_to(b"x", y.local_addr().unwrap()).is_err());
    assert!(nft(&a, "list tables").contains("adit-shunts"));
    a.plane().remove_shunt(1);
    crosses(&x, &y, "in the clear again");
    a.plane.take().unwrap().shutdown();
    assert_eq!(nft(&a, "list tables"), "");
}

/// What a killed predecessor left goes at the next start.
#[test]
fn left_over_policies_are_removed_at_start() {
    let Some((mut a, _b)) = lab::hosts::<Userspace>() else { return };
    a.ip("rule add pref 221 nop protocol 220");
    a.ip("rule add pref 219 from 10.1.0.0/16 to 10.2.0.0/16 ipproto udp dport 53 goto 221 protocol 220");
    a.ip("-6 rule add pref 221 nop protocol 220");
    a.ip("-6 rule add pref 219 fwmark 0xdc goto 221 protocol 220");
    // Not ours.
    a.ip("rule add pref 218 from 10.9.0.0/16 goto 221");
    nft(
        &a,
        "add table inet adit-shunts; add chain inet adit-shunts output { type filter hook output priority 0 ; policy drop ; }",
    );
    a.start(adit_dataplane::UserspaceConfig::default());
    let rules = a.ip("rule") + &a.ip("-6 rule");
    assert!(!rules.contains("proto 220") && !rules.contains("219:") && rules.contains("218:"), "{rules}");
    assert_eq!(nft(&a, "list tables"), "");
}

fn nft(host: &Host, script: &str) -> String {
    let output = host.namespace.command("nft").unwrap().arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
