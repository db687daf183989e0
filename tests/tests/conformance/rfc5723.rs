//! RFC 5723: IKEv2 Session Resumption.

use std::sync::Arc;
use std::time::Duration;

use adit_crypto::Secret;
use adit_ike::{ChildAction, Command, Event, Settings};
use adit_wire::{Envelope, ExchangeType, Flags, Header, NotifyType, Payload, PayloadType, emit_clear};

use crate::lab::{Lab, Msg, honest};
use crate::net::{Captured, End};
use crate::pair::{Pair, SECOND, settle};
use crate::pki::UNIX;
use crate::setup::{Auth, Setup, secret};
use crate::wire::Raw;

const TICKET_LT_OPAQUE: u16 = 16409;
const TICKET_REQUEST: u16 = 16410;
const TICKET_NACK: u16 = 16412;
const TICKET_OPAQUE: u16 = 16413;

/// Tickets and quick crash detection, so that the client notices at once.
fn turn(setup: &mut Setup) {
    setup.gateway.settings.ticket_secrets = vec![Secret::from(vec![3; 32])];
    setup.gateway.settings.quick_crash_secrets = vec![Secret::from(vec![4; 32])];
    setup.client.settings.resume = true;
    setup.client.child().dpd_action = ChildAction { trap: false, start: true };
}

fn up(auth: Auth, more: impl FnOnce(&mut Setup)) -> Pair {
    up_from(7, auth, more)
}

fn up_from(seed: u64, auth: Auth, more: impl FnOnce(&mut Setup)) -> Pair {
    let mut setup = Setup::new(auth);
    turn(&mut setup);
    more(&mut setup);
    let mut pair = Pair::new(setup, seed);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    settle(&mut pair);
    pair
}

/// The gateway loses everything but its secrets, and the client notices.
fn lose_state(pair: &mut Pair) {
    pair.net.capture.clear();
    pair.crash(End::Gateway);
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
}

fn message(captured: &Captured) -> &[u8] {
    captured.bytes.strip_prefix(&[0; 4]).unwrap_or(&captured.bytes)
}

fn header(captured: &Captured) -> Header {
    Header::parse(message(captured)).unwrap()
}

/// How often each exchange was begun.
fn begun(pair: &Pair, exchange: ExchangeType) -> usize {
    let is = |it: &&Captured| header(it).exchange == exchange && !header(it).flags.response;
    pair.net.capture.iter().filter(is).count()
}

fn find(chain: &[Raw], kind: u16) -> Option<&Raw> {
    chain.iter().find(|raw| raw.kind == PayloadType::NOTIFY.0 && raw.body[2..4] == kind.to_be_bytes())
}

fn lab(auth: Auth) -> Lab {
    Lab::with(auth, turn)
}

//= rfc5723 4.1-2, 4.1-3, 4.2-1, 6.2-3, 7-1
#[test]
fn a_ticket_is_asked_for_first_and_given_last() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        let mut lab = lab(auth);
        let (mut asked, mut given, mut last) = (Vec::new(), Vec::new(), 0);
        let outcome = lab.connect(&mut |msg: &mut Msg| {
            last = last.max(msg.header.message_id);
            if let Some(raw) = find(&msg.chain, TICKET_REQUEST) {
                assert_eq!(raw.body, [0, 0, 0x40, 0x1a], "neither protocol nor SPI nor data");
                asked.push((msg.header.exchange, msg.header.message_id));
            }
            if let Some(raw) = find(&msg.chain, TICKET_LT_OPAQUE) {
                assert_eq!(raw.body[..2], [0, 0]);
                let lifetime = u32::from_be_bytes(raw.body[4..8].try_into().unwrap());
                // No longer than the lab's limit, and not for ever.
                assert_eq!(lifetime, 8 * 3600);
                given.push((msg.header.exchange, msg.header.message_id));
            }
        });
        assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
        assert_eq!(asked, [(ExchangeType::IKE_AUTH, 1)]);
        assert_eq!(given, [(ExchangeType::IKE_AUTH, last)]);
        lab.finish();
    }
}

//= rfc5723 4.1-2
#[test]
fn who_gives_no_tickets_says_nothing() {
    let mut lab = Lab::with(Auth::Psk, |setup| setup.client.settings.resume = true);
    let mut said = 0;
    lab.connect(&mut |msg: &mut Msg| {
        said += usize::from(!msg.to_gateway && (16409..=16413).any(|kind| find(&msg.chain, kind).is_some()));
    });
    assert!(said == 0 && lab.is_in());
    lab.finish();
}

//= rfc5723 4.3.2-1, 4.3.2-2, 4.3.3-1, 5-3
#[test]
fn a_gateway_that_lost_its_state_has_its_client_back_without_a_key_exchange() {
    for auth in [Auth::Psk, Auth::EapAndPsk, Auth::Cert(crate::pki::Algorithm::Ed25519)] {
        let mut pair = up(auth, |_| {});
        let old = pair.views(End::Client)[0].clone();
        lose_state(&mut pair);
        settle(&mut pair);
        let new = pair.views(End::Client)[0].clone();
        assert!(old.spi_i != new.spi_i && old.spi_r != new.spi_r);
        assert_eq!((old.remote_id, old.local_id, old.encr), (new.remote_id, new.local_id, new.encr));
        assert_eq!(new.children.len(), 1, "{}", pair.story());
        assert_eq!(
            (begun(&pair, ExchangeType::IKE_SESSION_RESUME), begun(&pair, ExchangeType::IKE_SA_INIT)),
            (1, 0),
            "{}",
            pair.story()
        );
        // One IKE_AUTH exchange, whatever the method was.
        assert_eq!(begun(&pair, ExchangeType::IKE_AUTH), 1);
        assert_eq!(pair.gateway.endpoint.stats().resumed, 1);
        pair.shut_down().unwrap();
    }
}

/// Connects, has the gateway lose its state, and lets the client come back through `bend`.
fn come_back(lab: &mut Lab, bend: &mut dyn FnMut(&mut Msg)) {
    assert_eq!(lab.connect(&mut honest), Some(Ok(())), "{}", lab.story());
    let (_, child) = lab.ids(End::Client).unwrap();
    // The bystander's IKE_SA goes with it.
    let (settings, config) = (lab.setup.gateway.settings.clone(), lab.gateway_config());
    lab.gateway.crash(lab.now, settings, config, 99, UNIX);
    lab.forget();
    lab.command(End::Client, Command::RekeyChild { id: child }, bend);
    lab.advance(3, bend);
}

//= rfc5723 4.3.3-2, 4.3.3-3, 4.3.3-4
#[test]
fn the_identities_are_those_of_the_ticket_and_no_certificate_comes() {
    for auth in [Auth::Psk, Auth::Cert(crate::pki::Algorithm::Ed25519)] {
        let mut lab = lab(auth);
        let mut ids = Vec::new();
        come_back(&mut lab, &mut |msg: &mut Msg| {
            if msg.header.exchange == ExchangeType::IKE_AUTH {
                assert!(
                    !msg.has(PayloadType::CERT)
                        && !msg.has(PayloadType::CERTREQ)
                        && !msg.has(PayloadType::EAP)
                );
                ids.extend([PayloadType::IDI, PayloadType::IDR].iter().filter_map(|kind| {
                    msg.chain.iter().find(|raw| raw.kind == kind.0).map(|raw| raw.body[4..].to_vec())
                }));
            }
        });
        assert!(lab.is_in(), "{}", lab.story());
        let (client, gateway) = (crate::setup::CLIENT.as_bytes(), crate::setup::GATEWAY.as_bytes());
        if auth == Auth::Psk {
            assert_eq!(ids, [client, gateway, gateway]);
        } else {
            assert!(ids.len() == 3 && ids[1] == ids[2]);
        }
    }
}

//= rfc5723 4.3.3-2, 4.3.3-4
#[test]
fn another_identity_than_the_tickets_is_refused() {
    for kind in [PayloadType::IDI, PayloadType::IDR] {
        for to_gateway in [true, false] {
            if !to_gateway && kind == PayloadType::IDI {
                continue;
            }
            let mut lab = lab(Auth::Psk);
            let mut bent = 0;
            come_back(&mut lab, &mut |msg: &mut Msg| {
                let resumed = msg.header.exchange == ExchangeType::IKE_AUTH && bent == 0;
                if resumed && msg.to_gateway == to_gateway && msg.has(kind) {
                    *msg.body(kind).last_mut().unwrap() ^= 1;
                    bent += 1;
                }
            });
            assert_eq!(bent, 1, "{}", lab.story());
            let told = |event: &Event| matches!(event, Event::Failure { reason, .. } if reason.label() == "ticket-mismatch");
            let host = if to_gateway { &lab.gateway } else { &lab.mallory };
            assert!(host.events.iter().any(|(_, event)| told(event)), "{}", lab.story());
        }
    }
}

#[test]
fn a_proof_that_was_not_made_with_the_tickets_key_is_refused() {
    for flip in [0, 7, 31] {
        let mut lab = lab(Auth::Psk);
        let mut bent = 0;
        come_back(&mut lab, &mut |msg: &mut Msg| {
            if msg.is(ExchangeType::IKE_AUTH, false) && bent == 0 {
                msg.body(PayloadType::AUTH)[4 + flip] ^= 1;
                bent += 1;
            }
        });
        assert!(bent == 1 && lab.errors().contains(&24), "{}", lab.story());
    }
}

//= rfc5723 4.3.1-2
#[test]
fn a_ticket_is_presented_once() {
    let mut pair = up(Auth::Psk, |_| {});
    lose_state(&mut pair);
    settle(&mut pair);
    let tickets: Vec<Vec<u8>> = presented(&pair);
    assert_eq!(tickets.len(), 1);
    // The new IKE_SA has a ticket of its own. (What is lost again so soon is brought back after a pause.)
    lose_state(&mut pair);
    pair.run_for(10 * SECOND);
    settle(&mut pair);
    let again = presented(&pair);
    assert_eq!(again.len(), 1, "{}", pair.story());
    assert_ne!(tickets, again);
}

fn presented(pair: &Pair) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for captured in &pair.net.capture {
        let envelope = Envelope::parse(message(captured)).unwrap();
        for payload in &envelope.clear {
            if let Payload::Notify { kind, data, .. } = payload
                && kind.0 == TICKET_OPAQUE
            {
                found.push(data.clone());
            }
        }
    }
    found
}

/// Somebody sends this IKE_SESSION_RESUME request to the gateway; the notifies of the answer, and whether it has a nonce.
fn resume_with(pair: &mut Pair, ticket: &[u8]) -> (Vec<u16>, bool) {
    let flags = Flags { initiator: true, response: false, version: false };
    let header = Header {
        spi_i: 0x5500_0000_0000_00aa,
        spi_r: 0,
        next: PayloadType::NONE,
        major: 2,
        minor: 0,
        exchange: ExchangeType::IKE_SESSION_RESUME,
        flags,
        message_id: 0,
        length: 0,
    };
    let payloads = [Payload::Nonce(vec![9; 32]), Payload::notify(NotifyType::TICKET_OPAQUE, ticket.to_vec())];
    let bytes = emit_clear(&header, &payloads).unwrap();
    pair.net.capture.clear();
    let now = pair.now;
    pair.net.fly(
        now,
        End::Gateway,
        "192.0.2.10:500".parse().unwrap(),
        "203.0.113.1:500".parse().unwrap(),
        bytes,
    );
    pair.run_for(SECOND / 10);
    let answer = pair.net.capture.iter().find(|it| header_is_answer(it)).unwrap_or_else(|| {
        panic!("no answer to {ticket:02x?} {:?}\n{}", pair.gateway.endpoint.stats(), pair.story())
    });
    let envelope = Envelope::parse(message(answer)).unwrap();
    let notifies = envelope.clear.iter().filter_map(|payload| match payload {
        Payload::Notify { kind, .. } => Some(kind.0),
        _ => None,
    });
    (notifies.collect(), envelope.clear.iter().any(|payload| matches!(payload, Payload::Nonce(_))))
}

fn header_is_answer(captured: &Captured) -> bool {
    let header = header(captured);
    captured.from == End::Gateway
        && header.flags.response
        && header.exchange == ExchangeType::IKE_SESSION_RESUME
}

//= rfc5723 4.3.2-2, 6.2-3
#[test]
fn used_expired_and_forged_tickets_are_refused() {
    let mut pair = up(Auth::Psk, |setup| setup.gateway.settings.ticket_lifetime = Duration::from_secs(900));
    lose_state(&mut pair);
    settle(&mut pair);
    let used = presented(&pair).remove(0);
    assert_eq!(resume_with(&mut pair, &used), (vec![TICKET_NACK], false));
    for forged in [vec![], vec![1; 19], vec![2; 300], used[..used.len() - 1].to_vec()] {
        assert_eq!(resume_with(&mut pair, &forged), (vec![TICKET_NACK], false));
    }
    // A fresh one that nobody has presented, from another pair with the same secrets: good, and then too old.
    let mut other =
        up_from(8, Auth::Psk, |setup| setup.gateway.settings.ticket_lifetime = Duration::from_secs(900));
    lose_state(&mut other);
    other.run_for(SECOND);
    let fresh = presented(&other).remove(0);
    let (notifies, nonce) = resume_with(&mut pair, &fresh);
    assert!(nonce && !notifies.contains(&TICKET_NACK), "{notifies:?}");
    pair.run_for(1000 * SECOND);
    assert_eq!(resume_with(&mut pair, &fresh), (vec![TICKET_NACK], false));
}

//= rfc5723 6.2-2
#[test]
fn a_ticket_of_somebody_who_is_no_longer_admitted_is_refused() {
    // The secret goes, the connection goes, the connection is for somebody else.
    for case in 0..3 {
        let mut pair = up(Auth::Psk, |_| {});
        pair.net.capture.clear();
        pair.crash(End::Gateway);
        let mut config = (*pair.setup.gateway.config()).clone();
        match case {
            0 => config.credentials = Arc::default(),
            1 => config.connections.clear(),
            _ => {
                let mut conn = (*config.connections[0]).clone();
                conn.remote.id = crate::setup::id("somebody.else");
                config.connections[0] = Arc::new(conn);
            }
        }
        pair.command(End::Gateway, Command::SetConfig(Arc::new(config)));
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, Command::RekeyChild { id });
        pair.run_for(5 * SECOND);
        assert_eq!(begun(&pair, ExchangeType::IKE_SESSION_RESUME), 1, "{}", pair.story());
        assert!(begun(&pair, ExchangeType::IKE_SA_INIT) >= 1, "a regular exchange follows\n{}", pair.story());
        assert_eq!(pair.gateway.endpoint.stats().resumed, 0);
    }
}

//= rfc5723 4.3.1-1
#[test]
fn an_expired_ticket_is_not_presented() {
    let mut pair = up(Auth::Psk, |setup| setup.gateway.settings.ticket_lifetime = Duration::from_secs(60));
    pair.run_for(70 * SECOND);
    lose_state(&mut pair);
    settle(&mut pair);
    assert_eq!(begun(&pair, ExchangeType::IKE_SESSION_RESUME), 0);
    assert_eq!(begun(&pair, ExchangeType::IKE_SA_INIT), 1);
}

//= rfc5723 6.2-1
#[test]
fn with_the_ike_sa_goes_its_ticket() {
    for end in End::BOTH {
        let mut pair = up(Auth::Psk, |_| {});
        pair.terminate(end).unwrap();
        settle(&mut pair);
        pair.net.capture.clear();
        pair.up(End::Client).unwrap();
        assert_eq!(begun(&pair, ExchangeType::IKE_SESSION_RESUME), 0, "{}", pair.story());
    }
}

//= rfc5723 4.1-1
#[test]
fn after_a_rekeying_the_client_asks_for_a_new_ticket() {
    for end in End::BOTH {
        let mut lab = lab(Auth::Psk);
        assert_eq!(lab.connect(&mut honest), Some(Ok(())));
        let (id, _) = lab.ids(end).unwrap();
        let (mut asked, mut given) = (Vec::new(), 0);
        lab.command(end, Command::RekeyIke { id }, &mut |msg: &mut Msg| {
            if find(&msg.chain, TICKET_REQUEST).is_some() {
                asked.push((msg.to_gateway, msg.header.exchange));
            }
            given += usize::from(find(&msg.chain, TICKET_LT_OPAQUE).is_some());
        });
        assert_eq!((asked, given), (vec![(true, ExchangeType::INFORMATIONAL)], 1), "{}", lab.story());
        lab.finish();
    }
    // And that one is good.
    let mut pair = up(Auth::Psk, |_| {});
    let id = pair.ikes(End::Gateway)[0];
    pair.command(End::Gateway, Command::RekeyIke { id });
    settle(&mut pair);
    lose_state(&mut pair);
    settle(&mut pair);
    assert_eq!(pair.gateway.endpoint.stats().resumed, 1, "{}", pair.story());
}

//= rfc5723 9.4-1
#[test]
fn an_untrusted_message_makes_nobody_resume() {
    let mut lab = lab(Auth::Psk);
    assert_eq!(lab.connect(&mut honest), Some(Ok(())));
    lab.advance(60, &mut honest);
    let sa = lab.mallory.endpoint.ike_sas().next().unwrap();
    let flags = Flags { initiator: false, response: true, version: false };
    let header =
        Header { spi_i: sa.spi_i, spi_r: sa.spi_r, flags, ..lab.request(ExchangeType::INFORMATIONAL, 2) };
    for kind in [NotifyType::INVALID_IKE_SPI, NotifyType::INVALID_SPI, NotifyType::AUTHENTICATION_FAILED] {
        let message = emit_clear(&header, &[Payload::notify(kind, Vec::new())]).unwrap();
        lab.arrive(
            "203.0.113.1:4500".parse().unwrap(),
            "192.0.2.10:4500".parse().unwrap(),
            &[&[0; 4], &message[..]].concat(),
        );
        lab.pump(&mut |msg: &mut Msg| assert_ne!(msg.header.exchange, ExchangeType::IKE_SESSION_RESUME));
    }
    assert!(lab.is_in());
}

//= rfc5723 5-1
#[test]
fn who_the_client_proved_to_be_by_eap_is_known_after_the_resumption() {
    let mut pair = up(Auth::EapAndPsk, |_| {});
    let before = pair.views(End::Gateway)[0].remote_eap_id.clone();
    assert!(before.is_some());
    lose_state(&mut pair);
    settle(&mut pair);
    assert_eq!(pair.gateway.endpoint.stats().resumed, 1, "{}", pair.story());
    assert_eq!(pair.views(End::Gateway)[0].remote_eap_id, before);
    // A user whose password is gone does not come back by an old ticket.
    pair.net.capture.clear();
    pair.crash(End::Gateway);
    let mut config = (*pair.setup.gateway.config()).clone();
    let mut credentials = (*config.credentials).clone();
    credentials.eap = vec![secret(&["bob"], "builder")];
    config.credentials = Arc::new(credentials);
    pair.command(End::Gateway, Command::SetConfig(Arc::new(config)));
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
    pair.run_for(5 * SECOND);
    assert_eq!(pair.gateway.endpoint.stats().resumed, 0, "{}", pair.story());
}

#[test]
fn a_gateway_that_still_has_the_old_one_drops_it_without_a_word() {
    let mut pair = up(Auth::Psk, |setup| setup.gateway.conn.dpd_delay = Duration::ZERO);
    let old = pair.ikes(End::Gateway)[0];
    // Only the client thinks that the gateway is gone.
    pair.net.links[1].loss = 100;
    let deadline = pair.now + 600 * SECOND;
    assert!(pair.run_until(deadline, |pair| begun(pair, ExchangeType::IKE_SESSION_RESUME) > 0));
    assert!(pair.ikes(End::Gateway).contains(&old));
    pair.net.links[1] = crate::net::Link::CLEAN;
    settle(&mut pair);
    assert_eq!(pair.gateway.endpoint.stats().resumed, 1, "{}", pair.story());
    assert_eq!(pair.ikes(End::Gateway).len(), 1);
    assert!(!pair.ikes(End::Gateway).contains(&old), "{}", pair.story());
    pair.shut_down().unwrap();
}

#[test]
fn a_cookie_is_demanded_and_shown() {
    let mut pair = up(Auth::Psk, |_| {});
    let settings = pair.gateway.endpoint.settings().clone();
    pair.setup.gateway.settings = Settings { cookie_threshold: 1, cookie_threshold_ip: 1, ..settings };
    pair.setup.half_open = 0;
    lose_state(&mut pair);
    settle(&mut pair);
    assert_eq!(pair.gateway.endpoint.stats().resumed, 1, "{}", pair.story());
}

//= rfc5723 4.3.2-2
#[test]
fn a_ticket_of_an_ike_sa_that_ended_in_order_is_refused() {
    let mut lab = lab(Auth::Psk);
    let mut ticket = Vec::new();
    lab.connect(&mut |msg: &mut Msg| {
        if let Some(raw) = find(&msg.chain, TICKET_LT_OPAQUE) {
            ticket = raw.body[8..].to_vec();
        }
    });
    let flags = Flags { initiator: true, response: false, version: false };
    let header = Header {
        spi_i: 0x5500_0000_0000_00bb,
        spi_r: 0,
        flags,
        ..lab.request(ExchangeType::IKE_SESSION_RESUME, 0)
    };
    let (id, _) = lab.ids(End::Gateway).unwrap();
    lab.command(End::Gateway, Command::TerminateIke { id, force: false, tag: 0 }, &mut honest);
    assert!(!lab.is_in());
    // Mallory has kept it.
    let payloads = [Payload::Nonce(vec![9; 32]), Payload::notify(NotifyType::TICKET_OPAQUE, ticket)];
    let message = emit_clear(&header, &payloads).unwrap();
    let (from, to) = ("192.0.2.10:500".parse().unwrap(), "203.0.113.1:500".parse().unwrap());
    lab.gateway.receive(lab.now, from, to, &message);
    let answer = lab.gateway.endpoint.poll_transmit().expect("an answer");
    let envelope = Envelope::parse(&answer.bytes).unwrap();
    assert!(matches!(&envelope.clear[..], [Payload::Notify { kind, .. }] if kind.0 == TICKET_NACK));
}
