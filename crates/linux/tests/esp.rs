//! A kernel that does ESP judges what is asked of it, with packets where they tell more than a listing.

#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy does not take for tests.

mod lab;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use adit_linux::netns::{Namespace, veth};
use adit_linux::poll::Poller;
use adit_linux::route::{Netlink, Route};
use adit_linux::udp::UdpSocket;
use adit_linux::xfrm::{
    Algorithms, Cause, Direction, ESP, Encap, Ends, Event, Limit, Limits, Mark, Migration, Mode, Monitor,
    Move, Policy, Port, Position, Request, Reservation, Sa, SaDirection, SaState, Selector, Template, Xfrm,
};
use lab::{ip, namespace};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Longer than any kernel takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// AES-GCM-16 with a key that `seed` chooses.
fn gcm(seed: u8) -> Algorithms {
    Algorithms::from_iana(20, &[seed; 20], 0, &[]).unwrap()
}

fn cbc(seed: u8) -> Algorithms {
    Algorithms::from_iana(12, &[seed; 32], 12, &[seed; 32]).unwrap()
}

fn sa(src: &str, dst: &str, spi: u32, algorithms: Algorithms) -> Sa {
    Sa { reqid: 5, ..Sa::esp(address(src), address(dst), spi, Mode::Tunnel, algorithms) }
}

/// SAs with everything that SAs can have in any kernel since 6.1.
fn all_kinds() -> Vec<Sa> {
    let plain = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    let mut full = sa("192.0.2.1", "192.0.2.2", 0xc000_0002, cbc(2));
    full.replay.esn = true;
    full.replay.window = 4096;
    full.replay.position = Position { sent: 0x1_0000_0007, received: 0x2_0000_0040, seen: vec![] };
    full.replay.position.seen = vec![0; 128];
    full.replay.position.seen[1] = 0x8000_0001;
    full.encap = Some(Encap { src_port: 4501, dst_port: 4500 });
    full.mark = Mark { value: 0x42, mask: 0xff };
    full.set_mark = Mark { value: 0x10, mask: 0xf0 };
    full.if_id = 7;
    full.limits.bytes = Limit { soft: Some(1 << 40), hard: Some(1 << 41) };
    full.limits.packets = Limit { soft: Some(1 << 30), hard: Some(1 << 31) };
    full.limits.seconds = Limit { soft: Some(3000), hard: Some(3600) };
    full.limits.seconds_used = Limit { soft: Some(2000), hard: Some(2600) };
    full.tfc_pad = 1400;
    full.flags.no_ecn = true;
    full.flags.decap_dscp = true;
    full.flags.no_encap_dscp = true;
    full.flags.no_pmtu_discovery = true;
    full.flags.icmp = true;
    full.flags.af_unspec = true;
    let mut six = sa("2001:db8::1", "2001:db8::2", 0xc000_0003, gcm(3));
    six.mode = Mode::Transport;
    six.selector = Some(Selector {
        protocol: 6,
        dst_port: Port::one(80),
        ..Selector::between((address("2001:db8::1"), 128), (address("2001:db8::2"), 128))
    });
    six.replay.window = 32;
    six.replay.position = Position { sent: 9, received: 33, seen: vec![5] };
    let mut wide = sa("192.0.2.1", "192.0.2.2", 0xc000_0004, gcm(4));
    wide.replay.window = 128;
    let mut unwatched = sa("192.0.2.1", "192.0.2.2", 0xc000_0005, gcm(5));
    unwatched.flags.sequence_may_wrap = true;
    vec![plain, full, six, wide, unwatched]
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn sas_come_back_as_they_were_asked_for() {
    let a = namespace("sa").unwrap();
    a.run(|| {
        let (mut xfrm, mut monitor) = (Xfrm::new().unwrap(), Monitor::new().unwrap());
        for sa in all_kinds() {
            xfrm.add_sa(&sa).unwrap();
            let state = xfrm.get_sa(sa.id()).unwrap();
            assert_eq!(state.sa, sa);
            assert!(state.usage.added > 0);
            assert_eq!((state.usage.packets, state.usage.used), (0, 0));
            let told = drained(&mut monitor);
            assert!(
                matches!(told.as_slice(), [Event::NewSa { by, sa: told }] if *by == xfrm.port() && told.sa == sa),
                "{told:?}"
            );
            let again = xfrm.add_sa(&sa).unwrap_err();
            assert_eq!(again.cause(), Cause::Exists, "{again}");
        }
        let mut listed = Vec::new();
        xfrm.each_sa(|state| listed.push(state.sa)).unwrap();
        assert_eq!(listed.len(), all_kinds().len());
        assert_eq!(xfrm.sa_count().unwrap() as usize, listed.len());
        for sa in all_kinds() {
            assert!(listed.contains(&sa));
            let mut changed = sa.clone();
            changed.limits.packets = Limit { soft: None, hard: Some(77) };
            xfrm.update_sa(&changed).unwrap();
            assert_eq!(xfrm.get_sa(sa.id()).unwrap().sa.limits.packets.hard, Some(77));
            drained(&mut monitor);
            xfrm.delete_sa(sa.id()).unwrap();
            assert_eq!(drained(&mut monitor), [Event::DeletedSa { by: xfrm.port(), id: sa.id() }]);
            for gone in [
                xfrm.get_sa(sa.id()).unwrap_err(),
                xfrm.delete_sa(sa.id()).unwrap_err(),
                xfrm.update_sa(&sa).unwrap_err(),
            ] {
                assert_eq!(gone.cause(), Cause::Gone, "{gone}");
            }
        }
    })
    .unwrap();
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn every_algorithm_of_the_table_is_one_of_the_kernel() {
    let a = namespace("alg").unwrap();
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let aead = [(14, 19), (15, 35), (16, 27), (18, 20), (19, 28), (20, 36), (21, 20), (28, 36)];
        let ciphers = [(11, 0), (12, 16), (12, 32), (13, 20), (13, 36), (23, 16)];
        let macs = [(2, 20), (5, 16), (8, 16), (12, 32), (13, 48), (14, 64)];
        let key = |octets: usize| (1..=octets as u8).collect::<Vec<_>>();
        let mut all: Vec<_> =
            aead.iter().map(|(encr, octets)| Algorithms::from_iana(*encr, &key(*octets), 0, &[])).collect();
        for (encr, octets) in ciphers {
            all.push(Algorithms::from_iana(encr, &key(octets), 12, &key(32)));
        }
        for (integ, octets) in macs {
            all.push(Algorithms::from_iana(12, &key(16), integ, &key(octets)));
        }
        for (n, algorithms) in all.into_iter().enumerate() {
            let sa = sa("192.0.2.1", "192.0.2.2", 0xc000_0100 + n as u32, algorithms.unwrap());
            match xfrm.add_sa(&sa) {
                Ok(()) => assert_eq!(xfrm.get_sa(sa.id()).unwrap().sa, sa),
                // A cloud kernel has no Camellia.
                Err(e) if format!("{:?}", sa.algorithms).contains("camellia") => {
                    assert_eq!(e.cause(), Cause::NoAlgorithm, "{e}");
                }
                Err(e) => panic!("{e}: {:?}", sa.algorithms),
            }
        }
        let mut unknown = gcm(1);
        let Algorithms::Aead(aead) = &mut unknown else { unreachable!() };
        aead.name = "rfc4106(gcm(rot13))".into();
        let error = xfrm.add_sa(&sa("192.0.2.1", "192.0.2.2", 0xc000_0200, unknown)).unwrap_err();
        assert_eq!(error.cause(), Cause::NoAlgorithm, "{error}");
        let short = Algorithms::from_iana(20, &[1; 3], 0, &[]).unwrap();
        let error = xfrm.add_sa(&sa("192.0.2.1", "192.0.2.2", 0xc000_0201, short)).unwrap_err();
        assert_eq!(error.cause(), Cause::Invalid, "{error}");
    })
    .unwrap();
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn what_newer_kernels_have_is_read_back_or_was_ignored() {
    let a = namespace("new").unwrap();
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let mut asked = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
        asked.encap = Some(Encap { src_port: 4500, dst_port: 4500 });
        asked.direction = Some(SaDirection::Out);
        asked.cpu = Some(0);
        asked.nat_keepalive = 20;
        xfrm.add_sa(&asked).unwrap();
        let got = xfrm.get_sa(asked.id()).unwrap().sa;
        // Since 6.10, 6.13 and 6.11; a kernel has none of them, or the first.
        let none = Sa { direction: None, cpu: None, nat_keepalive: 0, ..asked.clone() };
        let first = Sa { direction: asked.direction, ..none.clone() };
        let cpu = Sa { cpu: asked.cpu, ..first.clone() };
        let alive = Sa { nat_keepalive: 20, ..first.clone() };
        assert!([none, first, cpu, alive, asked].contains(&got), "{got:?}");
        println!("direction {:?}, cpu {:?}, keepalive {}", got.direction, got.cpu, got.nat_keepalive);
    })
    .unwrap();
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn an_spi_is_reserved_filled_in_and_moved_into_use() {
    let a = namespace("spi").unwrap();
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let wanted = Reservation {
            src: address("192.0.2.2"),
            dst: address("192.0.2.1"),
            protocol: ESP,
            mode: Mode::Tunnel,
            reqid: 5,
            low: 0xc000_0000,
            high: 0xc000_0001,
            mark: Mark::default(),
            if_id: 0,
        };
        let mut spis = Vec::new();
        while spis.len() < 2 {
            match xfrm.reserve_spi(wanted) {
                Ok(spi) => spis.push(spi),
                // The kernel draws as often as there are numbers, and may miss those that are free.
                Err(e) => assert_eq!(e.cause(), Cause::Gone, "{e}"),
            }
        }
        assert!(spis.contains(&0xc000_0000) && spis.contains(&0xc000_0001), "{spis:x?}");
        let full = xfrm.reserve_spi(wanted).unwrap_err();
        assert_eq!(full.cause(), Cause::Gone, "{full}");
        let sa = sa("192.0.2.2", "192.0.2.1", spis[0], gcm(1));
        assert_eq!(xfrm.add_sa(&sa).unwrap_err().cause(), Cause::Exists);
        xfrm.update_sa(&sa).unwrap();
        assert_eq!(xfrm.get_sa(sa.id()).unwrap().sa, sa);
    })
    .unwrap();
}

/// What a monitor has to tell up to now.
fn drained(monitor: &mut Monitor) -> Vec<Event> {
    std::iter::from_fn(|| monitor.next_event().unwrap()).collect()
}

/// Waits for an event that `wanted` takes; others are passed over.
fn awaited<T>(monitor: &mut Monitor, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let poller = Poller::new().unwrap();
    poller.add(&*monitor, 0).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        while let Some(event) = monitor.next_event().unwrap() {
            if let Some(found) = wanted(event) {
                return found;
            }
        }
        let left = end.checked_duration_since(Instant::now());
        assert!(left.is_some(), "the event did not come");
        poller.wait(&mut Vec::new(), left).unwrap();
    }
}

/// Two hosts on one wire.
struct Hosts {
    a: Namespace,
    b: Namespace,
}

impl Hosts {
    fn new() -> Self {
        let hosts = Self { a: namespace("a").unwrap(), b: namespace("b").unwrap() };
        veth((&hosts.a, "v0"), (&hosts.b, "v1")).unwrap();
        for (inside, device, addresses) in [
            (&hosts.a, "v0", ["192.0.2.1", "192.0.2.11", "10.0.1.1", "fd00:1::1"]),
            (&hosts.b, "v1", ["192.0.2.2", "192.0.2.12", "10.0.2.1", "fd00:2::1"]),
        ] {
            inside
                .run(|| {
                    let mut netlink = Netlink::new().unwrap();
                    let index = netlink.link_index(device).unwrap();
                    for (text, prefix) in addresses.into_iter().zip([24, 24, 16, 32]) {
                        netlink.add_address(index, address(text), prefix).unwrap();
                    }
                })
                .unwrap();
        }
        hosts
    }

    /// ESP from `a` to `b`, with the policies for it at both, for what goes from `sender` to `receiver`.
    fn one_way(&self, out: &Sa, into: &Sa, sender: &str, receiver: &str) {
        let host = |text: &str| (address(text), if address(text).is_ipv4() { 32 } else { 128 });
        let selector = Selector::between(host(sender), host(receiver));
        for (inside, sa, direction) in [(&self.a, out, Direction::Out), (&self.b, into, Direction::In)] {
            let mut policy = Policy::pass(selector, direction, 1);
            policy.if_id = sa.if_id;
            policy.templates = vec![template(sa)];
            let mut xfrm = inside.run(|| Xfrm::new().unwrap()).unwrap();
            let done = xfrm.batch(&[Request::AddSa(sa), Request::AddPolicy(&policy)]);
            done.into_iter().for_each(|result| drop(result.unwrap()));
        }
    }
}

/// What asks for an SA.
fn template(sa: &Sa) -> Template {
    Template {
        src: sa.src,
        dst: sa.dst,
        spi: 0,
        protocol: ESP,
        mode: sa.mode,
        reqid: sa.reqid,
        optional: false,
    }
}

/// Sends datagrams until `b` has `count` of them.
fn carry(hosts: &Hosts, sender: &str, receiver: &str, count: usize) {
    let socket = |inside: &Namespace, at: &str| {
        let at = SocketAddr::new(address(at), 0);
        inside.run(|| UdpSocket::bind(at, None).unwrap()).unwrap()
    };
    let (sender, receiver) = (socket(&hosts.a, sender), socket(&hosts.b, receiver));
    let poller = Poller::new().unwrap();
    poller.add(&receiver, 0).unwrap();
    let end = Instant::now() + PATIENCE;
    for n in 0..count {
        let text = [b'a'; 100];
        sender.send(None, receiver.local_addr(), &text).unwrap();
        let mut buffer = [0; 200];
        while receiver.recv(&mut buffer).is_err() {
            let left = end.checked_duration_since(Instant::now());
            assert!(left.is_some(), "datagram {n} did not arrive");
            poller.wait(&mut Vec::new(), left).unwrap();
        }
    }
}

fn state(inside: &Namespace, sa: &Sa) -> SaState {
    inside.run(|| Xfrm::new().unwrap().get_sa(sa.id()).unwrap()).unwrap()
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn packets_go_through_and_are_counted() {
    let hosts = Hosts::new();
    let mut tunnel = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    tunnel.flags.af_unspec = true;
    tunnel.replay.esn = true;
    tunnel.replay.window = 4096;
    let mut bare = sa("192.0.2.1", "192.0.2.2", 0xc000_0002, cbc(2));
    bare.mode = Mode::Transport;
    bare.reqid = 6;
    bare.replay.window = 32;
    hosts.one_way(&tunnel, &tunnel, "10.0.1.1", "10.0.2.1");
    hosts.one_way(&bare, &bare, "192.0.2.1", "192.0.2.2");
    carry(&hosts, "10.0.1.1", "10.0.2.1", 40);
    carry(&hosts, "192.0.2.1", "192.0.2.2", 3);
    for (sa, count, bitmap) in [(&tunnel, 40, 2), (&bare, 3, 1)] {
        let (out, into) = (state(&hosts.a, sa), state(&hosts.b, sa));
        assert_eq!((out.usage.packets, into.usage.packets), (count, count));
        assert!(out.usage.bytes >= 100 * count && into.usage.used > 0);
        assert_eq!((out.sa.replay.position.sent, into.sa.replay.position.received), (count, count));
        let seen: u32 = into.sa.replay.position.seen.iter().map(|word| word.count_ones()).sum();
        assert_eq!((u64::from(seen), into.replayed, into.forged), (count, 0, 0), "{bitmap}");
    }
    // IPv6 in the IPv4 tunnel, by the same SA.
    let both = Policy {
        templates: vec![template(&tunnel)],
        ..Policy::pass(
            Selector::between((address("fd00:1::1"), 128), (address("fd00:2::1"), 128)),
            Direction::Out,
            1,
        )
    };
    for (inside, direction) in [(&hosts.a, Direction::Out), (&hosts.b, Direction::In)] {
        let policy = Policy { direction, ..both.clone() };
        inside.run(|| Xfrm::new().unwrap().add_policy(&policy).unwrap()).unwrap();
        let index = if direction == Direction::Out { "v0" } else { "v1" };
        let other = if direction == Direction::Out { "fd00:2::" } else { "fd00:1::" };
        inside
            .run(|| {
                let mut netlink = Netlink::new().unwrap();
                let index = netlink.link_index(index).unwrap();
                netlink.add_route(&Route::through((address(other), 32), 254, index, None)).unwrap();
            })
            .unwrap();
    }
    carry(&hosts, "fd00:1::1", "fd00:2::1", 1);
    assert_eq!(state(&hosts.b, &tunnel).usage.packets, 41);
    // A number that was used is not taken twice: an SA that begins anew is not believed.
    let mut again = hosts.a.run(|| Xfrm::new().unwrap()).unwrap();
    again.delete_sa(tunnel.id()).unwrap();
    let used = state(&hosts.b, &tunnel).sa.replay.position.received;
    let mut handed = tunnel.clone();
    handed.replay.position.sent = used;
    again.add_sa(&handed).unwrap();
    carry(&hosts, "10.0.1.1", "10.0.2.1", 1);
    let after = state(&hosts.b, &tunnel);
    assert_eq!((after.sa.replay.position.received, after.replayed), (used + 1, 0));
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn limits_are_told_when_they_are_reached() {
    let hosts = Hosts::new();
    let (mut at_a, mut at_b) =
        (hosts.a.run(|| Monitor::new().unwrap()).unwrap(), hosts.b.run(|| Monitor::new().unwrap()).unwrap());
    let mut out = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    out.limits.packets = Limit { soft: Some(2), hard: Some(4) };
    let mut into = Sa { limits: Limits::default(), ..out.clone() };
    hosts.one_way(&out, &into, "10.0.1.1", "10.0.2.1");
    // It is the packet behind the limit that has it told.
    carry(&hosts, "10.0.1.1", "10.0.2.1", 3);
    let expired = |event| match event {
        Event::Expire { sa, hard } => Some((sa.sa.id(), sa.sa.reqid, hard)),
        _ => None,
    };
    assert_eq!(awaited(&mut at_a, expired), (out.id(), 5, false));
    let socket = hosts.a.run(|| UdpSocket::bind("10.0.1.1:0".parse().unwrap(), None).unwrap()).unwrap();
    for _ in 0..2 {
        let _ = socket.send(None, "10.0.2.1:9".parse().unwrap(), b"x");
    }
    assert_eq!(awaited(&mut at_a, expired), (out.id(), 5, true));
    into.limits.seconds = Limit { soft: None, hard: Some(1) };
    hosts.b.run(|| Xfrm::new().unwrap().update_sa(&into).unwrap()).unwrap();
    assert_eq!(awaited(&mut at_b, expired), (into.id(), 5, true));
    for (inside, sa) in [(&hosts.a, &out), (&hosts.b, &into)] {
        let gone = inside.run(|| Xfrm::new().unwrap().get_sa(sa.id()).unwrap_err()).unwrap();
        assert_eq!(gone.cause(), Cause::Gone);
    }
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn a_packet_without_an_sa_asks_for_one_and_goes_when_it_is_there() {
    let hosts = Hosts::new();
    let mut monitor = hosts.a.run(|| Monitor::new().unwrap()).unwrap();
    let out = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    hosts.one_way(&out, &out, "10.0.1.1", "10.0.2.1");
    let mut xfrm = hosts.a.run(|| Xfrm::new().unwrap()).unwrap();
    xfrm.delete_sa(out.id()).unwrap();
    let mut policies = Vec::new();
    xfrm.each_policy(|policy| policies.push(policy)).unwrap();
    let socket = hosts.a.run(|| UdpSocket::bind("10.0.1.1:7001".parse().unwrap(), None).unwrap()).unwrap();
    let _ = socket.send(None, "10.0.2.1:7002".parse().unwrap(), b"x");
    let acquire = awaited(&mut monitor, |event| match event {
        Event::Acquire(acquire) => Some(acquire),
        _ => None,
    });
    assert_eq!((acquire.src, acquire.dst, acquire.reqid), (out.src, out.dst, 5));
    assert_eq!(acquire.policy.policy, policies[0].policy);
    assert_ne!(acquire.policy.policy.index, 0);
    let packet = Selector {
        protocol: 17,
        src_port: Port::one(7001),
        dst_port: Port::one(7002),
        ..Selector::between((address("10.0.1.1"), 32), (address("10.0.2.1"), 32))
    };
    let told = acquire.selector.unwrap();
    assert_eq!(Selector { ifindex: 0, ..told }, packet);
    xfrm.add_sa(&Sa { acquire: acquire.number, ..out.clone() }).unwrap();
    carry(&hosts, "10.0.1.1", "10.0.2.1", 1);
    let mut left = Vec::new();
    xfrm.each_sa(|state| left.push(state.sa.spi)).unwrap();
    assert_eq!(left, [out.spi], "the answered question is gone");
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn esp_comes_out_of_a_nat_socket_and_a_changed_port_is_told() {
    let hosts = Hosts::new();
    let mut monitor = hosts.b.run(|| Monitor::new().unwrap()).unwrap();
    let receiver = hosts.b.run(|| UdpSocket::bind("192.0.2.2:4500".parse().unwrap(), None).unwrap()).unwrap();
    receiver.esp_in_udp().unwrap();
    let mut out = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    out.encap = Some(Encap { src_port: 4500, dst_port: 4500 });
    hosts.one_way(&out, &out, "10.0.1.1", "10.0.2.1");
    carry(&hosts, "10.0.1.1", "10.0.2.1", 1);
    assert!(!drained(&mut monitor).iter().any(|event| matches!(event, Event::Mapping(_))));
    // A NAT on the way chose another port.
    let mut moved = out.clone();
    moved.encap = Some(Encap { src_port: 1234, dst_port: 4500 });
    hosts.a.run(|| Xfrm::new().unwrap().update_sa(&moved).unwrap()).unwrap();
    carry(&hosts, "10.0.1.1", "10.0.2.1", 1);
    let mapping = awaited(&mut monitor, |event| match event {
        Event::Mapping(mapping) => Some(mapping),
        _ => None,
    });
    assert_eq!((mapping.id, mapping.reqid), (out.id(), 5));
    assert_eq!(mapping.old, "192.0.2.1:4500".parse().unwrap());
    assert_eq!(mapping.new, "192.0.2.1:1234".parse().unwrap());
    // IKE still arrives.
    let sender = hosts.a.run(|| UdpSocket::bind("192.0.2.1:4500".parse().unwrap(), None).unwrap()).unwrap();
    sender.send(None, receiver.local_addr(), b"\0\0\0\0IKE").unwrap();
    let poller = Poller::new().unwrap();
    poller.add(&receiver, 0).unwrap();
    poller.wait(&mut Vec::new(), Some(PATIENCE)).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(receiver.recv(&mut buffer).unwrap().0, 7);
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn a_policy_moves_with_its_sas() {
    let hosts = Hosts::new();
    let plain = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    hosts.one_way(&plain, &plain, "10.0.1.1", "10.0.2.1");
    carry(&hosts, "10.0.1.1", "10.0.2.1", 3);
    let from = Ends { src: plain.src, dst: plain.dst };
    let to = Ends { src: address("192.0.2.11"), dst: address("192.0.2.12") };
    let selector = Selector::between((address("10.0.1.1"), 32), (address("10.0.2.1"), 32));
    for (inside, direction) in [(&hosts.a, Direction::Out), (&hosts.b, Direction::In)] {
        let (mut xfrm, mut monitor) = inside.run(|| (Xfrm::new().unwrap(), Monitor::new().unwrap())).unwrap();
        let policy = Policy::pass(selector, direction, 1).id();
        let mut migration = Migration {
            policy,
            moves: vec![Move { from, to, protocol: ESP, mode: Mode::Tunnel, reqid: 5 }],
            encap: None,
        };
        xfrm.migrate(&migration).unwrap();
        let told = awaited(&mut monitor, |event| match event {
            Event::Migrated(migration) => Some(migration),
            _ => None,
        });
        assert_eq!((told.policy.selector, &told.moves), (selector, &migration.moves));
        let state = xfrm.get_policy(policy).unwrap();
        assert_eq!((state.policy.templates[0].src, state.policy.templates[0].dst), (to.src, to.dst));
        assert_eq!(xfrm.get_sa(plain.id()).unwrap_err().cause(), Cause::Gone);
        migration.policy.selector.protocol = 99;
        let error = xfrm.migrate(&migration).unwrap_err();
        assert_eq!(error.cause(), Cause::Gone, "{error}");
    }
    let moved = Sa { src: to.src, dst: to.dst, ..plain };
    let kept = state(&hosts.b, &moved);
    assert_eq!(kept.sa.algorithms, moved.algorithms);
    carry(&hosts, "10.0.1.1", "10.0.2.1", 2);
    assert_eq!(state(&hosts.a, &moved).sa.replay.position.sent, 5);
}

#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn an_xfrm_interface_is_made_once_used_and_removed() {
    let hosts = Hosts::new();
    let mut out = sa("192.0.2.1", "192.0.2.2", 0xc000_0001, gcm(1));
    out.if_id = 42;
    let into = Sa { if_id: 0, ..out.clone() };
    hosts.one_way(&out, &into, "10.9.1.1", "10.9.2.1");
    hosts
        .b
        .run(|| {
            let mut netlink = Netlink::new().unwrap();
            let index = netlink.link_index("v1").unwrap();
            netlink.add_address(index, address("10.9.2.1"), 32).unwrap();
        })
        .unwrap();
    let mut netlink = hosts.a.run(|| Netlink::new().unwrap()).unwrap();
    ip(&hosts.a, "link add foreign type xfrm dev v0 if_id 41");
    let link = netlink.add_xfrm_link("ipsec42", 42, None).unwrap();
    assert!(link.ours && link.if_id == 42 && link.lower.is_none() && !link.up);
    assert_eq!(netlink.add_xfrm_link("ipsec42", 42, None).unwrap(), link);
    assert!(ip(&hosts.a, "-d link show ipsec42").contains("if_id 0x2a"));
    let lower = netlink.link_index("v0").unwrap();
    let foreign = netlink.add_xfrm_link("foreign", 41, Some(lower)).unwrap();
    assert!(!foreign.ours && foreign.lower == Some(lower));
    for (name, if_id, lower) in
        [("ipsec43", 42, None), ("ipsec42", 43, None), ("v0", 44, None), ("foreign", 41, None)]
    {
        let error = netlink.add_xfrm_link(name, if_id, lower).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
    }
    netlink.add_address(link.ifindex, address("10.9.1.1"), 32).unwrap();
    netlink.link_up(link.ifindex).unwrap();
    netlink.add_route(&Route::through((address("10.9.2.1"), 32), 254, link.ifindex, None)).unwrap();
    carry(&hosts, "10.9.1.1", "10.9.2.1", 2);
    assert_eq!(state(&hosts.b, &into).usage.packets, 2);
    assert!(!netlink.del_xfrm_link(41).unwrap(), "it is somebody else's");
    assert!(netlink.del_xfrm_link(42).unwrap() && !netlink.del_xfrm_link(42).unwrap());
    assert_eq!(netlink.xfrm_links().unwrap(), [foreign]);
}
