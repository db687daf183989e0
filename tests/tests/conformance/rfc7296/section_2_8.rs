//! §2.8: Rekeying, with simultaneous rekeyings (§2.8.1, §2.8.2).

use std::sync::Arc;
use std::time::Duration;

use adit_ike::{ChildState, Command, IkeState};
use adit_wire::ExchangeType;

use super::{header, sent, up, up_with};
use crate::host::Question;
use crate::net::End;
use crate::pair::{Pair, SECOND};

/// No rekeying in time, and hard lifetimes.
fn short_lived(setup: &mut crate::setup::Setup) {
    setup.both(|side| {
        let child = Arc::make_mut(&mut side.conn.children[0]);
        child.rekey_time = Duration::ZERO;
        child.life_time = Duration::from_secs(60);
    });
}

//= rfc7296 2.8-1
#[test]
fn an_expired_sa_is_not_used() {
    let mut pair = up_with(short_lived);
    pair.run_for(30 * SECOND);
    assert_eq!((pair.client.sad.len(), pair.gateway.sad.len()), (1, 1));
    pair.run_for(31 * SECOND);
    assert_eq!((pair.client.sad.len(), pair.gateway.sad.len()), (0, 0), "{}", pair.story());
}

//= rfc7296 2.8-2
#[test]
fn an_sa_that_cannot_be_rekeyed_ends_with_its_lifetime() {
    let mut pair = up_with(|setup| {
        setup.both(|side| {
            side.conn.rekey_time = Duration::from_secs(60);
            side.conn.over_time = Duration::from_secs(30);
            side.conn.rand_time = Duration::ZERO;
            side.conn.dpd_delay = Duration::ZERO;
        });
    });
    // No rekeying finds a way any more.
    pair.net.cut = true;
    pair.run_for(400 * SECOND);
    for end in End::BOTH {
        let host = pair.host(end);
        assert!(host.endpoint.ike_sas().next().is_none() && host.sad.is_empty(), "{}", pair.story());
    }
}

//= rfc7296 2.8-3
#[test]
fn the_delete_is_the_last_request_of_a_rekeyed_ike_sa() {
    for end in End::BOTH {
        let mut pair = up();
        let old = pair.views(end)[0].spi_i;
        let (ike, child) = (pair.ikes(end)[0], pair.children(end)[0]);
        pair.command(end, Command::RekeyIke { id: ike });
        // Something else waits for the same IKE_SA.
        pair.command(end, Command::RekeyChild { id: child });
        pair.settle().unwrap();
        let requests = sent(&pair, end, false);
        let of_old: Vec<_> = requests.iter().map(|it| header(it)).filter(|it| it.spi_i == old).collect();
        let exchanges: Vec<_> = of_old.iter().map(|it| it.exchange).collect();
        assert_eq!(exchanges.last(), Some(&ExchangeType::INFORMATIONAL), "{}", pair.story());
        assert_eq!(exchanges[0], ExchangeType::CREATE_CHILD_SA);
        assert!(pair.views(end).iter().all(|sa| sa.spi_i != old));
        // The gateway's initiator flag follows the roles of the new one.
        assert!(requests.iter().any(|it| header(it).exchange == ExchangeType::CREATE_CHILD_SA));
    }
}

//= rfc7296 2.8-4
#[test]
fn the_responder_receives_on_the_new_sa_before_it_answers() {
    let mut pair = up_with(|setup| setup.gateway.outside.delay = 300_000);
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
    assert!(pair.run_until(u64::MAX, |pair| !sent(pair, End::Gateway, true).is_empty()));
    assert_eq!(pair.gateway.sad.len(), 2, "{}", pair.story());
    pair.settle().unwrap();
}

/// Both ends rekey at once: neither request arrives before both are out.
fn collide(pair: &mut Pair, child: bool) {
    for end in End::BOTH {
        let command = match child {
            true => Command::RekeyChild { id: pair.children(end)[0] },
            false => Command::RekeyIke { id: pair.ikes(end)[0] },
        };
        pair.command(end, command);
    }
}

//= rfc7296 2.8.1-1
#[test]
fn both_of_two_eligible_sas_receive() {
    let mut pair = up();
    collide(&mut pair, true);
    // Old, ours and theirs are installed at once; what one end sends on, the other receives on, at every step.
    let mut most = 0;
    let done = |pair: &Pair, most: &mut usize| {
        *most = (*most).max(pair.client.sad.len());
        for end in End::BOTH {
            let here: Vec<_> = pair.host(end).sad.values().filter(|it| it.sends).collect();
            let there = &pair.host(end.other()).sad;
            assert!(!here.is_empty());
            let heard = |spi| there.values().any(|it| it.sa.spi_in == spi);
            assert!(here.iter().any(|it| heard(it.sa.spi_out)), "{}", pair.story());
        }
        false
    };
    let deadline = pair.now + 4 * SECOND;
    pair.run_until(deadline, |pair| done(pair, &mut most));
    assert!(most >= 2);
    pair.settle().unwrap();
    assert_eq!(pair.children(End::Client).len(), 1);
}

//= rfc7296 2.8.2-1
#[test]
fn the_ike_sa_that_survives_a_collision_has_all_the_children() {
    for seed in 0..8 {
        let mut setup = crate::setup::Setup::new(crate::setup::Auth::Psk);
        setup.add_child("voice", "10.11.0.0/16", "10.12.0.0/16");
        let mut pair = Pair::new(setup, seed);
        pair.up(End::Client).unwrap();
        pair.settle().unwrap();
        let spis = |pair: &Pair| {
            let mut spis: Vec<_> = pair.views(End::Client)[0].children.iter().map(|it| it.spi_in).collect();
            spis.sort();
            spis
        };
        let before = (spis(&pair), pair.views(End::Client)[0].spi_i);
        collide(&mut pair, false);
        pair.settle().unwrap();
        assert_eq!(pair.ikes(End::Client).len(), 1, "{}", pair.story());
        assert_eq!(spis(&pair), before.0);
        assert_ne!(pair.views(End::Client)[0].spi_i, before.1);
    }
}

#[test]
fn a_rekeying_that_fails_leaves_the_old_one_in_use() {
    let mut pair = up();
    let spi = pair.views(End::Client)[0].children[0].spi_in;
    pair.gateway.outside.failing.insert(Question::Install);
    let id = pair.children(End::Client)[0];
    pair.command(End::Client, Command::RekeyChild { id });
    pair.run_for(5 * SECOND);
    let sa = &pair.views(End::Client)[0];
    assert_eq!(sa.state, IkeState::Established);
    assert!(sa.children.iter().any(|it| it.spi_in == spi && it.state == ChildState::Installed));
}
