//! Rekeying and deleting against each other, message by message: every case is a line of a table.
//!
//! A script is run twice, with the client and with the gateway as `a`, and for as many seeds as it takes to see each of
//! the nonces that there are be the lowest: four where both exchanges go through, three where one is refused. `a:rekey` is a command (see [`command`]); `>` delivers the oldest message that `a` has
//! sent and that is held, `>1` the one after it, `x>` loses the oldest; `<` is the other direction. When the script is
//! over, what is held arrives in order, the clock runs, and what RFC 7296 §2.8 and §2.25 promise must hold: both ends
//! list the same, every child is in both data planes and can be sent on, and the events add up.

use std::collections::{BTreeMap, BTreeSet};

use adit_ike::{ChildState, Command, Event, Instant, LogLevels};

use crate::net::End;
use crate::pair::{Pair, SECOND};
use crate::setup::{Auth, Setup};

/// What a case starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    Plain,
    /// `a` begins with a group that `b` does not serve.
    OtherGroup,
    /// Each of the two begins with a group that the other does not prefer.
    Groups,
}

/// What must be left: IKE_SAs, CHILD_SAs, and how often each end told of a rekeyed child and a rekeyed IKE_SA, if that
/// is certain.
#[derive(Debug, Clone, Copy)]
struct Left(usize, usize, Option<(usize, usize)>);

const ONE: Left = Left(1, 1, Some((1, 0)));
const NO_CHILD: Left = Left(1, 0, None);
const NOTHING: Left = Left(0, 0, None);
const MOVED: Left = Left(1, 1, Some((0, 1)));

/// Name, ground, how many nonces may be the lowest (and must each be in some run), script, what is left.
type Case = (&'static str, Ground, usize, &'static str, Left);

use Ground::{Groups, OtherGroup, Plain};

const CHILD_REKEY: &[Case] = &[
    ("regular", Plain, 1, "a:rekey > < > <", ONE),
    ("regular_ke_invalid", OtherGroup, 1, "a:rekey > < > < > <", ONE),
    ("regular_responder_ignore_soft_expire", Plain, 1, "a:rekey > b:soft < b:soft > <", ONE),
    ("regular_responder_handle_hard_expire", Plain, 1, "a:rekey > < b:hard < >", ONE),
    ("regular_responder_delete", Plain, 1, "a:rekey > < b:delnew < > > <", NO_CHILD),
    ("regular_responder_lost_sa", Plain, 1, "a:rekey b:lose > < > <", Left(1, 1, Some((0, 0)))),
    ("regular_responder_incorrect_delete: after", Plain, 1, "a:rekey > b:hard < < > >", ONE),
    ("regular_responder_incorrect_delete: before", Plain, 1, "a:rekey > b:hard <1 < >", Left(1, 1, None)),
    ("regular_delete_timeout", Plain, 1, "a:rekey > < cut", NOTHING),
    ("collision", Plain, 4, "a:rekey b:rekey > < < >", ONE),
    ("collision: answers crossed", Plain, 4, "a:rekey b:rekey < > > <", ONE),
    ("collision_delayed_response", Plain, 4, "a:rekey b:rekey > < > <1 > <", ONE),
    ("collision_delayed_response_delete", Plain, 4, "a:rekey b:rekey > < > <1 > b:delnew <1 > <", NO_CHILD),
    ("collision_delayed_request: delete first", Plain, 3, "a:rekey b:rekey < >1 > < <", ONE),
    ("collision_delayed_request: refusal first", Plain, 3, "a:rekey b:rekey < >1 > <1 <", ONE),
    ("collision_delayed_request_more", Plain, 3, "a:rekey b:rekey < >1 < >1 > <", ONE),
    (
        "collision_delayed_request_more_delete",
        Plain,
        3,
        "a:rekey b:rekey < >1 < >1 b:delnew < >1 > <",
        NO_CHILD,
    ),
    ("collision_ke_invalid", Groups, 4, "a:rekey b:rekey > < < > > < < >", ONE),
    ("collision_ke_invalid_delayed_retry", Groups, 3, "a:rekey b:rekey > < < > < >1 > < <", ONE),
    ("collision_responder_incorrect_delete", Plain, 4, "a:rekey b:rekey > < > b:hard <1 >", Left(1, 1, None)),
    ("collision_delete", Plain, 1, "a:rekey b:del > < < >", NO_CHILD),
    ("collision_delete: refusal first", Plain, 1, "a:rekey b:del > <1 < >", NO_CHILD),
    ("collision_delete_drop_delete", Plain, 1, "a:rekey b:del x< > <", NO_CHILD),
    ("collision_delete_drop_rekey", Plain, 1, "a:rekey b:del x> < >", NO_CHILD),
    ("collision_delete_delayed_response", Plain, 1, "a:rekey > b:delnew <1 > <", NO_CHILD),
    ("collision_ike_rekey", Plain, 1, "a:rekey b:ike > < < >", Left(1, 1, Some((1, 1)))),
    ("collision_ike_delete", Plain, 1, "a:rekey b:end > < < >", NOTHING),
];

const IKE_REKEY: &[Case] = &[
    ("regular", Plain, 1, "a:ike > < > <", MOVED),
    ("regular_ke_invalid", Groups, 1, "a:ike > <", MOVED),
    ("collision", Plain, 4, "a:ike b:ike > < < >", MOVED),
    ("collision: answers crossed", Plain, 4, "a:ike b:ike < > > <", MOVED),
    // The group in use is the one that the original responder likes best: only one of the two can be refused.
    ("collision_ke_invalid", Groups, 3, "a:ike b:ike > < < >", MOVED),
    ("collision_ke_invalid_delayed_retry", Groups, 3, "a:ike b:ike < > > <", MOVED),
    ("collision_delayed_response", Plain, 4, "a:ike b:ike > < > <1 <", MOVED),
    ("collision_dropped_request", Plain, 3, "a:ike b:ike x> < > <", MOVED),
    ("collision_delayed_request", Plain, 3, "a:ike b:ike < >1 > < <", MOVED),
    ("collision_delayed_request_and_delete", Plain, 3, "a:ike b:ike < >1 > <1 <", MOVED),
    ("collision_delete", Plain, 1, "a:ike b:end > < < >", NOTHING),
    ("collision_delete_drop_delete", Plain, 1, "a:ike b:end x< > <", NOTHING),
];

const OTHERS: &[Case] = &[
    ("child_delete: regular", Plain, 1, "a:del > <", NO_CHILD),
    ("child_delete: collision", Plain, 1, "a:del b:del > < > <", NO_CHILD),
    ("child_delete: collision_drop", Plain, 1, "a:del b:del x> < >", NO_CHILD),
    ("child_delete: collision_ike_rekey", Plain, 1, "a:del b:ike > < > <", NO_CHILD),
    ("child_delete: collision_ike_delete", Plain, 1, "a:del b:end > < > <", NOTHING),
    ("child_create: duplicate", Plain, 1, "a:new a:new > < a:new", Left(1, 2, Some((0, 0)))),
    ("child_create: collision_ike_rekey", Plain, 1, "a:new b:ike > < < >", Left(1, 2, Some((0, 1)))),
    ("ike_delete: regular", Plain, 1, "a:end > <", NOTHING),
    ("ike_delete: collision", Plain, 1, "a:end b:end > < > <", NOTHING),
];

fn ground(ground: Ground, a: End) -> Setup {
    let mut setup = Setup::new(Auth::Psk);
    setup.add_child("voice", "10.11.0.0/16", "10.12.0.0/16");
    let (first, second) = match a {
        End::Client => (&mut setup.client, &mut setup.gateway),
        End::Gateway => (&mut setup.gateway, &mut setup.client),
    };
    match ground {
        Plain => {}
        OtherGroup => {
            first.esp(&["aes256gcm16-x25519-ecp256"]);
            second.esp(&["aes256gcm16-ecp256"]);
        }
        Groups => {
            first.esp(&["aes256gcm16-x25519-ecp256"]);
            second.esp(&["aes256gcm16-ecp256-x25519"]);
            first.ike(&["aes256gcm16-prfsha384-x25519-ecp256"]);
            second.ike(&["aes256gcm16-prfsha384-ecp256-x25519"]);
        }
    }
    setup
}

/// `soft` and `hard` are expiries of the first child, `rekey` and `del` are for it, too; `delnew` is for the youngest that
/// is in use; `lose` forgets it without a word, `ike` rekeys, `end` deletes the IKE_SA, `new` asks for another child.
fn command(pair: &mut Pair, end: End, what: &str, (ike, id): (u32, u32)) {
    let command = match what {
        "rekey" => Command::RekeyChild { id },
        "soft" => Command::ChildExpired { id, hard: false },
        "hard" => Command::ChildExpired { id, hard: true },
        "del" => Command::TerminateChild { id, tag: pair.tag() },
        "delnew" => {
            let up = |state| matches!(state, ChildState::Installed | ChildState::Rekeying);
            let views = pair.views(end);
            let ids = views.iter().flat_map(|sa| &sa.children).filter(|c| up(c.state)).map(|c| c.id);
            let id = ids.max().expect("a child");
            Command::TerminateChild { id, tag: pair.tag() }
        }
        "ike" => Command::RekeyIke { id: ike },
        "lose" => {
            let now = Instant::from_micros(pair.now);
            pair.host_mut(end).endpoint.lose_child(now, id);
            return;
        }
        "end" => Command::TerminateIke { id: ike, force: false, tag: pair.tag() },
        "new" => {
            pair.initiate(end, Some("voice"));
            return;
        }
        other => panic!("what is {other}?"),
    };
    pair.command(end, command);
}

/// Runs a case; which of the nonces was the lowest: whose exchange it was in, and whether it was asked or answered.
fn play(case: &Case, a: End, seed: u64) -> Result<Option<(End, &'static str)>, String> {
    let (_, start, _, script, left) = case;
    let mut setup = ground(*start, a);
    setup.both(|side| side.settings.log_levels = LogLevels::all(3));
    let mut pair = Pair::new(setup, seed);
    let result = run(&mut pair, a, script, *left);
    let played = result.map_err(|error| format!("{error}\n{}", pair.story()))?;
    let mut nonces = BTreeMap::new();
    for end in End::BOTH {
        for (at, event) in &pair.host(end).events {
            let Event::Log { text, .. } = event else { continue };
            // What is tried again much later is another story; what is tried again at once counts.
            if !played.contains(at) {
                continue;
            }
            if let Some(nonce) = text.strip_prefix("Ni of CREATE_CHILD_SA: ") {
                nonces.insert((end, "Ni"), nonce.to_owned());
            } else if let Some(nonce) = text.strip_prefix("Nr of CREATE_CHILD_SA: ") {
                nonces.insert((end.other(), "Nr"), nonce.to_owned());
            }
        }
    }
    Ok(nonces.into_iter().min_by(|a, b| a.1.cmp(&b.1)).map(|(which, _)| which))
}

/// Whether a packet from either end would find a way: the SA it leaves on is one that the other end receives on.
fn flows(pair: &Pair) -> Result<(), String> {
    for end in End::BOTH {
        let (ours, theirs) = (&pair.host(end).sad, &pair.host(end.other()).sad);
        let sending: Vec<_> = ours.values().filter(|it| it.sends).map(|it| &it.sa).collect();
        let [sa] = sending[..] else { return Err(format!("{end:?} sends on {} SAs", sending.len())) };
        if !theirs.values().any(|it| it.sa.spi_in == sa.spi_out) {
            return Err(format!("{end:?} sends on {:08x}, where nobody listens", sa.spi_out));
        }
    }
    Ok(())
}

/// When the script was played, to a second after its end.
fn run(pair: &mut Pair, a: End, script: &str, left: Left) -> Result<std::ops::Range<u64>, String> {
    let tag = pair.initiate(End::Client, Some("net"));
    pair.outcome(End::Client, tag).map_err(|reason| reason.to_string())?;
    pair.settle()?;
    let first = End::BOTH.map(|end| (pair.ikes(end)[0], pair.children(end)[0]));
    pair.net.held = Some(Default::default());
    let started = pair.now;
    for word in script.split(' ') {
        if word == "cut" {
            pair.net.cut = true;
        } else if let Some((who, what)) = word.split_once(':') {
            let end = if who == "a" { a } else { a.other() };
            command(pair, end, what, first[usize::from(end == End::Gateway)]);
        } else {
            let lost = word.starts_with('x');
            let arrow = word.trim_start_matches('x');
            let from = if arrow.starts_with('>') { a } else { a.other() };
            let at = arrow[1..].parse().unwrap_or(0);
            let flight = pair.net.pick(from, at).ok_or_else(|| format!("no message for {word}"))?;
            if !lost {
                let now = pair.now;
                pair.net.deliver(now, flight);
            }
        }
        pair.run_for(0);
        if left.2 == Some((1, 0)) {
            flows(pair).map_err(|error| format!("after {word}: {error}"))?;
        }
    }
    let now = pair.now;
    let played = started..now + SECOND;
    pair.net.release(now);
    // Whatever is to be tried again is.
    pair.run_for(60 * SECOND);
    pair.settle()?;
    let Left(ikes, children, rekeyed) = left;
    for end in End::BOTH {
        let got = (pair.ikes(end).len(), pair.children(end).len());
        if got != (ikes, children) {
            return Err(format!("{end:?} has {got:?} SAs instead of {:?}", (ikes, children)));
        }
        let count = |is: fn(&Event) -> bool| pair.host(end).events.iter().filter(|(_, e)| is(e)).count();
        let told = (
            count(|event| matches!(event, Event::ChildRekeyed { .. })),
            count(|event| matches!(event, Event::IkeRekeyed { .. })),
        );
        if rekeyed.is_some_and(|rekeyed| rekeyed != told) {
            return Err(format!("{end:?} tells of {told:?} rekeyed SAs instead of {rekeyed:?}"));
        }
    }
    pair.net.cut = false;
    pair.shut_down().map_err(|left| format!("left: {left}"))?;
    Ok(played)
}

fn table(cases: &[Case]) {
    let mut failed = Vec::new();
    for case in cases {
        let (name, nonces) = (case.0, case.2);
        let seeds = if nonces > 1 { 24 } else { 2 };
        for a in End::BOTH {
            let mut lowest = BTreeSet::new();
            for seed in 0..seeds {
                match play(case, a, 1000 + seed) {
                    Ok(which) => lowest.extend(which),
                    Err(error) => {
                        let brief = error.lines().next().unwrap_or("").to_owned();
                        let shown = if failed.is_empty() { error } else { brief };
                        failed.push(format!("{name}, a is the {a:?}, seed {seed}: {shown}"));
                    }
                }
            }
            if nonces > 1 && lowest.len() != nonces {
                failed
                    .push(format!("{name}, a is the {a:?}: the lowest nonces were {lowest:?}, not {nonces}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn child_rekey() {
    table(CHILD_REKEY);
}

#[test]
fn ike_rekey() {
    table(IKE_REKEY);
}

#[test]
fn child_delete_child_create_ike_delete() {
    table(OTHERS);
}
