//! Both ends want something at the same time (RFC 7296 §2.8.1, §2.25). Whatever becomes of their wishes, in the end they
//! agree, and at least one of them got what it wanted.

use adit_ike::Command;

use crate::net::End;
use crate::pair::{Pair, SECOND};
use crate::setup::{Auth, Setup};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    RekeyChild,
    RekeyIke,
    DeleteChild,
    DeleteIke,
    NewChild,
}

const WISHES: [Wish; 5] =
    [Wish::RekeyChild, Wish::RekeyIke, Wish::DeleteChild, Wish::DeleteIke, Wish::NewChild];

fn wish(pair: &mut Pair, end: End, wish: Wish) {
    // It may be gone already: then there is no collision.
    let (child, ike) = (pair.children(end).first().copied(), pair.ikes(end).first().copied());
    let command = match (wish, child, ike) {
        (Wish::RekeyChild, Some(id), _) => Command::RekeyChild { id },
        (Wish::RekeyIke, _, Some(id)) => Command::RekeyIke { id },
        (Wish::DeleteChild, Some(id), _) => Command::TerminateChild { id, tag: 0 },
        (Wish::DeleteIke, _, Some(id)) => Command::TerminateIke { id, force: false, tag: 0 },
        (Wish::NewChild, ..) => {
            pair.initiate(end, Some("voice"));
            return;
        }
        _ => return,
    };
    pair.command(end, command);
}

#[test]
fn every_pair_of_wishes_at_once() {
    let mut failed = Vec::new();
    for ours in WISHES {
        for theirs in WISHES {
            // At once, one within the other's flight, one while the other's answer flies.
            for gap in [0, 5_000, 15_000] {
                for slow in [0, 50_000] {
                    let mut setup = Setup::new(Auth::Psk);
                    setup.road_warrior();
                    setup.add_child("voice", "dynamic", "10.12.0.0/16");
                    setup.both(|side| side.outside.delay = slow);
                    let mut pair = Pair::new(setup, 23);
                    let tag = pair.initiate(End::Client, Some("net"));
                    pair.outcome(End::Client, tag).unwrap();
                    pair.settle().unwrap();
                    wish(&mut pair, End::Client, ours);
                    pair.run_for(gap);
                    wish(&mut pair, End::Gateway, theirs);
                    pair.run_for(SECOND);
                    let result = pair.settle().and_then(|()| {
                        let deleted = [ours, theirs].contains(&Wish::DeleteIke);
                        match pair.ikes(End::Client).len() {
                            0 if deleted => Ok(()),
                            1 if !deleted => Ok(()),
                            // Who deletes what is being rekeyed may meet the new one, and who wants a child after the
                            // delete makes another IKE_SA for it.
                            1 if [Wish::RekeyIke, Wish::NewChild]
                                .iter()
                                .any(|w| [ours, theirs].contains(w)) =>
                            {
                                Ok(())
                            }
                            count => Err(format!("{count} IKE_SAs")),
                        }
                    });
                    let result =
                        result.and_then(|()| pair.shut_down().map_err(|left| format!("left: {left}")));
                    if let Err(error) = result {
                        let story = if failed.is_empty() { pair.story() } else { String::new() };
                        failed.push(format!(
                            "{ours:?} and {theirs:?}, {gap} µs, slow {slow}: {error}\n{story}"
                        ));
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}
