//! §2.10: Nonces.

use std::collections::BTreeSet;

use adit_ike::Command;
use adit_wire::{ExchangeType, PayloadType};

use super::{Talk, listen};
use crate::lab::{Lab, Msg};
use crate::net::End;
use crate::setup::Auth;

//= rfc7296 2.10-1
#[test]
fn nonces_are_fresh_and_long_enough_for_the_prf() {
    for (proposal, least) in [
        ("aes256gcm16-prfsha256-x25519", 16),
        ("aes256gcm16-prfsha384-x25519", 24),
        ("aes256gcm16-prfsha512-x25519", 32),
    ] {
        let mut lab = Lab::with(Auth::Psk, |setup| setup.both(|side| side.ike(&[proposal])));
        let (mut talk, mut seen) = (Talk::new(), BTreeSet::new());
        assert_eq!(lab.connect(&mut listen(&mut talk)), Some(Ok(())));
        let (ike, child) = lab.ids(End::Client).unwrap();
        lab.command(End::Client, Command::RekeyChild { id: child }, &mut listen(&mut talk));
        lab.command(End::Client, Command::RekeyIke { id: ike }, &mut listen(&mut talk));
        let nonces: Vec<_> = talk
            .iter()
            .flat_map(|(_, _, chain)| chain)
            .filter(|raw| raw.kind == PayloadType::NONCE.0)
            .collect();
        assert_eq!(nonces.len(), 6);
        for nonce in nonces {
            assert!((least.max(16)..=256).contains(&nonce.body.len()), "{}", nonce.body.len());
            assert!(seen.insert(nonce.body.clone()), "a nonce twice");
        }
        lab.finish();
    }
}

//= rfc7296 2.10-1
#[test]
fn short_and_overlong_nonces_are_refused() {
    for size in [0, 1, 15, 257, 1000] {
        let mut lab = Lab::new(Auth::Psk);
        let outcome = lab.connect(&mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_SA_INIT, false) {
                *msg.body(PayloadType::NONCE) = vec![7; size];
            }
        });
        assert!(!matches!(outcome, Some(Ok(()))) && !lab.is_in(), "{size}");
        assert!(lab.noticed());
        lab.finish();
    }
}
