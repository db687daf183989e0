//! What extensions of IKEv2 let a peer do, done by one that must not.

use adit_ike::Childless;
use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::setup::{Auth, Setup, ip};
use crate::wire::{self, Raw};

const INVALID_SYNTAX: u16 = 7;

/// IKE_AUTH without these payloads, sent to a gateway with that setting.
fn without(childless: Childless, left_out: &[PayloadType]) -> Lab {
    let mut lab = Lab::with(Auth::Psk, |s| s.gateway.conn.childless = childless);
    lab.connect(&mut |msg: &mut Msg| {
        if msg.to_gateway && msg.is(ExchangeType::IKE_AUTH, false) {
            left_out.iter().for_each(|kind| msg.drop(*kind));
        }
    });
    lab
}

/// RFC 6023 §3: a responder that does not do it is as one that never heard of it.
//= rfc6023 3-5, 3-6
#[test]
fn a_childless_ike_auth_unannounced() {
    let lab = without(Childless::Never, &[PayloadType::SA, PayloadType::TSI, PayloadType::TSR]);
    assert_eq!(lab.errors(), [INVALID_SYNTAX], "{}", lab.story());
    assert!(!lab.is_in() && lab.gateway.failures() == ["childless-refused"], "{}", lab.story());
    lab.finish();
}

#[test]
fn a_part_of_a_child() {
    for childless in [Childless::Allow, Childless::Force, Childless::Never] {
        for left_out in [
            &[PayloadType::SA][..],
            &[PayloadType::TSI],
            &[PayloadType::TSI, PayloadType::TSR],
            &[PayloadType::SA, PayloadType::TSR],
        ] {
            let lab = without(childless, left_out);
            assert_eq!(lab.errors(), [INVALID_SYNTAX], "{childless:?} {left_out:?}\n{}", lab.story());
            assert!(!lab.is_in(), "{}", lab.story());
            lab.finish();
        }
    }
}

/// REDIRECT to the gateway's second address.
fn redirect() -> Raw {
    Raw { kind: 41, flags: 0, body: vec![0, 0, 0x40, 0x17, 1, 4, 203, 0, 113, 2], length: None }
}

fn two_addresses(s: &mut Setup) {
    s.gateway.outside.addresses.push(ip("203.0.113.2"));
    s.gateway.conn.local_addrs = vec![adit_ike::HostSpec::Any];
}

/// Mallory plays an honest client whose answers to IKE_AUTH are bent: the nth is `bend`ed.
fn bent_answer(auth: Auth, nth: usize, bend: fn(&mut Msg)) -> (Lab, Option<Result<(), String>>) {
    let mut lab = Lab::with(auth, two_addresses);
    let mut count = 0;
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        if !msg.to_gateway && msg.is(ExchangeType::IKE_AUTH, true) {
            if count == nth {
                bend(msg);
            }
            count += 1;
        }
    });
    (lab, outcome)
}

fn remote(lab: &Lab) -> Vec<std::net::IpAddr> {
    lab.mallory.endpoint.ike_sas().filter_map(|sa| sa.remote).map(|remote| remote.ip()).collect()
}

/// RFC 5685 §6: a client does not act on a redirect before the gateway has proved itself.
//= rfc5685 6-1, 6-3, 6-4
#[test]
fn a_redirect_of_a_gateway_that_does_not_prove_itself() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        for bend in [
            (|msg: &mut Msg| {
                *msg.body(PayloadType::AUTH).last_mut().unwrap() ^= 1;
                msg.chain.push(redirect());
            }) as fn(&mut Msg),
            |msg| {
                msg.drop(PayloadType::AUTH);
                msg.chain.push(redirect());
            },
            |msg| msg.chain = vec![redirect()],
        ] {
            let (lab, outcome) = bent_answer(auth, 0, bend);
            assert!(matches!(outcome, Some(Err(_))), "{outcome:?}\n{}", lab.story());
            assert_eq!(lab.mallory.endpoint.stats().redirects_followed, 0, "{}", lab.story());
            lab.finish();
        }
    }
}

/// RFC 5685 §6: not in an answer that is neither the first nor the last; in those it counts, and in the first one of EAP
/// there is nothing to delete.
//= rfc5685 6-4, 6-5, 6-6
#[test]
fn a_redirect_in_each_answer_of_eap() {
    for nth in 0..5 {
        let (mut lab, outcome) = bent_answer(Auth::EapAndPsk, nth, |msg| msg.chain.push(redirect()));
        assert_eq!(outcome, Some(Ok(())), "{nth}\n{}", lab.story());
        let answers = lab.answers.iter().filter(|(kind, _)| *kind == ExchangeType::IKE_AUTH).count();
        let followed = lab.mallory.endpoint.stats().redirects_followed;
        let last = nth == 4;
        assert_eq!(followed, u64::from(nth == 0 || last), "{nth}\n{}", lab.story());
        assert_eq!(
            answers,
            if nth == 0 {
                6
            } else if last {
                10
            } else {
                5
            },
            "{nth}\n{}",
            lab.story()
        );
        let at = if followed == 1 { "203.0.113.2" } else { "203.0.113.1" };
        assert_eq!(remote(&lab), [ip(at)], "{nth}\n{}", lab.story());
        let deleted = lab
            .gateway
            .read()
            .iter()
            .any(|line| line.starts_with("INFORMATIONAL request") && line.contains(" D "));
        assert_eq!(deleted, last, "{nth}\n{}", lab.story());
        lab.advance(40, &mut honest);
        lab.finish();
    }
}

/// RFC 5685 §10: the protocol is not symmetric: a gateway is not sent anywhere. And rubbish is not followed by a client.
#[test]
fn a_redirect_by_the_wrong_end_or_of_no_sense() {
    let mut lab = Lab::with(Auth::Psk, two_addresses);
    assert_eq!(lab.connect(&mut honest), Some(Ok(())));
    let (spi_i, spi_r) = lab.spis();
    let keys = lab.gateway_keys((spi_i, spi_r)).cloned().expect("keys");
    let mut header = adit_wire::Header {
        spi_i,
        spi_r,
        next: PayloadType::NONE,
        major: 2,
        minor: 0,
        exchange: ExchangeType::INFORMATIONAL,
        flags: adit_wire::Flags { initiator: true, response: false, version: false },
        message_id: 2,
        length: 0,
    };
    let sas = lab.gateway.endpoint.stats().ike_sas;
    for _ in 0..3 {
        lab.forget();
        let (first, plain) = wire::join(&[redirect()]);
        let message = wire::seal(&keys, &header, first, None, &plain);
        lab.send(&message);
        assert_eq!(lab.answers, [(ExchangeType::INFORMATIONAL, Vec::new())], "{}", lab.story());
        let stats = lab.gateway.endpoint.stats();
        assert_eq!((stats.redirects_followed, stats.ike_sas), (0, sas), "{}", lab.story());
        assert!(lab.noticed());
        header.message_id += 1;
    }
    lab.clean();

    for body in [
        vec![0, 0, 0x40, 0x17],
        vec![0, 0, 0x40, 0x17, 1, 4, 0, 0, 0, 0],
        vec![0, 0, 0x40, 0x17, 1, 255, 203, 0, 113, 2],
        vec![0, 0, 0x40, 0x17, 3, 4, b'a', 0, b'b', b'\n'],
        vec![0, 0, 0x40, 0x17, 200, 4, 203, 0, 113, 2],
    ] {
        assert_eq!(lab.connect(&mut honest), Some(Ok(())));
        lab.forget();
        let (id, _) = lab.ids(End::Gateway).unwrap();
        let gateway = "203.0.113.2".parse().unwrap();
        lab.command(End::Gateway, adit_ike::Command::Redirect { id, gateway, tag: 0 }, &mut |msg| {
            if !msg.to_gateway && msg.is(ExchangeType::INFORMATIONAL, false) && msg.has(PayloadType::NOTIFY) {
                msg.chain[0].body.clone_from(&body);
            }
        });
        assert_eq!(remote(&lab), [ip("203.0.113.1")], "{body:?}\n{}", lab.story());
        assert!(lab.agrees() && lab.noticed(), "{}", lab.story());
        lab.clean();
    }
    lab.finish();
}

const SYNC: [u8; 4] = [0, 0, 0x40, 0x26];
const REPLAY: [u8; 4] = [0, 0, 0x40, 0x27];

fn raw(head: [u8; 4], data: &[u8]) -> Raw {
    Raw { kind: 41, flags: 0, body: [&head[..], data].concat(), length: None }
}

/// IKEV2_MESSAGE_ID_SYNC: nonce, next to send, next to receive.
fn ids(nonce: u32, send: u32, receive: u32) -> Raw {
    raw(SYNC, &[nonce.to_be_bytes(), send.to_be_bytes(), receive.to_be_bytes()].concat())
}

/// An INFORMATIONAL request of mallory's, who initiated.
fn informational(lab: &Lab, message_id: u32, chain: &[Raw]) -> Vec<u8> {
    let (spi_i, spi_r) = lab.spis();
    let header = adit_wire::Header {
        spi_i,
        spi_r,
        next: PayloadType::NONE,
        major: 2,
        minor: 0,
        exchange: ExchangeType::INFORMATIONAL,
        flags: adit_wire::Flags { initiator: true, response: false, version: false },
        message_id,
        length: 0,
    };
    let (first, plain) = wire::join(chain);
    wire::seal(lab.gateway_keys((spi_i, spi_r)).expect("keys"), &header, first, None, &plain)
}

/// What the gateway answers to it.
fn answer(lab: &mut Lab, datagram: &[u8]) -> Vec<Vec<Raw>> {
    lab.forget();
    lab.send(datagram);
    lab.answers.iter().map(|(_, chain)| chain.clone()).collect()
}

fn connected(turn: impl Fn(&mut Setup)) -> Lab {
    let mut lab = Lab::with(Auth::Psk, turn);
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    lab
}

/// RFC 6311 §5.1, appendix A, by a cluster that is authenticated and tries what it likes.
//= rfc6311 5.1-2, 5.1-3, 5.1-4, 5.1-5, 5.1-7, 5.1-8
#[test]
fn a_synchronization_has_to_be_news() {
    let mut lab = connected(|_| {});
    // The gateway has seen requests 0 and 1, and sent none.
    let extra = Raw { kind: 43, flags: 0, body: b"vendor".to_vec(), length: None };
    for (chain, expected) in [
        (vec![ids(1, 1, 0)], None),
        (vec![ids(2, 2, 0)], Some(ids(2, 0, 2))),
        (vec![ids(3, 2, 9)], None),
        (vec![ids(4, 5, 3)], Some(ids(4, 3, 5))),
        (vec![ids(5, 6, 1)], Some(ids(5, 3, 6))),
        (vec![ids(6, 0x8000_0000, 1)], None),
        (vec![ids(6, 7, 0xffff_ffff)], None),
        (vec![ids(6, 7, 7), extra.clone()], None),
        (vec![extra, ids(6, 7, 7)], None),
        (vec![ids(6, 7, 7), ids(6, 8, 8)], None),
        (vec![ids(6, 7, 7), raw(REPLAY, &[0, 0, 0, 1]), raw(REPLAY, &[0, 0, 0, 1])], None),
        (vec![raw(SYNC, &[0; 11])], None),
        (vec![raw(SYNC, &[1; 13])], None),
        (vec![raw(SYNC, &[])], None),
    ] {
        let datagram = informational(&lab, 0, &chain);
        let got = answer(&mut lab, &datagram);
        let wanted: Vec<_> = expected.iter().map(|raw| vec![raw.clone()]).collect();
        assert_eq!(got, wanted, "{chain:?}\n{}", lab.story());
        if expected.is_some() {
            // The same again has the same answer.
            assert_eq!(answer(&mut lab, &datagram), wanted, "{}", lab.story());
        } else {
            assert!(lab.noticed(), "{chain:?}");
        }
    }
    // That is where both are now.
    for (mid, answered) in [(2, false), (5, false), (7, false), (6, true), (7, true)] {
        let datagram = informational(&lab, mid, &[]);
        assert_eq!(answer(&mut lab, &datagram).len(), usize::from(answered), "{mid}\n{}", lab.story());
    }
    // Not what is not authenticated.
    let mut bent = informational(&lab, 0, &[ids(7, 100, 100)]);
    *bent.last_mut().unwrap() ^= 1;
    let before = lab.gateway.endpoint.stats();
    assert!(answer(&mut lab, &bent).is_empty());
    let after = lab.gateway.endpoint.stats();
    assert_eq!(
        (after.bad_integrity + after.out_of_window) - (before.bad_integrity + before.out_of_window),
        1
    );
    assert_eq!(after.synchronized, before.synchronized);
    // In its place the notify is no synchronization but an unknown status.
    let datagram = informational(&lab, 8, &[ids(8, 100, 100)]);
    assert_eq!(answer(&mut lab, &datagram), [Vec::new()]);
    assert_eq!(lab.gateway.endpoint.stats().synchronized, before.synchronized);
    lab.finish();
}

#[test]
fn a_flood_of_synchronizations() {
    let mut lab = connected(|_| {});
    for round in 0..3u32 {
        let mut answered = 0;
        for n in 0..100 {
            let datagram = informational(&lab, 0, &[ids(n, 100 + round * 1000 + n, 0)]);
            answered += answer(&mut lab, &datagram).len();
        }
        assert_eq!(answered, 5, "{round}");
        lab.advance(11, &mut honest);
    }
    lab.finish();
}

/// RFC 6311 §5.2: with the Message IDs or without; not twice, not by somebody with whom it is not agreed.
//= rfc6311 5.2-2, 5.2-3
#[test]
fn replay_counters_of_a_cluster() {
    fn skipped(lab: &Lab) -> Vec<u64> {
        lab.gateway.sad.values().map(|entry| entry.skipped).collect()
    }
    let mut lab = connected(|_| {});
    let together = informational(&lab, 0, &[ids(1, 2, 0), raw(REPLAY, &1000u32.to_be_bytes())]);
    assert_eq!(answer(&mut lab, &together), [vec![ids(1, 0, 2)]]);
    // The bystander's comes first.
    assert_eq!(skipped(&lab), [0, 1000], "{}", lab.story());
    answer(&mut lab, &together);
    let again = informational(&lab, 0, &[ids(2, 2, 0), raw(REPLAY, &1000u32.to_be_bytes())]);
    assert!(answer(&mut lab, &again).is_empty());
    assert_eq!(skipped(&lab), [0, 1000]);
    for (mid, chain, sum) in [
        (2, vec![raw(REPLAY, &7u32.to_be_bytes())], 1007),
        (3, vec![raw(REPLAY, &7u32.to_be_bytes()), raw(REPLAY, &7u32.to_be_bytes())], 1014),
        (4, vec![raw(REPLAY, &[])], 1014),
        (5, vec![raw(REPLAY, &[0, 0, 1])], 1014),
        (6, vec![raw(REPLAY, &9u64.to_be_bytes())], 1023),
    ] {
        let datagram = informational(&lab, mid, &chain);
        assert_eq!(answer(&mut lab, &datagram), [Vec::new()], "{mid}\n{}", lab.story());
        assert_eq!(skipped(&lab), [0, sum], "{mid}");
    }
    lab.finish();

    let mut off = connected(|s| s.gateway.settings.message_id_sync = false);
    let datagram = informational(&off, 0, &[ids(1, 2, 0), raw(REPLAY, &1000u32.to_be_bytes())]);
    assert!(answer(&mut off, &datagram).is_empty());
    let datagram = informational(&off, 2, &[ids(1, 9, 9), raw(REPLAY, &1000u32.to_be_bytes())]);
    assert_eq!(answer(&mut off, &datagram), [Vec::new()], "{}", off.story());
    assert_eq!((skipped(&off), off.gateway.endpoint.stats().synchronized), (vec![0, 0], 0));
    off.finish();
}

/// RFC 6311 §5.1: an answer that is none to our request is dropped, and the next one is awaited.
//= rfc6311 5.1-6, 11-1
#[test]
fn answers_to_a_synchronization() {
    for bend in [
        (|body: &mut Vec<u8>| body[4] ^= 1) as fn(&mut Vec<u8>),
        |body| body[15] = 0,
        |body| body[12] = 0xff,
        |body| body.truncate(12),
        |body| body.clear(),
    ] {
        let mut lab = connected(|_| {});
        lab.forget();
        let (id, _) = lab.ids(End::Gateway).unwrap();
        let mut bent = 0;
        let order = adit_ike::Command::TakeOver { id, message_ids: Some(3), replay: 0, tag: 77 };
        let mut mangle = |msg: &mut Msg| {
            if msg.to_gateway
                && msg.is(ExchangeType::INFORMATIONAL, true)
                && msg.header.message_id == 0
                && bent < 2
            {
                bent += 1;
                bend(&mut msg.chain[0].body);
            }
        };
        lab.command(End::Gateway, order, &mut mangle);
        assert!(lab.gateway.outcome(77).is_none() && lab.noticed(), "{}", lab.story());
        lab.advance(30, &mut mangle);
        assert_eq!(bent, 2);
        assert_eq!(lab.gateway.outcome(77), Some(&Ok(())), "{}", lab.story());
        assert_eq!(lab.gateway.endpoint.stats().synchronized, 1);
        assert!(lab.agrees());
        lab.finish();
    }
}
