//! §2.18: Rekeying IKE SAs Using a CREATE_CHILD_SA Exchange.

use adit_ike::Command;
use adit_ipsec::TransformType;
use adit_wire::{ExchangeType, PayloadType};

use super::{Talk, header, listen, proposals, sent, up};
use crate::lab::{Lab, Msg};
use crate::net::End;
use crate::setup::Auth;

const INVALID_SYNTAX: u16 = 7;
const NO_PROPOSAL_CHOSEN: u16 = 14;

//= rfc7296 2.18-1, 2.18-2
#[test]
fn a_new_ike_sa_has_a_new_key_exchange() {
    for end in End::BOTH {
        let mut lab = Lab::connected(Auth::Psk);
        let mut talk = Talk::new();
        let (id, _) = lab.ids(end).unwrap();
        lab.command(end, Command::RekeyIke { id }, &mut listen(&mut talk));
        let exchange: Vec<_> =
            talk.iter().filter(|(_, h, _)| h.exchange == ExchangeType::CREATE_CHILD_SA).collect();
        assert_eq!(exchange.len(), 2, "{}", lab.story());
        let values: Vec<_> = exchange
            .iter()
            .map(|(_, _, chain)| chain.iter().find(|raw| raw.kind == PayloadType::KE.0).expect("KE"))
            .collect();
        assert_ne!(values[0].body, values[1].body);
        for proposal in proposals(&exchange[0].2).unwrap() {
            let groups =
                || proposal.proposal.transforms.iter().filter(|it| it.kind == TransformType::KeyExchange);
            assert!(groups().count() > 0 && groups().all(|group| group.id != 0));
        }
        lab.finish();
    }
}

//= rfc7296 2.18-2
#[test]
fn a_rekeying_without_key_exchange_is_refused() {
    let mut lab = Lab::with(Auth::Psk, |setup| {
        setup.both(|side| side.ike(&["aes256gcm16-prfsha384-x25519"]));
    });
    assert_eq!(lab.connect(&mut crate::lab::honest), Some(Ok(())));
    lab.forget();
    let (id, _) = lab.ids(End::Client).unwrap();
    let spis = lab.spis();
    lab.command(End::Client, Command::RekeyIke { id }, &mut |msg: &mut Msg| {
        if msg.is(ExchangeType::CREATE_CHILD_SA, false) && msg.to_gateway {
            msg.drop(PayloadType::KE);
            // The last transform is the key exchange: its method becomes NONE.
            let body = msg.body(PayloadType::SA);
            let at = body.len() - 2;
            body[at..].copy_from_slice(&[0, 0]);
        }
    });
    let errors = lab.errors();
    assert!(matches!(errors[..], [NO_PROPOSAL_CHOSEN | INVALID_SYNTAX]), "{errors:?}\n{}", lab.story());
    assert_eq!(lab.spis(), spis);
}

//= rfc7296 2.18-3
#[test]
fn message_ids_of_a_new_ike_sa_begin_at_0() {
    for end in End::BOTH {
        let mut pair = up();
        let ike = pair.ikes(end)[0];
        pair.command(end, Command::RekeyIke { id: ike });
        pair.settle().unwrap();
        let new = pair.views(end)[0].spi_i;
        for sender in End::BOTH {
            pair.net.capture.clear();
            let id = pair.children(sender)[0];
            pair.command(sender, Command::RekeyChild { id });
            pair.settle().unwrap();
            let requests = sent(&pair, sender, false);
            let first = header(requests[0]);
            assert_eq!((first.spi_i, first.message_id), (new, 0), "{}", pair.story());
        }
    }
}
