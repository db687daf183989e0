//! What ends without being told to, and what brings it back: lost peers, reauthentication, lifetimes, refusals.

use std::sync::Arc;
use std::time::Duration;

use adit_ike::{ChildAction, Command, Config, Event, HostSpec, Reason, Unique};

use crate::host::Question;
use crate::net::End;
use crate::pair::{Pair, SECOND, settle, shut_down};
use crate::setup::{Auth, Setup, ip, secret};

const START: ChildAction = ChildAction { trap: false, start: true };
const TRAP: ChildAction = ChildAction { trap: true, start: false };

fn up_by(auth: Auth, turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(auth);
    turn(&mut setup);
    let mut pair = Pair::new(setup, 11);
    if let Err(reason) = pair.up(End::Client) {
        panic!("{reason}\n{}", pair.story());
    }
    settle(&mut pair);
    pair
}

fn up(turn: impl Fn(&mut Setup)) -> Pair {
    up_by(Auth::Psk, turn)
}

fn counts(pair: &Pair, end: End) -> (usize, usize) {
    (pair.ikes(end).len(), pair.children(end).len())
}

fn logged(pair: &Pair, end: End, words: &str) -> usize {
    let says = |event: &Event| matches!(event, Event::Log { text, .. } if text.contains(words));
    pair.host(end).events.iter().filter(|(_, event)| says(event)).count()
}

fn no_dpd(setup: &mut Setup) {
    setup.both(|side| side.conn.dpd_delay = Duration::ZERO);
}

#[test]
fn a_lost_peer_is_sought_without_end_and_without_haste() {
    let mut pair = up(|s| s.client.child().dpd_action = START);
    pair.net.cut = true;
    let mut longest = 0;
    for _ in 0..7200 {
        pair.run_for(SECOND);
        let waiting: Vec<_> = pair.client.endpoint.retries().collect();
        if let [retry] = &waiting[..] {
            assert_eq!((&*retry.conn, &*retry.child), ("site", "net"));
            longest = longest.max((retry.at.as_micros() - pair.now) / SECOND);
        }
    }
    // Each attempt takes 165 s, the pauses between them grow to 5 minutes.
    let attempts = logged(&pair, End::Client, "initiating IKE_SA site");
    assert!((15..=30).contains(&attempts), "{attempts} attempts\n{}", pair.story());
    assert!((150..=300).contains(&longest), "{longest} s");
    pair.net.cut = false;
    pair.run_for(600 * SECOND);
    settle(&mut pair);
    assert_eq!(
        (counts(&pair, End::Client), counts(&pair, End::Gateway)),
        ((1, 1), (1, 1)),
        "{}",
        pair.story()
    );
    shut_down(pair);
}

#[test]
fn what_is_to_come_back_stays_away_once_nobody_wants_it() {
    for how in ["terminate", "cancel", "unload", "change"] {
        let mut setup = Setup::new(Auth::Psk);
        setup.client.child().dpd_action = START;
        let mut pair = Pair::new(setup.clone(), 11);
        pair.up(End::Client).unwrap();
        settle(&mut pair);
        pair.net.cut = true;
        if how == "terminate" {
            // While an attempt is under way, there is an IKE_SA to terminate.
            let found = pair.run_until(pair.now + 900 * SECOND, |pair| {
                logged(pair, End::Client, "initiating IKE_SA site") == 3
            });
            assert!(found, "{}", pair.story());
            pair.terminate(End::Client).unwrap();
        } else {
            let deadline = pair.now + 900 * SECOND;
            let found = pair.run_until(deadline, |pair| pair.client.endpoint.retries().next().is_some());
            assert!(found, "{how}\n{}", pair.story());
            match how {
                "cancel" => assert_eq!(pair.client.endpoint.cancel_retries(Some("site"), None), 1),
                "unload" => pair.command(End::Client, Command::SetConfig(Arc::default())),
                _ => {
                    setup.client.child().dpd_action = ChildAction::default();
                    let config = setup.client.config();
                    pair.command(End::Client, Command::SetConfig(config));
                }
            }
        }
        assert!(pair.client.endpoint.retries().next().is_none(), "{how}");
        let before = logged(&pair, End::Client, "initiating IKE_SA site");
        pair.run_for(2000 * SECOND);
        assert_eq!(logged(&pair, End::Client, "initiating IKE_SA site"), before, "{how}\n{}", pair.story());
        pair.net.cut = false;
        shut_down(pair);
    }
}

#[test]
fn trying_for_ever_ends_with_the_connection() {
    let mut setup = Setup::new(Auth::Psk);
    setup.client.conn.keyingtries = 0;
    let mut pair = Pair::new(setup, 4);
    pair.net.cut = true;
    let tag = pair.initiate(End::Client, None);
    pair.run_for(2000 * SECOND);
    assert!(pair.client.outcome(tag).is_none() && pair.ikes(End::Client).len() == 1);
    pair.command(End::Client, Command::SetConfig(Arc::default()));
    assert!(pair.outcome(End::Client, tag).is_err());
    assert!(pair.drain().is_ok(), "{}", pair.story());
}

#[test]
fn a_host_that_is_not_ready_waits_until_it_is() {
    // By keyingtries with growing pauses, by retry_initiate_interval with this one; without either it gives up.
    for (keyingtries, interval, attempts) in [(0, 0, 6..=14), (1, 30, 19..=22), (1, 0, 0..=0)] {
        for question in [Question::Resolve, Question::Source] {
            let mut setup = Setup::new(Auth::Psk);
            setup.client.conn.keyingtries = keyingtries;
            setup.client.conn.remote_addrs = vec![HostSpec::Name("gw.example.net".to_owned())];
            setup.client.outside.names = [("gw.example.net".to_owned(), vec![ip("203.0.113.1")])].into();
            setup.client.outside.failing.insert(question);
            setup.client.settings.retry_initiate_interval = Duration::from_secs(interval);
            let mut pair = Pair::new(setup, 8);
            let tag = pair.initiate(End::Client, None);
            pair.run_for(600 * SECOND);
            let tried = logged(&pair, End::Client, "trying again in ");
            assert!(attempts.contains(&tried), "{keyingtries} {interval}: {tried}\n{}", pair.story());
            pair.client.outside.failing.clear();
            assert_eq!(pair.outcome(End::Client, tag).is_ok(), tried > 0);
            settle(&mut pair);
            shut_down(pair);
        }
    }
}

#[test]
fn a_peer_that_keeps_deleting_is_not_answered_in_a_loop() {
    let mut pair = up(|s| s.client.child().close_action = START);
    let end = pair.now + 900 * SECOND;
    while pair.now < end {
        pair.run_for(SECOND / 10);
        for id in pair.children(End::Gateway) {
            pair.command(End::Gateway, Command::TerminateChild { id, tag: 0 });
        }
    }
    let attempts = logged(&pair, End::Client, "establishing CHILD_SA net");
    assert!((6..=16).contains(&attempts), "{attempts}\n{}", pair.story());
    pair.run_for(400 * SECOND);
    settle(&mut pair);
    assert_eq!(counts(&pair, End::Client), (1, 1), "{}", pair.story());
    shut_down(pair);
}

#[test]
fn traps_are_asked_for_where_an_action_is_a_trap() {
    let traps = |pair: &Pair| {
        let is = |(_, event): &&(u64, Event)| matches!(event, Event::TrapWanted { conn, child } if &**conn == "site" && &**child == "net");
        pair.client.events.iter().filter(is).count()
    };
    let mut dead = up(|s| s.client.child().dpd_action = TRAP);
    dead.net.cut = true;
    assert!(dead.drain().is_ok(), "{}", dead.story());
    assert_eq!(traps(&dead), 1);
    let mut closed = up(|s| s.client.child().close_action = TRAP);
    let id = closed.children(End::Gateway)[0];
    closed.terminate_child(End::Gateway, id).unwrap();
    settle(&mut closed);
    assert_eq!(traps(&closed), 1);
    shut_down(closed);
    let mut own = up(|s| s.client.child().close_action = TRAP);
    own.terminate(End::Client).unwrap();
    assert!(own.drain().is_ok());
    assert_eq!(traps(&own), 0);
}

#[test]
fn what_reached_a_hard_limit_comes_back_where_it_is_to_be_up() {
    for (start_action, left) in [(START, 1), (ChildAction::default(), 0)] {
        let mut pair = up(|s| s.client.child().start_action = start_action);
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, Command::ChildExpired { id, hard: true });
        pair.run_for(SECOND);
        settle(&mut pair);
        for end in End::BOTH {
            assert_eq!(counts(&pair, end), (1, left), "{start_action:?}\n{}", pair.story());
        }
        assert!(!pair.children(End::Client).contains(&id));
        shut_down(pair);
    }
}

/// RFC 7296 §2.8: the responder of an IKE_SA's rekeying has moved everything, and its answer never arrives.
#[test]
fn an_ike_sa_whose_initiator_never_learned_of_it_does_not_stay() {
    let mut pair = up(no_dpd);
    let id = pair.ikes(End::Client)[0];
    pair.net.held = Some(Default::default());
    pair.command(End::Client, Command::RekeyIke { id });
    pair.run_for(0);
    let request = pair.net.pick(End::Client, 0).expect("a request");
    let now = pair.now;
    pair.net.deliver(now, request);
    pair.run_for(0);
    pair.net.held = None;
    pair.net.cut = true;
    pair.run_for(170 * SECOND);
    assert!(pair.ikes(End::Client).is_empty(), "{}", pair.story());
    pair.net.cut = false;
    let left = pair.drain();
    assert!(left.is_ok(), "{left:?}\n{}", pair.story());
    assert!(pair.now < now + 400 * SECOND, "{} s", (pair.now - now) / SECOND);
}

#[test]
fn an_address_that_cannot_be_used_is_no_success() {
    let mut setup = Setup::new(Auth::Psk);
    setup.road_warrior();
    setup.client.outside.failing.insert(Question::VirtualIps);
    setup.client.outside.delay = 2_000_000;
    for seed in 0..8 {
        let mut pair = Pair::new(setup.clone(), seed);
        let result = pair.up(End::Client);
        assert!(matches!(result, Err(Reason::VirtualIpFailed { .. })), "{result:?}\n{}", pair.story());
        assert!(pair.drain().is_ok(), "{}", pair.story());
    }
}

#[test]
fn a_responder_tells_the_lifetime_and_the_initiator_obeys() {
    for make_before_break in [true, false] {
        let mut pair = up_by(Auth::EapAndPsk, |s| {
            s.behind_nat();
            s.road_warrior();
            s.client.settings.make_before_break = make_before_break;
            s.gateway.conn.reauth_time = Duration::from_secs(300);
            s.gateway.conn.over_time = Duration::from_secs(30);
        });
        for _ in 0..4 {
            let before = pair.ikes(End::Gateway);
            pair.run_for(320 * SECOND);
            settle(&mut pair);
            assert_ne!(pair.ikes(End::Gateway), before);
            for end in End::BOTH {
                assert_eq!(counts(&pair, end), (1, 1), "{make_before_break}\n{}", pair.story());
            }
            assert_eq!(pair.views(End::Client)[0].local_vips[0], ip("10.3.0.1"));
        }
        // A rekeying in between puts nothing off.
        let id = pair.ikes(End::Client)[0];
        let at = pair.views(End::Client)[0].reauth_at;
        pair.command(End::Client, Command::RekeyIke { id });
        pair.run_for(SECOND);
        settle(&mut pair);
        assert_eq!(pair.views(End::Client)[0].reauth_at, at);
        assert!(pair.gateway.failures().is_empty() && pair.client.failures().is_empty(), "{}", pair.story());
        assert!(
            logged(&pair, End::Client, "received AUTH_LIFETIME of 300s, scheduling reauthentication in ")
                >= 5
        );
        shut_down(pair);
    }
}

#[test]
fn reauthenticated_on_command_by_either_end() {
    for auth in [Auth::Psk, Auth::EapAndPsk] {
        for end in End::BOTH {
            let mut pair = up_by(auth, Setup::road_warrior);
            pair.run_for(20 * SECOND);
            let (id, before) = (pair.ikes(end)[0], pair.ikes(End::Client)[0]);
            pair.command(end, Command::ReauthIke { id });
            pair.run_for(20 * SECOND);
            settle(&mut pair);
            let told = || format!("{auth:?} {end:?}\n{}", pair.story());
            assert_ne!(pair.ikes(End::Client)[0], before, "{}", told());
            for end in End::BOTH {
                assert_eq!(counts(&pair, end), (1, 1), "{}", told());
            }
            assert_eq!(pair.views(End::Client)[0].local_vips[0], ip("10.3.0.1"), "{}", told());
            shut_down(pair);
        }
    }
}

#[test]
fn a_reauthentication_that_fails_leaves_what_is_up_and_is_tried_again() {
    let mut setup = Setup::new(Auth::Psk);
    let mut pair = Pair::new(setup.clone(), 2);
    pair.up(End::Client).unwrap();
    settle(&mut pair);
    let right = setup.gateway.config();
    setup.gateway.credentials.shared = vec![secret(&[], "another one")];
    pair.command(End::Gateway, Command::SetConfig(setup.gateway.config()));
    let id = pair.ikes(End::Client)[0];
    pair.command(End::Client, Command::ReauthIke { id });
    pair.run_for(40 * SECOND);
    assert_eq!(pair.ikes(End::Client), [id], "{}", pair.story());
    assert_eq!(pair.children(End::Client).len(), 1);
    let refused = pair.client.failures().len();
    assert!((2..=6).contains(&refused), "{refused}\n{}", pair.story());
    pair.command(End::Gateway, Command::SetConfig(right));
    pair.run_for(120 * SECOND);
    settle(&mut pair);
    assert_ne!(pair.ikes(End::Client), [id], "{}", pair.story());
    assert_eq!((counts(&pair, End::Client), counts(&pair, End::Gateway)), ((1, 1), (1, 1)));
    shut_down(pair);
}

#[test]
fn reauthenticated_under_every_policy_of_uniqueness() {
    for unique in [Unique::Never, Unique::No, Unique::Replace, Unique::Keep] {
        for make_before_break in [true, false] {
            // A peer that keeps what it has takes no second one before the first is gone.
            if unique == Unique::Keep && make_before_break {
                continue;
            }
            let mut pair = up(|s| {
                s.road_warrior();
                s.add_child("voice", "dynamic", "10.12.0.0/16");
                s.gateway.conn.unique = unique;
                s.client.settings.make_before_break = make_before_break;
                s.client.conn.reauth_time = Duration::from_secs(100);
                s.client.conn.rand_time = Duration::from_secs(10);
            });
            pair.run_for(500 * SECOND);
            settle(&mut pair);
            for end in End::BOTH {
                assert_eq!(counts(&pair, end), (1, 2), "{unique:?} {make_before_break}\n{}", pair.story());
            }
            assert!(pair.ikes(End::Client)[0] >= 5 && pair.client.failures().is_empty(), "{}", pair.story());
            shut_down(pair);
        }
    }
}

/// RFC 7296 §2.4: INITIAL_CONTACT says that there is no other IKE_SA between the two identities, whatever connection.
#[test]
fn a_second_connection_with_the_same_peer_does_not_disturb_the_first() {
    for at_once in [false, true] {
        let mut setup = Setup::new(Auth::Psk);
        setup.client.conn.unique = Unique::No;
        let mut again = setup.client.conn.clone();
        again.name = "again".into();
        let config = Config {
            connections: vec![Arc::new(setup.client.conn.clone()), Arc::new(again)],
            credentials: Arc::new(setup.client.credentials.clone()),
        };
        let mut pair = Pair::new(setup, 6);
        pair.command(End::Client, Command::SetConfig(Arc::new(config)));
        let first = pair.initiate(End::Client, None);
        if !at_once {
            pair.outcome(End::Client, first).unwrap();
        }
        let second = pair.tag();
        let command =
            Command::Initiate { conn: Some("again".into()), child: None, tag: second, trigger: None };
        pair.command(End::Client, command);
        for tag in [first, second] {
            pair.outcome(End::Client, tag).unwrap();
        }
        pair.run_for(60 * SECOND);
        settle(&mut pair);
        assert_eq!(pair.ikes(End::Gateway).len(), 2, "at once: {at_once}\n{}", pair.story());
        shut_down(pair);
    }
}

#[test]
fn authentication_has_its_own_time() {
    let mut setup = Setup::new(Auth::EapAndPsk);
    setup.gateway.settings.half_open_timeout = Duration::from_secs(3);
    setup.gateway.settings.pending_auth_timeout = Duration::from_secs(20);
    let mut pair = Pair::new(setup, 9);
    pair.initiate(End::Client, None);
    let deadline = pair.now + SECOND;
    let begun = pair.run_until(deadline, |pair| logged(pair, End::Gateway, "parsed IKE_AUTH request 1") == 1);
    assert!(begun);
    pair.net.cut = true;
    pair.run_for(15 * SECOND);
    assert_eq!(pair.gateway.endpoint.stats().pending, 1);
    pair.run_for(10 * SECOND);
    assert_eq!(pair.gateway.endpoint.stats().pending, 0);
    assert_eq!(pair.gateway.failures(), ["pending-auth-timeout"]);
    assert!(pair.drain().is_ok());
}

#[test]
fn the_last_idle_child_takes_its_ike_sa_along_if_so_configured() {
    for close_ike in [false, true] {
        let mut pair = up(|s| {
            s.gateway.child().inactivity = Duration::from_secs(60);
            s.gateway.settings.inactivity_close_ike = close_ike;
        });
        pair.gateway.outside.idle = Some(Duration::from_secs(3600));
        pair.run_for(100 * SECOND);
        settle(&mut pair);
        for end in End::BOTH {
            assert_eq!(counts(&pair, end), (usize::from(!close_ike), 0), "{}", pair.story());
        }
        shut_down(pair);
    }
}

#[test]
fn a_pfs_mismatch_is_called_that_at_both_ends() {
    // Told: the groups of either end, as each says it.
    for (client, gateway, at_gateway) in [
        (
            "aes256gcm16-ecp256",
            "aes256gcm16-ecp384",
            "our key exchange groups for a CHILD_SA are ECP_384, the peer's ECP_256",
        ),
        (
            "aes256gcm16-ecp256",
            "aes256gcm16",
            "our key exchange groups for a CHILD_SA are none, the peer's ECP_256",
        ),
        (
            "aes256gcm16",
            "aes256gcm16-ecp384",
            "our key exchange groups for a CHILD_SA are ECP_384, the peer's none",
        ),
    ] {
        let mut pair = up(|s| {
            s.client.esp(&[client]);
            s.gateway.esp(&[gateway]);
        });
        if gateway.ends_with("ecp384") {
            assert_eq!(
                logged(&pair, End::Gateway, "will ask for key exchange by ECP_384"),
                1,
                "{}",
                pair.story()
            );
        }
        let id = pair.children(End::Client)[0];
        pair.command(End::Client, Command::RekeyChild { id });
        pair.run_for(5 * SECOND);
        let sentences = |end| -> Vec<String> {
            let reason = |(_, event): &(u64, Event)| match event {
                Event::Failure { reason, .. } => Some(reason.sentence()),
                _ => None,
            };
            pair.host(end).events.iter().filter_map(reason).collect()
        };
        assert!(
            sentences(End::Gateway).iter().all(|s| s.contains(at_gateway)),
            "{:?}",
            sentences(End::Gateway)
        );
        assert!(!sentences(End::Gateway).is_empty(), "{}", pair.story());
        if client.ends_with("ecp256") {
            let told = sentences(End::Client);
            assert!(told.iter().any(|s| s.contains("PFS mismatch") && s.contains("ECP_256")), "{told:?}");
        }
        // It goes on with what it has, and asks again ever more rarely.
        pair.run_for(1000 * SECOND);
        assert_eq!(pair.children(End::Client), [id]);
        let asked = sentences_of(&pair, End::Gateway);
        assert!((4..=14).contains(&asked), "{asked} times\n{}", pair.story());
        shut_down(pair);
    }
}

fn sentences_of(pair: &Pair, end: End) -> usize {
    pair.host(end).events.iter().filter(|(_, event)| matches!(event, Event::Failure { .. })).count()
}
