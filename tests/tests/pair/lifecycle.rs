//! The life of a pair that is up: rekeyed, deleted, cut off, moved, crashed.

use std::sync::Arc;
use std::time::Duration;

use adit_ike::{ChildAction, Command, Event, IkeState};

use crate::net::End;
use crate::pair::{Pair, SECOND, settle, shut_down};
use crate::setup::{Auth, Setup};

fn up(turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(Auth::Psk);
    turn(&mut setup);
    let mut pair = Pair::new(setup, 7);
    if let Err(reason) = pair.up(End::Client) {
        panic!("{reason}\n{}", pair.story());
    }
    settle(&mut pair);
    pair
}

fn spis(pair: &Pair) -> Vec<(u32, u32)> {
    pair.views(End::Client).iter().flat_map(|sa| &sa.children).map(|c| (c.spi_in, c.spi_out)).collect()
}

fn rekeyed(pair: &Pair, end: End) -> (usize, usize) {
    let count = |is: fn(&Event) -> bool| pair.host(end).events.iter().filter(|(_, e)| is(e)).count();
    (count(|e| matches!(e, Event::ChildRekeyed { .. })), count(|e| matches!(e, Event::IkeRekeyed { .. })))
}

fn downs(pair: &Pair, end: End) -> usize {
    pair.host(end)
        .events
        .iter()
        .filter(|(_, e)| matches!(e, Event::ChildDown { .. } | Event::IkeClosed { .. }))
        .count()
}

/// Knobs under which rekeying must work.
type Ground = (&'static str, fn(&mut Setup));

fn grounds() -> Vec<Ground> {
    vec![
        ("plain", |_| {}),
        ("NAT", Setup::behind_nat),
        ("road-warrior", Setup::road_warrior),
        ("PFS", |s| s.both(|side| side.esp(&["aes256gcm16-ecp256"]))),
        ("PFS with another group wanted", |s| {
            s.client.esp(&["aes256gcm16-x25519-ecp256"]);
            s.gateway.esp(&["aes256gcm16-ecp256"]);
        }),
        ("CBC", |s| {
            s.both(|side| {
                side.ike(&["aes256-sha384-ecp384"]);
                side.esp(&["aes128-sha256"]);
            });
        }),
        ("slow outside", |s| s.both(|side| side.outside.delay = 2_000_000)),
        ("loss", |s| {
            s.links = [crate::net::Link { loss: 25, duplicates: 25, delay: 20_000, jitter: 150_000 }; 2]
        }),
    ]
}

#[test]
fn a_child_is_rekeyed_from_each_side() {
    for (name, turn) in grounds() {
        for end in End::BOTH {
            let mut pair = up(turn);
            let (before, reqid) = (spis(&pair), pair.client.sad.values().next().unwrap().sa.reqid);
            let id = pair.children(end)[0];
            pair.command(end, Command::RekeyChild { id });
            pair.run_for(SECOND);
            settle(&mut pair);
            let told = || format!("{name}, {end:?}\n{}", pair.story());
            assert_eq!(pair.children(End::Client).len(), 1, "{}", told());
            assert_ne!(spis(&pair)[0].0, before[0].0, "{}", told());
            assert_ne!(spis(&pair)[0].1, before[0].1, "{}", told());
            assert_eq!(pair.client.sad.values().next().unwrap().sa.reqid, reqid, "{}", told());
            for end in End::BOTH {
                assert_eq!(rekeyed(&pair, end), (1, 0), "{}", told());
                assert_eq!(downs(&pair, end), 0, "{}", told());
            }
            shut_down(pair);
        }
    }
}

#[test]
fn an_ike_sa_is_rekeyed_from_each_side() {
    for (name, turn) in grounds() {
        for end in End::BOTH {
            let mut pair = up(turn);
            let before = (pair.views(End::Client)[0].spi_i, pair.views(End::Client)[0].spi_r);
            let children = spis(&pair);
            let id = pair.ikes(end)[0];
            pair.command(end, Command::RekeyIke { id });
            pair.run_for(SECOND);
            settle(&mut pair);
            let told = || format!("{name}, {end:?}\n{}", pair.story());
            let after = pair.views(end);
            assert_eq!(after.len(), 1, "{}", told());
            assert!(after[0].spi_i != before.0 && after[0].spi_r != before.1, "{}", told());
            assert_eq!(after[0].state, IkeState::Established);
            assert_eq!(spis(&pair), children, "children move, {}", told());
            for end in End::BOTH {
                assert_eq!(rekeyed(&pair, end).1, 1, "{}", told());
            }
            // The new one carries on: another child rekeying, then the delete, from the other side.
            let child = pair.children(end.other())[0];
            pair.command(end.other(), Command::RekeyChild { id: child });
            pair.run_for(SECOND);
            settle(&mut pair);
            assert_ne!(spis(&pair), children);
            pair.terminate(end.other()).unwrap();
            if let Err(left) = pair.drain() {
                panic!("{name}, {end:?}: left: {left}\n{}", pair.story());
            }
        }
    }
}

#[test]
fn rekeyed_again_and_again_by_the_clock() {
    for end in End::BOTH {
        let mut pair = up(|s| {
            s.road_warrior();
            let side = if end == End::Client { &mut s.client } else { &mut s.gateway };
            side.conn.rekey_time = Duration::from_secs(100);
            side.conn.rand_time = Duration::from_secs(10);
            side.conn.over_time = Duration::from_secs(20);
            side.child().rekey_time = Duration::from_secs(30);
            side.child().rand_time = Duration::from_secs(3);
            side.child().life_time = Duration::from_secs(40);
        });
        pair.run_for(1000 * SECOND);
        settle(&mut pair);
        let (children, ikes) = rekeyed(&pair, end);
        assert!((33..=40).contains(&children), "{children} rekeyings of the child\n{}", pair.story());
        assert!((9..=12).contains(&ikes), "{ikes} rekeyings of the IKE_SA\n{}", pair.story());
        assert_eq!(downs(&pair, End::Client) + downs(&pair, End::Gateway), 0, "{}", pair.story());
        assert!(pair.client.failures().is_empty() && pair.gateway.failures().is_empty());
        shut_down(pair);
    }
}

#[test]
fn reauthenticated_by_the_clock() {
    for make_before_break in [true, false] {
        let mut pair = up(|s| {
            s.behind_nat();
            s.road_warrior();
            s.add_child("voice", "dynamic", "10.12.0.0/16");
            s.client.settings.make_before_break = make_before_break;
            s.client.conn.rekey_time = Duration::ZERO;
            s.client.conn.reauth_time = Duration::from_secs(60);
            s.client.conn.rand_time = Duration::from_secs(6);
        });
        let first = pair.ikes(End::Client)[0];
        for _ in 0..5 {
            pair.run_for(65 * SECOND);
            settle(&mut pair);
            for end in End::BOTH {
                let count = (pair.ikes(end).len(), pair.children(end).len());
                assert_eq!(count, (1, 2), "{make_before_break} {end:?}\n{}", pair.story());
            }
            assert_eq!(pair.views(End::Client)[0].local_vips[0], crate::setup::ip("10.3.0.1"));
        }
        assert!(pair.ikes(End::Client)[0] >= first + 5, "{make_before_break}\n{}", pair.story());
        assert!(pair.client.failures().is_empty() && pair.gateway.failures().is_empty(), "{}", pair.story());
        shut_down(pair);
    }
}

#[test]
fn a_child_is_deleted_from_each_side_and_brought_up_again() {
    for end in End::BOTH {
        let mut pair = up(|s| s.add_child("voice", "10.11.0.0/16", "10.12.0.0/16"));
        assert_eq!(pair.children(end).len(), 2);
        let id = pair.children(end)[0];
        pair.terminate_child(end, id).unwrap();
        settle(&mut pair);
        for end in End::BOTH {
            assert_eq!((pair.children(end).len(), pair.ikes(end).len()), (1, 1));
        }
        let tag = pair.initiate(end, Some("net"));
        pair.outcome(end, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
        settle(&mut pair);
        assert_eq!(
            (pair.children(End::Client).len(), pair.ikes(End::Client).len()),
            (2, 1),
            "{}",
            pair.story()
        );
        shut_down(pair);
    }
}

#[test]
fn an_ike_sa_is_deleted_from_each_side() {
    for (_, turn) in grounds() {
        for end in End::BOTH {
            let mut pair = up(turn);
            pair.terminate(end).unwrap();
            if let Err(left) = pair.drain() {
                panic!("{end:?}: left: {left}\n{}", pair.story());
            }
            for end in End::BOTH {
                let closed = pair.host(end).events.iter();
                let closed =
                    closed.filter(|(_, e)| matches!(e, Event::IkeClosed { was_established: true, .. }));
                assert_eq!(closed.count(), 1);
            }
        }
    }
}

#[test]
fn bringing_up_what_is_up_changes_nothing() {
    let mut pair = up(|_| {});
    let before = spis(&pair);
    pair.up(End::Client).unwrap();
    settle(&mut pair);
    assert_eq!(spis(&pair), before);
    shut_down(pair);
}

#[test]
fn an_initiation_given_up_leaves_nothing() {
    let mut setup = Setup::new(Auth::Psk);
    setup.links[1].loss = 100;
    let mut pair = Pair::new(setup, 3);
    let tag = pair.initiate(End::Client, None);
    pair.run_for(5 * SECOND);
    let id = pair.ikes(End::Client)[0];
    pair.command(End::Client, Command::TerminateIke { id, force: true, tag: 0 });
    assert!(pair.outcome(End::Client, tag).is_err());
    pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
}

#[test]
fn a_dead_peer_is_found() {
    let mut pair = up(Setup::road_warrior);
    let cut = pair.now;
    pair.net.cut = true;
    pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    // dpd_delay and the whole retransmission table
    assert!(pair.now - cut < (30 + 165 + 5) * SECOND, "{} s", (pair.now - cut) / SECOND);
    for end in End::BOTH {
        assert!(pair.host(end).failures().contains(&"peer-unreachable"), "{}", pair.story());
    }
}

#[test]
fn a_short_cut_is_survived() {
    let mut pair = up(|_| {});
    let before = spis(&pair);
    pair.net.cut = true;
    pair.run_for(60 * SECOND);
    pair.net.cut = false;
    pair.run_for(60 * SECOND);
    settle(&mut pair);
    assert_eq!(spis(&pair), before);
    assert_eq!(pair.ikes(End::Client).len(), 1);
    shut_down(pair);
}

#[test]
fn what_dpd_action_says_is_done() {
    let mut pair = up(|s| {
        s.road_warrior();
        s.client.child().dpd_action = ChildAction { trap: false, start: true };
    });
    // The gateway's machine dies: the client finds out, and reconnects.
    pair.crash(End::Gateway);
    pair.run_for(300 * SECOND);
    settle(&mut pair);
    assert_eq!(
        (pair.children(End::Client).len(), pair.children(End::Gateway).len()),
        (1, 1),
        "{}",
        pair.story()
    );
    assert_eq!(pair.views(End::Client)[0].local_vips[0], crate::setup::ip("10.3.0.1"));
    shut_down(pair);
}

#[test]
fn what_close_action_says_is_done() {
    let mut pair = up(|s| s.client.child().close_action = ChildAction { trap: false, start: true });
    let before = spis(&pair);
    pair.terminate(End::Gateway).unwrap();
    pair.run_for(10 * SECOND);
    settle(&mut pair);
    assert_eq!(pair.children(End::Gateway).len(), 1, "{}", pair.story());
    assert_ne!(spis(&pair), before);
    shut_down(pair);
}

#[test]
fn a_crashed_client_reconnects() {
    for nat in [false, true] {
        let mut pair = up(|s| {
            s.road_warrior();
            if nat {
                s.behind_nat();
            }
        });
        pair.crash(End::Client);
        if let Err(reason) = pair.up(End::Client) {
            panic!("{reason}\n{}", pair.story());
        }
        settle(&mut pair);
        for end in End::BOTH {
            assert_eq!((pair.ikes(end).len(), pair.children(end).len()), (1, 1), "{}", pair.story());
        }
        // The lease is the same one.
        assert_eq!(pair.views(End::Client)[0].local_vips[0], crate::setup::ip("10.3.0.1"));
        shut_down(pair);
    }
}

#[test]
fn a_nat_that_forgets_is_followed() {
    let mut pair = up(Setup::behind_nat);
    let before = pair.views(End::Gateway)[0].remote.unwrap();
    pair.net.nat.as_mut().unwrap().rebind();
    pair.run_for(120 * SECOND);
    settle(&mut pair);
    let after = pair.views(End::Gateway)[0].remote.unwrap();
    assert_ne!(after.port(), before.port(), "{}", pair.story());
    assert_eq!(pair.gateway.sad.values().next().unwrap().remote, after);
    assert!(pair.gateway.events.iter().any(|(_, e)| matches!(e, Event::IkeUpdated { .. })));
    assert_eq!(rekeyed(&pair, End::Gateway), (0, 0));
    shut_down(pair);
}

#[test]
fn keepalives_are_sent_from_behind_nat_only() {
    for nat in [false, true] {
        let mut pair = up(|s| {
            s.both(|side| side.conn.dpd_delay = Duration::ZERO);
            if nat {
                s.behind_nat();
            }
        });
        pair.run_for(200 * SECOND);
        let sent = |end| pair.net.capture.iter().filter(|c| c.from == end && c.bytes == [0xff]).count();
        assert_eq!(sent(End::Gateway), 0);
        let expected = if nat { 9..=11 } else { 0..=0 };
        assert!(expected.contains(&sent(End::Client)), "{} keepalives", sent(End::Client));
        shut_down(pair);
    }
}

#[test]
fn an_idle_child_is_closed() {
    let mut pair = up(|s| {
        s.gateway.child().inactivity = Duration::from_secs(60);
        s.gateway.outside.idle = None;
        s.client.outside.idle = None;
    });
    pair.gateway.outside.idle = Some(Duration::from_secs(3600));
    pair.run_for(200 * SECOND);
    settle(&mut pair);
    assert!(pair.children(End::Client).is_empty(), "{}", pair.story());
    shut_down(pair);
}

#[test]
fn a_volume_limit_rekeys_or_closes() {
    for hard in [false, true] {
        let mut pair = up(|_| {});
        let before = spis(&pair);
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, Command::ChildExpired { id, hard });
        pair.run_for(SECOND);
        settle(&mut pair);
        if hard {
            assert!(!spis(&pair).contains(&before[0]), "{}", pair.story());
        } else {
            assert_eq!(rekeyed(&pair, End::Gateway), (1, 0), "{}", pair.story());
        }
        shut_down(pair);
    }
}

#[test]
fn a_rekeying_that_the_data_plane_refuses_keeps_the_old_one_or_closes() {
    for end in End::BOTH {
        let mut pair = up(|_| {});
        pair.host_mut(end).outside.failing.insert(crate::host::Question::Install);
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, Command::RekeyChild { id });
        pair.run_for(30 * SECOND);
        pair.host_mut(end).outside.failing.clear();
        settle(&mut pair);
        shut_down(pair);
    }
}

#[test]
fn two_clients_of_one_identity() {
    use adit_ike::Unique;
    for (unique, kept) in [(Unique::Never, 2), (Unique::Replace, 1), (Unique::Keep, 1)] {
        // Twice the same client, the second time as another connection that does not know of the first one.
        let mut setup = Setup::new(Auth::Psk);
        setup.gateway.conn.unique = unique;
        setup.client.conn.unique = Unique::Never;
        let mut pair = Pair::new(setup.clone(), 5);
        pair.up(End::Client).unwrap();
        let mut config = (*setup.client.config()).clone();
        let mut again = setup.client.conn.clone();
        again.name = "again".into();
        config.connections.push(Arc::new(again));
        pair.command(End::Client, Command::SetConfig(Arc::new(config)));
        let command = Command::Initiate { conn: Some("again".into()), child: None, tag: 99, trigger: None };
        pair.command(End::Client, command);
        let second = pair.outcome(End::Client, 99);
        assert_eq!(second.is_err(), unique == Unique::Keep, "{unique:?} {second:?}\n{}", pair.story());
        // A duplicate is left the time that a reauthentication needs.
        pair.run_for(15 * SECOND);
        settle(&mut pair);
        assert_eq!(pair.ikes(End::Gateway).len(), kept, "{unique:?}\n{}", pair.story());
        shut_down(pair);
    }
}

#[test]
fn shutdown_is_quick() {
    let mut pair = up(|s| {
        s.road_warrior();
        s.both(|side| side.settings.retransmit_timeout = Duration::from_secs(4));
    });
    // Even if nobody answers.
    pair.net.cut = true;
    pair.command(End::Client, Command::Shutdown);
    let deadline = pair.now + 300_000;
    let done = pair.run_until(deadline, |pair| {
        pair.client.events.iter().any(|(_, e)| matches!(e, Event::ShutdownComplete))
    });
    assert!(done, "{}", pair.story());
    assert!(pair.client.sad.is_empty() && pair.client.virtual_ips.is_empty());
    assert!(pair.ikes(End::Client).is_empty());
}
