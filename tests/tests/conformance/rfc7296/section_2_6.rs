//! §2.6: IKE SA SPIs and Cookies.

use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::setup::Auth;
use crate::wire::Raw;

const COOKIE: u16 = 16390;
const INVALID_KE: u16 = 17;

/// A gateway that demands a cookie from everyone.
fn guarded() -> Lab {
    Lab::with(Auth::Psk, |setup| {
        setup.gateway.settings.cookie_threshold = 1;
        setup.gateway.settings.cookie_threshold_ip = 1;
        setup.gateway.settings.block_threshold = 0;
    })
}

/// Leaves an IKE_SA half open at the gateway, so that it demands cookies.
fn crowd(lab: &mut Lab) {
    lab.connect(&mut |msg: &mut Msg| {
        if msg.is(ExchangeType::IKE_SA_INIT, true) && msg.has(PayloadType::SA) {
            msg.instead = Some(Vec::new());
        }
    });
    lab.reborn();
    lab.forget();
}

fn cookie_of(chain: &[Raw]) -> Option<&[u8]> {
    let notify = chain.iter().find(|raw| raw.kind == 41 && raw.body[2..4] == COOKIE.to_be_bytes())?;
    notify.body.get(4..)
}

//= rfc7296 2.6-1
#[test]
fn spis_are_unique_and_never_zero() {
    let mut seen = std::collections::BTreeSet::new();
    let mut lab = Lab::new(Auth::Psk);
    for _ in 0..50 {
        assert_eq!(lab.connect(&mut honest), Some(Ok(())));
        let (spi_i, spi_r) = lab.spis();
        assert!(spi_i != 0 && spi_r != 0 && seen.insert(spi_i) && seen.insert(spi_r));
        lab.clean();
    }
    lab.finish();
}

//= rfc7296 2.6-2, 2.6-3
#[test]
fn a_cookie_comes_back_first_with_everything_else_unchanged() {
    let mut lab = guarded();
    crowd(&mut lab);
    let mut requests: Vec<Vec<Raw>> = Vec::new();
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        if msg.is(ExchangeType::IKE_SA_INIT, false) {
            requests.push(msg.chain.clone());
        }
        if msg.is(ExchangeType::IKE_SA_INIT, true)
            && let Some(cookie) = cookie_of(&msg.chain)
        {
            assert!((1..=64).contains(&cookie.len()));
            assert_eq!((msg.chain.len(), msg.header.spi_r), (1, 0), "stateless and minimal");
        }
    });
    assert_eq!((outcome, requests.len()), (Some(Ok(())), 2), "{}", lab.story());
    assert!(cookie_of(&requests[1][..1]).is_some(), "the first payload");
    assert_eq!(requests[1][1..], requests[0][..], "all others unchanged");
    lab.finish();
}

//= rfc7296 2.6-4
#[test]
fn a_wrong_cookie_is_as_none() {
    let mut lab = guarded();
    crowd(&mut lab);
    let mut demanded = 0;
    for cookie in [vec![0; 1], vec![7; 32], vec![9; 64]] {
        let outcome = lab.connect(&mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_SA_INIT, false) {
                msg.chain.retain(|raw| raw.kind != 41 || raw.body[2..4] != COOKIE.to_be_bytes());
                msg.chain.insert(0, Raw::notify(COOKIE, &cookie));
            }
            if msg.is(ExchangeType::IKE_SA_INIT, true) && cookie_of(&msg.chain).is_some() {
                demanded += 1;
            }
        });
        assert!(!matches!(outcome, Some(Ok(()))));
        lab.reborn();
    }
    assert!(demanded >= 3, "{}", lab.story());
    lab.finish();
}

//= rfc7296 2.6.1-1
#[test]
fn cookie_and_invalid_ke_in_the_long_and_the_short_form() {
    for keeps_cookie in [true, false] {
        let mut lab = Lab::with(Auth::Psk, |setup| {
            setup.client.ike(&["aes256gcm16-prfsha384-x25519-ecp256"]);
            setup.gateway.ike(&["aes256gcm16-prfsha384-ecp256"]);
            setup.gateway.settings.cookie_threshold = 1;
            setup.gateway.settings.block_threshold = 0;
        });
        crowd(&mut lab);
        let mut notifies = Vec::new();
        let mut dropped = false;
        let outcome = lab.connect(&mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_SA_INIT, true) && msg.header.spi_r == 0 {
                notifies.push(u16::from_be_bytes([msg.chain[0].body[2], msg.chain[0].body[3]]));
            }
            // A peer without the short form does not show its cookie again after INVALID_KE_PAYLOAD.
            let is_retry = notifies.last() == Some(&INVALID_KE);
            if !keeps_cookie && is_retry && !dropped && msg.is(ExchangeType::IKE_SA_INIT, false) {
                dropped = true;
                msg.chain.retain(|raw| raw.kind != 41 || raw.body[2..4] != COOKIE.to_be_bytes());
            }
        });
        assert_eq!(outcome, Some(Ok(())), "{notifies:?}\n{}", lab.story());
        assert!(notifies.contains(&COOKIE) && notifies.contains(&INVALID_KE), "{notifies:?}");
        lab.finish();
    }
}
