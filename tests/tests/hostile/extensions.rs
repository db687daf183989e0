//! What extensions of IKEv2 let a peer do, done by one that must not.

use adit_ike::Childless;
use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::setup::{Auth, Setup, ip};
use crate::wire::{self, Raw};

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

/// REDIRECT to the gateway's second address.
fn redirect() -> Raw {
    Raw { kind: 41, flags: 0, body: vec![0, 0, 0x40, 0x17, 1, 4, 203, 0, 113, 2], length: None }
}

fn two_addresses(s: &mut Setup) {
    s.gateway.outside.addresses.push(ip("203.0.113.2"));
    s.gateway.conn.local_addrs = vec![adit_ike::HostSpec::Any];
}

/// Mallory plays an honest client whose answers to IKE_AUTH are bent: the nth is `bend`ed.
fn bent_answer(auth: Auth, nth: usize, bend: fn(&mut Msg)) -> (Lab, Option<Result<(), String>>) {
    let mut lab = Lab::with(auth, two_addresses);
    let mut count = 0;
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        if !msg.to_gateway && msg.is(ExchangeType::IKE_AUTH, true) {
            if count == nth {
                bend(msg);
            }
            count += 1;
        }
    });
    (lab, outcome)
}

fn remote(lab: &Lab) -> Vec<std::net::IpAddr> {
    lab.mallory.endpoint.ike_sas().filter_map(|sa| sa.remote).map(|remote| remote.ip()).collect()
}

/// RFC 5685 §6: a client does not act on a redirect before the gateway has proved itself.
//= rfc5685 6-1, 6-3, 6-4
#[test]
fn a_redirect_of_a_gateway_that_does_not_prove_itself() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        for bend in [
            (|msg: &mut Msg| {
                *msg.body(PayloadType::AUTH).last_mut().unwrap() ^= 1;
                msg.chain.push(redirect());
            }) as fn(&mut Msg),
            |msg| {
                msg.drop(PayloadType::AUTH);
                msg.chain.push(redirect());
            },
            |msg| msg.chain = vec![redirect()],
        ] {
            let (lab, outcome) = bent_answer(auth, 0, bend);
            assert!(matches!(outcome, Some(Err(_))), "{outcome:?}\n{}", lab.story());
            assert_eq!(lab.mallory.endpoint.stats().redirects_followed, 0, "{}", lab.story());
            lab.finish();
        }
    }
}

/// RFC 5685 §6: not in an answer that is neither the first nor the last; in those it counts, and in the first one of EAP
/// there is nothing to delete.
//= rfc5685 6-4, 6-5, 6-6
#[test]
fn a_redirect_in_each_answer_of_eap() {
    for nth in 0..5 {
        let (mut lab, outcome) = bent_answer(Auth::EapAndPsk, nth, |msg| msg.chain.push(redirect()));
        assert_eq!(outcome, Some(Ok(())), "{nth}\n{}", lab.story());
        let answers = lab.answers.iter().filter(|(kind, _)| *kind == ExchangeType::IKE_AUTH).count();
        let followed = lab.mallory.endpoint.stats().redirects_followed;
        let last = nth == 4;
        assert_eq!(followed, u64::from(nth == 0 || last), "{nth}\n{}", lab.story());
        assert_eq!(
            answers,
            if nth == 0 {
                6
            } else if last {
                10
            } else {
                5
            },
            "{nth}\n{}",
            lab.story()
        );
        let at = if followed == 1 { "203.0.113.2" } else { "203.0.113.1" };
        assert_eq!(remote(&lab), [ip(at)], "{nth}\n{}", lab.story());
        let deleted = lab
            .gateway
            .read()
            .iter()
            .any(|line| line.starts_with("INFORMATIONAL request") && line.contains(" D "));
        assert_eq!(deleted, last, "{nth}\n{}", lab.story());
        lab.advance(40, &mut honest);
        lab.finish();
    }
}

/// RFC 5685 §10: the protocol is not symmetric: a gateway is not sent anywhere. And rubbish is not followed by a client.
#[test]
fn a_redirect_by_the_wrong_end_or_of_no_sense() {
    let mut lab = Lab::with(Auth::Psk, two_addresses);
    assert_eq!(lab.connect(&mut honest), Some(Ok(())));
    let (spi_i, spi_r) = lab.spis();
    let keys = lab.gateway_keys((spi_i, spi_r)).cloned().expect("keys");
    let mut header = adit_wire::Header {
        spi_i,
        spi_r,
        next: PayloadType::NONE,
        major: 2,
        minor: 0,
        exchange: ExchangeType::INFORMATIONAL,
        flags: adit_wire::Flags { initiator: true, response: false, version: false },
        message_id: 2,
        length: 0,
    };
    let sas = lab.gateway.endpoint.stats().ike_sas;
    for _ in 0..3 {
        lab.forget();
        let (first, plain) = wire::join(&[redirect()]);
        let message = wire::seal(&keys, &header, first, None, &plain);
        lab.send(&message);
        assert_eq!(lab.answers, [(ExchangeType::INFORMATIONAL, Vec::new())], "{}", lab.story());
        let stats = lab.gateway.endpoint.stats();
        assert_eq!((stats.redirects_followed, stats.ike_sas), (0, sas), "{}", lab.story());
        assert!(lab.noticed());
        header.message_id += 1;
    }
    lab.clean();

    for body in [
        vec![0, 0, 0x40, 0x17],
        vec![0, 0, 0x40, 0x17, 1, 4, 0, 0, 0, 0],
        vec![0, 0, 0x40, 0x17, 1, 255, 203, 0, 113, 2],
        vec![0, 0, 0x40, 0x17, 3, 4, b'a', 0, b'b', b'\n'],
        vec![0, 0, 0x40, 0x17, 200, 4, 203, 0, 113, 2],
    ] {
        assert_eq!(lab.connect(&mut honest), Some(Ok(())));
        lab.forget();
        let (id, _) = lab.ids(End::Gateway).unwrap();
        let gateway = "203.0.113.2".parse().unwrap();
        lab.command(End::Gateway, adit_ike::Command::Redirect { id, gateway, tag: 0 }, &mut |msg| {
            if !msg.to_gateway && msg.is(ExchangeType::INFORMATIONAL, false) && msg.has(PayloadType::NOTIFY) {
                msg.chain[0].body.clone_from(&body);
            }
        });
        assert_eq!(remote(&lab), [ip("203.0.113.1")], "{body:?}\n{}", lab.story());
        assert!(lab.agrees() && lab.noticed(), "{}", lab.story());
        lab.clean();
    }
    lab.finish();
}
