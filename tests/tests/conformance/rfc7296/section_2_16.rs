//! §2.16: Extensible Authentication Protocol Methods.

use adit_wire::{ExchangeType, PayloadType};

use super::{Talk, listen};
use crate::lab::{Lab, Msg};
use crate::setup::{Auth, secret};

const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

fn eap_code(chain: &[crate::wire::Raw]) -> Option<u8> {
    chain.iter().find(|raw| raw.kind == PayloadType::EAP.0).and_then(|raw| raw.body.first().copied())
}

fn has(chain: &[crate::wire::Raw], kind: PayloadType) -> bool {
    chain.iter().any(|raw| raw.kind == kind.0)
}

//= rfc7296 2.16-2, 2.16-6, 2.16-8
#[test]
fn success_and_then_both_auth_payloads_before_the_ike_sa_is_there() {
    let mut lab = Lab::new(Auth::EapAndPsk);
    let mut talk = Talk::new();
    assert_eq!(lab.connect(&mut listen(&mut talk)), Some(Ok(())));
    let auth: Vec<_> =
        talk.iter().filter(|(_, header, _)| header.exchange == ExchangeType::IKE_AUTH).collect();
    let success = auth.iter().position(|(_, _, chain)| eap_code(chain) == Some(SUCCESS)).expect("a success");
    assert!(!auth[success].0, "from the gateway");
    let after = &auth[success + 1..];
    assert_eq!(after.len(), 2, "{}", lab.story());
    assert!(after.iter().all(|(_, _, chain)| has(chain, PayloadType::AUTH)));
    assert_eq!((after[0].0, after[1].0), (true, false));
    // The initiator's only AUTH is that one; the SA payload is answered with it and not before.
    assert!(
        auth[..=success].iter().filter(|(to, ..)| *to).all(|(_, _, chain)| !has(chain, PayloadType::AUTH))
    );
    assert!(
        auth[..=success].iter().filter(|(to, ..)| !*to).all(|(_, _, chain)| !has(chain, PayloadType::SA))
    );
    assert!(has(&after[1].2, PayloadType::SA));
    lab.finish();
    // Without its last exchange there is no IKE_SA.
    let mut lab = Lab::new(Auth::EapAndPsk);
    let mut over = false;
    let mut drop_last = |msg: &mut Msg| {
        if over && msg.to_gateway {
            msg.instead = Some(Vec::new());
        }
        over |= eap_code(&msg.chain) == Some(SUCCESS);
    };
    lab.connect(&mut drop_last);
    assert!(!lab.is_in() && lab.gateway.sad.len() == 1, "{}", lab.story());
    lab.clean();
}

//= rfc7296 2.16-3
#[test]
fn the_auth_payloads_are_made_with_the_shared_key_of_the_method() {
    // A client that knows the password, and therefore passes the method, but signs with another key.
    let mut lab = Lab::new(Auth::EapAndPsk);
    let mut over = false;
    let mut bend = |msg: &mut Msg| {
        if over && msg.to_gateway && msg.has(PayloadType::AUTH) {
            let last = msg.body(PayloadType::AUTH).last_mut().unwrap();
            *last ^= 1;
        }
        over |= eap_code(&msg.chain) == Some(SUCCESS);
    };
    assert!(!matches!(lab.connect(&mut bend), Some(Ok(()))));
    assert_eq!(lab.errors(), [24], "{}", lab.story());
    assert!(!lab.is_in());
    lab.finish();
}

//= rfc7296 2.16-7
#[test]
fn a_failed_method_ends_with_a_failure_packet() {
    let mut lab = Lab::with(Auth::EapAndPsk, |setup| {
        setup.client.credentials.eap = vec![secret(&["alice"], "looking-glass")];
    });
    let mut talk = Talk::new();
    assert!(matches!(lab.connect(&mut listen(&mut talk)), Some(Err(_))));
    let last = talk.iter().filter(|(to, ..)| !*to).filter_map(|(_, _, chain)| eap_code(chain)).next_back();
    assert_eq!(last, Some(FAILURE), "{}", lab.story());
    assert!(!lab.is_in());
    lab.finish();
}
