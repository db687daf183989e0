//! Requests with something wrong in a payload.

use adit_ike::{Command, Event};
use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::setup::Auth;
use crate::wire::Raw;

const INVALID_SYNTAX: u16 = 7;
const TS_UNACCEPTABLE: u16 = 38;
const CHILD_SA_NOT_FOUND: u16 = 44;

fn connected() -> Lab {
    let mut lab = Lab::new(Auth::Psk);
    reconnect(&mut lab);
    lab
}

fn reconnect(lab: &mut Lab) {
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    lab.forget();
}

/// Mallory rekeys its child, with a bent request.
fn bent_rekey(lab: &mut Lab, bend: impl Fn(&mut Msg)) {
    let (_, id) = lab.ids(End::Client).expect("an SA");
    let mut done = false;
    lab.command(End::Client, Command::RekeyChild { id }, &mut |msg| {
        if msg.is(ExchangeType::CREATE_CHILD_SA, false) && msg.to_gateway && !done {
            done = true;
            bend(msg);
        }
    });
    assert!(done);
}

#[test]
fn row_04_rekey_sa_with_an_invalid_protocol() {
    let mut lab = connected();
    for protocol in [0, 1, 2, 4, 5, 255] {
        for size in [0, 1, 3, 4, 8] {
            bent_rekey(&mut lab, |msg| {
                let raw = msg.chain.iter_mut().find(|raw| raw.kind == 41 && raw.body[2..4] == [0x40, 0x09]);
                let body = &mut raw.expect("REKEY_SA").body;
                let spi = body[4..].to_vec();
                *body = vec![protocol, size, 0x40, 0x09];
                body.extend(spi.iter().cycle().take(usize::from(size)));
            });
            assert_eq!(lab.errors(), [CHILD_SA_NOT_FOUND], "{protocol} {size}\n{}", lab.story());
            let answer = &lab.answers[0].1[0];
            assert!(matches!(answer.body[0], 0 | 3), "protocol {} is repeated", answer.body[0]);
            assert!(lab.is_in() && lab.gateway.sad.len() <= 3, "{}", lab.story());
            lab.clean();
            reconnect(&mut lab);
        }
    }
    lab.finish();
}

/// What can be wrong with traffic selectors: body, and whether it can be read.
fn selectors() -> Vec<(Vec<u8>, u16)> {
    let v4 =
        |start: [u8; 4], end: [u8; 4], ports: [u8; 4]| [&[7, 0, 0, 16][..], &ports, &start, &end].concat();
    let good = v4([10, 1, 0, 0], [10, 1, 255, 255], [0, 0, 255, 255]);
    let counted = |count: u8, parts: &[&[u8]]| [&[count, 0, 0, 0][..], &parts.concat()].concat();
    let mut bad = vec![
        counted(0, &[]),
        counted(0, &[&good]),
        counted(2, &[&good]),
        counted(255, &[&good]),
        counted(1, &[&good, &good]),
        counted(1, &[&good[..15]]),
        Vec::new(),
        vec![1],
        vec![1, 0, 0],
        counted(1, &[&v4([10, 1, 255, 255], [10, 1, 0, 0], [0, 0, 255, 255])]),
        counted(1, &[&v4([10, 1, 0, 0], [10, 1, 0, 9], [0, 9, 0, 1])]),
    ];
    for length in [0, 1, 3, 4, 8, 15, 17, 40, 0xffff_u16] {
        let mut wrong = good.clone();
        wrong[2..4].copy_from_slice(&length.to_be_bytes());
        bad.push(counted(1, &[&wrong]));
        let padded = [&wrong[..], &vec![0; usize::from(length).saturating_sub(16).min(1000)]].concat();
        bad.push(counted(1, &[&padded]));
    }
    // The other family's length.
    bad.push(counted(1, &[&[8, 0, 0, 16], &good[4..]]));
    let mut all: Vec<(Vec<u8>, u16)> = bad.into_iter().map(|body| (body, INVALID_SYNTAX)).collect();
    // Types that nobody knows, and a family that is not configured.
    let mut unknown = good.clone();
    unknown[0] = 9;
    all.push((counted(1, &[&unknown]), TS_UNACCEPTABLE));
    all.push((counted(2, &[&unknown, &unknown]), TS_UNACCEPTABLE));
    let v6 = [&[8, 0, 0, 40, 0, 0, 255, 255][..], &[0; 16], &[255; 16]].concat();
    all.push((counted(1, &[&v6]), TS_UNACCEPTABLE));
    all
}

#[test]
fn row_05_traffic_selectors() {
    let mut lab = Lab::new(Auth::Psk);
    for kind in [PayloadType::TSI, PayloadType::TSR] {
        for (body, expected) in selectors() {
            // In IKE_AUTH.
            lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_AUTH, false) {
                    *msg.body(kind) = body.clone();
                }
            });
            assert_eq!(lab.errors(), [expected], "{body:02x?}\n{}", lab.story());
            assert_eq!(lab.gateway.sad.len(), 1, "{body:02x?}");
            lab.clean();
            // In CREATE_CHILD_SA.
            reconnect(&mut lab);
            bent_rekey(&mut lab, |msg| *msg.body(kind) = body.clone());
            assert_eq!(lab.errors(), [expected], "{body:02x?}\n{}", lab.story());
            assert!(lab.gateway.sad.len() <= 2);
            lab.clean();
            // In the answer, at an initiator.
            lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_AUTH, true) {
                    *msg.body(kind) = body.clone();
                }
            });
            assert!(lab.mallory.sad.is_empty() && lab.noticed(), "{body:02x?}\n{}", lab.story());
            lab.clean();
        }
    }
    lab.finish();
}

#[test]
fn row_05_a_responder_that_widens_the_selectors() {
    // Narrowing is all that an answer may do (RFC 7296 §2.9).
    let mut lab = Lab::new(Auth::Psk);
    for kind in [PayloadType::TSI, PayloadType::TSR] {
        lab.connect(&mut |msg| {
            if msg.is(ExchangeType::IKE_AUTH, true) {
                *msg.body(kind) =
                    [1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255].into();
            }
        });
        for entry in lab.mallory.sad.values() {
            let ours = lab.setup.client.conn.children[0].local_ts[0].resolve(&[]);
            let theirs = lab.setup.client.conn.children[0].remote_ts[0].resolve(&[]);
            assert!(entry.sa.local_ts.iter().all(|ts| ours.iter().any(|own| own.contains(ts))));
            assert!(entry.sa.remote_ts.iter().all(|ts| theirs.iter().any(|own| own.contains(ts))));
        }
        lab.clean();
    }
    lab.finish();
}

#[test]
fn row_13_nothing_counts_behind_the_delete_of_the_ike_sa() {
    let mut lab = connected();
    let (id, _) = lab.ids(End::Client).unwrap();
    let spi = lab.mallory.sad.values().next().unwrap().sa.spi_in;
    lab.command(End::Client, Command::TerminateIke { id, force: false, tag: 0 }, &mut |msg| {
        if msg.to_gateway && msg.has(PayloadType::DELETE) {
            let mut body = vec![3, 4, 0, 1];
            body.extend(spi.to_be_bytes());
            msg.chain.push(Raw::new(PayloadType::DELETE, body));
            msg.chain.push(Raw::new(PayloadType::DELETE, [1, 0, 0, 0]));
            msg.chain.push(Raw::notify(24, &[]));
            msg.chain.push(Raw::notify(16384, &[]));
        }
    });
    assert!(!lab.is_in());
    assert_eq!(lab.answers, vec![(ExchangeType::INFORMATIONAL, Vec::new())], "{}", lab.story());
    let count = |wanted: fn(&Event) -> bool| lab.gateway.events.iter().filter(|(_, e)| wanted(e)).count();
    assert_eq!(count(|e| matches!(e, Event::IkeClosed { .. })), 1, "{}", lab.story());
    assert_eq!(count(|e| matches!(e, Event::ChildDown { .. })), 1, "{}", lab.story());
    assert_eq!(count(|e| matches!(e, Event::Failure { .. })), 0, "{}", lab.story());
    lab.finish();
}

#[test]
fn row_14_tlv_parsers() {
    let mut cases: Vec<(PayloadType, Vec<u8>)> = Vec::new();
    // Configuration: attributes that are cut short; a kind that is none; no room for a header.
    for body in [
        &[1, 0, 0, 0, 0][..],
        &[1, 0, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0, 1, 0],
        &[1, 0, 0, 0, 0, 1, 0, 1],
        &[1, 0, 0, 0, 0, 1, 0, 4, 1, 2, 3],
        &[1, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 0],
        &[9, 0, 0, 0],
        &[1],
        &[],
    ] {
        cases.push((PayloadType::CP, body.to_vec()));
    }
    cases.push((PayloadType::CP, [&[1, 0, 0, 0][..], &[0; 4 * 300]].concat()));
    // Notify: an SPI longer than the payload.
    for body in [&[][..], &[0], &[0, 0, 1], &[0, 1, 0x40, 0], &[0, 255, 0x40, 0, 1, 2]] {
        cases.push((PayloadType::NOTIFY, body.to_vec()));
    }
    // Delete: sizes and counts that do not fit.
    for body in [
        &[][..],
        &[3, 4, 0],
        &[3, 4, 0, 1],
        &[3, 4, 0, 1, 1, 2, 3],
        &[3, 0, 0, 9],
        &[3, 0, 255, 255],
        &[3, 4, 255, 255, 1, 2, 3, 4],
        &[3, 255, 0, 1, 1, 2, 3, 4],
        &[1, 0, 0, 1],
        &[1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8],
    ] {
        cases.push((PayloadType::DELETE, body.to_vec()));
    }
    // Certificate requests: not whole hashes. Certificates, AUTH, EAP, ID: shorter than their headers.
    for length in [0, 2, 20, 22, 40] {
        cases.push((PayloadType::CERTREQ, [4].into_iter().chain(vec![0; length]).take(length).collect()));
    }
    cases.push((PayloadType::CERT, Vec::new()));
    for length in 0..4 {
        cases.push((PayloadType::AUTH, vec![2; length]));
        cases.push((PayloadType::EAP, vec![2; length]));
        cases.push((PayloadType::KE, vec![0; length]));
    }
    for length in 0..5 {
        cases.push((PayloadType::IDR, vec![2; length]));
    }
    // Nonces of a length that RFC 7296 §3.9 does not allow.
    for length in [0, 1, 15, 257, 1000] {
        cases.push((PayloadType::NONCE, vec![2; length]));
    }
    // Proposals and transforms: every length of theirs.
    let good = [0, 0, 0, 24, 1, 3, 4, 1, 1, 2, 3, 4, 0, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0];
    for (at, lengths) in [(3, [0, 1, 3, 4, 7, 8, 23, 25]), (15, [0, 1, 3, 4, 7, 9, 11, 13])] {
        for length in lengths {
            let mut body = good.to_vec();
            body[at] = length;
            cases.push((PayloadType::SA, body));
        }
    }
    for (at, values) in [(0, [1, 2, 3]), (6, [5, 17, 255]), (7, [0, 2, 255]), (12, [1, 2, 3])] {
        for value in values {
            let mut body = good.to_vec();
            body[at] = value;
            cases.push((PayloadType::SA, body));
        }
    }
    // A long attribute that goes beyond its transform.
    let mut body = good.to_vec();
    body[20..].copy_from_slice(&[0, 14, 0, 9]);
    cases.push((PayloadType::SA, body));
    cases.push((PayloadType::SA, Vec::new()));

    let mut lab = Lab::new(Auth::Psk);
    for (kind, body) in cases {
        let bend = |msg: &mut Msg| {
            msg.drop(kind);
            msg.chain.push(Raw::new(kind, body.clone()));
        };
        lab.connect(&mut |msg| {
            if msg.is(ExchangeType::IKE_AUTH, false) {
                bend(msg);
            }
        });
        assert_eq!(lab.errors(), [INVALID_SYNTAX], "{kind:?} {body:02x?}\n{}", lab.story());
        assert!(!lab.is_in() && lab.gateway.sad.len() == 1);
        lab.clean();
        reconnect(&mut lab);
        bent_rekey(&mut lab, bend);
        assert_eq!(lab.errors(), [INVALID_SYNTAX], "{kind:?} {body:02x?}\n{}", lab.story());
        lab.clean();
    }
    lab.finish();
}
