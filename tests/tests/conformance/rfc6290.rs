//! RFC 6290: A Quick Crash Detection Method for IKE.

use adit_crypto::Secret;
use adit_ike::{ChildAction, Command, Event, Settings};
use adit_wire::{Envelope, ExchangeType, Flags, Header, NotifyType, Payload, PayloadType, emit_clear};

use crate::lab::{Lab, Msg, honest};
use crate::net::End;
use crate::pair::{Pair, SECOND};
use crate::setup::{Auth, Setup};
use crate::wire::Raw;

const QCD_TOKEN: NotifyType = NotifyType::QUICK_CRASH_DETECTION;

fn secrets(numbers: &[u8]) -> Vec<Secret> {
    numbers.iter().map(|number| Secret::from(vec![*number; 32])).collect()
}

/// The gateway makes tokens; the client would have the tunnel back.
fn setup() -> Setup {
    let mut setup = Setup::new(Auth::Psk);
    setup.gateway.settings.quick_crash_secrets = secrets(&[1]);
    setup.client.child().dpd_action = ChildAction { trap: false, start: true };
    setup
}

fn up(setup: Setup) -> Pair {
    let mut pair = Pair::new(setup, 7);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    pair.settle().unwrap();
    pair.net.capture.clear();
    pair
}

/// Every unprotected message that an end sent, its payloads.
fn unprotected(pair: &Pair, from: End) -> Vec<(Header, Vec<Payload>)> {
    let of = pair.net.capture.iter().filter(|it| it.from == from);
    of.filter_map(|it| {
        let bytes = it.bytes.strip_prefix(&[0; 4]).unwrap_or(&it.bytes);
        let envelope = Envelope::parse(bytes).unwrap();
        let is = envelope.encrypted.is_none() && envelope.header.exchange != ExchangeType::IKE_SA_INIT;
        is.then_some((envelope.header, envelope.clear))
    })
    .collect()
}

fn tokens(payloads: &[Payload]) -> Vec<Vec<u8>> {
    let is = |it: &&Payload| matches!(it, Payload::Notify { kind, .. } if *kind == QCD_TOKEN);
    payloads
        .iter()
        .filter(is)
        .map(|it| {
            let Payload::Notify { protocol, spi, data, .. } = it else { unreachable!() };
            assert_eq!((*protocol, spi.len()), (1, 0));
            data.clone()
        })
        .collect()
}

/// Tokens in a chain inside of the protection, as octets behind the four of the notify.
fn raw_tokens(chain: &[Raw]) -> Vec<&Raw> {
    chain.iter().filter(|raw| raw.kind == 41 && raw.body[2..4] == QCD_TOKEN.0.to_be_bytes()).collect()
}

//= rfc6290 4.1-1, 4.1-2, 4.1-3, 5-1
#[test]
fn a_token_goes_with_ike_auth_and_follows_the_auth_payload() {
    let mut lab = Lab::with(Auth::Psk, |setup| {
        setup.gateway.settings.quick_crash_secrets = secrets(&[1]);
        setup.client.settings.quick_crash_secrets = secrets(&[2]);
        setup.road_warrior();
    });
    let mut seen = Vec::new();
    let outcome = lab.connect(&mut |msg: &mut Msg| {
        for raw in raw_tokens(&msg.chain) {
            assert_eq!(raw.body[..2], [1, 0], "protocol, no SPI");
            assert!((16..=128).contains(&(raw.body.len() - 4)));
            assert!(msg.protected && msg.header.exchange == ExchangeType::IKE_AUTH);
            seen.push((msg.to_gateway, raw.body.clone()));
        }
        if msg.is(ExchangeType::IKE_AUTH, true) {
            let at = |kind: PayloadType| msg.chain.iter().position(|raw| raw.kind == kind.0).unwrap();
            let token = msg.chain.iter().position(|raw| raw_tokens(std::slice::from_ref(raw)).len() == 1);
            assert!(at(PayloadType::AUTH) < token.unwrap() && token.unwrap() < at(PayloadType::CP));
        }
    });
    assert_eq!(outcome, Some(Ok(())), "{}", lab.story());
    assert_eq!(seen.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [true, false]);
    assert_ne!(seen[0].1, seen[1].1);
    lab.finish();
}

//= rfc6290 1.1-1, 3-1, 3-2, 3-3, 4.5-2, 5-2
#[test]
fn a_gateway_that_lost_its_state_proves_it_and_the_tunnel_comes_back_at_once() {
    let mut pair = up(setup());
    let old = pair.ikes(End::Client)[0];
    pair.crash(End::Gateway);
    let id = pair.children(End::Client)[0];
    let start = pair.now;
    pair.command(End::Client, Command::RekeyChild { id });
    pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
    assert!(pair.now - start < 3 * SECOND, "no retransmission was waited for\n{}", pair.story());
    assert!(pair.ikes(End::Client).len() == 1 && pair.ikes(End::Client)[0] != old);
    assert_eq!(pair.client.failures(), ["peer-lost-state"]);
    let told = unprotected(&pair, End::Gateway);
    assert_eq!(told.len(), 1);
    assert_eq!(tokens(&told[0].1).len(), 1);
    // RFC 6290 §4.5: for those who know no tokens.
    assert!(matches!(told[0].1[0], Payload::Notify { kind: NotifyType::INVALID_IKE_SPI, .. }));
    // Silently: the client sent no delete.
    assert!(unprotected(&pair, End::Client).is_empty());
}

//= rfc6290 3-4
#[test]
fn a_token_counts_from_wherever_it_comes() {
    let mut pair = up(setup());
    let header = {
        let sa = &pair.views(End::Client)[0];
        let flags = Flags { initiator: false, response: true, version: false };
        Header {
            spi_i: sa.spi_i,
            spi_r: sa.spi_r,
            next: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange: ExchangeType::INFORMATIONAL,
            flags,
            message_id: 5,
            length: 0,
        }
    };
    let token = token_of(&mut pair);
    let message =
        emit_clear(&header, &[Payload::notify(NotifyType::INVALID_IKE_SPI, vec![]), token]).unwrap();
    let (from, to) = ("198.51.100.9:6000".parse().unwrap(), "192.0.2.10:500".parse().unwrap());
    let old = pair.ikes(End::Client)[0];
    pair.net.fly(pair.now, End::Client, from, to, message);
    pair.run_for(SECOND);
    assert!(!pair.ikes(End::Client).contains(&old), "{}", pair.story());
}

/// The token of the pair's IKE_SA: that of a gateway with the same secret and no SA.
fn token_of(pair: &mut Pair) -> Payload {
    let sa = pair.views(End::Client)[0].clone();
    let mut other = up(setup());
    other.crash(End::Gateway);
    let flags = Flags { initiator: true, response: false, version: false };
    let header = Header {
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        next: PayloadType::SK,
        major: 2,
        minor: 0,
        exchange: ExchangeType::INFORMATIONAL,
        flags,
        message_id: 2,
        length: 0,
    };
    let mut message = Vec::new();
    // An Encrypted payload that nobody there can open.
    let body = [&[0, 0, 0, 68][..], &[7; 64]].concat();
    Header { length: 28 + body.len() as u32, ..header }.emit(&mut message);
    message.extend(body);
    let (from, to) = ("192.0.2.10:500".parse().unwrap(), "203.0.113.1:500".parse().unwrap());
    other.net.capture.clear();
    other.net.fly(other.now, End::Gateway, from, to, message);
    other.run_for(SECOND);
    let told = unprotected(&other, End::Gateway);
    told[0]
        .1
        .iter()
        .find(|it| matches!(it, Payload::Notify { kind, .. } if *kind == QCD_TOKEN))
        .unwrap()
        .clone()
}

//= rfc6290 4.2-1
#[test]
fn a_peer_without_a_token_is_served_and_may_take_ours() {
    // Only the client makes tokens, and the gateway is the taker.
    let mut setup = Setup::new(Auth::Psk);
    setup.client.settings.quick_crash_secrets = secrets(&[9]);
    let mut pair = up(setup);
    pair.crash(End::Client);
    let id = pair.children(End::Gateway)[0];
    pair.command(End::Gateway, Command::RekeyChild { id });
    pair.run_for(SECOND);
    assert!(pair.ikes(End::Gateway).is_empty(), "{}", pair.story());
}

//= rfc6290 4.4-1, 4.4-2
#[test]
fn a_new_token_in_a_protected_message_takes_the_place_of_the_old_one() {
    let mut lab = Lab::with(Auth::Psk, |setup| setup.client.settings.quick_crash_secrets = secrets(&[2]));
    assert_eq!(lab.connect(&mut honest), Some(Ok(())));
    let fresh = [0x77; 32];
    let mut notify = Raw::notify(QCD_TOKEN.0, &fresh);
    notify.body[0] = 1;
    let message = lab.sealed(ExchangeType::INFORMATIONAL, 2, &[notify]);
    lab.send(&message);
    lab.answers_ping(3);
    let flags = Flags { initiator: true, response: true, version: false };
    let header = Header { flags, ..lab.request(ExchangeType::INFORMATIONAL, 9) };
    let token = Payload::Notify { protocol: 1, spi: vec![], kind: QCD_TOKEN, data: fresh.to_vec() };
    let message =
        emit_clear(&header, &[Payload::notify(NotifyType::INVALID_IKE_SPI, vec![]), token]).unwrap();
    lab.send(&message);
    assert!(!lab.is_in(), "{}", lab.story());
    lab.clean();
}

//= rfc6290 4.5-1
#[test]
fn four_generations_of_secrets_are_shown_and_looked_at() {
    let mut setup = setup();
    setup.gateway.settings.quick_crash_secrets = secrets(&[4]);
    let mut pair = up(setup);
    pair.crash(End::Gateway);
    // It comes back with three newer secrets.
    let settings = pair.gateway.endpoint.settings().clone();
    let settings = Settings { quick_crash_secrets: secrets(&[1, 2, 3, 4]), ..settings };
    pair.gateway.endpoint.set_settings(settings);
    let (old, id) = (pair.ikes(End::Client)[0], pair.children(End::Client)[0]);
    pair.command(End::Client, Command::RekeyChild { id });
    pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
    assert_eq!(tokens(&unprotected(&pair, End::Gateway)[0].1).len(), 4);
    assert!(!pair.ikes(End::Client).contains(&old));
    assert_eq!(pair.client.failures(), ["peer-lost-state"]);
}

//= rfc6290 4.5-3, 8.2-1
#[test]
fn a_token_that_proves_nothing_is_not_answered() {
    let mut lab = Lab::with(Auth::Psk, |setup| setup.client.settings.quick_crash_secrets = secrets(&[2]));
    assert_eq!(lab.connect(&mut honest), Some(Ok(())));
    lab.forget();
    for complaint in [NotifyType::INVALID_IKE_SPI, NotifyType::INVALID_SPI] {
        for data in [vec![], vec![0; 15], vec![1; 32], vec![2; 128], vec![3; 5000]] {
            let flags = Flags { initiator: true, response: true, version: false };
            let header = Header { flags, ..lab.request(ExchangeType::INFORMATIONAL, 2) };
            let token = Payload::Notify { protocol: 1, spi: vec![], kind: QCD_TOKEN, data };
            let message = emit_clear(&header, &[Payload::notify(complaint, vec![]), token]).unwrap();
            lab.send(&message);
        }
    }
    assert!(lab.answers.is_empty() && lab.is_in() && lab.noticed(), "{}", lab.story());
    lab.finish();
}

//= rfc6290 5-3, 9.1-1, 9.1-2, 9.1-3
#[test]
fn tokens_of_different_sas_and_secrets_differ() {
    let mut seen = std::collections::BTreeSet::new();
    for secret in 0..4 {
        let mut lab = Lab::with(Auth::Psk, |setup| {
            setup.gateway.settings.quick_crash_secrets = secrets(&[secret]);
        });
        for _ in 0..16 {
            let mut token = Vec::new();
            lab.connect(&mut |msg: &mut Msg| {
                if let [raw] = raw_tokens(&msg.chain)[..] {
                    token.clone_from(&raw.body[4..].to_vec());
                }
            });
            assert!(token.len() == 32 && seen.insert(token));
            lab.clean();
        }
        lab.finish();
    }
}

//= rfc6290 9.2-1
#[test]
fn no_token_is_shown_for_an_ike_sa_that_exists() {
    let mut lab = Lab::with(Auth::Psk, |setup| setup.gateway.settings.quick_crash_secrets = secrets(&[1]));
    let mut real = Vec::new();
    lab.connect(&mut |msg: &mut Msg| {
        real.extend(raw_tokens(&msg.chain).into_iter().map(|raw| raw.body[4..].to_vec()));
    });
    assert!(real.len() == 1 && lab.is_in());
    lab.forget();
    let (spi_i, spi_r) = lab.spis();
    // The initiator flag turned about has the gateway look for the other SPI as its own; or one SPI is another.
    for (initiator, spi_i, spi_r) in [
        (false, spi_i, spi_r),
        (true, spi_i, spi_r),
        (true, 99, spi_r),
        (false, spi_i, 99),
        (false, spi_r, spi_i),
    ] {
        for exchange in [ExchangeType::INFORMATIONAL, ExchangeType::CREATE_CHILD_SA] {
            let flags = Flags { initiator, response: false, version: false };
            let header = Header { flags, spi_i, spi_r, ..lab.request(exchange, 2) };
            let keys = lab.gateway_keys(lab.spis()).unwrap();
            let message = crate::wire::seal(keys, &Header { message_id: 77, ..header }, 0, None, &[]);
            let (from, to) = ("192.0.2.10:500".parse().unwrap(), "203.0.113.1:500".parse().unwrap());
            lab.gateway.receive(lab.now, from, to, &message);
            while let Some(sent) = lab.gateway.endpoint.poll_transmit() {
                let envelope = Envelope::parse(&sent.bytes).unwrap();
                let shown = tokens(&envelope.clear);
                assert!(!shown.contains(&real[0]), "{initiator} {spi_i:x} {spi_r:x}");
            }
        }
    }
    assert!(lab.is_in());
}

//= rfc6290 8.1-1
#[test]
fn without_a_secret_nothing_is_said() {
    let mut lab = Lab::new(Auth::Psk);
    let mut seen = 0;
    lab.connect(&mut |msg: &mut Msg| seen += raw_tokens(&msg.chain).len());
    assert_eq!(seen, 0);
    lab.finish();
}

#[test]
fn a_rekeyed_ike_sa_has_its_own_token() {
    for end in End::BOTH {
        let mut pair = up(setup());
        let id = pair.ikes(end)[0];
        pair.command(end, Command::RekeyIke { id });
        pair.settle().unwrap();
        let old = pair.ikes(End::Client)[0];
        pair.crash(End::Gateway);
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, Command::RekeyChild { id });
        pair.run_for(2 * SECOND);
        assert!(!pair.ikes(End::Client).contains(&old), "{end:?}\n{}", pair.story());
        assert!(pair.client.events.iter().any(|(_, event)| matches!(event, Event::IkeClosed { .. })));
    }
}
