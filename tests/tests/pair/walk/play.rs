//! A script played: each move made, the clock run in between, and the watch asked after every step.

use std::sync::Arc;

use adit_crypto::SeededRandom;
use adit_ike::{ChildAction, ChildConfig, Command, Config};

use super::forge::Forger;
use super::script::{Change, Move, Script, Trouble, seconds};
use super::watch::Watch;
use crate::net::{End, Link};
use crate::pair::Pair;
use crate::setup::specs;
use crate::storm::{self, Dice};

/// Addresses that the client may have; it starts with the first.
const ABROAD: [&[&str]; 4] =
    [&["192.0.2.10"], &["192.0.2.99"], &["198.18.5.5", "192.0.2.99"], &["192.0.2.10", "192.0.2.99"]];
const BEHIND_NAT: [&[&str]; 3] = [&["192.168.7.2"], &["192.168.7.9"], &["192.168.7.2", "192.168.7.9"]];
/// The gateway keeps the one that the client is configured with.
const GATEWAY: [&[&str]; 2] = [&["203.0.113.1"], &["203.0.113.1", "203.0.113.77"]];

/// A pair that is being watched.
pub struct Play {
    pub pair: Pair,
    pub watch: Watch,
    forger: Forger,
    hostile: bool,
    roams: bool,
    commands: u64,
}

/// A script with its outcome.
pub fn play(script: &Script, verbose: bool) -> (Play, Result<(), String>) {
    let mut dice = Dice(SeededRandom::new(script.seed));
    let mut setup = storm::setup(&mut dice, verbose);
    setup.links = [Link::CLEAN; 2];
    if dice.chance(20) {
        setup.both(|side| side.settings.make_before_break = false);
    }
    if dice.chance(40) {
        let secrets = |n| vec![adit_crypto::Secret::from(vec![n; 32])];
        setup.client.settings.resume = true;
        setup.gateway.settings.ticket_secrets = secrets(1);
        setup.both(|side| side.settings.quick_crash_secrets = secrets(2));
    }
    let roams = dice.chance(50);
    if roams {
        setup.roaming();
    }
    let pair = Pair::new(setup, script.seed);
    let forger = Forger::new(script.seed);
    let mut play =
        Play { pair, watch: Watch::default(), forger, hostile: script.hostile, roams, commands: 0 };
    let result = play.all(script);
    (play, result)
}

impl Play {
    /// Steps so far, commands among them.
    pub fn steps(&self) -> u64 {
        self.pair.steps + self.commands + self.forger.thrown
    }

    fn all(&mut self, script: &Script) -> Result<(), String> {
        for (n, it) in script.moves.iter().enumerate() {
            self.make(it).map_err(|error| format!("move {n}, {it:?}, at {} µs: {error}", self.pair.now))?;
        }
        self.make(&Move::Quiet).map_err(|error| format!("when all is over: {error}"))?;
        self.watch.closing = true;
        self.pair.shut_down().map_err(|left| format!("after shutdown: {left}"))?;
        self.watch.look(&self.pair)?;
        for end in End::BOTH {
            // An establishment is remembered for a while, so that late duplicates make no other.
            let left = self.pair.host(end).endpoint.leftovers();
            if !left.is_empty() {
                return Err(format!("after shutdown: {end:?} has {left:?} left"));
            }
        }
        Ok(())
    }

    fn make(&mut self, it: &Move) -> Result<(), String> {
        self.commands += 1;
        self.forger.blink();
        let pair = &mut self.pair;
        match it {
            Move::Wait(micros) => return self.run_for(*micros),
            Move::Quiet => return self.quiet(),
            Move::Up(end, child) => {
                pair.initiate(*end, *child);
            }
            Move::RekeyChild(end, pick) => {
                if let Some(id) = any_child(pair, *end, *pick) {
                    pair.command(*end, Command::RekeyChild { id });
                }
            }
            Move::RekeyIke(end, pick) => {
                if let Some(id) = chosen(&pair.ikes(*end), *pick) {
                    pair.command(*end, Command::RekeyIke { id });
                }
            }
            Move::CloseChild(end, pick) => {
                if let Some(id) = any_child(pair, *end, *pick) {
                    let tag = pair.tag();
                    pair.command(*end, Command::TerminateChild { id, tag });
                }
            }
            Move::CloseIke(end, pick, force) => {
                if let Some(id) = chosen(&pair.ikes(*end), *pick) {
                    let tag = pair.tag();
                    pair.command(*end, Command::TerminateIke { id, force: *force, tag });
                }
            }
            Move::Expire(end, pick, hard) => {
                if let Some(id) = any_child(pair, *end, *pick) {
                    pair.command(*end, Command::ChildExpired { id, hard: *hard });
                }
            }
            Move::Reload(end, change) => self.reload(*end, change),
            Move::Rebind => {
                if let Some(nat) = &mut pair.net.nat {
                    nat.rebind();
                }
            }
            Move::Roam(end, pick) if self.roams => {
                let places: &[&[&str]] = match (end, pair.net.nat.is_some()) {
                    (End::Client, true) => &BEHIND_NAT,
                    (End::Client, false) => &ABROAD,
                    (End::Gateway, _) => &GATEWAY,
                };
                pair.readdress(*end, places[*pick as usize % places.len()]);
            }
            Move::Roam(..) => {}
            Move::Crash(end) => {
                pair.flush();
                self.watch.look(pair)?;
                self.watch.crash(*end);
                pair.crash(*end);
            }
            Move::Jump(micros) => pair.now += micros,
            Move::Outside(end, trouble) => {
                let outside = &mut pair.host_mut(*end).outside;
                match trouble {
                    Trouble::Fails(question) => drop(outside.failing.insert(*question)),
                    Trouble::Slow(delay) => outside.delay = *delay,
                    Trouble::Well => {
                        outside.failing.clear();
                        outside.delay = 0;
                    }
                }
            }
            Move::Weather(links) => pair.net.links = *links,
            Move::Cut(cut) => pair.net.cut = *cut,
        }
        self.pair.flush();
        self.watch.look(&self.pair)
    }

    fn run_for(&mut self, micros: u64) -> Result<(), String> {
        let deadline = self.pair.now + micros;
        loop {
            self.pair.flush();
            self.watch.look(&self.pair)?;
            if self.hostile {
                self.forger.throw(&mut self.pair)?;
                self.watch.look(&self.pair)?;
            }
            if !self.pair.step(deadline) {
                self.pair.now = self.pair.now.max(deadline);
                return Ok(());
            }
            self.forger.delivered(&mut self.pair);
        }
    }

    /// The weather clears, every outside is well, and nobody does anything: both ends have to agree.
    fn quiet(&mut self) -> Result<(), String> {
        self.pair.net.links = [Link::CLEAN; 2];
        self.pair.net.cut = false;
        for end in End::BOTH {
            let outside = &mut self.pair.host_mut(end).outside;
            outside.failing.clear();
            outside.delay = 0;
        }
        let (watch, mut wrong) = (&mut self.watch, None);
        let mut look = |pair: &Pair| {
            if wrong.is_none() {
                wrong = watch.look(pair).err();
            }
        };
        packets_tell(&mut self.pair);
        let mut settled = self.pair.settle_watched(&mut look);
        if settled.is_err() && self.pair.net.nat.is_some() {
            // By now there is a tunnel whose packets tell.
            packets_tell(&mut self.pair);
            settled = self.pair.settle_watched(&mut look);
        }
        self.pair.arrived = None;
        self.forger.blink();
        wrong.map_or(Ok(()), Err)?;
        settled?;
        self.watch.quiet(&self.pair)
    }

    fn reload(&mut self, end: End, change: &Change) {
        let side = match end {
            End::Client => &mut self.pair.setup.client,
            End::Gateway => &mut self.pair.setup.gateway,
        };
        let conn = &mut side.conn;
        match change {
            Change::Add(name) if conn.children.iter().all(|child| &*child.name != *name) => {
                let (client, gateway) = match *name {
                    "voice" => ("10.11.0.0/16", "10.12.0.0/16"),
                    _ => ("fd01::/64", "fd02::/64"),
                };
                let [local, remote] = if end == End::Client { [client, gateway] } else { [gateway, client] };
                conn.children.push(Arc::new(ChildConfig {
                    name: (*name).into(),
                    local_ts: specs(&[local]),
                    remote_ts: specs(&[remote]),
                    ..ChildConfig::default()
                }));
            }
            Change::Add(_) => {}
            Change::Remove(name) => {
                if conn.children.len() > 1 {
                    conn.children.retain(|child| &*child.name != *name);
                }
            }
            Change::Lifetimes { ike, child, reauth } => {
                (conn.rekey_time, conn.reauth_time) =
                    if *reauth { (seconds(0), seconds(*ike)) } else { (seconds(*ike), seconds(0)) };
                (conn.rand_time, conn.over_time) = (seconds(ike / 4), seconds(ike / 2));
                for it in &mut conn.children {
                    let it = Arc::make_mut(it);
                    (it.rekey_time, it.rand_time) = (seconds(*child), seconds(child / 4));
                    it.life_time = seconds(child + child / 2);
                }
            }
            Change::Ike(proposal) => side.ike(&[proposal]),
            Change::Esp(proposal) => side.esp(&[proposal]),
            Change::Narrow(net) => {
                let child = side.child();
                let selectors = if end == End::Client { &mut child.remote_ts } else { &mut child.local_ts };
                *selectors = specs(&[net]);
            }
            Change::Keep(start) => side.child().close_action = ChildAction { trap: false, start: *start },
        }
        let config: Arc<Config> = side.config();
        self.pair.command(end, Command::SetConfig(config));
    }
}

/// A packet of the client's in each tunnel. Where a NAT box forgot the client, the gateway's data plane sees it come
/// from another port (RFC 4555 §3.8: that the rekeyings of a busy IKE_SA would not show).
fn packets_tell(pair: &mut Pair) {
    let sending = pair.client.sad.values().filter(|it| it.sends && it.udp_encap);
    let sending: Vec<_> = sending.map(|it| (it.sa.spi_out, it.local, it.remote)).collect();
    for (spi, local, remote) in sending {
        let seen = pair.net.seen_of(local, remote);
        let heard = pair.gateway.sad.iter().find(|(_, it)| it.sa.spi_in == spi && it.remote != seen);
        if let Some(id) = heard.map(|(id, _)| *id) {
            pair.command(End::Gateway, Command::PeerMoved { id, remote: seen });
        }
    }
}

fn chosen(ids: &[u32], pick: u32) -> Option<u32> {
    (!ids.is_empty()).then(|| ids[pick as usize % ids.len()])
}

/// Any child, whatever its state.
fn any_child(pair: &Pair, end: End, pick: u32) -> Option<u32> {
    let ids: Vec<u32> =
        pair.host(end).endpoint.ike_sas().flat_map(|sa| sa.children).map(|child| child.id).collect();
    chosen(&ids, pick)
}
