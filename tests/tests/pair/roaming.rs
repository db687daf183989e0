//! Addresses that change under a tunnel that is up (RFC 4555): from each side, with and without NAT, while something is in
//! flight, and with a peer that does not know MOBIKE. What stays up must not notice: no SA is made anew where MOBIKE is
//! in use.

use std::net::IpAddr;
use std::time::Duration;

use adit_ike::{Command, Event};
use adit_wire::{ExchangeType, Header};

use crate::net::{Captured, End, Link};
use crate::pair::{Pair, SECOND, settle, shut_down};
use crate::setup::{Auth, Setup, ip};

const CLIENT_A: &str = "192.0.2.10";
const CLIENT_B: &str = "192.0.2.99";
const CLIENT_C: &str = "198.18.5.5";
const GATEWAY_A: &str = "203.0.113.1";
const GATEWAY_B: &str = "203.0.113.77";
/// Behind the NAT box.
const HOME: &str = "192.168.7.2";

fn up(turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(Auth::Psk);
    setup.roaming();
    turn(&mut setup);
    let mut pair = Pair::new(setup, 23);
    if let Err(reason) = pair.up(End::Client) {
        panic!("{reason}\n{}", pair.story());
    }
    settle(&mut pair);
    pair
}

fn spis(pair: &Pair) -> Vec<(u64, u64, u32, u32)> {
    let of = |sa: &adit_ike::Snapshot| {
        let ike = (sa.spi_i, sa.spi_r);
        sa.children.iter().map(|c| (ike.0, ike.1, c.spi_in, c.spi_out)).collect::<Vec<_>>()
    };
    pair.views(End::Client).iter().flat_map(of).collect()
}

/// Where each end sends ESP, and whether in UDP.
fn esp(pair: &Pair, end: End) -> (IpAddr, IpAddr, bool) {
    let entry = pair.host(end).sad.values().next_back().expect("a CHILD_SA");
    (entry.local.ip(), entry.remote.ip(), entry.udp_encap)
}

/// Both ends send ESP between these addresses of the client and the gateway.
fn assert_between(pair: &Pair, client: &str, seen_as: &str, gateway: &str, udp_encap: bool) {
    let told = || pair.story();
    assert_eq!(esp(pair, End::Client), (ip(client), ip(gateway), udp_encap), "{}", told());
    assert_eq!(esp(pair, End::Gateway), (ip(gateway), ip(seen_as), udp_encap), "{}", told());
}

fn logged(pair: &Pair, end: End, text: &str) -> usize {
    let says = |event: &Event| matches!(event, Event::Log { text: line, .. } if line.contains(text));
    pair.host(end).events.iter().filter(|(_, event)| says(event)).count()
}

/// Nothing came up anew and nothing went down.
fn assert_undisturbed(pair: &Pair) {
    for end in End::BOTH {
        let disturbs = |event: &Event| {
            matches!(event, Event::IkeClosed { .. } | Event::ChildDown { .. } | Event::Failure { .. })
        };
        let disturbed = pair.host(end).events.iter().filter(|(_, event)| disturbs(event)).count();
        assert_eq!(disturbed, 0, "{end:?}\n{}", pair.story());
    }
}

fn exchange(datagram: &Captured) -> Option<ExchangeType> {
    let bytes = datagram.bytes.strip_prefix(&[0; 4]).unwrap_or(&datagram.bytes);
    Header::parse(bytes).ok().map(|header| header.exchange)
}

//= rfc4555 3.3-1
#[test]
fn with_mobike_everything_after_the_first_exchange_is_on_port_4500() {
    for mobike in [true, false] {
        let mut pair = up(|s| s.client.conn.mobike = mobike);
        let port = if mobike { 4500 } else { 500 };
        for datagram in &pair.net.capture {
            let first = exchange(datagram) == Some(ExchangeType::IKE_SA_INIT);
            let expected = if first { 500 } else { port };
            assert_eq!((datagram.src.port(), datagram.dst.port()), (expected, expected));
        }
        // ESP needs no UDP where there is no NAT.
        assert_between(&pair, CLIENT_A, CLIENT_A, GATEWAY_A, false);
        settle(&mut pair);
        shut_down(pair);
    }
}

#[test]
fn the_client_moves() {
    for turn in [|_: &mut Setup| {}, Setup::road_warrior] {
        let mut pair = up(turn);
        let before = spis(&pair);
        for to in [CLIENT_B, CLIENT_C, CLIENT_A] {
            pair.readdress(End::Client, &[to]);
            settle(&mut pair);
            assert_between(&pair, to, to, GATEWAY_A, false);
        }
        assert_eq!(spis(&pair), before);
        assert_undisturbed(&pair);
        assert_eq!(logged(&pair, End::Gateway, "return routability of"), 3, "{}", pair.story());
        shut_down(pair);
    }
}

#[test]
fn the_gateway_moves() {
    let mut pair = up(|_| {});
    let before = spis(&pair);
    for to in [GATEWAY_B, GATEWAY_A] {
        pair.readdress(End::Gateway, &[to]);
        settle(&mut pair);
        assert_between(&pair, CLIENT_A, CLIENT_A, to, false);
    }
    assert_eq!(spis(&pair), before);
    assert_undisturbed(&pair);
    shut_down(pair);
}

#[test]
fn from_behind_a_nat_to_the_open_and_back() {
    let mut pair = up(|s| {
        s.roaming();
        s.behind_nat();
    });
    let before = spis(&pair);
    assert_between(&pair, HOME, "198.51.100.1", GATEWAY_A, true);
    for _ in 0..2 {
        pair.readdress(End::Client, &[CLIENT_B]);
        settle(&mut pair);
        assert_between(&pair, CLIENT_B, CLIENT_B, GATEWAY_A, false);
        // No NAT, no keepalives.
        let sent = pair.net.capture.len();
        pair.run_for(100 * SECOND);
        assert!(pair.net.capture[sent..].iter().all(|c| c.bytes != [0xff]), "{}", pair.story());
        pair.readdress(End::Client, &[HOME]);
        settle(&mut pair);
        assert_between(&pair, HOME, "198.51.100.1", GATEWAY_A, true);
        let sent = pair.net.capture.len();
        pair.run_for(100 * SECOND);
        assert!(pair.net.capture[sent..].iter().any(|c| c.bytes == [0xff]), "{}", pair.story());
    }
    assert_eq!(spis(&pair), before);
    assert_undisturbed(&pair);
    shut_down(pair);
}

/// What is in flight when the address changes.
type Flight = (&'static str, fn(&mut Pair));

fn flights() -> Vec<Flight> {
    vec![
        ("the client's rekeying of the CHILD_SA", |pair| {
            let id = pair.children(End::Client)[0];
            pair.command(End::Client, Command::RekeyChild { id });
        }),
        ("the gateway's rekeying of the CHILD_SA", |pair| {
            let id = pair.children(End::Gateway)[0];
            pair.command(End::Gateway, Command::RekeyChild { id });
        }),
        ("both", |pair| {
            for end in End::BOTH {
                let id = pair.children(end)[0];
                pair.command(end, Command::RekeyChild { id });
            }
        }),
        ("the client's rekeying of the IKE_SA", |pair| {
            let id = pair.ikes(End::Client)[0];
            pair.command(End::Client, Command::RekeyIke { id });
        }),
        ("the gateway's rekeying of the IKE_SA", |pair| {
            let id = pair.ikes(End::Gateway)[0];
            pair.command(End::Gateway, Command::RekeyIke { id });
        }),
        ("both ends' rekeying of the IKE_SA", |pair| {
            for end in End::BOTH {
                let id = pair.ikes(end)[0];
                pair.command(end, Command::RekeyIke { id });
            }
        }),
        ("another CHILD_SA", |pair| {
            pair.initiate(End::Client, Some("voice"));
        }),
        ("liveness checks", |pair| {
            // The SAs are idle, so both ends ask when their time has come.
            let sent = pair.net.capture.len();
            let deadline = pair.now + 60 * SECOND;
            assert!(pair.run_until(deadline, |pair| pair.net.capture.len() > sent));
        }),
    ]
}

#[test]
fn whatever_is_in_flight_goes_on_where_the_client_is_now() {
    // The moment of the move: at once, with the request, the answer or what follows it under way.
    for (what, start) in flights() {
        for after in [0, 5_000, 12_000, 15_000, 22_000, 25_000, 35_000, 45_000] {
            for mover in End::BOTH {
                for delay in [0, 40_000] {
                    let mut pair = up(|s| {
                        s.add_child("voice", "10.11.0.0/16", "10.12.0.0/16");
                        s.both(|side| side.outside.delay = delay);
                    });
                    start(&mut pair);
                    pair.run_for(after);
                    let to = if mover == End::Client { CLIENT_B } else { GATEWAY_B };
                    pair.readdress(mover, &[to]);
                    pair.run_for(SECOND);
                    settle(&mut pair);
                    let told = || format!("{what}, {mover:?} after {after} µs, {delay}\n{}", pair.story());
                    let (client, gateway) =
                        if mover == End::Client { (to, GATEWAY_A) } else { (CLIENT_A, to) };
                    for end in End::BOTH {
                        let (local, remote) =
                            if end == End::Client { (client, gateway) } else { (gateway, client) };
                        assert_eq!(esp(&pair, end), (ip(local), ip(remote), false), "{}", told());
                        assert_eq!(pair.ikes(end).len(), 1, "{}", told());
                        assert!(pair.host(end).failures().is_empty(), "{}", told());
                    }
                    // What it was, not the retransmission table, brought it through.
                    shut_down(pair);
                }
            }
        }
    }
}

//= rfc4555 3.6-1
#[test]
fn moved_again_before_the_first_move_is_through() {
    for after in (0..80_000).step_by(4_000) {
        let mut pair = up(|_| {});
        let before = spis(&pair);
        pair.readdress(End::Client, &[CLIENT_B]);
        pair.run_for(after);
        pair.readdress(End::Client, &[CLIENT_C]);
        pair.run_for(after);
        // And back: the gateway has seen this address before.
        pair.readdress(End::Client, &[CLIENT_A]);
        settle(&mut pair);
        assert_between(&pair, CLIENT_A, CLIENT_A, GATEWAY_A, false);
        assert_eq!(spis(&pair), before, "{after}\n{}", pair.story());
        assert_undisturbed(&pair);
        shut_down(pair);
    }
}

#[test]
fn both_ends_move_at_once() {
    // Neither hears the other's news at its new address; the additional addresses that each told before are the way.
    let mut pair = up(|s| {
        s.client.outside.addresses = vec![ip(CLIENT_A), ip(CLIENT_B)];
        s.gateway.outside.addresses = vec![ip(GATEWAY_A), ip(GATEWAY_B)];
    });
    let before = spis(&pair);
    pair.readdress(End::Client, &[CLIENT_B]);
    pair.readdress(End::Gateway, &[GATEWAY_B]);
    settle(&mut pair);
    assert_between(&pair, CLIENT_B, CLIENT_B, GATEWAY_B, false);
    assert_eq!(spis(&pair), before);
    assert_undisturbed(&pair);
    shut_down(pair);
}

#[test]
fn a_lost_answer_to_an_update_is_asked_for_again() {
    for lost in [0, 1] {
        let mut pair = up(|_| {});
        let before = spis(&pair);
        pair.net.links[lost].loss = 100;
        pair.readdress(End::Client, &[CLIENT_B]);
        pair.run_for(3 * SECOND);
        pair.net.links[lost] = Link::CLEAN;
        settle(&mut pair);
        assert_between(&pair, CLIENT_B, CLIENT_B, GATEWAY_A, false);
        assert_eq!(spis(&pair), before);
        assert_undisturbed(&pair);
        assert_eq!(logged(&pair, End::Client, "requesting address change"), 1, "{}", pair.story());
        shut_down(pair);
    }
}

#[test]
fn what_is_late_from_the_old_path_moves_nothing_back() {
    let mut pair = up(Setup::behind_nat);
    let old = pair.views(End::Gateway)[0].remote.expect("an address");
    let sent = pair.net.capture.len();
    pair.run_for(60 * SECOND);
    let late: Vec<Captured> =
        pair.net.capture[sent..].iter().filter(|c| c.from == End::Client).cloned().collect();
    assert!(!late.is_empty());
    pair.readdress(End::Client, &["192.168.7.9"]);
    settle(&mut pair);
    let (before, path) = (spis(&pair), pair.views(End::Gateway)[0].remote);
    assert_ne!(path, Some(old));
    for datagram in late {
        let at = pair.now;
        pair.net.fly(at, End::Gateway, old, datagram.dst, datagram.bytes);
        pair.run_for(SECOND / 10);
    }
    // ESP, too: the data plane cannot know that a packet has been under way for long.
    let id = pair.children(End::Gateway)[0];
    pair.command(End::Gateway, Command::PeerMoved { id, remote: old });
    settle(&mut pair);
    assert_eq!((spis(&pair), pair.views(End::Gateway)[0].remote), (before, path), "{}", pair.story());
    shut_down(pair);
}

#[test]
fn a_peer_without_mobike_is_reached_by_a_new_ike_sa() {
    for (client, gateway) in [(true, false), (false, true), (false, false)] {
        for make_before_break in [true, false] {
            let mut pair = up(|s| {
                s.road_warrior();
                s.client.conn.mobike = client;
                s.gateway.conn.mobike = gateway;
                s.client.settings.make_before_break = make_before_break;
            });
            let before = spis(&pair);
            pair.readdress(End::Client, &[CLIENT_B]);
            pair.run_for(SECOND);
            settle(&mut pair);
            assert_ne!(spis(&pair), before);
            for end in End::BOTH {
                assert_eq!((pair.ikes(end).len(), pair.children(end).len()), (1, 1), "{}", pair.story());
            }
            assert_between(&pair, CLIENT_B, CLIENT_B, GATEWAY_A, false);
            assert_eq!(pair.views(End::Client)[0].local_vips[0], ip("10.3.0.1"), "the lease stays");
            shut_down(pair);
        }
    }
}

#[test]
fn without_mobike_a_responder_leaves_the_rest_to_the_initiator() {
    let mut pair = up(|s| {
        s.both(|side| side.conn.mobike = false);
        s.gateway.outside.addresses = vec![ip(GATEWAY_A), ip(GATEWAY_B)];
    });
    let (before, sent) = (spis(&pair), pair.net.capture.len());
    pair.readdress(End::Gateway, &[GATEWAY_A]);
    pair.run_for(SECOND);
    assert_eq!(pair.net.capture.len(), sent, "{}", pair.story());
    assert_eq!(spis(&pair), before);
    settle(&mut pair);
    shut_down(pair);
}

#[test]
fn an_address_that_comes_and_goes_beside_the_one_in_use_is_only_told() {
    for end in End::BOTH {
        let mut pair = up(|_| {});
        let own = if end == End::Client { CLIENT_A } else { GATEWAY_A };
        let path = pair.views(End::Client)[0].remote;
        for addresses in [vec![own, "198.18.0.7"], vec!["fd77::7", own], vec![own]] {
            pair.readdress(end, &addresses);
            settle(&mut pair);
            // Told once, and not again when nothing is new.
            pair.readdress(end, &addresses);
            settle(&mut pair);
        }
        assert_eq!(logged(&pair, end, "sending address list update"), 3, "{}", pair.story());
        assert_eq!(logged(&pair, end.other(), "additional MOBIKE peer addresses"), 3, "{}", pair.story());
        assert_eq!(pair.views(End::Client)[0].remote, path);
        assert_undisturbed(&pair);
        shut_down(pair);
    }
}

#[test]
fn when_the_primary_path_is_cut_another_pair_takes_over() {
    for (dead, client, gateway) in [(GATEWAY_A, CLIENT_A, GATEWAY_B), (CLIENT_A, CLIENT_B, GATEWAY_A)] {
        let mut pair = up(|s| {
            s.client.outside.addresses = vec![ip(CLIENT_A), ip(CLIENT_B)];
            s.gateway.outside.addresses = vec![ip(GATEWAY_A), ip(GATEWAY_B)];
        });
        let before = spis(&pair);
        pair.net.dead.insert(ip(dead));
        let cut = pair.now;
        let deadline = cut + 165 * SECOND;
        let moved = pair.run_until(deadline, |pair| {
            esp(pair, End::Gateway).1 == ip(client) && esp(pair, End::Gateway).0 == ip(gateway)
        });
        assert!(moved, "{dead}\n{}", pair.story());
        settle(&mut pair);
        // dpd_delay, and two retransmissions before others are tried.
        assert!(pair.now - cut < 60 * SECOND, "{} s\n{}", (pair.now - cut) / SECOND, pair.story());
        assert_between(&pair, client, client, gateway, false);
        assert_eq!(spis(&pair), before);
        assert_undisturbed(&pair);
        shut_down(pair);
    }
}

#[test]
fn a_peer_that_no_path_leads_to_is_dead_in_the_usual_time() {
    let mut pair = up(|s| {
        s.client.outside.addresses = vec![ip(CLIENT_A), ip(CLIENT_B)];
        s.gateway.outside.addresses = vec![ip(GATEWAY_A), ip(GATEWAY_B)];
    });
    let (cut, sent) = (pair.now, pair.net.capture.len());
    pair.net.cut = true;
    pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    assert!(pair.now - cut < (30 + 165 + 5) * SECOND, "{} s", (pair.now - cut) / SECOND);
    // Six times on its own path, four times on the three others.
    let from_client = pair.net.capture[sent..].iter().filter(|c| c.from == End::Client).count();
    assert_eq!(from_client, 6 + 4 * 3, "{}", pair.story());
    assert!(pair.client.failures().contains(&"peer-unreachable"));
}

#[test]
fn without_an_address_the_tunnel_waits_for_one() {
    let mut pair = up(|_| {});
    let before = spis(&pair);
    pair.readdress(End::Client, &[]);
    pair.run_for(20 * SECOND);
    pair.readdress(End::Client, &[CLIENT_B]);
    settle(&mut pair);
    assert_between(&pair, CLIENT_B, CLIENT_B, GATEWAY_A, false);
    assert_eq!(spis(&pair), before);
    assert_undisturbed(&pair);
    shut_down(pair);
}

#[test]
fn an_initiation_starts_again_from_the_new_address() {
    for after in [0, 5_000, 15_000, 22_000, 35_000] {
        for delay in [0, 20_000] {
            let mut setup = Setup::new(Auth::EapAndPsk);
            setup.roaming();
            setup.both(|side| side.outside.delay = delay);
            let mut pair = Pair::new(setup, 5);
            let tag = pair.initiate(End::Client, None);
            pair.run_for(after);
            pair.readdress(End::Client, &[CLIENT_B]);
            pair.outcome(End::Client, tag)
                .unwrap_or_else(|reason| panic!("{after}: {reason}\n{}", pair.story()));
            pair.run_for(200 * SECOND);
            settle(&mut pair);
            assert_between(&pair, CLIENT_B, CLIENT_B, GATEWAY_A, false);
            shut_down(pair);
        }
    }
}

#[test]
fn a_nat_that_forgets_is_followed_by_what_the_client_asks() {
    for mobike in [true, false] {
        let mut pair = up(|s| {
            s.behind_nat();
            s.both(|side| side.conn.mobike = mobike);
            // The gateway does not ask by itself.
            s.gateway.conn.dpd_delay = Duration::ZERO;
        });
        pair.run_for(40 * SECOND);
        let before = (spis(&pair), pair.views(End::Gateway)[0].remote);
        for _ in 0..3 {
            pair.net.nat.as_mut().expect("a NAT").rebind();
            pair.run_for(60 * SECOND);
            settle(&mut pair);
        }
        assert_eq!(spis(&pair), before.0);
        assert_ne!(pair.views(End::Gateway)[0].remote, before.1, "{}", pair.story());
        assert_undisturbed(&pair);
        // The first liveness check finds out how the gateway sees us, and each mapping after it.
        let asked = logged(&pair, End::Client, "NAT mappings changed");
        assert_eq!(asked, if mobike { 4 } else { 0 }, "{}", pair.story());
        shut_down(pair);
    }
}

#[test]
fn esp_from_a_new_mapping_is_followed_at_once() {
    for mobike in [true, false] {
        let mut pair = up(|s| {
            s.behind_nat();
            s.both(|side| side.conn.mobike = mobike);
        });
        let id = pair.children(End::Gateway)[0];
        let remote = "198.51.100.1:61234".parse().expect("an address");
        pair.command(End::Gateway, Command::PeerMoved { id, remote });
        pair.run_for(0);
        assert_eq!(pair.views(End::Gateway)[0].remote, Some(remote));
        assert_eq!(pair.gateway.sad.values().next().map(|entry| entry.remote), Some(remote));
    }
}

#[test]
fn from_ipv4_to_ipv6_and_back() {
    let mut pair = up(|s| {
        s.client.outside.addresses = vec![ip(CLIENT_A)];
        s.gateway.outside.addresses = vec![ip(GATEWAY_A), ip("2001:db8::1")];
    });
    let before = spis(&pair);
    for (client, gateway) in [("2001:db8:77::7", "2001:db8::1"), (CLIENT_B, GATEWAY_A)] {
        pair.readdress(End::Client, &[client]);
        settle(&mut pair);
        assert_between(&pair, client, client, gateway, false);
    }
    assert_eq!(spis(&pair), before);
    assert_undisturbed(&pair);
    shut_down(pair);
}
