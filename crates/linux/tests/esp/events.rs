//! What the kernel tells of packets that reach a limit, find no SA, or come from elsewhere.

use adit_linux::poll::Poller;
use adit_linux::udp::UdpSocket;
use adit_linux::xfrm::{
    Cause, Direction, ESP, Encap, Ends, Event, Limit, Limits, Migration, Mode, Monitor, Move, Policy, Port,
    Sa, Selector, Xfrm,
};

use crate::hosts::{Hosts, carry, state};
use crate::{PATIENCE, address, awaited, drained, gcm, sa};

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
