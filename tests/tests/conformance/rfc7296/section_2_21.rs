//! §2.21: Error Handling.

use adit_ike::{Command, IkeState};
use adit_wire::{ExchangeType, Flags, Header, PayloadType, emit_clear};

use super::{Talk, listen, notifies};
use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::setup::Auth;
use crate::wire::{self, Raw};

const UNSUPPORTED_CRITICAL: u16 = 1;
const INVALID_IKE_SPI: u16 = 4;
const INVALID_SYNTAX: u16 = 7;
const TS_UNACCEPTABLE: u16 = 38;

//= rfc7296 2.21.2-1
#[test]
fn a_malformed_ike_auth_request_has_one_notify_as_answer() {
    let critical = Raw { kind: 200, flags: 0x80, body: vec![1], length: None };
    let overlong = Raw { kind: 39, flags: 0, body: vec![2, 0, 0, 0], length: Some(5000) };
    for (raw, error) in [(critical, UNSUPPORTED_CRITICAL), (overlong, INVALID_SYNTAX)] {
        let mut lab = Lab::new(Auth::Psk);
        lab.connect(&mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_AUTH, false) {
                msg.chain.push(raw.clone());
            }
        });
        let auth: Vec<_> = lab.answers.iter().filter(|(it, _)| *it == ExchangeType::IKE_AUTH).collect();
        assert_eq!(auth.len(), 1, "{}", lab.story());
        assert_eq!((notifies(&auth[0].1), auth[0].1.len()), (vec![error], 1));
        assert!(!lab.is_in());
        lab.finish();
    }
}

//= rfc7296 2.21.2-2
#[test]
fn a_refused_child_does_not_fail_the_authentication() {
    let mut lab = Lab::with(Auth::Psk, |setup| {
        setup.gateway.ts(&["10.77.0.0/16"], &["10.78.0.0/16"]);
    });
    let (mut talk, mut established) = (Talk::new(), false);
    let outcome = {
        let mut listen = listen(&mut talk);
        lab.connect(&mut |msg: &mut Msg| listen(msg))
    };
    assert!(matches!(outcome, Some(Err(_))));
    let (_, _, answer) = talk
        .iter()
        .find(|(to, header, _)| !to && header.exchange == ExchangeType::IKE_AUTH)
        .expect("an answer");
    let errors: Vec<_> = notifies(answer).into_iter().filter(|kind| *kind < 16384).collect();
    assert_eq!(errors, [TS_UNACCEPTABLE]);
    assert!([PayloadType::IDR, PayloadType::AUTH].iter().all(|kind| answer.iter().any(|r| r.kind == kind.0)));
    for (_, event) in &lab.mallory.events {
        established |= matches!(event, adit_ike::Event::IkeEstablished { .. });
    }
    assert!(established, "{}", lab.story());
    // What it does with an IKE_SA of no use is its own affair: it deletes it in the protected way.
    assert!(talk.iter().skip(4).all(|(_, header, _)| header.exchange == ExchangeType::INFORMATIONAL));
    lab.finish();
}

//= rfc7296 2.21.3-1
#[test]
fn every_faulty_request_is_answered_with_an_error() {
    let chains = [
        vec![],
        vec![Raw::new(PayloadType::NONCE, [7; 32])],
        vec![Raw::new(PayloadType::SA, []), Raw::new(PayloadType::NONCE, [7; 32])],
        vec![Raw::new(PayloadType::NONCE, [7; 3])],
        vec![Raw { kind: 200, flags: 0x80, body: vec![], length: None }],
        vec![Raw::notify(16393, &[])],
    ];
    for chain in chains {
        let mut lab = Lab::connected(Auth::Psk);
        let message = lab.sealed(ExchangeType::CREATE_CHILD_SA, 2, &chain);
        lab.send(&message);
        assert_eq!(lab.errors().len(), 1, "{chain:?}\n{}", lab.story());
        // What cannot be read at all ends this very IKE_SA; everything else leaves it as it was.
        let unreadable = lab.errors() == [INVALID_SYNTAX] && !lab.is_in();
        assert!(unreadable || lab.gateway.sad.len() == 2, "{chain:?}");
        lab.clean();
    }
}

/// A protected message for SPIs that nobody has, of an exchange.
fn astray(lab: &Lab, exchange: ExchangeType, response: bool) -> Vec<u8> {
    let keys = lab.gateway_keys(lab.spis()).unwrap();
    let flags = Flags { initiator: true, response, version: false };
    let header = Header { spi_i: 77, spi_r: 78, flags, ..lab.request(exchange, 5) };
    wire::seal(keys, &header, 0, None, &[])
}

//= rfc7296 2.21.4-1
#[test]
fn a_response_for_nobody_is_not_answered() {
    let mut lab = Lab::connected(Auth::Psk);
    for exchange in [ExchangeType::INFORMATIONAL, ExchangeType::CREATE_CHILD_SA, ExchangeType::IKE_AUTH] {
        let message = astray(&lab, exchange, true);
        lab.send(&message);
    }
    assert!(lab.answers.is_empty() && lab.is_in(), "{}", lab.story());
    lab.finish();
}

//= rfc7296 2.21.4-2, 2.21.4-3
#[test]
fn a_request_for_nobody_is_told_so_in_the_clear() {
    let mut lab = Lab::connected(Auth::Psk);
    let message = astray(&lab, ExchangeType::INFORMATIONAL, false);
    let from = "192.0.2.99:4711".parse().unwrap();
    let to = "203.0.113.1:500".parse().unwrap();
    lab.gateway.receive(lab.now, from, to, &message);
    let transmit = lab.gateway.endpoint.poll_transmit().expect("an answer");
    assert_eq!((transmit.path.local, transmit.path.remote), (to, from));
    let header = Header::parse(&transmit.bytes).unwrap();
    assert_eq!((header.spi_i, header.spi_r, header.message_id), (77, 78, 5));
    assert!(header.flags.response && header.exchange == ExchangeType::INFORMATIONAL);
    let chain = wire::split(header.next.0, &transmit.bytes[28..]);
    assert_eq!(notifies(&chain), [INVALID_IKE_SPI]);
    assert!(lab.is_in());
}

//= rfc7296 2.21.4-4, 2.21.4-5, 2.3-9
#[test]
fn unprotected_notifies_change_nothing_and_are_not_answered() {
    let mut lab = Lab::connected(Auth::Psk);
    let before: Vec<_> = lab.gateway.endpoint.ike_sas().map(adit_ike::IkeSaView::into_owned).collect();
    for kind in [4, 5, 7, 9, 11, 14, 24, 43, 44, 16384, 16393, 16400] {
        for response in [false, true] {
            let flags = Flags { initiator: true, response, version: false };
            let header = Header { flags, ..lab.request(ExchangeType::INFORMATIONAL, 2) };
            let notify = adit_wire::Payload::notify(adit_wire::NotifyType(kind), vec![1, 2, 3, 4]);
            let message = emit_clear(&header, &[notify]).unwrap();
            lab.send(&message);
        }
    }
    assert!(lab.answers.is_empty(), "{}", lab.story());
    let after: Vec<_> = lab.gateway.endpoint.ike_sas().map(adit_ike::IkeSaView::into_owned).collect();
    let keys = |sas: &[adit_ike::Snapshot]| {
        let all = sas.iter().map(|sa| (sa.id, sa.state, sa.remote, sa.children.len()));
        all.collect::<Vec<(u32, IkeState, _, usize)>>()
    };
    assert_eq!(keys(&before), keys(&after));
    lab.finish();
}

#[test]
fn complaints_about_unknown_spis_are_limited() {
    let mut lab = Lab::connected(Auth::Psk);
    for _ in 0..2000 {
        let message = astray(&lab, ExchangeType::INFORMATIONAL, false);
        lab.send(&message);
    }
    assert!((1..=200).contains(&lab.answers.len()), "{}", lab.answers.len());
    let (_, id) = lab.ids(End::Client).unwrap();
    lab.forget();
    lab.command(End::Client, Command::RekeyChild { id }, &mut honest);
    assert!(lab.errors().is_empty());
    lab.finish();
}
