//! Notifies about one CHILD_SA that our own responder does not send, or not so: transport mode that was not asked for,
//! SINGLE_PAIR_REQUIRED, ESP_TFC_PADDING_NOT_SUPPORTED.

use std::sync::Arc;

use adit_ike::Command;
use adit_ipsec::PacketInfo;
use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::setup::{Auth, ip};
use crate::wire::Raw;

const SINGLE_PAIR_REQUIRED: u16 = 34;
const USE_TRANSPORT_MODE: u16 = 16391;
const ESP_TFC_PADDING_NOT_SUPPORTED: u16 = 16394;

fn notify(kind: u16) -> Raw {
    let [high, low] = kind.to_be_bytes();
    Raw { kind: PayloadType::NOTIFY.0, flags: 0, body: vec![0, 0, high, low], length: None }
}

fn answers(msg: &Msg) -> bool {
    msg.is(ExchangeType::CREATE_CHILD_SA, true) && !msg.to_gateway
}

#[test]
fn transport_mode_in_an_answer_that_was_not_asked_for_makes_no_child() {
    let mut lab = Lab::new(Auth::Psk);
    lab.connect(&mut |msg| {
        if msg.is(ExchangeType::IKE_AUTH, true) && !msg.to_gateway {
            msg.chain.push(notify(USE_TRANSPORT_MODE));
        }
    });
    assert!(lab.mallory.sad.is_empty(), "{}", lab.story());
    lab.clean();
    lab.finish();
}

#[test]
fn a_peer_that_takes_no_padding_gets_none() {
    let mut lab = Lab::with(Auth::Psk, |s| s.both(|side| side.child().tfc_padding = u16::MAX));
    for to_gateway in [true, false] {
        lab.connect(&mut |msg| {
            if msg.header.exchange == ExchangeType::IKE_AUTH && msg.to_gateway == to_gateway {
                msg.chain.push(notify(ESP_TFC_PADDING_NOT_SUPPORTED));
            }
        });
        let of_client = lab.mallory.sad.values().next().expect("a child").sa.tfc_padding;
        let of_gateway = lab.gateway.sad.values().last().expect("a child").sa.tfc_padding;
        let expected = if to_gateway { (u16::MAX, 0) } else { (0, u16::MAX) };
        assert_eq!((of_client, of_gateway), expected, "{}", lab.story());
        lab.clean();
    }
    lab.finish();
}

#[test]
fn a_peer_that_takes_single_pairs_only_is_asked_for_the_packets() {
    let mut lab = Lab::with(Auth::Psk, |s| s.add_child("voice", "10.11.0.0/16", "10.12.0.0/16"));
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    let packet = PacketInfo {
        src: ip("10.11.0.1"),
        dst: ip("10.12.0.1"),
        protocol: 17,
        src_port: 5000,
        dst_port: 5060,
        total_len: 100,
    };
    let ids: Vec<u32> =
        lab.mallory.sad.values().filter(|e| &*e.sa.name == "voice").map(|e| e.sa.id).collect();
    for id in ids {
        lab.command(End::Client, Command::TerminateChild { id, tag: 0 }, &mut honest);
    }
    let mut refused = 0;
    let trigger = Some(packet);
    let initiate = Command::Initiate { conn: None, child: Some(Arc::from("voice")), tag: 0, trigger };
    lab.command(End::Client, initiate, &mut |msg| {
        if answers(msg) && refused == 0 {
            refused += 1;
            msg.chain = vec![notify(SINGLE_PAIR_REQUIRED)];
        }
    });
    assert_eq!(refused, 1);
    let voice = lab.mallory.sad.values().find(|e| &*e.sa.name == "voice");
    let voice = voice.unwrap_or_else(|| panic!("no child\n{}", lab.story()));
    assert_eq!(
        (voice.sa.local_ts[0].to_string(), voice.sa.remote_ts[0].to_string()),
        ("10.11.0.1/32".into(), "10.12.0.1/32".into())
    );
    // Refused again, it is not asked for again.
    let id = voice.sa.id;
    lab.command(End::Client, Command::TerminateChild { id, tag: 0 }, &mut honest);
    let mut refused = 0;
    let initiate = Command::Initiate { conn: None, child: Some(Arc::from("voice")), tag: 0, trigger };
    lab.command(End::Client, initiate, &mut |msg| {
        if answers(msg) {
            refused += 1;
            msg.chain = vec![notify(SINGLE_PAIR_REQUIRED)];
        }
    });
    assert_eq!(refused, 2, "{}", lab.story());
    assert!(!lab.mallory.sad.values().any(|e| &*e.sa.name == "voice"));
}
