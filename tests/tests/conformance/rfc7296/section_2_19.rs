//! §2.19: Requesting an Internal Address on a Remote Network, and §2.20: Requesting the Peer's Version.

use adit_wire::{ConfigKind, ExchangeType, Payload, PayloadType};

use super::{Talk, listen, payload};
use crate::lab::{Lab, Msg};
use crate::setup::Auth;
use crate::wire::Raw;

const FAILED_CP_REQUIRED: u16 = 37;
const INTERNAL_IP4_ADDRESS: u16 = 1;
const INTERNAL_IP6_ADDRESS: u16 = 8;

fn road_warrior(auth: Auth) -> Lab {
    Lab::with(auth, |setup| setup.road_warrior())
}

fn config(chain: &[Raw]) -> Option<(ConfigKind, Vec<u16>)> {
    match payload(chain, PayloadType::CP)? {
        Payload::Config { kind, attributes } => Some((kind, attributes.iter().map(|(n, _)| *n).collect())),
        _ => None,
    }
}

//= rfc7296 2.19-1, 2.19-2, 2.19-3, 2.19-4
#[test]
fn addresses_are_asked_for_before_the_sa_payload_of_ike_auth() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        let mut lab = road_warrior(auth);
        let mut talk = Talk::new();
        assert_eq!(lab.connect(&mut listen(&mut talk)), Some(Ok(())), "{}", lab.story());
        let with_cp: Vec<_> = talk
            .iter()
            .filter(|(_, _, chain)| chain.iter().any(|raw| raw.kind == PayloadType::CP.0))
            .collect();
        assert_eq!(with_cp.len(), 2);
        for (to_gateway, header, chain) in with_cp {
            assert_eq!(header.exchange, ExchangeType::IKE_AUTH);
            let at = |kind: PayloadType| chain.iter().position(|raw| raw.kind == kind.0);
            assert!(at(PayloadType::CP) < at(PayloadType::SA), "{chain:?}");
            let (kind, attributes) = config(chain).unwrap();
            assert_eq!(kind, if *to_gateway { ConfigKind::Request } else { ConfigKind::Reply });
            assert!([INTERNAL_IP4_ADDRESS, INTERNAL_IP6_ADDRESS].iter().any(|it| attributes.contains(it)));
        }
        lab.finish();
    }
}

//= rfc7296 2.19-5
#[test]
fn nothing_is_configured_unasked() {
    // The client has addresses of its own, and selectors that fit without any of the pool's.
    let mut lab = Lab::with(Auth::Psk, |setup| {
        setup.road_warrior();
        setup.client.conn.vips.clear();
        setup.client.ts(&["10.1.0.0/16"], &["10.2.0.0/16"]);
        setup.gateway.ts(&["10.2.0.0/16"], &["10.1.0.0/16"]);
    });
    let mut talk = Talk::new();
    lab.connect(&mut listen(&mut talk));
    assert!(talk.iter().all(|(_, _, chain)| config(chain).is_none()), "{}", lab.story());
    assert!(lab.gateway.leases.is_empty());
    lab.finish();
}

//= rfc7296 2.19-6
#[test]
fn an_address_that_is_required_and_not_asked_for_fails_the_child() {
    // `dynamic` stands for an address of the pool; a client that asks for none cannot have it.
    let mut lab = road_warrior(Auth::Psk);
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        if msg.is(ExchangeType::IKE_AUTH, false) {
            msg.drop(PayloadType::CP);
        }
    });
    assert!(matches!(outcome, Some(Err(_))), "{}", lab.story());
    assert_eq!(lab.errors(), [FAILED_CP_REQUIRED], "{}", lab.story());
    assert!(lab.gateway.leases.is_empty() && lab.gateway.sad.len() == 1);
    lab.finish();
}

//= rfc7296 2.20-1
#[test]
fn the_version_is_not_told() {
    let mut lab = Lab::connected(Auth::Psk);
    // CFG_REQUEST of APPLICATION_VERSION (7), empty.
    let request = Raw::new(PayloadType::CP, [1, 0, 0, 0, 0, 7, 0, 0]);
    let message = lab.sealed(ExchangeType::INFORMATIONAL, 2, &[request]);
    lab.send(&message);
    let [(_, chain)] = &lab.answers[..] else { panic!("one answer\n{}", lab.story()) };
    let told = match payload(chain, PayloadType::CP) {
        Some(Payload::Config { attributes, .. }) => {
            attributes.into_iter().any(|(_, value)| !value.is_empty())
        }
        _ => false,
    };
    assert!(!told);
    lab.finish();
}
