//! What extensions of IKEv2 let a peer do, done by one that must not.

use adit_ike::Childless;
use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg};
use crate::setup::Auth;

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
