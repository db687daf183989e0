//! What strangers may cost, and that honest peers do not pay for it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::pair::*;
use crate::*;

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n).into()
}

fn at(from: IpAddr) -> Path {
    Path { local: format!("{SERVER}:500").parse().unwrap(), remote: (from, 500).into() }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A server whose clients come and go, each from an address of its own.
fn server(turn: impl FnOnce(&mut Settings)) -> Pair {
    let mut setup = Setup::psk();
    turn(&mut setup.server_settings);
    setup.server_conn().unique = Unique::Never;
    let mut pair = setup.pair();
    pair.nat = true;
    pair
}

/// The next client; the one before it is gone from the wire.
fn arrive(pair: &mut Pair, seed: u64, from: IpAddr, secret: &str) -> Host {
    let mut setup = Setup::psk();
    let shared = vec![super::pair::secret(&["a.example", "b.example"], secret)];
    setup.client.credentials = std::sync::Arc::new(Credentials { shared, ..Credentials::default() });
    pair.natted = from;
    let before = std::mem::replace(&mut pair.client, Host::new(setup.client, setup.client_settings, seed));
    pair.wire.clear();
    pair.initiate("net", 7);
    before
}

/// A first message, to be made many of.
fn first_message() -> Vec<u8> {
    let mut pair = server(|_| {});
    pair.initiate("net", 7);
    pair.wire[0].1.clone()
}

fn spoof(pair: &mut Pair, init: &[u8], n: u32) {
    let mut bytes = init.to_vec();
    bytes[..4].copy_from_slice(&(n + 1).to_be_bytes());
    pair.server.endpoint.handle_datagram(pair.now, at(address(n)), &bytes);
    while pair.server.endpoint.poll_transmit().is_some() {}
}

#[test]
fn those_who_stall_before_their_proof_make_room_for_others() {
    let mut pair = server(|settings| settings.pending_auth_limit = 10);
    // Nobody gets further than to the question for addresses of the tunnel.
    pair.server.hold_actions = true;
    let honest = address(1);
    arrive(&mut pair, 100, honest, "swordfish");
    let mut first = None;
    for n in 0..60 {
        let before = arrive(&mut pair, 200 + n, address(50 + n as u32 % 3), "swordfish");
        first.get_or_insert(before);
        let stats = pair.server.endpoint.stats();
        assert!(stats.pending <= 10 && stats.half_open == 0, "{stats:?}");
    }
    assert_eq!(pair.server.endpoint.stats().pending_evicted, 51);
    pair.client = first.unwrap();
    pair.natted = honest;
    pair.server.hold_actions = false;
    pair.settle();
    assert_eq!(pair.client.outcome(7), Some(Ok(())), "{}", pair.logs());
    assert_eq!(pair.server.endpoint.stats().pending, 0);
}

#[test]
fn half_open_and_pending_have_times_and_counters_of_their_own() {
    let mut pair = server(|settings| {
        settings.half_open_timeout = seconds(10);
        settings.pending_auth_timeout = seconds(25);
    });
    let init = first_message();
    spoof(&mut pair, &init, 1);
    pair.server.hold_actions = true;
    arrive(&mut pair, 3, address(2), "swordfish");
    let counted = |pair: &Pair| {
        let stats = pair.server.endpoint.stats();
        (stats.half_open, stats.pending, stats.half_open_timeouts, stats.pending_timeouts)
    };
    assert_eq!(counted(&pair), (1, 1, 0, 0));
    pair.cut = true;
    pair.pass(seconds(11));
    assert_eq!(counted(&pair), (0, 1, 1, 0));
    pair.pass(seconds(15));
    assert_eq!(counted(&pair), (0, 0, 1, 1));
    assert_eq!(pair.server.endpoint.leftovers(), []);
}

#[test]
fn a_full_crowd_of_half_open_ones_makes_room_at_the_busiest_address() {
    let mut pair = server(|settings| {
        settings.half_open_limit = 20;
        (settings.cookie_threshold, settings.cookie_threshold_ip, settings.block_threshold) = (0, 0, 0);
        settings.init_rate_unproven = 0;
    });
    let init = first_message();
    spoof(&mut pair, &init, 7);
    for n in 0..100u32 {
        let mut bytes = init.clone();
        bytes[4..8].copy_from_slice(&(n + 1).to_be_bytes());
        pair.server.endpoint.handle_datagram(pair.now, at(address(8)), &bytes);
    }
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.half_open, stats.half_open_evicted), (20, 81));
    let honest = pair.server.endpoint.ike_sas().filter(|sa| sa.remote.unwrap().ip() == address(7));
    assert_eq!(honest.count(), 1);
}

#[test]
fn a_secret_cannot_be_guessed_at_the_rate_of_packets() {
    let mut pair = server(|settings| settings.auth_failures = 5);
    let (attacker, home) = (address(66), address(1));
    for n in 0..5 {
        arrive(&mut pair, 10 + n, attacker, "guess");
        assert!(matches!(pair.client.outcome(7), Some(Err(_))));
    }
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.auth_failures, stats.auth_limited), (5, 0), "{}", pair.logs());
    // Even the right one is refused then, with the same answer, or the refusal would tell.
    arrive(&mut pair, 20, attacker, "swordfish");
    assert!(matches!(pair.client.outcome(7), Some(Err(Reason::AuthFailedByPeer { .. }))), "{}", pair.logs());
    assert_eq!(pair.server.endpoint.stats().auth_limited, 1);
    assert!(pair.server.failures().iter().any(|reason| matches!(reason, Reason::TooManyFailures { .. })));
    // Its owner is not locked out.
    arrive(&mut pair, 21, home, "swordfish");
    assert_eq!(pair.client.outcome(7), Some(Ok(())));
    // And a mistake is forgiven after a while.
    pair.now = pair.now + seconds(13);
    arrive(&mut pair, 22, attacker, "swordfish");
    assert_eq!(pair.client.outcome(7), Some(Ok(())));
}

/// `block`: a limit of half-open IKE_SAs per address besides.
fn replay_a_cookie(block: u32) -> Stats {
    let mut pair = server(|settings| (settings.cookie_threshold, settings.block_threshold) = (1, block));
    let init = first_message();
    spoof(&mut pair, &init, 500);
    let attacker = address(66);
    arrive(&mut pair, 10, attacker, "swordfish");
    let with_cookie = pair.wire.iter().filter(|(client, _)| *client).nth(1).unwrap().1.clone();
    let port = 10_500;
    let replay = |pair: &mut Pair, from: IpAddr| {
        let mut bytes = with_cookie.clone();
        // The key exchange is no part of what the cookie is bound to.
        let at_ke = bytes.windows(4).position(|window| window == [0, 31, 0, 0]).unwrap() + 8;
        let n = pair.server.endpoint.stats();
        bytes[at_ke..at_ke + 4].copy_from_slice(&((n.refused + n.half_open as u64) as u32).to_be_bytes());
        let path = Path { remote: (from, port).into(), ..at(from) };
        pair.server.endpoint.handle_datagram(pair.now, path, &bytes);
        while pair.server.endpoint.poll_transmit().is_some() {}
    };
    let before = pair.server.endpoint.stats();
    assert_eq!(before.cookies_accepted, 1, "{}", pair.logs());
    for _ in 0..2000 {
        replay(&mut pair, attacker);
    }
    let stats = pair.server.endpoint.stats();
    assert!(stats.cookies_accepted > 1900, "{stats:?}");
    // From elsewhere it is no cookie at all, and others are as welcome as ever.
    replay(&mut pair, address(67));
    assert_eq!(pair.server.endpoint.stats().cookies_wrong, 1);
    arrive(&mut pair, 11, address(1), "swordfish");
    assert_eq!(pair.client.outcome(7), Some(Ok(())), "{}", pair.logs());
    // Ten seconds later it is none from anywhere.
    pair.now = pair.now + seconds(11);
    replay(&mut pair, attacker);
    assert_eq!(pair.server.endpoint.stats().cookies_wrong, 2);
    stats
}

#[test]
fn a_replayed_cookie_is_good_for_its_address_alone_and_not_for_much() {
    let stats = replay_a_cookie(5);
    assert_eq!((stats.half_open, stats.refused, stats.rate_limited_ip), (6, stats.blocked, 0), "{stats:?}");
    // Five seconds' worth of fifty.
    let stats = replay_a_cookie(0);
    assert_eq!((stats.half_open, stats.refused, stats.blocked), (250, stats.rate_limited_ip, 0), "{stats:?}");
}

#[test]
fn whoever_stalls_behind_a_nat_does_not_lock_out_the_others_behind_it() {
    let mut pair = server(|settings| (settings.cookie_threshold_ip, settings.block_threshold) = (1, 2));
    let site = address(9);
    // Two that stall; the second had to show a cookie.
    for seed in [10, 11] {
        let drops = if seed == 10 { [2, 3, 4] } else { [4, 5, 6] };
        pair.drop = drops.into();
        arrive(&mut pair, seed, site, "swordfish");
    }
    pair.drop.clear();
    assert_eq!(pair.server.endpoint.stats().half_open, 2, "{}", pair.logs());
    arrive(&mut pair, 12, site, "swordfish");
    assert_eq!((pair.client.established(), pair.server.endpoint.stats().blocked), (0, 1));
    // The third one tries again, by then with a cookie that is too old, and gets another.
    pair.pass(seconds(12));
    assert_eq!(pair.client.outcome(7), Some(Ok(())), "{}", pair.logs());
    assert_eq!(pair.server.endpoint.stats().half_open_evicted, 1);
}

#[test]
fn what_is_spoofed_costs_no_more_than_its_rate_even_without_thresholds() {
    let mut pair = server(|settings| {
        (settings.cookie_threshold, settings.cookie_threshold_ip) = (0, 0);
    });
    let mut init = first_message();
    // Another group than the one of the key: an answer, and nothing half-open.
    let at_ke = init.windows(4).position(|window| window == [0, 31, 0, 0]).unwrap();
    init[at_ke + 1] = 19;
    for n in 0..1000 {
        spoof(&mut pair, &init, n);
    }
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.half_open, stats.cookies_sent), (0, 800), "{stats:?}");
    // Somebody who shows a cookie is served all the same.
    arrive(&mut pair, 10, address(5000), "swordfish");
    assert_eq!(pair.client.outcome(7), Some(Ok(())), "{}", pair.logs());
}

#[test]
fn a_flood_does_not_flood_the_log() {
    let mut pair = server(|_| {});
    let init = first_message();
    for n in 0..20_000 {
        pair.now = Instant::from_micros(u64::from(n) * 100);
        spoof(&mut pair, &init, n);
    }
    let mut unknown = init.clone();
    (unknown[8], unknown[18]) = (1, 37);
    for n in 0..20_000 {
        spoof(&mut pair, &unknown, n);
        spoof(&mut pair, b"no IKE message at all", n % 8);
    }
    pair.settle();
    let lines = pair.server.log();
    assert!(lines.len() < 600, "{} lines", lines.len());
    assert!(pair.server.logged("more messages of strangers came"), "{}", pair.logs());
    assert!(pair.server.endpoint.stats().untold > 30_000);
    // An honest client in its midst is told of from beginning to end.
    arrive(&mut pair, 10, address(60_000), "swordfish");
    assert_eq!(pair.client.outcome(7), Some(Ok(())));
    let told = pair.server.log().split_off(lines.len());
    for part in ["is initiating an IKE_SA", "established between"] {
        assert!(told.iter().any(|line| line.contains(part)), "{part} in {told:#?}");
    }
}

#[test]
fn a_datagram_beyond_max_packet_is_not_read() {
    let mut pair = server(|settings| settings.max_packet = 100);
    arrive(&mut pair, 10, address(1), "swordfish");
    let stats = pair.server.endpoint.stats();
    assert_eq!((stats.oversized, stats.ike_sas), (1, 0));
}
