//! Routes, rules and virtual IPs of the tunnels, for every data plane of this host; counted by user.
//!
//! The table (220 unless configured) gets a route per remote prefix, protocol static, as charon leaves them: routing
//! daemons read it. It stays as long as any SA or trap uses it, so a rekey does not touch it. One rule of priority 220
//! asks the table. Where the routes lead is the [`Place`]: through a device, or on the way that the sealed packets take.
//!
//! As with strongSwan, a full tunnel also takes local subnets that only table main knows, since rule 220 is asked first;
//! exempt them with a passthrough policy if that is not wanted.

mod around;
mod here;
mod interfaces;
mod journal;
mod mend;
mod names;
mod needs;
mod nets;
mod patience;
mod place;
mod start;
#[cfg(test)]
mod tests;
mod vips;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use adit_linux::route::{Detour, Netlink, Route, Rule};

pub use self::needs::RouteConfig;
pub(crate) use self::needs::{Needs, Owner, Place};
pub(crate) use self::nets::prefixes;

use self::around::Peer;
use self::here::Here;
use self::interfaces::Interface;
use self::journal::{Journal, Thing};
use self::names::Numbers;
use self::patience::Patience;
use self::vips::Vip;
use crate::InstallError;

#[derive(Debug)]
struct Held {
    needs: Needs,
    dests: Vec<(IpAddr, u8)>,
    /// It needs our sockets' packets to go around the table.
    detour: bool,
    /// XFRM interfaces that it holds.
    interfaces: Vec<u32>,
}

#[derive(Debug, Default)]
struct Dest {
    users: Vec<Owner>,
    /// The route as it is installed.
    installed: Option<Route>,
}

/// Everything of ours in the routing tables.
#[derive(Debug)]
pub(crate) struct RouteBook {
    pub(crate) netlink: Netlink,
    config: RouteConfig,
    place: Place,
    owners: BTreeMap<Owner, Held>,
    dests: BTreeMap<(IpAddr, u8), Dest>,
    peers: BTreeMap<IpAddr, Peer>,
    vips: BTreeMap<IpAddr, Vip>,
    rules: Vec<Rule>,
    /// Detours that are installed, with their users.
    detours: Vec<(Detour, u32)>,
    /// Interfaces of ours that are to be up.
    kept_up: BTreeSet<u32>,
    journal: Journal,
    /// XFRM interfaces in use, by number.
    interfaces: BTreeMap<u32, Interface>,
    numbers: Numbers,
    patience: Patience,
    notes: Vec<String>,
}

impl RouteBook {
    /// Adds what an SA or policy needs; on an error, nothing of it stays.
    pub(crate) fn add(&mut self, owner: Owner, needs: Needs) -> Result<(), InstallError> {
        let dests = self.destinations(&needs)?;
        let detour = self.needs_detour(&needs, &dests)?;
        let interfaces = self.hold_interfaces(&needs.options)?;
        let peer = needs.peer;
        self.owners.insert(owner, Held { needs, dests: dests.clone(), detour, interfaces });
        for dest in &dests {
            self.dests.entry(*dest).or_default().users.push(owner);
        }
        if let Some(peer) = peer {
            self.peers.entry(peer).or_default().users += 1;
        }
        let result = self.apply(owner, &dests, peer, detour);
        if result.is_err() {
            self.remove(owner);
        }
        result.map_err(InstallError::from)
    }

    fn apply(
        &mut self,
        owner: Owner,
        dests: &[(IpAddr, u8)],
        peer: Option<IpAddr>,
        detour: bool,
    ) -> io::Result<()> {
        self.lead_around(dests, peer, detour)?;
        if !dests.is_empty() {
            let mut here = Here::look(&mut self.netlink, &self.config)?;
            for dest in dests {
                match self.route(*dest, &mut here) {
                    // The policies are what counts there; without its route, only the source may be another.
                    Err(error) if !self.leads_in(dest) => self.note(format!("{error}; going on without it")),
                    result => result?,
                }
            }
            self.fit_interface(owner, &mut here);
        }
        Ok(())
    }

    /// Brings the route for one prefix up to date with its users.
    fn route(&mut self, dest: (IpAddr, u8), here: &mut Here) -> io::Result<()> {
        let wanted = self.wanted(dest, here);
        let Some(state) = self.dests.get_mut(&dest) else { return Ok(()) };
        if state.installed == wanted {
            return Ok(());
        }
        let old = state.installed;
        if let Some(wanted) = wanted {
            self.journal.remember(Thing::Route(wanted));
        }
        let result = match (old, wanted) {
            (None, Some(wanted)) => self.netlink.add_route(&wanted),
            (Some(_), Some(wanted)) => self.netlink.replace_route(&wanted),
            // If it cannot be removed, it goes with its interface at the latest.
            (Some(old), None) => self.netlink.del_route(&old).or(Ok(())),
            (None, None) => Ok(()),
        };
        let (now, gone) = if result.is_ok() { (wanted, old) } else { (old, wanted) };
        state.installed = now;
        if let Some(gone) = gone {
            self.journal.forget(Thing::Route(gone));
        }
        result
    }

    /// Takes back what an SA or policy needed and nobody else does.
    pub(crate) fn remove(&mut self, owner: Owner) {
        let Some(held) = self.owners.remove(&owner) else { return };
        // Asked for only where somebody stays: an SA that was alone with its routes is the common case.
        let mut here = None;
        for dest in held.dests {
            let Some(state) = self.dests.get_mut(&dest) else { continue };
            state.users.retain(|user| *user != owner);
            if state.users.is_empty() {
                if let Some(route) = state.installed {
                    let _ = self.netlink.del_route(&route);
                    self.journal.forget(Thing::Route(route));
                }
                self.dests.remove(&dest);
                self.throw_inside(dest);
            } else {
                // The next user may prefer another source address.
                if here.is_none() {
                    here = Here::look(&mut self.netlink, &self.config).ok();
                }
                if let Some(here) = &mut here {
                    let _ = self.route(dest, here);
                }
            }
        }
        if let Some(peer) = held.needs.peer {
            self.release_peer(peer);
        }
        if held.detour {
            self.release_own();
        }
        self.release_interfaces(&held.interfaces);
    }

    /// Notes that an SA has other outer addresses now.
    pub(crate) fn move_path(&mut self, owner: Owner, local: IpAddr, to: IpAddr) -> io::Result<()> {
        let Some(held) = self.owners.get_mut(&owner) else { return Ok(()) };
        held.needs.local = Some(local);
        let dests = held.dests.clone();
        let mut result = Ok(());
        if held.needs.peer != Some(to) {
            let from = held.needs.peer.replace(to);
            self.peers.entry(to).or_default().users += 1;
            result = self.throw(to);
            if let Some(from) = from {
                self.release_peer(from);
            }
        }
        if self.place == Place::Path {
            let mut here = Here::look(&mut self.netlink, &self.config)?;
            for dest in dests {
                result = result.and(self.route(dest, &mut here));
            }
        }
        result
    }

    /// Brings all routes up to date after the host's addresses or routes have changed. Returns as [`Self::mend`].
    pub(crate) fn refresh(&mut self) -> Option<Duration> {
        let again = self.mend();
        let Ok(mut here) = Here::look(&mut self.netlink, &self.config) else { return again };
        let dests: Vec<_> = self.dests.keys().copied().collect();
        for dest in dests {
            // What does not go now may go after the next change.
            let _ = self.route(dest, &mut here);
        }
        again
    }
}
