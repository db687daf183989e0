//! How the sealed packets keep out of the tunnels' device.
//!
//! Where a prefix also covers the peer's own outer address (a full tunnel), the encrypted packets would be routed
//! into the tunnel again. A `throw` route for that address sends their lookup on to table main; it is marked with
//! a routing protocol number of our own. Where a tunnel is for the peer's address itself (transport mode, host to host),
//! the packets for it must go both ways: into the tunnel, and sealed to the peer. Then a rule in front of ours lets what
//! our sockets send, known by its firewall mark, go around the table. With a firewall mark configured the rule itself
//! exempts our sockets and no `throw` routes are made.
//!
//! On the path none of this is needed: the tunnel's routes lead where the sealed packets have to go, and the policies
//! for our sockets let those pass. A route through an XFRM interface is a device's again, but the kernel's sealed packets
//! bear no mark to know them by: there are `throw` routes, and no detours.

use std::io;
use std::net::IpAddr;

use adit_linux::route::{Detour, Route, Traffic};

use super::nets::{full, last, masked};
use super::place::is_host;
use super::{Needs, RouteBook};
use crate::InstallError;

/// The outer address of a peer, or of several.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) users: u32,
    pub(super) thrown: bool,
}

impl RouteBook {
    /// Whether our sockets' packets must go around the table for this SA; an error if they must and cannot.
    pub(super) fn needs_detour(&self, needs: &Needs, dests: &[(IpAddr, u8)]) -> Result<bool, InstallError> {
        let device = self.device().is_some();
        if device && self.config.fwmark.is_some() {
            return Ok(false);
        }
        let bound = device || (self.makes_interfaces() && needs.options.if_id_out != 0);
        let clash = dests
            .iter()
            .filter(|_| bound)
            .find(|dest| is_host(**dest) && (needs.peer == Some(dest.0) || self.peers.contains_key(&dest.0)));
        let clash = clash.map(|(a, _)| *a).or_else(|| needs.peer.filter(|p| self.leads_in(&(*p, full(*p)))));
        let detour = clash.is_some() && device && self.config.socket_mark.is_some() && self.can_detour();
        let cure = if device { "set a fwmark for the sockets" } else { "do without adit.xfrm_interfaces" };
        match clash.filter(|_| !detour) {
            Some(address) => Err(InstallError::new(format!(
                "a route for {}'s traffic selector {address}/{} would also catch the IKE and ESP packets sent to \
                 {address}; {cure}, or choose other selectors",
                needs.name,
                full(address)
            ))),
            None => Ok(detour),
        }
    }

    /// Sees to it, before routes are made, that not one packet is routed in a circle.
    pub(super) fn lead_around(
        &mut self,
        dests: &[(IpAddr, u8)],
        peer: Option<IpAddr>,
        detour: bool,
    ) -> io::Result<()> {
        if detour {
            self.detour_own()?;
        }
        if let Some(peer) = peer {
            self.throw(peer)?;
        }
        for dest in dests {
            for peer in self.peers_inside(*dest) {
                self.throw(peer)?;
            }
        }
        Ok(())
    }

    fn peers_inside(&self, (address, prefix): (IpAddr, u8)) -> Vec<IpAddr> {
        self.peers.range(address..=last(address, prefix)).map(|(peer, _)| *peer).collect()
    }

    /// Brings the throw routes up to date for the peers inside a prefix that has no route any more.
    pub(super) fn throw_inside(&mut self, dest: (IpAddr, u8)) {
        for peer in self.peers_inside(dest) {
            let _ = self.throw(peer);
        }
    }

    /// Adds the throw route for a peer, if some prefix covers it.
    pub(super) fn throw(&mut self, peer: IpAddr) -> io::Result<()> {
        let device = self.device().is_some();
        if !device && !self.makes_interfaces() {
            return Ok(());
        }
        let covered = (0..full(peer)).any(|prefix| self.leads_in(&(masked(peer, prefix), prefix)));
        // What the kernel seals does not carry our sockets' mark.
        let exempt = device && self.config.fwmark.is_some();
        let Some(state) = self.peers.get_mut(&peer) else { return Ok(()) };
        let wanted = covered && !exempt && state.users > 0;
        if wanted == state.thrown {
            return Ok(());
        }
        if wanted && self.config.table == 0 {
            return Err(io::Error::other(format!(
                "a route through the tunnel's interface would also catch the packets to its peer {peer}; have routes in a \
                 table of their own (charon.routing_table)"
            )));
        }
        state.thrown = wanted;
        let route = self.throw_route(peer);
        let result = if wanted { self.netlink.add_route(&route) } else { self.netlink.del_route(&route) };
        if let (Err(_), Some(state)) = (&result, self.peers.get_mut(&peer)) {
            state.thrown = !wanted;
        }
        result
    }

    pub(super) const fn throw_route(&self, peer: IpAddr) -> Route {
        Route::throw((peer, full(peer)), self.config.table)
    }

    pub(super) fn release_peer(&mut self, peer: IpAddr) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.users = state.users.saturating_sub(1);
            if state.users == 0 {
                let _ = self.throw(peer);
                self.peers.remove(&peer);
            }
        }
    }

    /// Whether there is room for a rule in front of ours.
    pub(crate) const fn can_detour(&self) -> bool {
        self.config.table != 0 && self.config.table_prio > 1 && self.config.table_prio < u32::MAX
    }

    /// Lets what our sockets send go around the table.
    fn detour_own(&mut self) -> io::Result<()> {
        let traffic = Traffic { mark: self.config.socket_mark, ..Traffic::default() };
        self.add_detour(true, traffic)?;
        // A kernel without IPv6 has no IPv6 rules.
        let _ = self.add_detour(false, traffic);
        Ok(())
    }

    pub(super) fn release_own(&mut self) {
        let traffic = Traffic { mark: self.config.socket_mark, ..Traffic::default() };
        self.remove_detour(true, traffic);
        self.remove_detour(false, traffic);
    }

    /// The two rules of a detour: the way, and the place behind our rule that it leads to.
    fn detour(&self, v4: bool, traffic: Traffic) -> [Detour; 2] {
        let ours = self.config.table_prio;
        let (before, behind) = (ours.saturating_sub(1), ours.saturating_add(1));
        [
            Detour { v4, priority: behind, to: None },
            Detour { v4, priority: before, to: Some((traffic, behind)) },
        ]
    }

    /// Lets traffic go around the table, or counts one more user of that.
    pub(crate) fn add_detour(&mut self, v4: bool, traffic: Traffic) -> io::Result<()> {
        let rules = self.detour(v4, traffic);
        for (at, rule) in rules.iter().enumerate() {
            match self.detours.iter_mut().find(|(other, _)| other == rule) {
                Some((_, users)) => *users += 1,
                None => match self.netlink.add_detour(rule) {
                    Ok(_) => self.detours.push((*rule, 1)),
                    Err(error) => {
                        rules.iter().take(at).for_each(|rule| self.release_rule(rule));
                        return Err(error);
                    }
                },
            }
        }
        Ok(())
    }

    /// Takes back one use of a detour.
    pub(crate) fn remove_detour(&mut self, v4: bool, traffic: Traffic) {
        for rule in self.detour(v4, traffic).iter().rev() {
            self.release_rule(rule);
        }
    }

    fn release_rule(&mut self, rule: &Detour) {
        let Some(at) = self.detours.iter().position(|(other, _)| other == rule) else { return };
        let last = self.detours.get_mut(at).is_none_or(|(_, users)| {
            *users -= 1;
            *users == 0
        });
        if last {
            let _ = self.netlink.del_detour(rule);
            self.detours.remove(at);
        }
    }
}
