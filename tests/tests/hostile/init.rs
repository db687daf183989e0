//! IKE_SA_INIT: what anyone on the Internet can send.

use adit_crypto::KeGroup;
use adit_ipsec::{Proposal, Protocol, Transform, TransformType};
use adit_wire::{ExchangeType, Payload, PayloadType, ProposalPayload, emit_payloads};

use crate::lab::{Lab, Msg, honest};
use crate::setup::Auth;

const NO_PROPOSAL_CHOSEN: u16 = 14;
const INVALID_KE_PAYLOAD: u16 = 17;
const INVALID_SYNTAX: u16 = 7;

fn is_init(msg: &Msg) -> bool {
    msg.is(ExchangeType::IKE_SA_INIT, false)
}

/// The body of an SA payload with one proposal.
fn sa(proposal: Proposal) -> Vec<u8> {
    let one = ProposalPayload { num: 1, spi: Vec::new(), proposal, acceptable: true };
    emit_payloads(&[Payload::Sa(vec![one])]).unwrap().1[4..].to_vec()
}

/// Sends one bent first message and sees that it is refused with that notify, and that nothing stays.
fn refused(lab: &mut Lab, expected: &[u16], what: &str, bend: impl Fn(&mut Msg)) {
    let mut once = false;
    lab.connect(&mut |msg| {
        if is_init(msg) && !once {
            once = true;
            bend(msg);
        } else if msg.to_gateway {
            msg.instead = Some(Vec::new());
        }
    });
    assert_eq!(lab.errors(), expected, "{what}\n{}", lab.story());
    assert_eq!(lab.gateway.endpoint.stats().half_open, 0, "{what}");
    lab.clean();
}

#[test]
fn row_08_proposals_without_a_mandatory_transform() {
    for text in ["aes256gcm16-prfsha256-x25519", "aes256-sha256-ecp256"] {
        let full = Proposal::parse(Protocol::Ike, text).unwrap();
        let mut lab = Lab::with(Auth::Psk, |setup| setup.both(|side| side.ike(&[text])));
        let kinds = [
            TransformType::Encryption,
            TransformType::Prf,
            TransformType::Integrity,
            TransformType::KeyExchange,
        ];
        for missing in kinds.into_iter().filter(|kind| full.first(*kind).is_some()) {
            let mut proposal = full.clone();
            proposal.transforms.retain(|transform| transform.kind != missing);
            refused(&mut lab, &[NO_PROPOSAL_CHOSEN], &format!("{text} without {missing:?}"), |msg| {
                *msg.body(PayloadType::SA) = sa(proposal.clone());
            });
        }
        // None at all.
        let none = Proposal { protocol: Protocol::Ike, transforms: Vec::new() };
        refused(&mut lab, &[NO_PROPOSAL_CHOSEN], "no transform", |msg| {
            *msg.body(PayloadType::SA) = sa(none.clone());
        });
        // ESP's in the place of IKE's.
        let esp = Proposal { protocol: Protocol::Esp, ..full.clone() };
        refused(&mut lab, &[NO_PROPOSAL_CHOSEN], "ESP", |msg| *msg.body(PayloadType::SA) = sa(esp.clone()));
        lab.finish();
    }
}

#[test]
fn row_09_25_27_algorithms_that_are_not_served() {
    let full = Proposal::parse(Protocol::Ike, "aes256gcm16-prfsha256-x25519").unwrap();
    let mut lab = Lab::new(Auth::Psk);
    let named = |kind, id, key_bits| Transform { kind, id, key_bits };
    let mut transforms = Vec::new();
    for id in [0, 1, 2, 3, 5, 7, 11, 13, 14, 15, 18, 19, 23, 24, 255, 1024, 65_535] {
        transforms.push(named(TransformType::Encryption, id, 256));
    }
    transforms.extend([0, 1, 127, 129, 512, 65_535].map(|bits| named(TransformType::Encryption, 20, bits)));
    // HMAC-MD5 and HMAC-SHA-1 among them.
    transforms.extend([0, 1, 2, 3, 4, 8, 1024, 65_535].map(|id| named(TransformType::Prf, id, 0)));
    // 1025 and above are internal numbers elsewhere; 0 is none.
    let groups = [0, 1, 2, 5, 22, 23, 24, 32, 35, 36, 37, 1024, 1025, 1026, 32_768, 65_535];
    transforms.extend(groups.map(|id| named(TransformType::KeyExchange, id, 0)));
    for transform in transforms {
        let mut proposal = full.clone();
        proposal.transforms.retain(|it| it.kind != transform.kind);
        proposal.transforms.push(transform);
        refused(&mut lab, &[NO_PROPOSAL_CHOSEN], &format!("{transform:?}"), |msg| {
            *msg.body(PayloadType::SA) = sa(proposal.clone());
        });
    }
    for group in groups {
        refused(&mut lab, &[INVALID_KE_PAYLOAD], &format!("KE of group {group}"), |msg| {
            msg.body(PayloadType::KE)[..2].copy_from_slice(&group.to_be_bytes());
        });
    }
    lab.finish();
}

#[test]
fn row_10_30_key_exchange_values() {
    // p − 1 and p of the MODP groups are in adit-crypto's own tests.
    let names = ["modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519"];
    for (group, name) in KeGroup::ALL.into_iter().zip(names) {
        let text = format!("aes128-sha256-{name}");
        let mut lab = Lab::with(Auth::Psk, |setup| setup.both(|side| side.ike(&[&text])));
        let length = group.public_len();
        let mut values = vec![vec![0; length], Vec::new(), vec![1], vec![5; length - 1], vec![5; length + 1]];
        values.push(vec![5; 2 * length]);
        values.push(vec![7; 60_000]);
        let mut one = vec![0; length];
        if group == KeGroup::X25519 {
            one[0] = 1;
            let mut p = [0xff; 32];
            p[31] = 0x7f;
            for low in [0xec, 0xed, 0xee] {
                p[0] = low;
                values.push(p.to_vec());
            }
            // Of order 8.
            let small = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
            let octet = |at: usize| u8::from_str_radix(&small[2 * at..2 * at + 2], 16).unwrap();
            values.push((0..32).map(octet).collect());
        } else {
            one[length - 1] = 1;
            values.push(vec![0xff; length]); // more than any p
        }
        values.push(one);
        let is_ecp = matches!(group, KeGroup::Ecp256 | KeGroup::Ecp384 | KeGroup::Ecp521);
        for value in &values {
            refused(
                &mut lab,
                &[INVALID_SYNTAX],
                &format!("{name}: {:02x?}", &value[..value.len().min(8)]),
                |msg| {
                    msg.body(PayloadType::KE).splice(4.., value.iter().copied());
                },
            );
        }
        if is_ecp {
            // Off the curve: a genuine point with a bit flipped.
            refused(&mut lab, &[INVALID_SYNTAX], name, |msg| {
                *msg.body(PayloadType::KE).last_mut().unwrap() ^= 1
            });
        }
        // The same at an initiator: no key is made of it.
        for value in values {
            lab.connect(&mut |msg| {
                if msg.is(ExchangeType::IKE_SA_INIT, true) {
                    msg.body(PayloadType::KE).splice(4.., value.iter().copied());
                }
            });
            assert!(!lab.is_in() && lab.noticed(), "{name}\n{}", lab.story());
            assert!(lab.mallory.sad.is_empty());
            lab.clean();
        }
        lab.finish();
    }
}

#[test]
fn row_12_malformed_first_messages() {
    let mut lab = Lab::new(Auth::Psk);
    let mut whole = Vec::new();
    lab.connect(&mut |msg| {
        if is_init(msg) {
            whole = crate::wire::join(&msg.chain).1;
            let mut header = Vec::new();
            adit_wire::Header { length: 28 + whole.len() as u32, ..msg.header }.emit(&mut header);
            whole.splice(0..0, header);
        }
    });
    lab.clean();
    for length in 0..whole.len() {
        let mut cut = whole[..length].to_vec();
        if length >= 28 {
            cut[24..28].copy_from_slice(&(length as u32).to_be_bytes());
        }
        cut[..length.min(1)].fill(0x77);
        lab.send(&cut);
        assert!(lab.noticed(), "{length} octets\n{}", lab.story());
        lab.clean();
    }
    for extra in [1, 3, 4, 65_000 - whole.len()] {
        let mut long = [whole.clone(), vec![0; extra]].concat();
        let length = long.len() as u32;
        lab.send(&long);
        assert!(lab.noticed());
        lab.forget();
        long[24..28].copy_from_slice(&length.to_be_bytes());
        lab.send(&long);
        assert!(lab.noticed());
        lab.clean();
    }
    for flags in 0..=255 {
        for exchange in [0, 33, 34, 35, 36, 37, 38, 43, 44, 255] {
            let mut other = whole.clone();
            (other[18], other[19]) = (exchange, flags);
            lab.send(&other);
        }
        lab.clean();
    }
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    lab.finish();
}
