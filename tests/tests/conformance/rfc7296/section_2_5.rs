//! §2.5: Version Numbers and Forward Compatibility.

use adit_wire::{ExchangeType, Header, NotifyType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::setup::Auth;
use crate::wire::{self, Raw};

const UNSUPPORTED_CRITICAL: u16 = 1;

//= rfc7296 2.5-1, 2.5-4
#[test]
fn a_higher_minor_version_is_taken_and_answered_with_ours() {
    let mut lab = Lab::new(Auth::Psk);
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        if msg.is(ExchangeType::IKE_SA_INIT, false) {
            // The signed octets change with it: IKE_AUTH fails then, as it must, but INIT is answered.
            msg.header.minor = 7;
        }
        if msg.is(ExchangeType::IKE_SA_INIT, true) {
            assert_eq!((msg.header.major, msg.header.minor), (2, 0));
        }
    });
    assert!(matches!(outcome, Some(Err(_))));
    assert!(lab.answers.iter().any(|(_, chain)| chain.iter().any(|raw| raw.kind == PayloadType::SA.0)));
    lab.clean();
    assert_eq!(lab.connect(&mut honest), Some(Ok(())));
    lab.forget();
    let header = Header { minor: 9, ..lab.request(ExchangeType::INFORMATIONAL, 2) };
    let message = wire::seal(lab.gateway_keys(lab.spis()).unwrap(), &header, 0, None, &[]);
    lab.send(&message);
    assert_eq!(lab.answers, vec![(ExchangeType::INFORMATIONAL, Vec::new())], "{}", lab.story());
    lab.finish();
}

//= rfc7296 2.5-2
#[test]
fn a_higher_major_version_is_dropped_with_a_notify_that_names_ours() {
    let mut lab = Lab::connected(Auth::Psk);
    for major in [3, 15] {
        lab.forget();
        let header = Header { major, ..lab.request(ExchangeType::INFORMATIONAL, 2) };
        let message = wire::seal(lab.gateway_keys(lab.spis()).unwrap(), &header, 0, None, &[]);
        lab.send(&message);
        assert_eq!(lab.errors(), [NotifyType::INVALID_MAJOR_VERSION.0], "{}", lab.story());
        assert!(lab.is_in());
    }
    lab.answers_ping(2);
    lab.finish();
}

//= rfc7296 2.5-6
#[test]
fn reserved_fields_are_sent_as_zero_and_not_looked_at() {
    let mut lab = Lab::new(Auth::Psk);
    let mut seen = 0;
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        for raw in &mut msg.chain {
            assert_eq!(raw.flags, 0, "RESERVED, and no critical bit");
            // Places of RESERVED in the bodies: §3.4, §3.5, §3.8, §3.13.
            let reserved = match raw.kind {
                34 => 2..4,
                35 | 36 | 39 => 1..4,
                44 | 45 => 1..4,
                _ => 0..0,
            };
            assert!(raw.body[reserved.clone()].iter().all(|octet| *octet == 0), "{raw:?}");
            seen += 1;
            // The signed octets hold what was sent: in INIT and in the identities nothing can be changed on the way.
            if msg.protected && msg.to_gateway && ![35, 36].contains(&raw.kind) {
                raw.flags = 0x7f;
                raw.body[reserved].fill(0xff);
            }
        }
    });
    assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
    assert!(seen > 12);
    lab.finish();
}

//= rfc7296 2.5-7, 2.5-9
#[test]
fn unknown_payloads_are_skipped() {
    let mut lab = Lab::new(Auth::Psk);
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        if msg.protected {
            for at in [0, msg.chain.len()] {
                msg.chain.insert(at, Raw { kind: 200, flags: 0, body: vec![1, 2, 3], length: None });
            }
        }
    });
    assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
    lab.finish();
}

//= rfc7296 2.5-8
#[test]
fn an_unknown_critical_payload_is_refused_by_name() {
    let mut lab = Lab::connected(Auth::Psk);
    let critical = Raw { kind: 200, flags: 0x80, body: vec![1, 2, 3], length: None };
    let message = lab.sealed(ExchangeType::INFORMATIONAL, 2, &[critical]);
    lab.send(&message);
    assert_eq!(lab.errors(), [UNSUPPORTED_CRITICAL], "{}", lab.story());
    let notify = &lab.answers[0].1[0];
    assert_eq!(notify.body[4..], [200], "the data is the payload type");
    assert!(lab.is_in());
    lab.answers_ping(3);
    lab.finish();
}

//= rfc7296 2.5-10
#[test]
fn no_response_has_a_critical_bit() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        let mut lab = Lab::new(auth);
        assert_eq!(lab.connect(&mut honest), Some(Ok(())));
        let (ike, child) = lab.ids(crate::net::End::Client).unwrap();
        for command in [adit_ike::Command::RekeyChild { id: child }, adit_ike::Command::RekeyIke { id: ike }]
        {
            lab.command(crate::net::End::Client, command, &mut honest);
        }
        assert!(lab.answers.len() >= 5);
        assert!(lab.answers.iter().flat_map(|(_, chain)| chain).all(|raw| raw.flags & 0x80 == 0));
        lab.finish();
    }
}

//= rfc7296 2.5-11
#[test]
fn payloads_come_in_any_order() {
    for (exchange, auth) in [
        (ExchangeType::IKE_AUTH, Auth::Psk),
        (ExchangeType::IKE_AUTH, Auth::EapAndPsk),
        (ExchangeType::CREATE_CHILD_SA, Auth::Psk),
    ] {
        let mut lab = Lab::new(auth);
        let mut bend = |msg: &mut Msg| {
            if msg.header.exchange == exchange {
                msg.chain.reverse();
            }
        };
        assert_eq!(lab.connect(&mut bend), Some(Ok(())), "{}", lab.story());
        let (_, id) = lab.ids(crate::net::End::Client).unwrap();
        lab.command(crate::net::End::Client, adit_ike::Command::RekeyChild { id }, &mut bend);
        assert!(lab.is_in() && lab.errors().is_empty(), "{}", lab.story());
        lab.finish();
    }
}
