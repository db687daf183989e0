//! §2.22: IPComp, which is not built.

use adit_wire::{ExchangeType, PayloadType};

use super::{Talk, listen, notifies};
use crate::lab::{Lab, Msg};
use crate::setup::Auth;
use crate::wire::Raw;

const IPCOMP_SUPPORTED: u16 = 16387;

//= rfc7296 2.22-1, 2.22-2
#[test]
fn an_offer_of_compression_is_passed_over() {
    let mut lab = Lab::new(Auth::Psk);
    let mut talk = Talk::new();
    let outcome = {
        let mut listen = listen(&mut talk);
        lab.connect(&mut |msg: &mut Msg| {
            listen(msg);
            if msg.is(ExchangeType::IKE_AUTH, false) {
                let at = msg.chain.iter().position(|raw| raw.kind == PayloadType::SA.0).unwrap();
                msg.chain.insert(at, Raw::notify(IPCOMP_SUPPORTED, &[0x12, 0x34, 2]));
            }
        })
    };
    assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
    assert!(talk.iter().all(|(_, _, chain)| !notifies(chain).contains(&IPCOMP_SUPPORTED)));
    lab.finish();
}
