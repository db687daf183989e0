//! §2.7: Cryptographic Algorithm Negotiation.

use std::collections::BTreeSet;

use adit_ike::Command;
use adit_ipsec::Protocol;
use adit_wire::ExchangeType;

use super::{Talk, listen, proposals};
use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::setup::Auth;

const NO_PROPOSAL_CHOSEN: u16 = 14;

/// Several proposals with several transforms of each type, at both ends.
fn rich() -> Lab {
    Lab::with(Auth::Psk, |setup| {
        setup.both(|side| {
            side.ike(&[
                "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256",
                "aes256-aes128-sha384-sha256-ecp256-x25519",
            ]);
            side.esp(&["aes256gcm16-aes128gcm16-x25519-ecp256", "aes256-aes128-sha384-sha256"]);
        });
    })
}

//= rfc7296 2.7-1, 2.7-2, 2.7-3, 2.7-4, 2.7-5
#[test]
fn one_proposal_with_one_transform_of_each_type_taken_from_the_offer() {
    let mut lab = rich();
    let mut talk = Talk::new();
    assert_eq!(lab.connect(&mut listen(&mut talk)), Some(Ok(())));
    let (ike, child) = lab.ids(End::Client).unwrap();
    lab.command(End::Client, Command::RekeyChild { id: child }, &mut listen(&mut talk));
    lab.command(End::Client, Command::RekeyIke { id: ike }, &mut listen(&mut talk));
    let with_sa: Vec<_> = talk.iter().filter_map(|(_, h, chain)| Some((h, proposals(chain)?))).collect();
    // INIT, AUTH, two rekeyings.
    assert_eq!(with_sa.len(), 8, "{}", lab.story());
    let mut protocols = Vec::new();
    for both in with_sa.chunks(2) {
        let ([(_, offer), (_, answer)], [chosen]) = (both, &both[1].1[..]) else { panic!("one proposal") };
        assert!(offer.len() == 2 && answer.len() == 1);
        let source = offer.iter().find(|it| it.num == chosen.num).expect("a number of the offer");
        assert_eq!(chosen.proposal.protocol, source.proposal.protocol);
        let kinds: Vec<_> = chosen.proposal.transforms.iter().map(|transform| transform.kind).collect();
        let distinct: BTreeSet<_> = kinds.iter().collect();
        let offered: BTreeSet<_> =
            source.proposal.transforms.iter().map(|transform| transform.kind).collect();
        assert_eq!((kinds.len(), distinct), (offered.len(), offered.iter().collect()));
        assert!(chosen.proposal.transforms.iter().all(|it| source.proposal.transforms.contains(it)));
        protocols.push(chosen.proposal.protocol);
    }
    assert_eq!(protocols, [Protocol::Ike, Protocol::Esp, Protocol::Esp, Protocol::Ike]);
    lab.finish();
}

//= rfc7296 2.7-3
#[test]
fn an_answer_that_was_not_offered_is_refused() {
    // More than one proposal, or a transform that nobody offered.
    for twist in 0..2 {
        let mut lab = rich();
        let outcome = lab.connect(&mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_AUTH, true) && msg.has(adit_wire::PayloadType::SA) {
                let body = msg.body(adit_wire::PayloadType::SA);
                if twist == 0 {
                    let mut twice = body.clone();
                    twice[0] = 2;
                    twice.extend(&*body);
                    *body = twice;
                } else {
                    // The first transform of the proposal: ENCR, behind 8 octets and the SPI of 4; its id.
                    body[12 + 6..12 + 8].copy_from_slice(&[0, 28]);
                }
            }
        });
        assert!(matches!(outcome, Some(Err(_))) && lab.mallory.sad.is_empty(), "{}", lab.story());
    }
}

//= rfc7296 2.7-3
#[test]
fn an_offer_without_a_fitting_proposal_is_refused_whole() {
    let mut lab = Lab::with(Auth::Psk, |setup| {
        setup.client.ike(&["aes256gcm16-prfsha384-x25519"]);
        setup.gateway.ike(&["aes128gcm16-prfsha256-x25519"]);
    });
    assert!(matches!(lab.connect(&mut honest), Some(Err(_))));
    assert_eq!(lab.errors(), [NO_PROPOSAL_CHOSEN]);
    lab.finish();
}
