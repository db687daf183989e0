//! §2.4: State Synchronization and Connection Timeouts.

use adit_ike::Command;
use adit_wire::{ExchangeType, Flags, Header, NotifyType, Payload, PayloadType, emit_clear};

use super::{header, sent, up, up_with};
use crate::lab::{Lab, honest};
use crate::net::End;
use crate::pair::SECOND;
use crate::setup::Auth;
use crate::wire::Raw;

const INITIAL_CONTACT: u16 = 16384;

fn says_initial_contact(chain: &[Raw]) -> bool {
    chain.iter().any(|raw| raw.kind == 41 && raw.body[2..4] == INITIAL_CONTACT.to_be_bytes())
}

//= rfc7296 2.4-2
#[test]
fn initial_contact_is_said_in_the_first_ike_auth_only() {
    let mut lab = Lab::with(Auth::EapAndPsk, |setup| {
        setup.client.conn.unique = adit_ike::Unique::Replace;
    });
    let mut said = Vec::new();
    let mut note = |msg: &mut crate::lab::Msg| {
        if says_initial_contact(&msg.chain) {
            said.push((msg.header.exchange, msg.header.message_id));
        }
    };
    assert_eq!(lab.connect(&mut note), Some(Ok(())));
    let (ike, child) = lab.ids(End::Client).unwrap();
    lab.command(End::Client, Command::RekeyChild { id: child }, &mut note);
    lab.command(End::Client, Command::RekeyIke { id: ike }, &mut note);
    assert_eq!(said, [(ExchangeType::IKE_AUTH, 1)], "{}", lab.story());
    lab.finish();
}

/// An unprotected response that complains about the IKE_SA.
fn complaint(lab: &Lab, kind: NotifyType, mid: u32) -> Vec<u8> {
    let flags = Flags { initiator: true, response: true, version: false };
    let header = Header { flags, ..lab.request(ExchangeType::INFORMATIONAL, mid) };
    emit_clear(&header, &[Payload::notify(kind, Vec::new())]).unwrap()
}

//= rfc7296 2.4-3, 2.4-5, 2.21.4-4
#[test]
fn unprotected_complaints_are_hints_and_bounded_ones() {
    let mut lab = Lab::connected(Auth::Psk);
    lab.advance(60, &mut honest);
    lab.forget();
    let kinds = [NotifyType::INVALID_IKE_SPI, NotifyType::INVALID_SPI, NotifyType::AUTHENTICATION_FAILED];
    for n in 0..300 {
        let message = complaint(&lab, kinds[n % 3], n as u32);
        lab.send(&message);
    }
    // At most a liveness check comes of it, and the SA stays.
    assert!(lab.is_in() && lab.gateway.sad.len() == 2, "{}", lab.story());
    let requests = lab.answers.iter().filter(|(_, chain)| chain.is_empty()).count();
    assert!(lab.answers.len() == requests && requests <= 1, "{}", lab.story());
    lab.finish();
}

//= rfc7296 2.4-4, 2.4-6
#[test]
fn a_peer_is_dead_only_after_repeated_and_ever_rarer_attempts() {
    let mut pair = up();
    pair.net.cut = true;
    pair.run_for(600 * SECOND);
    let times: Vec<u64> = sent(&pair, End::Client, false).into_iter().map(|it| it.at).collect();
    let tries = pair.client.endpoint.settings().retransmit_tries as usize;
    assert_eq!(times.len(), 1 + tries, "{}", pair.story());
    let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[1] * 2 > pair[0] * 3), "{waits:?}");
    assert!(pair.client.endpoint.ike_sas().next().is_none());
}

//= rfc7296 2.4-4
#[test]
fn initial_contact_ends_the_older_ike_sas_of_the_same_identity() {
    let mut pair = up_with(|setup| {
        setup.client.conn.unique = adit_ike::Unique::Replace;
    });
    let old = pair.ikes(End::Gateway)[0];
    // The client forgets everything, as after a power failure, and comes back.
    pair.crash(End::Client);
    pair.up(End::Client).unwrap();
    pair.settle().unwrap();
    let now = pair.ikes(End::Gateway);
    assert!(now.len() == 1 && now[0] != old, "{}", pair.story());
}

//= rfc7296 2.4-8
#[test]
fn a_deleted_child_is_told_of() {
    let mut lab = Lab::connected(Auth::Psk);
    for end in End::BOTH {
        let (_, id) = lab.ids(end).unwrap();
        let spi = if end == End::Client { &lab.mallory } else { &lab.gateway }.sad[&id].sa.spi_in;
        let mut told = Vec::new();
        lab.command(end, Command::TerminateChild { id, tag: 0 }, &mut |msg| {
            if msg.is(ExchangeType::INFORMATIONAL, false) && msg.has(PayloadType::DELETE) {
                told.push(msg.body(PayloadType::DELETE).clone());
            }
        });
        // RFC 7296 §3.11: protocol 3, SPIs of 4 octets, one of them.
        assert_eq!(told, vec![[&[3, 4, 0, 1][..], &spi.to_be_bytes()].concat()], "{}", lab.story());
        lab.command(
            End::Client,
            Command::Initiate { conn: Some("site".into()), child: Some("net".into()), tag: 0, trigger: None },
            &mut honest,
        );
    }
    lab.finish();
}

//= rfc7296 2.4-3
#[test]
fn silence_alone_is_asked_about_first() {
    let mut pair = up();
    pair.run_for(200 * SECOND);
    // Nothing but liveness checks, each answered; the SA stands.
    let checks = sent(&pair, End::Client, false);
    assert!(checks.iter().all(|it| header(it).exchange == ExchangeType::INFORMATIONAL) && checks.len() >= 2);
    assert_eq!(pair.ikes(End::Client).len(), 1);
}
