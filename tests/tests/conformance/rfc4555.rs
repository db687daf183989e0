//! RFC 4555: IKEv2 Mobility and Multihoming Protocol (MOBIKE).

use std::net::SocketAddr;

use adit_ike::{Command, Event};
use adit_wire::{ExchangeType, PayloadType};

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::setup::{Auth, ip};
use crate::wire::Raw;

const UNACCEPTABLE_ADDRESSES: u16 = 40;
const UNEXPECTED_NAT_DETECTED: u16 = 41;
const NAT_DETECTION_SOURCE_IP: u16 = 16388;
const NAT_DETECTION_DESTINATION_IP: u16 = 16389;
const MOBIKE_SUPPORTED: u16 = 16396;
const ADDITIONAL_IP4_ADDRESS: u16 = 16397;
const UPDATE_SA_ADDRESSES: u16 = 16400;
const COOKIE2: u16 = 16401;
const NO_NATS_ALLOWED: u16 = 16402;

const GATEWAY: &str = "203.0.113.1:4500";
const HERE: &str = "192.0.2.10:4500";
const ELSEWHERE: &str = "198.18.5.5:4500";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn roaming(auth: Auth) -> Lab {
    Lab::with(auth, |setup| setup.roaming())
}

fn connected() -> Lab {
    let mut lab = roaming(Auth::Psk);
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    lab.forget();
    lab
}

fn find(chain: &[Raw], kind: u16) -> Option<&Raw> {
    chain.iter().find(|raw| raw.kind == PayloadType::NOTIFY.0 && raw.body[2..4] == kind.to_be_bytes())
}

/// Mallory's INFORMATIONAL request with these notifies, from that address.
fn ask(lab: &mut Lab, from: &str, mid: u32, chain: &[Raw]) {
    let message = lab.sealed(ExchangeType::INFORMATIONAL, mid, chain);
    lab.forget();
    lab.arrive(at(from), at(GATEWAY), &[&[0; 4], &message[..]].concat());
    lab.pump(&mut honest);
}

/// Where the gateway sends IKE messages and ESP of mallory's.
fn paths(lab: &Lab) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let (ike, child) = lab.ids(End::Gateway).expect("an IKE_SA");
    let sa = lab.gateway.endpoint.ike_sa(ike).expect("that IKE_SA");
    (sa.remote, lab.gateway.sad.get(&child).map(|entry| entry.remote))
}

//= rfc4555 3.2-1, 4.2.1-1
#[test]
fn support_is_said_with_the_sa_payload_and_nothing_in_it() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        let mut lab = roaming(auth);
        let mut said = Vec::new();
        let outcome = lab.connect(&mut |msg: &mut Msg| {
            if let Some(raw) = find(&msg.chain, MOBIKE_SUPPORTED) {
                assert_eq!((msg.header.exchange, raw.body.len()), (ExchangeType::IKE_AUTH, 4));
                assert!(msg.has(PayloadType::SA));
                said.push(msg.to_gateway);
            }
            // Whatever is in it is passed over.
            for raw in &mut msg.chain {
                if find(std::slice::from_ref(raw), MOBIKE_SUPPORTED).is_some() {
                    raw.body.extend([1, 2, 3]);
                }
            }
        });
        assert_eq!((outcome, said), (Some(Ok(())), vec![true, false]), "{}", lab.story());
        // It is in use: an update is carried out.
        let mid = if auth == Auth::Psk { 2 } else { 6 };
        ask(&mut lab, ELSEWHERE, mid, &[Raw::notify(UPDATE_SA_ADDRESSES, &[])]);
        assert_eq!(paths(&lab).0, Some(at(ELSEWHERE)), "{}", lab.story());
    }
}

//= rfc4555 3.7-1, 4.2.5-1
#[test]
fn cookie2_is_copied_as_it_is() {
    let mut lab = connected();
    for (mid, size) in [(2, 8), (3, 33), (4, 64)] {
        let data: Vec<u8> = (0..size).collect();
        ask(&mut lab, HERE, mid, &[Raw::notify(COOKIE2, &data)]);
        let [(_, chain)] = &lab.answers[..] else { panic!("one answer\n{}", lab.story()) };
        assert_eq!(find(chain, COOKIE2).map(|raw| &raw.body[4..]), Some(&data[..]));
    }
}

/// The gateway has other addresses from now on, and tells mallory so.
fn readdress(lab: &mut Lab, addresses: &[&str], bend: &mut dyn FnMut(&mut Msg)) {
    let addresses: Vec<_> = addresses.iter().map(|it| ip(it)).collect();
    lab.gateway.outside.addresses.clone_from(&addresses);
    lab.command(End::Gateway, Command::AddressesChanged { addresses }, bend);
    lab.advance(5, bend);
}

//= rfc4555 3.7-2, 3.7-3
#[test]
fn another_cookie2_in_the_answer_closes_the_ike_sa() {
    let mut lab = connected();
    let mut bent = 0;
    readdress(&mut lab, &["203.0.113.1", "203.0.113.77"], &mut |msg: &mut Msg| {
        for raw in &mut msg.chain {
            if msg.to_gateway && find(std::slice::from_ref(raw), COOKIE2).is_some() {
                raw.body[4] ^= 1;
                bent += 1;
            }
        }
    });
    assert!(bent == 1 && !lab.is_in(), "{}", lab.story());
    let told =
        |event: &Event| matches!(event, Event::Failure { reason, .. } if reason.label() == "unroutable");
    assert!(lab.gateway.events.iter().any(|(_, event)| told(event)), "{}", lab.story());
}

//= rfc4555 4.2.5-2
#[test]
fn our_cookie2_is_long_enough_and_another_each_time() {
    let mut lab = connected();
    let mut seen = Vec::new();
    for addresses in
        [&["203.0.113.1", "203.0.113.77"][..], &["203.0.113.1"], &["203.0.113.1", "203.0.113.78"]]
    {
        readdress(&mut lab, addresses, &mut |msg: &mut Msg| {
            if let Some(raw) = find(&msg.chain, COOKIE2).filter(|_| !msg.to_gateway) {
                assert!((8..=64).contains(&(raw.body.len() - 4)));
                assert!(!seen.contains(&raw.body));
                seen.push(raw.body.clone());
            }
        });
    }
    assert_eq!(seen.len(), 3, "{}", lab.story());
    assert!(lab.is_in());
}

//= rfc4555 3.8-1
#[test]
fn whoever_asks_how_it_is_seen_is_told_and_nothing_else_happens() {
    let mut lab = connected();
    let before = paths(&lab);
    let question =
        [Raw::notify(NAT_DETECTION_SOURCE_IP, &[7; 20]), Raw::notify(NAT_DETECTION_DESTINATION_IP, &[8; 20])];
    for (mid, from) in [(2, HERE), (3, ELSEWHERE)] {
        ask(&mut lab, from, mid, &question);
        let [(_, chain)] = &lab.answers[..] else { panic!("one answer\n{}", lab.story()) };
        assert!(
            [NAT_DETECTION_SOURCE_IP, NAT_DETECTION_DESTINATION_IP]
                .iter()
                .all(|it| find(chain, *it).is_some())
        );
        assert_eq!(paths(&lab), before, "{}", lab.story());
    }
}

//= rfc4555 3.8-2
#[test]
fn a_message_from_elsewhere_moves_nothing_by_itself() {
    let mut lab = connected();
    let before = paths(&lab);
    for (mid, chain) in [(2, vec![]), (3, vec![Raw::notify(ADDITIONAL_IP4_ADDRESS, &[198, 18, 5, 5])])] {
        ask(&mut lab, ELSEWHERE, mid, &chain);
        // It is answered where it came from.
        assert_eq!((lab.answers.len(), paths(&lab)), (1, before), "{}", lab.story());
    }
}

/// What NO_NATS_ALLOWED says of a message that goes from there to there (§4.2.6).
fn no_nats(from: &str, to: &str) -> Raw {
    let (from, to) = (at(from), at(to));
    let octets = |addr: SocketAddr| match addr.ip() {
        std::net::IpAddr::V4(addr) => addr.octets().to_vec(),
        std::net::IpAddr::V6(addr) => addr.octets().to_vec(),
    };
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    Raw::notify(NO_NATS_ALLOWED, &[octets(from), octets(to), ports].concat())
}

//= rfc4555 3.9-2, 3.9-3
#[test]
fn a_translated_address_is_refused_where_it_is_forbidden() {
    let mut lab = connected();
    let before = paths(&lab);
    let update = Raw::notify(UPDATE_SA_ADDRESSES, &[]);
    for (mid, claim) in [
        (2, no_nats(HERE, GATEWAY)),
        (3, Raw::notify(NO_NATS_ALLOWED, &[])),
        (4, no_nats(GATEWAY, ELSEWHERE)),
    ] {
        ask(&mut lab, ELSEWHERE, mid, &[claim, update.clone()]);
        assert_eq!((lab.errors(), paths(&lab)), (vec![UNEXPECTED_NAT_DETECTED], before), "{}", lab.story());
    }
    ask(&mut lab, ELSEWHERE, 5, &[no_nats(ELSEWHERE, GATEWAY), update]);
    assert!(lab.errors().is_empty(), "{}", lab.story());
    assert_eq!(paths(&lab).0, Some(at(ELSEWHERE)));
}

#[test]
fn esp_moves_only_to_where_the_peer_has_shown_that_it_receives() {
    let mut lab = connected();
    let before = paths(&lab);
    // Mallory sends the update as if from a victim, who answers no return routability check.
    ask(&mut lab, ELSEWHERE, 2, &[Raw::notify(UPDATE_SA_ADDRESSES, &[])]);
    assert_eq!(paths(&lab), (Some(at(ELSEWHERE)), before.1), "{}", lab.story());
    lab.advance(30, &mut honest);
    assert!(lab.ids(End::Gateway).is_none_or(|_| paths(&lab).1 == before.1), "{}", lab.story());
}

#[test]
fn addresses_that_are_nobodys_are_not_taken() {
    let mut lab = connected();
    for (n, from) in
        ["0.0.0.0:4500", "224.0.0.1:4500", "127.0.0.1:4500", "255.255.255.255:4500"].iter().enumerate()
    {
        ask(&mut lab, from, 2 + n as u32, &[Raw::notify(UPDATE_SA_ADDRESSES, &[])]);
        assert_eq!(
            (lab.errors(), paths(&lab).0),
            (vec![UNACCEPTABLE_ADDRESSES], Some(at(HERE))),
            "{}",
            lab.story()
        );
    }
    // Far too many: the first ones are kept, the others counted.
    let dropped = lab.gateway.endpoint.stats().dropped_addresses;
    let many: Vec<Raw> = (0..60).map(|n| Raw::notify(ADDITIONAL_IP4_ADDRESS, &[198, 18, 0, n])).collect();
    ask(&mut lab, HERE, 6, &many);
    assert_eq!(lab.gateway.endpoint.stats().dropped_addresses - dropped, 52, "{}", lab.story());
    assert!(lab.is_in());
}
