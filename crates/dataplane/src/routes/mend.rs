//! Survival: what somebody else has removed of ours is put back.
//!
//! The book knows what should be there. When the kernel says that something of ours has changed and it was not us, the
//! tables are looked through; what is missing is put back and noted, once per incident. What somebody has put in the
//! place of ours is theirs: it is noted and left alone.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_linux::route::{Own, Route};

use super::RouteBook;
use super::journal::Thing;
use super::nets::full;

/// Things that a note names before it counts the rest.
const NAMED: usize = 3;
/// Notes that wait to be fetched.
const MOST_NOTES: usize = 64;

impl RouteBook {
    /// Puts back what was removed. Returns when to look again, if not only at the next change.
    pub(crate) fn mend(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if let Some(left) = self.patience.holds(now) {
            return Some(left);
        }
        let back = self.put_back();
        if back.is_empty() {
            return None;
        }
        self.note(format!("what tunnels need was removed, not by us; put back: {}", few(&back)));
        let wait = self.patience.incident(now)?;
        self.note(format!(
            "it is removed again and again: the next time it is put back after {} s; find out who does it (`ip monitor` \
             shows when)",
            wait.as_secs()
        ));
        Some(wait)
    }

    /// What of this host's addresses, interfaces and routes is the tunnels' own.
    pub(crate) fn own(&self) -> Own {
        let ours = self.vips.iter().filter(|(_, vip)| !vip.foreign);
        Own {
            interfaces: self
                .device()
                .into_iter()
                .chain(self.kept_up.iter().copied())
                .chain(self.own_interfaces())
                .collect(),
            // Table main is everybody's.
            table: Some(self.config.table).filter(|table| *table != 0),
            addresses: ours.map(|(address, _)| *address).collect(),
            ports: vec![self.netlink.port()],
        }
    }

    /// An interface of ours is up, and is to stay so.
    pub(crate) fn keep_up(&mut self, ifindex: u32) {
        self.kept_up.insert(ifindex);
    }

    /// What there is to tell the operator; bounded.
    pub(crate) fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(note);
        }
    }

    /// Takes what has been noted since the last time.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Puts back what is missing, and says what that was.
    fn put_back(&mut self) -> Vec<String> {
        let mut back = Vec::new();
        // In the order in which one needs the other. What cannot be had now is tried again after the next change.
        let _ = self.links_back(&mut back);
        let _ = self.interfaces_back(&mut back);
        let _ = self.addresses_back(&mut back);
        let _ = self.rules_back(&mut back);
        let _ = self.routes_back(&mut back);
        back
    }

    fn links_back(&mut self, back: &mut Vec<String>) -> io::Result<()> {
        for ifindex in self.kept_up.clone() {
            let Ok(link) = self.netlink.link_state(ifindex) else { continue };
            if !link.up && self.netlink.link_up(ifindex).is_ok() {
                back.push(format!("{} (it was down)", link.name));
            }
        }
        Ok(())
    }

    fn addresses_back(&mut self, back: &mut Vec<String>) -> io::Result<()> {
        if self.vips.is_empty() {
            return Ok(());
        }
        let here = self.netlink.addresses()?;
        let missing: Vec<(IpAddr, u32, bool)> = self
            .vips
            .iter()
            .filter(|(address, vip)| {
                !vip.foreign && !here.iter().any(|a| a.address == **address && a.ifindex == vip.ifindex)
            })
            .map(|(address, vip)| (*address, vip.ifindex, vip.installed))
            .collect();
        for (address, ifindex, installed) in missing {
            // An interface that goes down takes IPv6 addresses along, one that goes away all: nobody's hand.
            let there = self.netlink.link_state(ifindex).is_ok_and(|link| link.up);
            if installed && !there {
                self.lost_vip(address);
            }
            if self.readd_vip(address).is_ok() && installed && there {
                back.push(format!("address {address}/{}", full(address)));
            }
        }
        Ok(())
    }

    fn rules_back(&mut self, back: &mut Vec<String>) -> io::Result<()> {
        let there = self.netlink.rules()?;
        for rule in self.rules.clone() {
            if !there.contains(&rule) && self.netlink.add_rule(&rule)? {
                back.push(format!("rule {rule}"));
            }
        }
        for (detour, _) in self.detours.clone() {
            if self.netlink.add_detour(&detour)? {
                back.push(format!("rule {detour}"));
            }
        }
        Ok(())
    }

    fn routes_back(&mut self, back: &mut Vec<String>) -> io::Result<()> {
        let thrown = self.peers.iter().filter(|(_, peer)| peer.thrown).map(|(peer, _)| *peer);
        let thrown: Vec<Route> = thrown.map(|peer| self.throw_route(peer)).collect();
        let wanted: Vec<Route> =
            thrown.into_iter().chain(self.dests.values().filter_map(|dest| dest.installed)).collect();
        let Some(table) = wanted.first().map(|route| route.table) else { return Ok(()) };
        let mut there: HashMap<(IpAddr, u8), Vec<Route>> = HashMap::new();
        for route in self.netlink.list_routes(table)? {
            there.entry(route.dest).or_default().push(route);
        }
        for route in wanted {
            if there.get(&route.dest).is_some_and(|all| all.iter().any(|other| is_same(&route, other))) {
                continue;
            }
            match self.netlink.add_route(&route) {
                Ok(()) => back.push(route.to_string()),
                Err(error) => {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        self.note(format!("{error}: somebody put another in its place, which is left alone"));
                    }
                    // Not by somebody's hand: its interface is down, or its source or next hop has gone.
                    if let Some(dest) = self.dests.get_mut(&route.dest) {
                        dest.installed = None;
                        self.journal.forget(Thing::Route(route));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether the kernel's entry is the one that was installed; it may have filled in what was left open.
pub(super) fn is_same(ours: &Route, other: &Route) -> bool {
    let open = |ours: Option<u32>, theirs: Option<u32>| ours.is_none() || ours == theirs;
    ours.kind == other.kind
        && ours.protocol == other.protocol
        && ours.gateway == other.gateway
        && ours.src == other.src
        && open(ours.ifindex, other.ifindex)
        && open(ours.metric, other.metric)
}

/// The first few of many.
fn few(things: &[String]) -> String {
    let named: Vec<&str> = things.iter().take(NAMED).map(String::as_str).collect();
    let rest = things.len().saturating_sub(NAMED);
    match rest {
        0 => named.join(", "),
        rest => format!("{} and {rest} more", named.join(", ")),
    }
}
