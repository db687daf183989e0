//! What the random walk has found, each as a test of its own.

use adit_ike::{ChildState, Command};

use adit_wire::Header;

use crate::host::Question;
use crate::net::End;
use crate::pair::{Pair, SECOND, settle};
use crate::setup::{Auth, Setup};
use crate::walk::wire::Wire;

fn up(turn: impl Fn(&mut Setup)) -> Pair {
    let mut setup = Setup::new(Auth::Psk);
    turn(&mut setup);
    let mut pair = Pair::new(setup, 23);
    pair.up(End::Client).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
    settle(&mut pair);
    pair
}

/// Delivers one of the held datagrams of an end.
fn deliver(pair: &mut Pair, from: End, at: usize) {
    let flight = pair.net.pick(from, at).unwrap_or_else(|| panic!("nothing held\n{}", pair.story()));
    let now = pair.now;
    pair.net.deliver(now, flight);
    pair.run_for(0);
}

#[test]
fn a_farewell_uses_no_message_id_twice() {
    // Whether the peer has got what was in flight or not, it understands the delete.
    for arrived in [false, true] {
        let mut pair = up(|_| {});
        let (ike, child) = (pair.ikes(End::Client)[0], pair.children(End::Client)[0]);
        pair.net.held = Some(Default::default());
        pair.command(End::Client, Command::RekeyChild { id: child });
        pair.run_for(0);
        if arrived {
            deliver(&mut pair, End::Client, 0);
        } else {
            drop(pair.net.pick(End::Client, 0));
        }
        pair.command(End::Client, Command::TerminateIke { id: ike, force: true, tag: 77 });
        pair.run_for(0);
        while !pair.ikes(End::Gateway).is_empty() {
            deliver(&mut pair, End::Client, 0);
        }
        Wire::default().look(&pair.net.capture).unwrap_or_else(|error| panic!("{error}\n{}", pair.story()));
        pair.net.held = None;
        assert!(pair.outcome(End::Client, 77).is_ok());
        pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    }
}

/// By what a child is told to go while the data plane of `end` installs it.
#[derive(Debug, Clone, Copy)]
enum Told {
    Command,
    Expiry,
    Peer,
}

#[test]
fn a_child_that_has_to_go_while_it_is_installed_goes() {
    for told in [Told::Command, Told::Expiry, Told::Peer] {
        for rekeyed in [false, true] {
            for end in End::BOTH {
                let mut pair = up(|s| s.add_child("voice", "10.11.0.0/16", "10.12.0.0/16"));
                let case = format!("{told:?}, {end:?}, rekeyed: {rekeyed}");
                for id in pair.children(End::Client).into_iter().skip(1) {
                    pair.terminate_child(End::Client, id).unwrap();
                }
                settle(&mut pair);
                pair.host_mut(end).outside.delay = 20 * SECOND;
                if rekeyed {
                    let id = pair.children(end)[0];
                    pair.command(end, Command::RekeyChild { id });
                } else {
                    pair.initiate(end, Some("voice"));
                }
                let installing = |pair: &Pair| {
                    let views = pair.views(end);
                    let mut children = views.iter().flat_map(|sa| &sa.children);
                    children.find(|child| child.state == ChildState::Installing).map(|child| child.id)
                };
                let deadline = pair.now + 10 * SECOND;
                assert!(
                    pair.run_until(deadline, |pair| installing(pair).is_some()),
                    "{case}\n{}",
                    pair.story()
                );
                let id = installing(&pair).unwrap();
                match told {
                    Told::Command => {
                        pair.command(end, Command::TerminateChild { id, tag: 77 });
                    }
                    Told::Expiry => pair.command(end, Command::ChildExpired { id, hard: true }),
                    Told::Peer => {
                        let id = *pair.children(end.other()).last().unwrap();
                        pair.command(end.other(), Command::TerminateChild { id, tag: 78 });
                    }
                }
                settle(&mut pair);
                let left = usize::from(!rekeyed);
                for end in End::BOTH {
                    assert_eq!(pair.children(end).len(), left, "{case}, {end:?}\n{}", pair.story());
                }
                pair.shut_down().unwrap_or_else(|left| panic!("{case}: left: {left}\n{}", pair.story()));
            }
        }
    }
}

#[test]
fn an_address_that_was_not_put_into_use_is_not_taken_out_of_it() {
    let mut setup = Setup::new(Auth::Psk);
    setup.road_warrior();
    let mut pair = Pair::new(setup, 23);
    pair.client.outside.failing.insert(Question::VirtualIps);
    let tag = pair.initiate(End::Client, None);
    assert!(pair.run_until(20 * SECOND, |pair| !pair.client.failures().is_empty()), "{}", pair.story());
    // From here on the device works, for others who may have the same address.
    pair.client.outside.failing.clear();
    assert!(pair.outcome(End::Client, tag).is_err());
    pair.drain().unwrap_or_else(|left| panic!("left: {left}\n{}", pair.story()));
    assert!(pair.client.objections.is_empty(), "{:?}", pair.client.objections);
}

#[test]
fn an_answer_does_not_displace_the_pieces_of_a_request() {
    let mut pair = up(|s| {
        s.both(|side| {
            side.settings.fragment_size = 576;
            side.conn.dpd_delay = std::time::Duration::ZERO;
        });
        s.add_child("voice", "10.11.0.0/16", "10.12.0.0/16");
        s.both(|side| side.esp(&["aes256gcm16-modp3072"]));
    });
    let (net, voice) = (pair.children(End::Client)[0], pair.children(End::Gateway)[1]);
    pair.net.held = Some(Default::default());
    pair.command(End::Client, Command::RekeyChild { id: net });
    pair.command(End::Gateway, Command::TerminateChild { id: voice, tag: 77 });
    pair.run_for(0);
    deliver(&mut pair, End::Gateway, 0);
    // Two pieces of the request, then the answer: it overtakes the second.
    deliver(&mut pair, End::Client, 0);
    deliver(&mut pair, End::Client, 1);
    deliver(&mut pair, End::Client, 0);
    let now = pair.now;
    pair.net.release(now);
    pair.run_for(10 * SECOND);
    assert_eq!(pair.client.endpoint.stats().retransmits, 0, "{}", pair.story());
    settle(&mut pair);
    pair.shut_down().unwrap();
}

#[test]
fn of_three_generations_only_the_last_sends() {
    // The delete of the first is late: by then the second has been replaced as well.
    for end in End::BOTH {
        let mut pair = up(|_| {});
        let other = end.other();
        let first = pair.children(end)[0];
        pair.net.held = Some(Default::default());
        pair.command(end, Command::RekeyChild { id: first });
        pair.run_for(0);
        deliver(&mut pair, end, 0);
        deliver(&mut pair, other, 0);
        drop(pair.net.pick(end, 0)); // the delete of the first
        let second = *pair.children(other).last().unwrap();
        pair.command(other, Command::RekeyChild { id: second });
        pair.run_for(0);
        deliver(&mut pair, other, 0);
        deliver(&mut pair, end, 0);
        one_sends(&pair);
        deliver(&mut pair, other, 0);
        deliver(&mut pair, end, 0);
        one_sends(&pair);
        // The delete of the first comes again.
        pair.net.held = None;
        pair.run_for(4 * SECOND);
        one_sends(&pair);
        settle(&mut pair);
        one_sends(&pair);
        pair.shut_down().unwrap();
    }
}

/// Each end sends on one SA, and the other end receives on it.
fn one_sends(pair: &Pair) {
    for end in End::BOTH {
        let sending: Vec<_> = pair.host(end).sad.values().filter(|entry| entry.sends).collect();
        assert_eq!(sending.len(), 1, "{end:?}\n{}", pair.story());
        let spi = sending[0].sa.spi_out;
        let theirs = &pair.host(end.other()).sad;
        assert!(theirs.values().any(|entry| entry.sa.spi_in == spi), "{end:?}\n{}", pair.story());
    }
}

#[test]
fn an_heir_that_was_to_be_deleted_is_deleted_once_it_has_inherited() {
    let mut inherited = 0;
    for seed in 0..16 {
        let mut pair = Pair::new(Setup::new(Auth::Psk), seed);
        pair.up(End::Client).unwrap();
        settle(&mut pair);
        let [client, gateway] = End::BOTH.map(|end| pair.ikes(end)[0]);
        pair.net.held = Some(Default::default());
        pair.command(End::Client, Command::RekeyIke { id: client });
        pair.command(End::Gateway, Command::RekeyIke { id: gateway });
        pair.run_for(0);
        deliver(&mut pair, End::Client, 0);
        // Both have asked; the gateway has made the client's new IKE_SA and does not know yet whether it is to stay.
        let heir = pair.ikes(End::Gateway)[1];
        pair.command(End::Gateway, Command::TerminateIke { id: heir, force: false, tag: 77 });
        let now = pair.now;
        pair.net.release(now);
        assert!(pair.outcome(End::Gateway, 77).is_ok(), "seed {seed}\n{}", pair.story());
        settle(&mut pair);
        inherited += u32::from(pair.ikes(End::Gateway).is_empty());
        pair.shut_down().unwrap();
    }
    assert!((1..16).contains(&inherited), "{inherited} of 16 inherited");
}

#[test]
fn an_answer_is_held_against_what_was_offered() {
    // Not against what the configuration has become meanwhile: the peer has moved to the new IKE_SA by then.
    let mut pair = up(|_| {});
    let (id, child) = (pair.ikes(End::Client)[0], pair.children(End::Client)[0]);
    pair.net.held = Some(Default::default());
    pair.command(End::Client, Command::RekeyIke { id });
    pair.run_for(0);
    let mut side = pair.setup.client.clone();
    side.ike(&["aes128-sha256-ecp256"]);
    pair.command(End::Client, Command::SetConfig(side.config()));
    let now = pair.now;
    pair.net.release(now);
    settle(&mut pair);
    assert!(pair.ikes(End::Client) != [id], "{}", pair.story());
    assert_eq!(pair.children(End::Client), [child], "{}", pair.story());
    pair.shut_down().unwrap();
}

#[test]
fn a_child_told_to_go_twice_tells_so_twice() {
    // Told by its own id, and by that of its successor while that is being installed.
    let mut pair = up(|_| {});
    let first = pair.children(End::Gateway)[0];
    pair.gateway.outside.delay = 20 * SECOND;
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
    let deadline = pair.now + SECOND;
    let two = |pair: &Pair| pair.gateway.endpoint.ike_sas().any(|sa| sa.children.len() == 2);
    assert!(pair.run_until(deadline, two), "{}", pair.story());
    pair.net.held = Some(Default::default());
    let tags = [first, first + 1].map(|id| {
        let tag = pair.tag();
        pair.command(End::Gateway, Command::TerminateChild { id, tag });
        tag
    });
    // The delete is on its way for as long as the installation takes.
    pair.run_for(20 * SECOND);
    let now = pair.now;
    pair.net.release(now);
    settle(&mut pair);
    for tag in tags {
        assert!(pair.outcome(End::Gateway, tag).is_ok(), "{}", pair.story());
    }
    assert!(pair.children(End::Client).is_empty() && pair.children(End::Gateway).is_empty());
    pair.shut_down().unwrap();
}

/// Otherwise a late answer to the first attempt is taken for one to the second, whose keys are others.
#[test]
fn another_attempt_has_another_spi() {
    let mut setup = Setup::new(Auth::Psk);
    setup.client.conn.keyingtries = 3;
    setup.client.settings.retransmit_tries = 1;
    let mut pair = Pair::new(setup, 5);
    pair.net.cut = true;
    let tag = pair.initiate(End::Client, None);
    assert!(pair.outcome(End::Client, tag).is_err());
    let spis: Vec<u64> = pair.net.capture.iter().map(|it| Header::parse(&it.bytes).unwrap().spi_i).collect();
    assert_eq!(spis.len(), 6, "three attempts, each repeated once");
    assert!(spis.chunks(2).all(|attempt| attempt[0] == attempt[1]));
    assert!(spis[0] != spis[2] && spis[2] != spis[4] && spis[0] != spis[4]);
}
