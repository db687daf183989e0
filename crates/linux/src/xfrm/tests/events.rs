//! What kernels told is read as what it meant (see `events.txt` for how it was recorded).

use super::super::event::events;
use super::super::*;
use super::requests::full_sa;
use super::{octets, recorded};

fn event(name: &str) -> Event {
    let (_, bytes) = recorded(include_str!("events.txt")).find(|(line, _)| *line == name).unwrap();
    let mut events = events(&octets(&bytes)).collect::<Vec<_>>();
    assert_eq!(events.len(), 1, "{name}");
    events.remove(0)
}

fn host(text: &str) -> (std::net::IpAddr, u8) {
    (text.parse().unwrap(), 32)
}

/// `ip xfrm policy add src 10.0.1.1/32 dst 10.0.2.0/24 dir out priority 9 mark 0 mask 0xff tmpl src 192.0.2.1 dst 192.0.2.2
/// proto esp reqid 5 mode tunnel`.
fn policy() -> Policy {
    let selector = Selector::between(host("10.0.1.1"), ("10.0.2.0".parse().unwrap(), 24));
    let mut policy = Policy::pass(selector, Direction::Out, 9);
    policy.mark = Mark { value: 0, mask: 0xff };
    policy.templates = vec![Template {
        src: "192.0.2.1".parse().unwrap(),
        dst: "192.0.2.2".parse().unwrap(),
        spi: 0,
        protocol: ESP,
        mode: Mode::Tunnel,
        reqid: 5,
        optional: false,
    }];
    policy
}

#[test]
fn policies_are_told() {
    let Event::NewPolicy { by: 0, policy: told } = event("host_new_policy") else { panic!() };
    assert_eq!(Policy { index: 0, ..told.policy.clone() }, policy());
    assert_eq!(told.policy.index & 7, 1);
    let Event::NewPolicy { policy: updated, .. } = event("host_updated_policy") else { panic!() };
    assert_eq!(updated.policy, Policy { priority: 8, ..told.policy });
    let Event::NewPolicy { policy: block, .. } = event("host_new_block") else { panic!() };
    assert_eq!((block.policy.action, block.policy.direction), (PolicyAction::Block, Direction::In));
    assert_eq!(event("host_flushed_policies"), Event::FlushedPolicies { by: 0 });
    assert_eq!(event("host_flushed_sas"), Event::FlushedSas { by: 0, protocol: 0 });
}

#[test]
fn an_acquire_and_its_end_are_told() {
    let Event::Acquire(acquire) = event("host_acquire") else { panic!() };
    let Event::NewPolicy { policy: updated, .. } = event("host_updated_policy") else { panic!() };
    assert_eq!(acquire.policy.policy, updated.policy);
    assert_eq!((acquire.src, acquire.dst, acquire.reqid), (host("192.0.2.1").0, host("192.0.2.2").0, 5));
    assert_ne!(acquire.number, 0);
    let packet = acquire.selector.unwrap();
    assert_eq!((packet.src, packet.dst, packet.protocol), (host("10.0.1.1"), host("10.0.2.1"), 17));
    assert_eq!((packet.src_port, packet.dst_port), (Port::one(59527), Port::one(7002)));
    assert_eq!(packet.ifindex, 3);
    let Event::Expire { sa, hard: true } = event("host_expire_of_an_acquire") else { panic!() };
    assert_eq!((sa.sa.spi, sa.sa.reqid, sa.sa.selector), (0, 5, Some(packet)));
    assert_eq!((sa.sa.acquire, sa.sa.mark), (acquire.number, policy().mark));
}

#[test]
fn sas_are_told() {
    let Event::NewSa { by: 205, sa } = event("vm_sa") else { panic!() };
    // That of tests/esp.rs has these beside what iproute2 can say.
    assert_eq!((sa.sa.tfc_pad, sa.sa.replay.position.sent), (1400, 0x1_0000_0007));
    assert_eq!(sa.sa.replay.position.received, 0x2_0000_0040);
    assert_eq!((sa.sa.replay.position.seen.len(), sa.sa.replay.position.seen[1]), (128, 0x8000_0001));
    assert_eq!((sa.sa.id(), sa.sa.encap, sa.sa.if_id), (full_sa().id(), full_sa().encap, 7));
    assert_eq!((sa.sa.mark, sa.sa.set_mark), (full_sa().mark, full_sa().set_mark));
    let Algorithms::Separate { encryption, integrity: Some(integrity) } = &sa.sa.algorithms else { panic!() };
    assert_eq!((encryption.name.as_ref(), encryption.key.as_bytes()), ("cbc(aes)", &[2; 32][..]));
    assert_eq!((integrity.name.as_ref(), integrity.key.as_bytes()), ("hmac(sha256)", &[2; 32][..]));
    assert_eq!(integrity.icv_bits, 128);
    assert_eq!(event("vm_deleted_sa"), Event::DeletedSa { by: 205, id: full_sa().id() });
    for (name, wanted) in [("vm_expire_soft", false), ("vm_expire_hard", true)] {
        let Event::Expire { sa, hard } = event(name) else { panic!() };
        assert_eq!((sa.sa.spi, sa.sa.reqid, hard), (0xc000_0001, 5, wanted));
        assert_eq!(sa.sa.limits.packets, Limit { soft: Some(2), hard: Some(4) });
    }
}

#[test]
fn moves_are_told() {
    let Event::Mapping(mapping) = event("vm_mapping") else { panic!() };
    assert_eq!((mapping.id.spi, mapping.id.dst, mapping.reqid), (0xc000_0001, host("192.0.2.2").0, 5));
    assert_eq!(mapping.old, "192.0.2.1:4500".parse().unwrap());
    assert_eq!(mapping.new, "192.0.2.1:1234".parse().unwrap());
    let Event::Migrated(migration) = event("vm_migrated") else { panic!() };
    let ends = |src: &str, dst: &str| Ends { src: src.parse().unwrap(), dst: dst.parse().unwrap() };
    let wanted = Move {
        from: ends("192.0.2.1", "192.0.2.2"),
        to: ends("192.0.2.11", "192.0.2.12"),
        protocol: ESP,
        mode: Mode::Tunnel,
        reqid: 5,
    };
    assert_eq!(migration.moves, [wanted]);
    assert_eq!(migration.policy.selector, Selector::between(host("10.0.1.1"), host("10.0.2.1")));
}
