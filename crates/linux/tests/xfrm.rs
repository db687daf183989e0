//! The kernel judges what is asked of its IPsec, in network namespaces of its own.

#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy does not take for tests.

mod lab;

use std::net::IpAddr;
use std::time::Duration;

use adit_linux::netns::{Namespace, veth};
use adit_linux::poll::Poller;
use adit_linux::route::Netlink;
use adit_linux::udp::UdpSocket;
use adit_linux::xfrm::{
    Algorithms, Answer, Cause, Direction, Event, Mark, Mode, Monitor, Policy, PolicyAction, PolicyState,
    Port, Request, Sa, Selector, Template, Threshold, Xfrm,
};
use lab::{ip, namespace};

fn net(text: &str) -> (IpAddr, u8) {
    let (address, prefix) = text.split_once('/').unwrap();
    (address.parse().unwrap(), prefix.parse().unwrap())
}

fn between(src: &str, dst: &str) -> Selector {
    Selector::between(net(src), net(dst))
}

fn tunnel(src: &str, dst: &str, reqid: u32) -> Template {
    Template {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        spi: 0,
        protocol: 50,
        mode: Mode::Tunnel,
        reqid,
        optional: false,
    }
}

/// Policies with everything that policies can have.
fn all_kinds() -> Vec<Policy> {
    let plain = Policy::pass(between("10.3.0.1/32", "10.2.0.0/24"), Direction::Out, 371_327);
    let mut marked = Policy {
        mark: Mark { value: 0x42, mask: 0xff },
        if_id: 7,
        icmp: true,
        templates: vec![tunnel("192.0.2.1", "192.0.2.2", 5)],
        ..plain.clone()
    };
    marked.selector.protocol = 6;
    marked.selector.src_port = Port { value: 0x1000, mask: 0xf000 };
    marked.selector.dst_port = Port::one(443);
    let six = Policy {
        action: PolicyAction::Block,
        selector: between("fd00:1::/64", "fd00:2::/48"),
        direction: Direction::Forward,
        ..plain.clone()
    };
    let mut crossed = Policy { templates: vec![tunnel("2001:db8::1", "2001:db8::2", 6)], ..plain.clone() };
    crossed.templates[0].optional = true;
    crossed.direction = Direction::In;
    let mut transport = plain.clone();
    transport.selector = between("192.0.2.1/32", "192.0.2.2/32").icmp(8, Some(0));
    transport.selector.protocol = 1;
    transport.selector.ifindex = 1;
    transport.templates =
        vec![Template { mode: Mode::Transport, spi: 0xc123_4567, ..tunnel("0.0.0.0", "0.0.0.0", 8) }];
    vec![plain, marked, six, crossed, transport]
}

fn unnumbered(state: PolicyState) -> Policy {
    Policy { index: 0, ..state.policy }
}

#[test]
fn policies_come_back_as_they_were_asked_for() {
    let Some(a) = namespace("pol") else { return };
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        for policy in all_kinds() {
            xfrm.add_policy(&policy).unwrap();
            let state = xfrm.get_policy(policy.id()).unwrap();
            assert_eq!(state.policy.index & 7, policy.direction as u32, "the kernel numbers by direction");
            let by_index = adit_linux::xfrm::PolicyId { index: state.policy.index, ..policy.id() };
            assert_eq!(xfrm.get_policy(by_index).unwrap(), state);
            assert!(state.usage.added > 0);
            assert_eq!(state.usage.used, 0);
            assert_eq!(unnumbered(state), policy);
            let again = xfrm.add_policy(&Policy { priority: 1, ..policy.clone() }).unwrap_err();
            assert_eq!(again.cause(), Cause::Exists, "{again}");
            xfrm.update_policy(&Policy { priority: 2, ..policy.clone() }).unwrap();
            assert_eq!(xfrm.get_policy(policy.id()).unwrap().policy.priority, 2);
        }
        let mut listed = Vec::new();
        xfrm.each_policy(|state| listed.push(Policy { priority: 371_327, ..unnumbered(state) })).unwrap();
        assert_eq!(listed.len(), all_kinds().len());
        for policy in all_kinds() {
            assert!(listed.contains(&policy), "{policy:?} in {listed:?}");
            xfrm.delete_policy(policy.id()).unwrap();
            let gone = xfrm.get_policy(policy.id()).unwrap_err();
            assert_eq!(gone.cause(), Cause::Gone);
            let text = gone.to_string();
            assert!(text.starts_with("looking up policy ") && text.contains(": there is none"), "{text}");
        }
    })
    .unwrap();
}

/// What a monitor has to tell up to now. The kernel tells before it answers.
fn drained(monitor: &mut Monitor) -> Vec<Event> {
    std::iter::from_fn(|| monitor.next_event().unwrap()).collect()
}

#[test]
fn a_batch_does_all_it_can_and_says_what_it_could_not() {
    let Some(a) = namespace("bat") else { return };
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let policies: Vec<_> = (0..1000u32)
            .map(|n| {
                let dst = IpAddr::from((0x0a02_0000 + n).to_be_bytes());
                Policy::pass(Selector::between(net("10.3.0.1/32"), (dst, 32)), Direction::Out, 1)
            })
            .collect();
        let wrong = Policy {
            templates: vec![Template { reqid: 1, ..tunnel("192.0.2.1", "2001:db8::1", 1) }],
            ..policies[0].clone()
        };
        let mut requests: Vec<_> = policies.iter().map(Request::AddPolicy).collect();
        requests.insert(100, Request::AddPolicy(&policies[50]));
        requests.insert(130, Request::AddPolicy(&wrong));
        requests.insert(200, Request::GetPolicy(policies[3].id()));
        requests.insert(201, Request::DeletePolicy(policies[999].id()));
        let results = xfrm.batch(&requests);
        assert_eq!(results.len(), 1004);
        for (n, result) in results.iter().enumerate() {
            match (n, result) {
                (100, Err(e)) => assert_eq!(e.cause(), Cause::Exists),
                (130, Err(e)) => assert_eq!(e.cause(), Cause::Invalid),
                (200, Ok(Answer::Policy(it))) => assert_eq!(it.policy.id(), policies[3].id()),
                (201, Err(e)) => assert_eq!(e.cause(), Cause::Gone),
                (100 | 130 | 200 | 201, other) => panic!("{n}: {other:?}"),
                (_, other) => assert_eq!(other.as_ref().unwrap(), &Answer::Done),
            }
        }
        let info = xfrm.spd_info().unwrap();
        assert_eq!((info.outbound, info.inbound, info.forward), (1000, 0, 0));
    })
    .unwrap();
}

#[test]
fn events_say_who_did_it() {
    let Some(a) = namespace("evt") else { return };
    let (mut monitor, mut xfrm) = a.run(|| (Monitor::new().unwrap(), Xfrm::new().unwrap())).unwrap();
    for policy in all_kinds() {
        xfrm.add_policy(&policy).unwrap();
        xfrm.update_policy(&policy).unwrap();
        xfrm.delete_policy(policy.id()).unwrap();
        let events = drained(&mut monitor);
        let us = xfrm.port();
        let seen: Vec<_> = events
            .into_iter()
            .map(|event| match event {
                Event::NewPolicy { by, policy } => ("new", by, unnumbered(*policy)),
                Event::DeletedPolicy { by, policy } => ("gone", by, unnumbered(*policy)),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(seen, [("new", us, policy.clone()), ("new", us, policy.clone()), ("gone", us, policy)]);
    }
    ip(&a, "xfrm policy add src 10.0.0.0/8 dst 10.0.0.0/8 dir in priority 3");
    ip(&a, "xfrm policy flush");
    let events = drained(&mut monitor);
    let [Event::NewPolicy { by, policy }, Event::FlushedPolicies { by: flusher }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert!(*by != xfrm.port() && *flusher != xfrm.port());
    assert_eq!(policy.policy.selector, between("10.0.0.0/8", "10.0.0.0/8"));
    ip(&a, "xfrm state flush");
    let events = drained(&mut monitor);
    // Kernels tell of a flush only when there was something to flush.
    assert!(events.iter().all(|event| matches!(event, Event::FlushedSas { .. })), "{events:?}");
}

#[test]
fn an_overrun_is_told_as_such_and_listening_goes_on() {
    let Some(a) = namespace("ovr") else { return };
    let (mut monitor, mut xfrm) = a.run(|| (Monitor::new().unwrap(), Xfrm::new().unwrap())).unwrap();
    monitor.limit_buffer(4096).unwrap();
    let policy = Policy::pass(between("10.3.0.1/32", "10.2.0.0/24"), Direction::Out, 1);
    let requests = [Request::UpdatePolicy(&policy); 64];
    assert!(xfrm.batch(&requests).iter().all(Result::is_ok));
    let events = drained(&mut monitor);
    assert!(events.contains(&Event::Missed) && events.len() < 64, "{events:?}");
    xfrm.delete_policy(policy.id()).unwrap();
    assert!(matches!(drained(&mut monitor).as_slice(), [Event::DeletedPolicy { .. }]));
}

#[test]
fn the_spd_can_be_told_from_where_on_to_hash() {
    let Some(a) = namespace("thr") else { return };
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let v4 = Threshold { local: 16, remote: 24 };
        xfrm.set_spd_thresholds(Some(v4), None).unwrap();
        let info = xfrm.spd_info().unwrap();
        assert_eq!((info.v4, info.v6), (v4, Threshold { local: 128, remote: 128 }));
        let error = xfrm.set_spd_thresholds(Some(Threshold { local: 33, remote: 0 }), None).unwrap_err();
        assert_eq!(error.cause(), Cause::Invalid, "{error}");
        assert_eq!(xfrm.sa_count().unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn a_socket_with_a_bypass_sends_past_a_policy_that_blocks() {
    let (Some(a), Some(b)) = (namespace("bya"), namespace("byb")) else { return };
    veth((&a, "v0"), (&b, "v1")).unwrap();
    for (inside, device, v4, v6) in [(&a, "v0", "192.0.2.1", "fd00::1"), (&b, "v1", "192.0.2.2", "fd00::2")] {
        inside
            .run(|| {
                let mut netlink = Netlink::new().unwrap();
                let index = netlink.link_index(device).unwrap();
                netlink.add_address(index, v4.parse().unwrap(), 24).unwrap();
                netlink.add_address(index, v6.parse().unwrap(), 64).unwrap();
                let mut xfrm = Xfrm::new().unwrap();
                for (v4, direction) in
                    [true, false].into_iter().flat_map(|v4| [(v4, Direction::In), (v4, Direction::Out)])
                {
                    // Of UDP alone: neighbours have to be found.
                    let udp = Selector { protocol: 17, ..Selector::all(v4) };
                    let block = Policy { action: PolicyAction::Block, ..Policy::pass(udp, direction, 1) };
                    xfrm.add_policy(&block).unwrap();
                }
            })
            .unwrap();
    }
    for (from, to) in [("192.0.2.1:0", "192.0.2.2:0"), ("[fd00::1]:0", "[fd00::2]:0")] {
        let socket = |inside: &Namespace, at: &str| {
            inside.run(|| UdpSocket::bind(at.parse().unwrap(), None).unwrap()).unwrap()
        };
        let (sender, receiver) = (socket(&a, from), socket(&b, to));
        let poller = Poller::new().unwrap();
        poller.add(&receiver, 0).unwrap();
        let send = |bytes: &[u8]| sender.send(None, receiver.local_addr(), bytes);
        let blocked = send(b"blocked on its way out").unwrap_err();
        assert_eq!(blocked.raw_os_error(), Some(libc::EPERM), "{blocked}");
        sender.bypass_ipsec().unwrap();
        receiver.bypass_ipsec().unwrap();
        send(b"IKE").unwrap();
        poller.wait(&mut Vec::new(), Some(Duration::from_secs(30))).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(receiver.recv(&mut buffer).unwrap().0, 3);
    }
}

#[test]
fn a_kernel_without_esp_says_so() {
    let Some(a) = namespace("esp") else { return };
    a.run(|| {
        let mut xfrm = Xfrm::new().unwrap();
        let ends = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        for algorithms in
            [Algorithms::from_iana(20, &[1; 20], 0, &[]), Algorithms::from_iana(11, &[], 12, &[1; 32])]
        {
            let sa = Sa::esp(ends[0], ends[1], 0xc000_0001, Mode::Tunnel, algorithms.unwrap());
            match xfrm.add_sa(&sa) {
                Ok(()) => xfrm.delete_sa(sa.id()).unwrap(),
                Err(e) => {
                    println!("{e}");
                    assert!(
                        [Cause::NoAlgorithm, Cause::NoEsp].contains(&e.cause())
                            && e.to_string().contains("module"),
                        "{e}"
                    );
                    assert_eq!(xfrm.get_sa(sa.id()).unwrap_err().cause(), Cause::Gone);
                }
            }
        }
    })
    .unwrap();
}
