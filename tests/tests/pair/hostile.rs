//! Datagrams that are not what they seem: old ones, foreign ones, bent ones. None may change what is up, and none may
//! be answered with more than it brought.

use std::net::SocketAddr;

use adit_crypto::{Random, SeededRandom};
use adit_ike::Event;
use adit_wire::{ExchangeType, Header};

use crate::net::{Captured, End};
use crate::pair::{Pair, SECOND};
use crate::setup::{Auth, Setup};

fn up(turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(Auth::Psk);
    // Liveness checks would go on meanwhile and blur the picture.
    setup.both(|side| side.conn.dpd_delay = std::time::Duration::ZERO);
    turn(&mut setup);
    let mut pair = Pair::new(setup, 11);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
    pair
}

/// Everything an SA is, as text.
fn state(pair: &Pair) -> String {
    let mut state = String::new();
    for end in End::BOTH {
        state += &format!("{:?}\n", pair.views(end));
        for (id, entry) in &pair.host(end).sad {
            state += &format!("{id} {:?} {} {:?}\n", entry.sa, entry.sends, (entry.local, entry.remote));
        }
    }
    state
}

fn ups_and_downs(pair: &Pair) -> usize {
    let count = |end| {
        let events = pair.host(end).events.iter();
        events
            .filter(|(_, e)| {
                !matches!(
                    e,
                    Event::Log { .. }
                        | Event::Failure { .. }
                        | Event::IkeClosed { was_established: false, .. }
                )
            })
            .count()
    };
    count(End::Client) + count(End::Gateway)
}

/// Sends each of these again, from where `bend` says, and sees that nothing changes.
fn replay(pair: &mut Pair, datagrams: &[Captured], bend: impl Fn(&Captured) -> SocketAddr, what: &str) {
    let (before, news) = (state(pair), ups_and_downs(pair));
    for datagram in datagrams {
        let (at, to) = (pair.now, datagram.from.other());
        pair.net.fly(at, to, bend(datagram), datagram.dst, datagram.bytes.clone());
        pair.run_for(SECOND / 10);
    }
    // Whatever half-open state a repeated first message made has to go, too.
    pair.run_for(40 * SECOND);
    assert_eq!(state(pair), before, "{what}\n{}", pair.story());
    assert_eq!(ups_and_downs(pair), news, "{what}\n{}", pair.story());
    pair.settle().unwrap_or_else(|difference| panic!("{what}: {difference}\n{}", pair.story()));
}

fn from_capture(datagram: &Captured) -> SocketAddr {
    datagram.src
}

fn from_elsewhere(datagram: &Captured) -> SocketAddr {
    SocketAddr::new("198.51.100.66".parse().unwrap(), datagram.src.port())
}

#[test]
fn a_replayed_capture_changes_nothing() {
    let grounds: [fn(&mut Setup); 3] = [
        |_| {},
        Setup::behind_nat,
        |s| {
            s.behind_nat();
            s.road_warrior();
            s.both(|side| side.outside.delay = 300_000);
        },
    ];
    for (n, ground) in grounds.into_iter().enumerate() {
        let mut pair = up(ground);
        let capture = pair.net.capture.clone();
        replay(&mut pair, &capture, from_capture, &format!("{n}, at once"));
        replay(&mut pair, &capture, from_elsewhere, &format!("{n}, from elsewhere"));
        let backwards: Vec<_> = capture.iter().rev().cloned().collect();
        replay(&mut pair, &backwards, from_capture, &format!("{n}, backwards"));
        // After a rekeying of both kinds, everything that was ever sent.
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, adit_ike::Command::RekeyChild { id });
        pair.run_for(20 * SECOND);
        let id = pair.ikes(End::Gateway)[0];
        pair.command(End::Gateway, adit_ike::Command::RekeyIke { id });
        pair.run_for(20 * SECOND);
        pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
        let capture = pair.net.capture.clone();
        replay(&mut pair, &capture, from_capture, &format!("{n}, after rekeyings"));
        replay(&mut pair, &capture, from_elsewhere, &format!("{n}, after rekeyings, from elsewhere"));
        // And when all is over, nothing rises from the dead.
        pair.terminate(End::Client).unwrap();
        pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
        replay(&mut pair, &capture, from_capture, &format!("{n}, after the end"));
        pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    }
}

#[test]
fn bent_datagrams_change_nothing() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        let mut setup = Setup::new(auth);
        setup.both(|side| side.conn.dpd_delay = std::time::Duration::ZERO);
        let mut pair = Pair::new(setup, 13);
        pair.up(End::Client).unwrap();
        pair.settle().unwrap();
        let mut rng = SeededRandom::new(99);
        let capture = pair.net.capture.clone();
        let mut bent = Vec::new();
        for _ in 0..1500 {
            let mut datagram = capture[rng.next_u64() as usize % capture.len()].clone();
            match rng.next_u64() % 4 {
                0 => datagram.bytes.truncate(rng.next_u64() as usize % datagram.bytes.len()),
                1 => {
                    for _ in 0..=rng.next_u64() % 4 {
                        let at = rng.next_u64() as usize % datagram.bytes.len();
                        datagram.bytes[at] ^= 1 << (rng.next_u64() % 8);
                    }
                }
                2 => {
                    // A later message ID, another exchange, other flags: it has to fail its integrity check.
                    let at = [18, 19, 20, 23][rng.next_u64() as usize % 4];
                    datagram.bytes[at] = datagram.bytes[at].wrapping_add(1 + rng.next_u64() as u8 % 7);
                }
                _ => datagram.bytes.push(rng.next_u64() as u8),
            }
            bent.push(datagram);
        }
        let (before, news) = (state(&pair), ups_and_downs(&pair));
        for datagram in bent {
            let (at, to) = (pair.now, datagram.from.other());
            pair.net.fly(at, to, datagram.src, datagram.dst, datagram.bytes);
            pair.run_for(SECOND / 100);
        }
        pair.run_for(40 * SECOND);
        assert_eq!(state(&pair), before, "{}", pair.story());
        assert_eq!(ups_and_downs(&pair), news, "{}", pair.story());
        pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
        pair.shut_down().unwrap();
    }
}

fn header(major: u8, exchange: u8, flags: u8, length: u32) -> Vec<u8> {
    let mut bytes = vec![0x11; 8];
    bytes.extend([0; 8]);
    bytes.extend([1, major << 4, exchange, flags, 0, 0, 0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes
}

#[test]
fn garbage_and_ikev1_are_not_believed() {
    let mut pair = Pair::new(Setup::new(Auth::Psk), 17);
    let mut rng = SeededRandom::new(5);
    let gateway: SocketAddr = "203.0.113.1:500".parse().unwrap();
    let someone: SocketAddr = "192.0.2.10:500".parse().unwrap();
    let mut thrown = Vec::new();
    for length in 0..200 {
        let mut bytes = vec![0; length];
        rng.fill(&mut bytes);
        thrown.push(bytes);
    }
    // IKEv1: main mode, aggressive mode, quick mode, informational; and IKEv3.
    for (major, exchange) in
        [(1, 2), (1, 4), (1, 32), (1, 5), (3, 34), (2, 34), (2, 35), (2, 36), (2, 37), (2, 99)]
    {
        for flags in [0, 0x08, 0x20, 0x28] {
            let mut bytes = header(major, exchange, flags, 28 + 60);
            let mut body = vec![0; 60];
            rng.fill(&mut body);
            bytes.extend(body);
            thrown.push(bytes);
            thrown.push(header(major, exchange, flags, 28));
        }
    }
    for bytes in thrown {
        let (sent, length) = (pair.net.capture.len(), bytes.len());
        for dst in [gateway, SocketAddr::new(gateway.ip(), 4500)] {
            let marked = if dst.port() == 4500 { [&[0; 4], &bytes[..]].concat() } else { bytes.clone() };
            let at = pair.now;
            pair.net.fly(at, End::Gateway, someone, dst, marked);
        }
        pair.run_for(1000);
        let answers = &pair.net.capture[sent..];
        assert!(answers.len() <= 2, "{answers:?}");
        for answer in answers {
            assert!(answer.bytes.len() <= length + 4 + 12, "{length} octets are answered with {answer:?}");
        }
    }
    pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    assert!(pair.gateway.sad.is_empty() && pair.gateway.installed_ever == 0);
    // It still works.
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    pair.settle().unwrap();
    pair.shut_down().unwrap();
}

#[test]
fn forged_answers_do_not_stop_an_initiation() {
    // An attacker on the path answers first, with whatever would end the handshake if it were believed.
    use adit_wire::{Flags, Payload, consts::NotifyType, emit_clear};
    for kind in [
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::AUTHENTICATION_FAILED,
        NotifyType::INVALID_MAJOR_VERSION,
        NotifyType::INVALID_IKE_SPI,
    ] {
        let mut pair = Pair::new(Setup::new(Auth::Psk), 19);
        let tag = pair.initiate(End::Client, None);
        pair.run_for(22_000); // the answer to IKE_SA_INIT has arrived, IKE_AUTH is out
        let request = pair.net.capture.iter().rev().find(|c| c.from == End::Client).unwrap().clone();
        let asked = Header::parse(&request.bytes[4..]).unwrap();
        assert_eq!(asked.exchange, ExchangeType::IKE_AUTH);
        let header = Header { flags: Flags { initiator: false, response: true, version: false }, ..asked };
        let mut forged = emit_clear(&header, &[Payload::notify(kind, Vec::new())]).unwrap();
        forged.splice(0..0, [0; 4]);
        let at = pair.now;
        pair.net.fly(at, End::Client, request.dst, request.src, forged);
        pair.outcome(End::Client, tag)
            .unwrap_or_else(|reason| panic!("{kind:?}: {reason}\n{}", pair.story()));
        pair.settle().unwrap_or_else(|difference| panic!("{kind:?}: {difference}\n{}", pair.story()));
        pair.shut_down().unwrap();
    }
}
