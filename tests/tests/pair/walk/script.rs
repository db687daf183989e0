//! What is done to a pair: a list of moves, drawn from a seed and written down before the first is made, so that moves
//! can be left out of a list that fails and the rest still mean what they meant.

use std::time::Duration;

use adit_crypto::SeededRandom;

use crate::host::Question;
use crate::net::{End, Link};
use crate::pair::SECOND;
use crate::storm::Dice;

/// One thing that an operator, a machine or the network does. `u32`s pick one of what is there, whatever that is.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// Nothing for so many microseconds.
    Wait(u64),
    /// Bring up the connection, or the child of that name.
    Up(End, Option<&'static str>),
    RekeyChild(End, u32),
    RekeyIke(End, u32),
    CloseChild(End, u32),
    /// By force or not.
    CloseIke(End, u32, bool),
    /// A volume limit, hard or soft.
    Expire(End, u32, bool),
    /// Another configuration.
    Reload(End, Change),
    /// The NAT box forgets.
    Rebind,
    /// The host has other addresses, where the pair may roam.
    Roam(End, u32),
    /// All state is lost.
    Crash(End),
    /// The clock jumps forward by so many microseconds.
    Jump(u64),
    /// The outside of an end fails, is slow, or is well again.
    Outside(End, Trouble),
    /// The weather in both directions.
    Weather([Link; 2]),
    /// Nothing gets through, or everything again.
    Cut(bool),
    /// All is well, and it has to become quiet.
    Quiet,
}

/// What a reload changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A child more, on this end only.
    Add(&'static str),
    Remove(&'static str),
    /// Other lifetimes, in seconds; reauthentication instead of rekeying of the IKE_SA or not.
    Lifetimes {
        ike: u64,
        child: u64,
        reauth: bool,
    },
    Ike(&'static str),
    Esp(&'static str),
    /// Remote selectors of the first child.
    Narrow(&'static str),
    /// Whether a child that the peer closes is brought up again.
    Keep(bool),
}

/// What ails an outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    Fails(Question),
    Slow(u64),
    Well,
}

/// A pair and what is done to it.
#[derive(Debug, Clone)]
pub struct Script {
    pub seed: u64,
    pub moves: Vec<Move>,
    /// Datagrams without authority are thrown in at every step.
    pub hostile: bool,
}

const CHILDREN: [&str; 3] = ["net", "voice", "six"];
/// Moves of one script.
const MOVES: u64 = 60;

impl Script {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice(SeededRandom::new(seed ^ 0x7761_6c6b));
        let mut moves = vec![Move::Up(End::Client, None), Move::Wait(dice.below(2 * SECOND))];
        for _ in 0..MOVES {
            moves.push(draw(&mut dice));
            moves.push(Move::Wait(wait(&mut dice)));
            if dice.chance(8) {
                moves.push(Move::Quiet);
            }
        }
        Self { seed, moves, hostile: true }
    }
}

/// Many things happen while others are under way, some a while later.
fn wait(dice: &mut Dice) -> u64 {
    match dice.below(10) {
        0..=1 => 0,
        2..=6 => dice.below(SECOND / 2),
        7..=8 => dice.below(10 * SECOND),
        _ => dice.below(90 * SECOND),
    }
}

fn child(dice: &mut Dice) -> &'static str {
    CHILDREN[dice.below(CHILDREN.len() as u64) as usize]
}

fn draw(dice: &mut Dice) -> Move {
    let (end, pick) = (dice.end(), dice.below(1 << 16) as u32);
    match dice.below(105) {
        0..=13 => Move::Up(if dice.chance(80) { End::Client } else { end }, None),
        14..=20 => Move::Up(end, Some(child(dice))),
        21..=36 => Move::RekeyChild(end, pick),
        37..=50 => Move::RekeyIke(end, pick),
        51..=58 => Move::CloseChild(end, pick),
        59..=63 => Move::CloseIke(end, pick, dice.chance(25)),
        64..=68 => Move::Expire(end, pick, dice.chance(40)),
        69..=76 => Move::Reload(end, change(dice)),
        77..=79 => Move::Rebind,
        80..=82 => Move::Crash(end),
        83..=84 => Move::Jump(dice.below(400 * SECOND)),
        85..=90 => Move::Outside(end, trouble(dice)),
        91..=96 => Move::Weather([link(dice), link(dice)]),
        97..=98 => Move::Cut(dice.chance(60)),
        99..=103 => Move::Roam(end, pick),
        _ => Move::Quiet,
    }
}

fn change(dice: &mut Dice) -> Change {
    match dice.below(8) {
        0 => Change::Add(["voice", "six"][dice.below(2) as usize]),
        1 => Change::Remove(child(dice)),
        2 | 3 => Change::Lifetimes {
            ike: 40 + dice.below(300),
            child: 20 + dice.below(200),
            reauth: dice.chance(40),
        },
        4 => Change::Ike(["aes128-sha256-x25519", "aes256gcm16-prfsha384-ecp256"][dice.below(2) as usize]),
        5 => {
            Change::Esp(["aes128gcm16-x25519", "aes256gcm16", "aes256-sha256-ecp256"][dice.below(3) as usize])
        }
        6 => Change::Narrow(["10.2.7.0/24", "10.2.0.0/16"][dice.below(2) as usize]),
        _ => Change::Keep(dice.chance(50)),
    }
}

fn trouble(dice: &mut Dice) -> Trouble {
    match dice.below(8) {
        0..=1 => Trouble::Fails(Question::Install),
        2 => Trouble::Fails(Question::Lease),
        3 => Trouble::Fails(Question::VirtualIps),
        4 => Trouble::Fails(Question::Source),
        5 => Trouble::Slow(1 + dice.below(3 * SECOND)),
        _ => Trouble::Well,
    }
}

fn link(dice: &mut Dice) -> Link {
    if dice.chance(40) {
        return Link::CLEAN;
    }
    Link {
        loss: dice.below(41) as u32,
        duplicates: dice.below(31) as u32,
        delay: 1000 + dice.below(200_000),
        jitter: dice.below(800_000),
    }
}

/// In seconds, as configurations have it.
pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
