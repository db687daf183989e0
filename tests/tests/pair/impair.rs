//! Fault injection in the manner of libreswan's `impair`: in every exchange, one thing goes wrong at one point, at every
//! point, on either side. Afterwards both ends agree (perhaps that there is nothing), the client can connect anew, and
//! nothing is left when all is over.
//!
//! | family | what goes wrong | where |
//! |---|---|---|
//! | messages | drop, duplicate, replay, delay, reorder, corrupt | here, each datagram of each exchange |
//! | environment | installation, lease, virtual address, source address | here, each question of each exchange |
//! | payload emission, notifies | omit, double, swap; unknown ones, critical or not | `hostile/permute`, `conformance` §2.5 |
//! | content inside of the protection | any octet | `hostile/mutate` |
//! | header, cookies, proposals | versions, flags, SPIs; cookies; transforms left out | `hostile/init`, `conformance` |
//! | crypto | signatures, MACs, keys | `hostile/proofs` |
//! | timers and events | soft and hard limits, liveness, rekeying, loss of an SA by hand | `walk`, `rekey_table` |

use adit_ike::Command;

use crate::net::{End, Meddle};
use crate::pair::{Pair, SECOND};
use crate::pki::Algorithm;
use crate::setup::{Auth, Setup};

/// An exchange: what it starts from, and what sets it off.
struct Exchange {
    name: &'static str,
    auth: Auth,
    /// The tunnel is up before.
    up: bool,
    act: fn(&mut Pair),
}

fn child(pair: &Pair, end: End) -> u32 {
    pair.children(end)[0]
}

const EXCHANGES: [Exchange; 13] = [
    Exchange { name: "connect, PSK", auth: Auth::Psk, up: false, act: connect },
    Exchange { name: "connect, certificates", auth: Auth::Cert(Algorithm::Ed25519), up: false, act: connect },
    Exchange { name: "connect, EAP", auth: Auth::EapAndPsk, up: false, act: connect },
    Exchange {
        name: "rekey child, client",
        auth: Auth::Psk,
        up: true,
        act: |pair| pair.command(End::Client, Command::RekeyChild { id: child(pair, End::Client) }),
    },
    Exchange {
        name: "rekey child, gateway",
        auth: Auth::Psk,
        up: true,
        act: |pair| pair.command(End::Gateway, Command::RekeyChild { id: child(pair, End::Gateway) }),
    },
    Exchange {
        name: "rekey IKE_SA, client",
        auth: Auth::Psk,
        up: true,
        act: |pair| pair.command(End::Client, Command::RekeyIke { id: pair.ikes(End::Client)[0] }),
    },
    Exchange {
        name: "rekey IKE_SA, gateway",
        auth: Auth::Psk,
        up: true,
        act: |pair| pair.command(End::Gateway, Command::RekeyIke { id: pair.ikes(End::Gateway)[0] }),
    },
    Exchange {
        name: "reauthenticate",
        auth: Auth::Psk,
        up: true,
        act: |pair| pair.command(End::Client, Command::ReauthIke { id: pair.ikes(End::Client)[0] }),
    },
    Exchange {
        name: "another child",
        auth: Auth::Psk,
        up: true,
        act: |pair| {
            pair.initiate(End::Client, Some("voice"));
        },
    },
    Exchange {
        name: "delete child, client",
        auth: Auth::Psk,
        up: true,
        act: |pair| {
            pair.command(End::Client, Command::TerminateChild { id: child(pair, End::Client), tag: 0 });
        },
    },
    Exchange {
        name: "delete child, gateway",
        auth: Auth::Psk,
        up: true,
        act: |pair| {
            pair.command(End::Gateway, Command::TerminateChild { id: child(pair, End::Gateway), tag: 0 });
        },
    },
    Exchange {
        name: "delete IKE_SA",
        auth: Auth::Psk,
        up: true,
        act: |pair| {
            let id = pair.ikes(End::Gateway)[0];
            pair.command(End::Gateway, Command::TerminateIke { id, force: false, tag: 0 });
        },
    },
    Exchange {
        name: "move",
        auth: Auth::Psk,
        up: true,
        act: |pair| pair.readdress(End::Client, &["192.0.2.99"]),
    },
];

fn connect(pair: &mut Pair) {
    pair.initiate(End::Client, None);
}

impl Exchange {
    /// The pair just before.
    fn ground(&self) -> Pair {
        let mut setup = Setup::new(self.auth);
        setup.roaming();
        setup.road_warrior();
        setup.add_child("voice", "dynamic", "10.12.0.0/16");
        let mut pair = Pair::new(setup, 31);
        if self.up {
            let tag = pair.initiate(End::Client, Some("net"));
            pair.outcome(End::Client, tag).unwrap_or_else(|reason| panic!("{reason}\n{}", pair.story()));
            pair.settle().unwrap_or_else(|difference| panic!("{difference}\n{}", pair.story()));
        }
        pair.net.capture.clear();
        for end in End::BOTH {
            pair.host_mut(end).outside.questions.clear();
        }
        pair
    }

    /// One turn with something in it that goes wrong, and what became of it.
    fn play(&self, impair: impl FnOnce(&mut Pair)) -> (Pair, Result<(), String>) {
        let mut pair = self.ground();
        impair(&mut pair);
        (self.act)(&mut pair);
        pair.run_for(SECOND);
        let result = pair.settle().and_then(|()| {
            // Whatever it was, it does not last.
            let tag = pair.initiate(End::Client, Some("net"));
            pair.outcome(End::Client, tag).map_err(|reason| format!("no new tunnel: {reason}"))?;
            pair.settle()?;
            pair.shut_down()
        });
        (pair, result)
    }
}

/// Plays all of them and tells of those that failed, the first with its story.
fn judge(turns: impl Iterator<Item = (String, (Pair, Result<(), String>))>) -> usize {
    let (mut count, mut failed) = (0, Vec::new());
    for (what, (pair, result)) in turns {
        count += 1;
        if let Err(error) = result {
            let story = if failed.is_empty() { pair.story() } else { String::new() };
            failed.push(format!("{what}: {error}\n{story}"));
        }
    }
    assert!(failed.is_empty(), "{} of {count} failed\n{}", failed.len(), failed.join("\n"));
    count
}

const MEDDLINGS: [Meddle; 9] = [
    Meddle::Drop,
    Meddle::Duplicate,
    Meddle::Replay(30 * SECOND),
    Meddle::Delay(15_000),
    Meddle::Delay(20 * SECOND),
    Meddle::Corrupt(0),
    Meddle::Corrupt(30),
    Meddle::Corrupt(70),
    Meddle::Corrupt(100),
];

#[test]
fn each_message_of_each_exchange() {
    let turns = EXCHANGES.iter().flat_map(|exchange| {
        let (pair, result) = exchange.play(|_| {});
        assert_eq!(result, Ok(()), "{} with nothing wrong\n{}", exchange.name, pair.story());
        let mut clean = exchange.ground();
        (exchange.act)(&mut clean);
        clean.run_for(SECOND);
        let sent = End::BOTH.map(|end| (end, clean.net.capture.iter().filter(|it| it.from == end).count()));
        assert!(sent.iter().any(|(_, count)| *count > 0), "{}", exchange.name);
        sent.into_iter().flat_map(move |(end, count)| {
            (0..count).flat_map(move |at| {
                MEDDLINGS.into_iter().map(move |meddle| {
                    let what = format!("{}: {meddle:?} of {end:?}'s message {at}", exchange.name);
                    (what, exchange.play(|pair| pair.net.meddle = Some((end, at, meddle))))
                })
            })
        })
    });
    let count = judge(turns);
    println!("{count} turns");
}

#[test]
fn each_question_of_each_exchange() {
    let turns = EXCHANGES.iter().flat_map(|exchange| {
        let mut clean = exchange.ground();
        (exchange.act)(&mut clean);
        clean.run_for(SECOND);
        let asked = End::BOTH.map(|end| (end, clean.host(end).outside.questions.clone()));
        asked.into_iter().flat_map(move |(end, questions)| {
            questions.into_iter().flat_map(move |(question, count)| {
                (0..count).map(move |at| {
                    let what = format!("{}: {end:?}'s {question:?} {at} fails", exchange.name);
                    let once = |pair: &mut Pair| pair.host_mut(end).outside.fails_once = Some((question, at));
                    (what, exchange.play(once))
                })
            })
        })
    });
    let count = judge(turns);
    println!("{count} turns");
    assert!(count > 20, "{count}");
}
