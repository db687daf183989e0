//! What we send is what iproute2 sends for the same (see `requests.txt` for how it was recorded).

use super::super::bytes::{Writer, attributes, messages};
use super::super::*;
use super::{octets, recorded};

fn net(text: &str) -> (std::net::IpAddr, u8) {
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
        protocol: ESP,
        mode: Mode::Tunnel,
        reqid,
        optional: false,
    }
}

fn policies() -> [(&'static str, Policy); 4] {
    let mut out = Policy::pass(between("10.3.0.1/32", "10.2.0.0/24"), Direction::Out, 371_327);
    out.selector.protocol = 6;
    out.selector.src_port = Port::one(4096);
    out.selector.dst_port = Port::one(443);
    out.mark = Mark { value: 0x42, mask: 0xff };
    out.if_id = 7;
    out.templates = vec![tunnel("192.0.2.1", "192.0.2.2", 5)];
    let mut fwd6 = Policy::pass(between("fd00:1::/64", "fd00:2::/48"), Direction::Forward, 2);
    fwd6.action = PolicyAction::Block;
    let mut updated = Policy::pass(between("10.3.0.1/32", "10.2.0.0/24"), Direction::In, 3);
    updated.icmp = true;
    updated.templates =
        vec![Template { spi: 0xc123_4567, optional: true, ..tunnel("2001:db8::2", "2001:db8::1", 6) }];
    let selector = between("192.0.2.1/32", "192.0.2.2/32").icmp(8, Some(0));
    let mut icmp = Policy::pass(Selector { protocol: 1, ..selector }, Direction::Out, 0);
    icmp.templates = vec![Template { mode: Mode::Transport, ..tunnel("0.0.0.0", "0.0.0.0", 8) }];
    [("pol_out", out), ("pol_fwd6", fwd6), ("pol_upd", updated), ("pol_icmp", icmp)]
}

pub(super) fn full_sa() -> Sa {
    let key: Vec<u8> = (0..32).collect();
    let cipher: Vec<u8> = (0..16).rev().collect();
    let algorithms = Algorithms::from_iana(12, &cipher, 12, &key).unwrap();
    let mut sa = Sa::esp(
        "192.0.2.1".parse().unwrap(),
        "192.0.2.2".parse().unwrap(),
        0xc000_0002,
        Mode::Tunnel,
        algorithms,
    );
    sa.reqid = 5;
    sa.replay.window = 4096;
    sa.replay.esn = true;
    sa.flags.no_ecn = true;
    sa.flags.decap_dscp = true;
    sa.flags.no_pmtu_discovery = true;
    sa.flags.no_encap_dscp = true;
    sa.mark = Mark { value: 0x42, mask: 0xff };
    sa.set_mark = Mark { value: 0x10, mask: 0xf0 };
    sa.if_id = 7;
    sa.encap = Some(Encap { src_port: 4501, dst_port: 4500 });
    sa.limits = Limits {
        bytes: Limit { soft: Some(1000), hard: Some(2000) },
        packets: Limit { soft: Some(10), hard: Some(20) },
        seconds: Limit { soft: Some(30), hard: Some(40) },
        seconds_used: Limit { soft: Some(50), hard: Some(60) },
    };
    sa
}

fn sas() -> [(&'static str, Sa); 4] {
    let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let key: Vec<u8> = (1..=20).collect();
    let gcm = Algorithms::from_iana(20, &key, 0, &[]).unwrap();
    let mut plain = Sa::esp(a, b, 0xc000_0001, Mode::Tunnel, gcm);
    let offload = Some(Offload { ifindex: 1, inbound: true, packet: false });
    let offloaded = Sa { offload, ..plain.clone() };
    plain.reqid = 5;
    plain.flags.af_unspec = true;
    let key: Vec<u8> = (0..36).collect();
    let chacha = Algorithms::from_iana(28, &key, 0, &[]).unwrap();
    let (a, b) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let mut six = Sa::esp(a, b, 0xc000_0003, Mode::Transport, chacha);
    six.reqid = 5;
    six.replay.window = 32;
    let selector = between("2001:db8::1/128", "2001:db8::2/128");
    six.selector = Some(Selector { protocol: 6, dst_port: Port::one(80), ..selector });
    [("sa_gcm", plain), ("sa_full", full_sa()), ("sa_six", six), ("sa_off", offloaded)]
}

/// Octets of the structure that a message begins with.
fn structure(kind: u16) -> usize {
    match kind {
        number::MSG_NEWSA | number::MSG_UPDSA => 224,
        number::MSG_ALLOCSPI => 232,
        number::MSG_DELSA | number::MSG_GETSA => 24,
        number::MSG_NEWPOLICY | number::MSG_UPDPOLICY => 168,
        number::MSG_DELPOLICY | number::MSG_GETPOLICY => 64,
        _ => 4,
    }
}

/// Compares a message of ours with the recorded one. Attributes may come in any order; iproute2 adds some that do
/// nothing, which `extra` names.
pub(super) fn compare(name: &str, ours: &[u8], extra: &[u16]) {
    let (command, theirs) = recorded(include_str!("requests.txt"))
        .find(|(line, _)| line.split(':').next() == Some(name))
        .unwrap();
    let (head, mut body) = (octets(&theirs[..8]), octets(&theirs[8..]));
    let ours = messages(ours).next().unwrap().unwrap();
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    assert_eq!((ours.kind, ours.flags), (word(0), word(2)), "{command}");
    if ours.kind == number::MSG_ALLOCSPI {
        // A reservation has no limits of its own, whatever is sent: iproute2 sends zeros.
        body[96..128].fill(0xff);
    }
    let (structs, sets): (Vec<_>, Vec<_>) = [ours.body, &body]
        .into_iter()
        .map(|body| {
            let (start, rest) = body.split_at(structure(ours.kind));
            let mut set: Vec<_> = attributes(rest).filter(|(kind, _)| !extra.contains(kind)).collect();
            set.sort_unstable();
            (start, set)
        })
        .unzip();
    assert_eq!(structs[0], structs[1], "{command}");
    assert_eq!(sets[0], sets[1], "{command}");
}

fn written(request: Request<'_>) -> Vec<u8> {
    assert_eq!(request.check(), Ok(()));
    let mut w = Writer::with_capacity(LARGEST);
    request.write(&mut w, 1);
    assert!(w.as_slice().len() <= LARGEST);
    w.as_slice().to_vec()
}

#[test]
fn policies_are_written_as_by_ip_xfrm() {
    for (name, policy) in policies() {
        let request =
            if name == "pol_upd" { Request::UpdatePolicy(&policy) } else { Request::AddPolicy(&policy) };
        compare(name, &written(request), &[]);
    }
    let [(_, out), ..] = policies();
    compare("pol_get", &written(Request::GetPolicy(out.id())), &[]);
}

#[test]
fn sas_are_written_as_by_ip_xfrm() {
    for (name, sa) in sas() {
        let request = if name == "sa_six" { Request::UpdateSa(&sa) } else { Request::AddSa(&sa) };
        compare(name, &written(request), &[]);
    }
    // The source does not count for ESP.
    const SRCADDR: u16 = 13;
    let id = sas()[0].1.id();
    compare("sa_get", &written(Request::GetSa(id)), &[SRCADDR]);
    let mark = Mark { value: 0x42, mask: 0xff };
    compare("sa_del", &written(Request::DeleteSa(SaId { mark, ..id })), &[SRCADDR]);
    let reservation = Reservation {
        src: "192.0.2.2".parse().unwrap(),
        dst: "192.0.2.1".parse().unwrap(),
        protocol: ESP,
        mode: Mode::Tunnel,
        reqid: 5,
        low: 0xc000_0000,
        high: 0xcfff_ffff,
        mark: Mark::default(),
        if_id: 0,
    };
    compare("sa_spi", &written(Request::ReserveSpi(reservation)), &[]);
}

/// `struct xfrm_userpolicy_id`, then one `struct xfrm_user_migrate` and a `struct xfrm_encap_tmpl`, put together from
/// linux/xfrm.h by hand: iproute2 has no command for it.
#[test]
fn a_migration_is_written_as_the_header_says() {
    let ends = |src: &str, dst: &str| Ends { src: src.parse().unwrap(), dst: dst.parse().unwrap() };
    let policy = Policy::pass(between("10.0.1.1/32", "10.0.2.0/24"), Direction::Out, 1);
    let one = Move {
        from: ends("192.0.2.1", "192.0.2.2"),
        to: ends("2001:db8::1", "2001:db8::2"),
        protocol: ESP,
        mode: Mode::Tunnel,
        reqid: 5,
    };
    let encap = Some(Encap { src_port: 4500, dst_port: 1234 });
    let migration = Migration { policy: policy.id(), moves: vec![one], encap };
    let zeros = |count: usize| "00".repeat(count);
    let wanted = [
        &format!("0a000200{}0a000101{}", zeros(12), zeros(12)), // daddr, saddr
        "0000000000000000",                                     // ports and their masks
        "0200182000000000",                                     // family, prefixlen_d, prefixlen_s, proto
        &zeros(8),                                              // ifindex, user
        "0000000001000000",                                     // index, dir
        "50001100",                                             // nla_len 80, XFRMA_MIGRATE
        &format!("c0000202{}c0000201{}", zeros(12), zeros(12)), // old_daddr, old_saddr
        "20010db8000000000000000000000002",                     // new_daddr
        "20010db8000000000000000000000001",                     // new_saddr
        "32010000",                                             // proto, mode, reserved
        "05000000",                                             // reqid
        "02000a00",                                             // old_family, new_family
        "1c000400",                                             // nla_len 28, XFRMA_ENCAP
        "0200119404d20000", // UDP_ENCAP_ESPINUDP, encap_sport, encap_dport
        &zeros(16),         // encap_oa
    ]
    .concat();
    let message = written(Request::Migrate(&migration));
    assert_eq!((message[4], message[6]), (0x21, 5));
    assert_eq!(message[16..], octets(&wanted));
}
