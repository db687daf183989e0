//! Whole messages, protected well, that do not belong.

use adit_wire::{ExchangeType, Flags, Header, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::setup::Auth;
use crate::wire::{self, Raw};

const INVALID_SYNTAX: u16 = 7;
const UNSUPPORTED_CRITICAL: u16 = 1;

#[test]
fn row_01_very_many_payloads() {
    let mut lab = Lab::connected(Auth::Psk);
    for (kind, count) in [(200, 65), (200, 5000), (41, 5000), (43, 5000), (1, 65)] {
        let body = if kind == 41 { vec![0, 0, 0x40, 0] } else { Vec::new() };
        let raw = Raw { kind, flags: 0, body, length: None };
        let (first, mut clear) = wire::join(&vec![raw; count]);
        for (fragment, last) in [(None, 46), (Some((1, 1)), 53), (Some((1, 2)), 53)] {
            // The last one in the clear is followed by the Encrypted one.
            let size = if kind == 41 { 8 } else { 4 };
            let at = clear.len() - size;
            clear[at] = last;
            let keys = lab.gateway_keys(lab.spis()).unwrap();
            let header = lab.request(ExchangeType::INFORMATIONAL, 2);
            let message = wire::seal_behind(keys, &header, &(clear.clone(), first), 0, fragment, &[]);
            lab.forget();
            lab.send(&message);
            assert!(lab.noticed() && lab.answers.is_empty() && lab.is_in(), "{}", lab.story());
        }
    }
    lab.answers_ping(2);
    // Inside, from the peer itself: it is told, and its own SA goes.
    let many = vec![Raw { kind: 200, flags: 0, body: Vec::new(), length: None }; 5000];
    let message = lab.sealed(ExchangeType::INFORMATIONAL, 3, &many);
    lab.forget();
    lab.send(&message);
    assert_eq!(lab.errors(), [INVALID_SYNTAX], "{}", lab.story());
    lab.finish();
}

#[test]
fn row_07_28_exchanges_before_the_peer_is_authenticated() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        let mut lab = Lab::new(auth);
        let held = &mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_AUTH, false) {
                msg.instead = Some(Vec::new());
            }
        };
        lab.connect(held);
        let chains = [
            vec![],
            vec![Raw::new(PayloadType::DELETE, [1, 0, 0, 0])],
            vec![Raw::notify(16393, &[])],
            vec![Raw::notify(24, &[])],
        ];
        for exchange in [34, 36, 37, 38, 43, 44, 0, 255] {
            for chain in &chains {
                if exchange == 37 && chain.first().is_some_and(|raw| raw.body.ends_with(&[24])) {
                    continue; // RFC 7296 §2.21.2: that is allowed, and ends its own half-open SA only
                }
                let message = lab.sealed(ExchangeType(exchange), 1, chain);
                lab.forget();
                lab.send(&message);
                assert!(lab.noticed() && lab.answers.is_empty(), "{exchange} {chain:?}\n{}", lab.story());
                assert!(lab.gateway.sad.len() == 1 && !lab.is_in());
            }
        }
        // All of that changed nothing: the retransmission is taken.
        lab.advance(5, &mut honest);
        assert!(lab.is_in(), "{}", lab.story());
        // Exchanges that an established SA does not know, and the handshake again.
        let mid = if auth == Auth::Psk { 2 } else { 6 };
        for exchange in [34, 35, 38, 43, 44, 0, 255] {
            let message = lab.sealed(ExchangeType(exchange), mid, &[]);
            lab.forget();
            lab.send(&message);
            assert!(lab.noticed() && lab.answers.is_empty() && lab.is_in(), "{exchange}\n{}", lab.story());
        }
        lab.answers_ping(mid);
        lab.finish();
    }
}

#[test]
fn row_07_28_exchanges_at_an_initiator_that_does_not_know_its_peer_yet() {
    let mut lab = Lab::new(Auth::Psk);
    for exchange in [34, 35, 36, 37, 43, 99] {
        let mut done = false;
        let outcome = lab.connect(&mut |msg| {
            if msg.is(ExchangeType::IKE_AUTH, true) && !done {
                done = true;
                // Before the answer comes a request that only an authenticated peer may make.
                let flags = Flags { response: false, ..msg.header.flags };
                let header = Header { exchange: ExchangeType(exchange), message_id: 0, flags, ..msg.header };
                let keys = msg.keys.clone().unwrap();
                let (first, plain) = wire::join(&[Raw::new(PayloadType::DELETE, [1, 0, 0, 0])]);
                let early = wire::seal(&keys, &header, first, None, &plain);
                let (first, plain) = wire::join(&msg.chain);
                msg.instead = Some(vec![early, wire::seal(&keys, &msg.header, first, None, &plain)]);
            }
        });
        assert_eq!(outcome, Some(Ok(())), "{exchange}\n{}", lab.story());
        assert!(lab.mallory.endpoint.stats().wrong_state > 0, "{exchange}\n{}", lab.story());
        lab.clean();
    }
    lab.finish();
}

#[test]
fn row_26_payload_types_of_ikev1_and_private_ones() {
    let mut lab = Lab::connected(Auth::Psk);
    let kinds: Vec<u8> = (1..=32).chain([49, 50, 51, 52, 54, 55, 127]).chain(128..=255).collect();
    let mut mid = 2;
    for kind in kinds {
        for flags in [0, 0x7f, 0x80, 0xff] {
            let raw = Raw { kind, flags, body: vec![1, 2, 3], length: None };
            let message = lab.sealed(ExchangeType::INFORMATIONAL, mid, &[raw]);
            mid += 1;
            lab.forget();
            lab.send(&message);
            let critical = flags & 0x80 != 0;
            let expected = if critical { vec![UNSUPPORTED_CRITICAL] } else { Vec::new() };
            assert_eq!((lab.errors(), lab.answers.len()), (expected, 1), "{kind} {flags:x}\n{}", lab.story());
            if critical {
                assert_eq!(lab.answers[0].1[0].body[4..], [kind]);
            }
            assert!(lab.is_in());
        }
    }
    lab.finish();
    // In the handshake: passed over, or refused.
    let mut lab = Lab::new(Auth::Psk);
    for exchange in [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH] {
        for kind in [1, 13, 20, 32, 54, 128, 255] {
            for flags in [0, 0x80] {
                let outcome = lab.connect(&mut |msg| {
                    if msg.is(exchange, false) && exchange == ExchangeType::IKE_AUTH {
                        msg.chain.insert(0, Raw { kind, flags, body: vec![1], length: None });
                    } else if msg.is(exchange, false) && flags == 0x80 {
                        msg.chain.push(Raw { kind, flags, body: vec![1], length: None });
                    }
                });
                if flags == 0 {
                    assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
                } else {
                    assert_eq!(lab.errors(), [UNSUPPORTED_CRITICAL], "{}", lab.story());
                    assert!(!lab.is_in());
                }
                lab.clean();
            }
        }
    }
    lab.finish();
}

#[test]
fn row_34_fragment_accounting() {
    let mut lab = Lab::connected(Auth::Psk);
    let keys = lab.gateway_keys(lab.spis()).unwrap().clone();
    // An INFORMATIONAL request with a status notify that nobody knows, in pieces.
    let (first, plain) = wire::join(&[Raw::notify(40_000, &[0x33; 3000])]);
    let piece = |lab: &Lab, mid, number: u16, total: u16, data: &[u8]| {
        let header = lab.request(ExchangeType::INFORMATIONAL, mid);
        let first = if number == 1 { first } else { 0 };
        wire::seal(&keys, &header, first, Some((number, total)), data)
    };
    for (number, total) in [
        (0, 0),
        (0, 1),
        (1, 0),
        (2, 1),
        (3, 2),
        (65_535, 1),
        (1, 33),
        (33, 33),
        (65_535, 65_535),
        (1, 65_535),
    ] {
        lab.forget();
        let message = piece(&lab, 2, number, total, &plain);
        lab.send(&message);
        assert!(lab.answers.is_empty() && lab.is_in(), "{number}/{total}\n{}", lab.story());
        assert!(lab.noticed(), "{number}/{total}\n{}", lab.story());
    }
    let send = |lab: &mut Lab, pieces: &[(u16, u16, &[u8])], mid| {
        lab.forget();
        for (number, total, data) in pieces {
            let message = piece(lab, mid, *number, *total, data);
            lab.send(&message);
        }
        lab.answers.len()
    };
    // A total that shrinks, duplicates (that differ), pieces without end.
    let (a, b) = plain.split_at(1000);
    assert_eq!(send(&mut lab, &[(1, 3, a), (2, 2, b)], 2), 0);
    assert!(lab.noticed());
    assert_eq!(send(&mut lab, &[(1, 3, a), (1, 3, b), (1, 3, b)], 2), 0);
    assert!(lab.noticed());
    let huge = vec![0; 30_000];
    let many: Vec<(u16, u16, &[u8])> = (1..=32).map(|n| (n, 32, &huge[..])).collect();
    assert_eq!(send(&mut lab, &many, 2), 0);
    assert!(lab.noticed());
    // A message that is not fragmented, with the same number, is another one; it is answered, what was begun goes.
    lab.answers_ping(2);
    assert_eq!(send(&mut lab, &[(2, 2, b)], 2), 0);
    // Nothing of it sticks: a proper one is taken, in any order, and a bigger total begins anew.
    assert_eq!(send(&mut lab, &[(2, 2, b), (1, 2, a)], 3), 1);
    let (b, c) = b.split_at(1000);
    assert_eq!(send(&mut lab, &[(1, 2, &huge), (3, 3, c), (1, 3, a), (2, 3, b)], 4), 1, "{}", lab.story());
    assert!(lab.errors().is_empty() && lab.is_in());
    // A message of nothing that announces a payload is none; its sender is authenticated, so that is the end of it.
    assert_eq!(send(&mut lab, &[(1, 1, &[])], 5), 1);
    assert_eq!(lab.errors(), [INVALID_SYNTAX]);
    lab.finish();
}
