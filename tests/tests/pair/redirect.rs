//! Clients that are sent to another gateway (RFC 5685). The gateway has two addresses here and plays both.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_ike::{Command, Config, HostSpec, Reason, Redirect};
use adit_ipsec::{GatewayId, RedirectStage};
use adit_wire::{Envelope, ExchangeType, Flags, Header, NotifyType, Payload, emit_clear};

use crate::net::{Captured, End};
use crate::pair::{PATIENCE, Pair, SECOND, settle, shut_down};
use crate::pki::Algorithm;
use crate::setup::{Auth, Setup, id, ip};

const FIRST: &str = "203.0.113.1";
const SECOND_ADDRESS: &str = "203.0.113.2";
/// Nobody has it.
const NOWHERE: &str = "203.0.113.9";
const NAME: &str = "gw2.example.net";

fn to(text: &str) -> GatewayId {
    text.parse().unwrap()
}

fn rule(s: &mut Setup, gateway: &str, stage: RedirectStage) {
    s.gateway.settings.redirect = Some(Redirect { gateway: to(gateway), stage });
}

fn pair(auth: Auth, turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(auth);
    setup.gateway.conn.local_addrs = vec![HostSpec::Any];
    setup.gateway.conn.remote_addrs = vec![HostSpec::Any];
    setup.client.conn.local_addrs = vec![HostSpec::Any];
    setup.gateway.outside.addresses.extend([ip(SECOND_ADDRESS), ip("2001:db8::2")]);
    setup.client.outside.addresses.push(ip("2001:db8::10"));
    setup.client.outside.names.insert(NAME.to_owned(), vec![ip(SECOND_ADDRESS)]);
    turn(&mut setup);
    Pair::new(setup, 31)
}

fn up(pair: &mut Pair) {
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    settle(pair);
}

/// Where the client's only IKE_SA leads.
fn at(pair: &Pair) -> IpAddr {
    let sas = pair.views(End::Client);
    assert_eq!(sas.len(), 1, "{}", pair.story());
    sas[0].remote.unwrap().ip()
}

fn inits(pair: &Pair, from: End) -> Vec<(Captured, Envelope<'_>)> {
    let of = pair.net.capture.iter().filter(|c| c.from == from);
    of.filter_map(|c| Some((c.clone(), Envelope::parse(&c.bytes).ok()?)))
        .filter(|(_, envelope)| envelope.header.exchange == ExchangeType::IKE_SA_INIT)
        .collect()
}

/// A notify's data; its protocol is 0 and it has no SPI.
fn notify(payloads: &[Payload], wanted: NotifyType) -> Option<Vec<u8>> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify { protocol, spi, kind, data } if *kind == wanted => {
            assert_eq!((*protocol, spi.len()), (0, 0));
            Some(data.clone())
        }
        _ => None,
    })
}

fn nonce(payloads: &[Payload]) -> Vec<u8> {
    let found = payloads.iter().find_map(|payload| match payload {
        Payload::Nonce(nonce) => Some(nonce.clone()),
        _ => None,
    });
    found.expect("a nonce")
}

fn read(pair: &Pair, end: End, what: &str) -> Vec<String> {
    pair.host(end).read().into_iter().filter(|line| line.starts_with(what)).collect()
}

/// RFC 5685 §3, §9: in the first answer; by address of either family and by name; through a NAT.
//= rfc5685 3-1, 3-5, 9.1-1, 9.1-2, 9.2-1, 9.2-2, 9.2-3, 9.2-4, 9.3-1, 9.3-2
#[test]
fn in_ike_sa_init() {
    for (gateway, where_to, identity, nat) in [
        (SECOND_ADDRESS, SECOND_ADDRESS, &[1, 4, 203, 0, 113, 2][..], false),
        (SECOND_ADDRESS, SECOND_ADDRESS, &[1, 4, 203, 0, 113, 2][..], true),
        (NAME, SECOND_ADDRESS, b"\x03\x0fgw2.example.net", false),
        (
            "2001:db8::2",
            "2001:db8::2",
            &[2, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
            false,
        ),
    ] {
        let mut pair = pair(Auth::Psk, |s| {
            rule(s, gateway, RedirectStage::Init);
            if nat {
                s.behind_nat();
            }
        });
        up(&mut pair);
        assert_eq!(at(&pair), ip(where_to));
        let (asked, answered) = (inits(&pair, End::Client), inits(&pair, End::Gateway));
        assert_eq!((asked.len(), answered.len()), (2, 2), "{}", pair.story());
        let [first, second] = [&asked[0].1, &asked[1].1];
        assert_eq!(notify(&first.clear, NotifyType::REDIRECT_SUPPORTED), Some(Vec::new()));
        assert_eq!(notify(&first.clear, NotifyType::REDIRECTED_FROM), None);
        // No IKE_SA comes of it: the responder SPI is zero, and the answer is the gateway and Ni.
        let redirect = &answered[0].1;
        assert_eq!((redirect.header.spi_r, redirect.clear.len()), (0, 1));
        let expected = [identity, &nonce(&first.clear)].concat();
        assert_eq!(notify(&redirect.clear, NotifyType::REDIRECT), Some(expected));
        assert!((16..=256).contains(&nonce(&first.clear).len()));
        // The next one says who sent it, and is another IKE_SA.
        assert_eq!(notify(&second.clear, NotifyType::REDIRECTED_FROM), Some(vec![1, 4, 203, 0, 113, 1]));
        assert_ne!(first.header.spi_i, second.header.spi_i);
        assert_eq!(asked[1].0.dst, SocketAddr::new(ip(where_to), 500));
        let stats = [End::Client, End::Gateway].map(|end| pair.host(end).endpoint.stats());
        assert_eq!((stats[0].redirects_followed, stats[1].redirects_sent), (1, 1));
        assert_eq!(pair.gateway.told().unwrap().ikes.len(), 1, "the first address made nothing");
        shut_down(pair);
    }
}

/// RFC 5685 §3: who does not announce it is not sent away, at whatever point.
//= rfc5685 3-1, 3-2
#[test]
fn a_client_that_does_not_follow() {
    for stage in [RedirectStage::Init, RedirectStage::Auth] {
        let mut pair = pair(Auth::Psk, |s| {
            rule(s, SECOND_ADDRESS, stage);
            s.client.settings.follow_redirects = false;
        });
        up(&mut pair);
        assert_eq!(at(&pair), ip(FIRST));
        assert_eq!(notify(&inits(&pair, End::Client)[0].1.clear, NotifyType::REDIRECT_SUPPORTED), None);
        let tag = pair.tag();
        let sa = pair.ikes(End::Gateway)[0];
        pair.command(End::Gateway, Command::Redirect { id: sa, gateway: to(SECOND_ADDRESS), tag });
        assert_eq!(pair.outcome(End::Gateway, tag), Err(Reason::RedirectUnsupported { id: sa }));
        settle(&mut pair);
        assert!(!pair.client.read().iter().any(|line| line.contains("REDIR")));
        assert_eq!(at(&pair), ip(FIRST));
        shut_down(pair);
    }
}

/// An answer to the client's first message, with that notify as its only payload.
fn forge(pair: &mut Pair, request: &Captured, data: Vec<u8>) {
    let header = Header::parse(&request.bytes).unwrap();
    let flags = Flags { initiator: false, response: true, version: false };
    let forged =
        emit_clear(&Header { flags, ..header }, &[Payload::notify(NotifyType::REDIRECT, data)]).unwrap();
    let now = pair.now;
    pair.net.fly(now, End::Client, request.dst, request.src, forged);
    pair.run_for(1);
}

/// RFC 5685 §3: a REDIRECT without our nonce is discarded in silence, and the genuine answer is still awaited.
//= rfc5685 3-3, 3-4
#[test]
fn a_redirect_with_another_nonce() {
    let mut pair = pair(Auth::Psk, |_| {});
    let tag = pair.initiate(End::Client, None);
    pair.run_for(1);
    let request = inits(&pair, End::Client)[0].0.clone();
    let nonce = nonce(&Envelope::parse(&request.bytes).unwrap().clear);
    let elsewhere = [1, 4, 198, 51, 100, 66];
    let mut other = nonce.clone();
    other[0] ^= 1;
    for data in [
        [&elsewhere[..], &other].concat(),
        [&elsewhere[..], &nonce[1..]].concat(),
        [&elsewhere[..], &nonce, &[0]].concat(),
        elsewhere.to_vec(),
        [&[9, 4, 198, 51, 100, 66][..], &nonce].concat(),
        [&[1, 5, 198, 51, 100, 66][..], &nonce].concat(),
        [&[3, 2, b'.', b'.'][..], &nonce].concat(),
        Vec::new(),
    ] {
        let before = pair.client.endpoint.stats().wrong_state;
        forge(&mut pair, &request, data);
        assert_eq!(pair.client.endpoint.stats().wrong_state, before + 1);
    }
    pair.outcome(End::Client, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    settle(&mut pair);
    assert_eq!((at(&pair), pair.client.endpoint.stats().redirects_followed), (ip(FIRST), 0));
    shut_down(pair);

    // Nor does a client that has said it does not follow, whatever the nonce.
    let mut deaf = self::pair(Auth::Psk, |s| s.client.settings.follow_redirects = false);
    let tag = deaf.initiate(End::Client, None);
    deaf.run_for(1);
    let request = inits(&deaf, End::Client)[0].0.clone();
    let nonce = self::nonce(&Envelope::parse(&request.bytes).unwrap().clear);
    forge(&mut deaf, &request, [&elsewhere[..], &nonce].concat());
    deaf.outcome(End::Client, tag).unwrap();
    assert_eq!(at(&deaf), ip(FIRST));
    shut_down(deaf);
}

/// RFC 5685 §7: five within 300 s, not a sixth; later there may be more. The count goes by the setup, wherever in it the
/// redirects come.
#[test]
fn no_more_than_five_in_a_row() {
    for pause in [0, 70 * SECOND] {
        let mut pair = pair(Auth::Psk, |s| {
            // A gateway that is not there answers late, but not too late.
            s.client.settings.retransmit_timeout = Duration::from_secs(100);
        });
        let tag = pair.initiate(End::Client, None);
        pair.net.cut = true;
        for n in 0..6u8 {
            pair.run_for(1);
            let asked = inits(&pair, End::Client);
            let (request, envelope) = asked.last().unwrap();
            assert_eq!(
                request.dst.ip(),
                if n == 0 { ip(FIRST) } else { ip(&format!("203.0.113.{}", 100 + n)) }
            );
            let data = [&[1, 4, 203, 0, 113, 101 + n][..], &nonce(&envelope.clear)].concat();
            let request = request.clone();
            pair.run_for(pause);
            pair.net.cut = false;
            forge(&mut pair, &request, data);
            pair.net.cut = true;
        }
        pair.run_for(1);
        let outcome = pair.host(End::Client).outcome(tag).cloned();
        if pause == 0 {
            assert!(
                matches!(&outcome, Some(Err(Reason::TooManyRedirects { gateway })) if gateway == "203.0.113.106"),
                "{outcome:?}\n{}",
                pair.story()
            );
        } else {
            assert_eq!(outcome, None, "the first one is out of the period\n{}", pair.story());
        }
        pair.net.cut = false;
        shut_down(pair);
    }
}

/// RFC 5685 §6: both prove themselves, no child is made, no address leased, and the client deletes the IKE_SA. With EAP
/// the redirect is in the last answer: the gateway tells nobody who has not proved himself (§11).
//= rfc5685 6-1, 6-2, 6-3, 6-5, 9.2-5
#[test]
fn in_ike_auth() {
    for auth in [Auth::Psk, Auth::Cert(Algorithm::Ed25519), Auth::EapAndPsk] {
        let mut pair = pair(auth, |s| {
            s.road_warrior();
            rule(s, SECOND_ADDRESS, RedirectStage::Auth);
        });
        up(&mut pair);
        assert_eq!(at(&pair), ip(SECOND_ADDRESS), "{}", pair.story());
        let answers = read(&pair, End::Client, "IKE_AUTH response");
        let sent: Vec<usize> = (0..answers.len()).filter(|n| answers[*n].contains("N(REDIR)")).collect();
        let last_of_first = if auth == Auth::EapAndPsk { answers.len() / 2 - 1 } else { 0 };
        assert_eq!(sent, [last_of_first], "{answers:?}");
        let redirect = &answers[last_of_first];
        assert!(
            redirect.contains(" AUTH ") && !redirect.contains(" SA ") && !redirect.contains(" CPRP"),
            "{redirect}"
        );
        // Exactly one went up at the first address, and down again by the client's delete.
        assert!(read(&pair, End::Gateway, "INFORMATIONAL request").iter().any(|line| line.contains(" D ")));
        assert_eq!(pair.gateway.leases.len(), 2);
        assert_eq!(pair.client.told().unwrap().ikes.len(), 1);
        shut_down(pair);
    }
}

/// RFC 5685 §6: whoever does not prove himself is told nothing.
//= rfc5685 6-1, 6-3
#[test]
fn nobody_unknown_is_told() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        let mut pair = pair(auth, |s| {
            rule(s, SECOND_ADDRESS, RedirectStage::Auth);
            match auth {
                Auth::Psk => {
                    s.client.credentials.shared[0].secret = adit_crypto::Secret::from(b"wrong".to_vec())
                }
                _ => s.client.credentials.eap[0].secret = adit_crypto::Secret::from(b"wrong".to_vec()),
            }
        });
        pair.up(End::Client).unwrap_err();
        assert!(!pair.client.read().iter().any(|line| line.contains("N(REDIR)")), "{}", pair.story());
        assert_eq!(pair.gateway.endpoint.stats().redirects_sent, 0);
        pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    }
}

fn redirect(pair: &mut Pair, gateway: &str) {
    let tag = pair.tag();
    let sa = pair.ikes(End::Gateway)[0];
    pair.command(End::Gateway, Command::Redirect { id: sa, gateway: to(gateway), tag });
    pair.outcome(End::Gateway, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
}

/// RFC 5685 §5: in the middle of a session. The new IKE_SA has its children before the old one goes; and the gateway is
/// the gateway after a rekeying, whoever began that.
//= rfc5685 5-1, 5-2, 9.2-5
#[test]
fn of_an_established_ike_sa() {
    for rekeyed_by in [None, Some(End::Client), Some(End::Gateway)] {
        for gateway in [SECOND_ADDRESS, NAME] {
            let mut pair = pair(Auth::Psk, |s| {
                s.add_child("other", "10.7.0.0/16", "10.8.0.0/16");
                s.both(|side| side.outside.delay = 50_000);
            });
            up(&mut pair);
            if let Some(end) = rekeyed_by {
                let id = pair.ikes(end)[0];
                pair.command(end, Command::RekeyIke { id });
                pair.run_for(10 * SECOND);
                settle(&mut pair);
            }
            let before = pair.children(End::Client);
            assert_eq!(before.len(), 2);
            redirect(&mut pair, gateway);
            // There is never less up than what was up.
            let deadline = pair.now + PATIENCE;
            let arrived = pair.run_until(deadline, |pair| {
                assert!(pair.children(End::Client).len() >= 2, "{}", pair.story());
                let sas = pair.views(End::Client);
                sas.len() == 1 && sas[0].remote.unwrap().ip() == ip(SECOND_ADDRESS)
            });
            assert!(arrived, "{}", pair.story());
            settle(&mut pair);
            assert_eq!(pair.children(End::Client).len(), 2);
            let told = read(&pair, End::Client, "INFORMATIONAL request");
            let told: Vec<_> = told.iter().filter(|line| line.contains("REDIR")).collect();
            assert!(matches!(&told[..], [one] if one.ends_with("[ N(REDIR) ]")), "{told:?}");
            shut_down(pair);
        }
    }
}

/// An IKE_SA without children follows, too; and one that loses the answer is asked again.
#[test]
fn of_an_ike_sa_alone_and_over_a_bad_line() {
    let mut alone = pair(Auth::Psk, |_| {});
    let tag = alone.tag();
    alone.command(End::Client, Command::InitiateIke { conn: "site".into(), tag });
    alone.outcome(End::Client, tag).unwrap();
    settle(&mut alone);
    redirect(&mut alone, SECOND_ADDRESS);
    alone.run_for(20 * SECOND);
    settle(&mut alone);
    assert_eq!((at(&alone), alone.children(End::Client).len()), (ip(SECOND_ADDRESS), 0), "{}", alone.story());
    shut_down(alone);

    for stage in [RedirectStage::Init, RedirectStage::Auth] {
        let mut bad = pair(Auth::Psk, |s| {
            s.links = [crate::net::Link { loss: 25, duplicates: 25, delay: 20_000, jitter: 150_000 }; 2];
            // It would go to the other address whenever this one is slow to answer.
            s.both(|side| side.conn.mobike = false);
            rule(s, SECOND_ADDRESS, stage);
        });
        up(&mut bad);
        redirect(&mut bad, FIRST);
        bad.run_for(200 * SECOND);
        settle(&mut bad);
        assert_eq!(at(&bad), ip(FIRST), "{}", bad.story());
        shut_down(bad);
    }
}

/// A gateway that is not there: what is up stays up, until the one that wanted the client gone deletes it.
#[test]
fn to_nowhere() {
    for grace in [0, 60] {
        let mut pair = pair(Auth::Psk, |s| s.gateway.settings.redirect_grace = Duration::from_secs(grace));
        up(&mut pair);
        redirect(&mut pair, NOWHERE);
        pair.run_for(50 * SECOND);
        assert_eq!(pair.children(End::Client).len(), 1, "{}", pair.story());
        pair.run_for(400 * SECOND);
        assert_eq!(pair.client.failures(), ["peer-unreachable"], "{}", pair.story());
        if grace == 0 {
            settle(&mut pair);
            assert_eq!(at(&pair), ip(FIRST));
            shut_down(pair);
        } else {
            pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
        }
    }
    // While it comes up: with another try it is back where it began, or stays down.
    for tries in [1, 2] {
        let mut pair = pair(Auth::Psk, |s| s.client.conn.keyingtries = tries);
        let tag = pair.initiate(End::Client, None);
        pair.run_for(1);
        let request = inits(&pair, End::Client)[0].0.clone();
        let nonce = nonce(&Envelope::parse(&request.bytes).unwrap().clear);
        forge(&mut pair, &request, [&[1, 4, 203, 0, 113, 9][..], &nonce].concat());
        let outcome = pair.outcome(End::Client, tag);
        assert_eq!(outcome.is_ok(), tries == 2, "{outcome:?}\n{}", pair.story());
        if tries == 2 {
            let last = inits(&pair, End::Client).pop().unwrap().1.clear;
            assert_eq!(notify(&last, NotifyType::REDIRECT_SUPPORTED), Some(Vec::new()));
            settle(&mut pair);
            assert_eq!(at(&pair), ip(FIRST));
        }
        shut_down(pair);
    }
}

/// RFC 5685 §3, §11: the other gateway has to prove to be the one that is configured; nothing else changes. Wherever it
/// is sent, the client begins at the configured address the next time.
//= rfc5685 3-6, 3-7, 11-1
#[test]
fn who_the_gateway_must_be_stays() {
    let mut pair = pair(Auth::Psk, |_| {});
    let mut setup = Setup::new(Auth::Psk);
    let here = setup.gateway.conn.clone();
    let mut there = here.clone();
    there.name = "there".into();
    there.local_addrs = vec![HostSpec::Addr(ip(SECOND_ADDRESS))];
    there.local.id = Some(id("other.example.net"));
    setup.gateway.credentials.shared[0].owners.clear();
    let connections = vec![Arc::new(here), Arc::new(there)];
    let credentials = Arc::new(setup.gateway.credentials.clone());
    pair.command(End::Gateway, Command::SetConfig(Arc::new(Config { connections, credentials })));
    up(&mut pair);
    redirect(&mut pair, SECOND_ADDRESS);
    pair.run_for(30 * SECOND);
    assert_eq!(pair.client.failures(), ["auth-failed-by-peer"], "{}", pair.story());
    assert_eq!((at(&pair), pair.children(End::Client).len()), (ip(FIRST), 1), "{}", pair.story());
    shut_down(pair);

    let mut again = self::pair(Auth::Psk, |_| {});
    up(&mut again);
    redirect(&mut again, SECOND_ADDRESS);
    again.run_for(30 * SECOND);
    settle(&mut again);
    assert_eq!(at(&again), ip(SECOND_ADDRESS));
    again.terminate(End::Client).unwrap();
    again.run_for(SECOND);
    up(&mut again);
    assert_eq!(at(&again), ip(FIRST));
    shut_down(again);
}

/// RFC 5685 §10: the initiator does not send the responder away, also not after a rekeying that the responder began.
#[test]
fn only_the_gateway_redirects() {
    let mut pair = pair(Auth::Psk, |_| {});
    up(&mut pair);
    for _ in 0..2 {
        let tag = pair.tag();
        let sa = pair.ikes(End::Client)[0];
        pair.command(End::Client, Command::Redirect { id: sa, gateway: to(SECOND_ADDRESS), tag });
        assert_eq!(pair.outcome(End::Client, tag), Err(Reason::RedirectUnsupported { id: sa }));
        let sa = pair.ikes(End::Gateway)[0];
        pair.command(End::Gateway, Command::RekeyIke { id: sa });
        pair.run_for(10 * SECOND);
        settle(&mut pair);
    }
    let tag = pair.tag();
    pair.command(End::Gateway, Command::Redirect { id: 4711, gateway: to(SECOND_ADDRESS), tag });
    assert_eq!(pair.outcome(End::Gateway, tag), Err(Reason::NoSuchSa { id: 4711 }));
    shut_down(pair);
}
