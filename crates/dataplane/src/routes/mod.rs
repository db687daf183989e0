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
mod nets;
mod place;
#[cfg(test)]
mod tests;
mod vips;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use adit_ipsec::{ChildSa, EntryOptions, Mode, Selector, Shunt, ShuntPolicy, TrapPolicy};
use adit_linux::route::{Detour, Fwmark, Netlink, Route, Rule};

pub(crate) use self::nets::prefixes;

use self::around::Peer;
use self::here::Here;
use self::vips::Vip;
use crate::InstallError;

/// Routes, rules and virtual IPs, as strongswan.conf has them.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// The routing table (`charon.routing_table`). 0 is table main, which needs no rule, for the kernel's tunnels, and no
    /// routes at all for a device's.
    pub table: u32,
    /// Priority of the rule that asks it (`charon.routing_table_prio`).
    pub table_prio: u32,
    /// Whether to install routes (`charon.install_routes`). The rule is there regardless.
    pub install_routes: bool,
    /// Whether to install virtual IPs (`charon.install_virtual_ip`).
    pub install_virtual_ip: bool,
    /// Restricts the rule (`charon.plugins.kernel-netlink.fwmark`, there written `!0x42`).
    pub fwmark: Option<Fwmark>,
    /// Mark of our own sockets (`charon.plugins.socket-default.fwmark`); ways to peers are looked up with it.
    pub socket_mark: Option<u32>,
    /// Tables whose routes are no ways to peers (`charon.ignore_routing_tables`).
    pub ignore_tables: Vec<u32>,
    /// The interface for virtual IPs (`charon.install_virtual_ip_on`), if not the one with our outer address.
    pub install_virtual_ip_on: Option<String>,
    /// Whether tunnels through an XFRM interface get routes (`charon.plugins.kernel-netlink.install_routes_xfrmi`).
    pub install_routes_xfrmi: bool,
    /// MTU of the routes (`charon.plugins.kernel-netlink.mtu`).
    pub mtu: Option<u32>,
    /// MSS of the routes (`charon.plugins.kernel-netlink.mss`).
    pub mss: Option<u32>,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            table: 220,
            table_prio: 220,
            install_routes: true,
            install_virtual_ip: true,
            fwmark: None,
            socket_mark: None,
            ignore_tables: Vec::new(),
            install_virtual_ip_on: None,
            install_routes_xfrmi: false,
            mtu: None,
            mss: None,
        }
    }
}

/// Where tunnels' packets are routed to, and their virtual IPs live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Through a device of ours, which all tunnels share.
    Device(u32),
    /// On the way of the sealed packets: the kernel seals what leaves there and meets a policy.
    #[allow(dead_code)] // until the kernel's data plane is built
    Path,
}

/// Who uses a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A CHILD_SA.
    Child(u32),
    /// A trap.
    Trap(u32),
    /// A policy that lets traffic pass in the clear; on the path only.
    #[allow(dead_code)] // until the kernel's data plane is built
    Shunt(u32),
}

/// What an SA or policy needs of the routing tables.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) name: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) options: Arc<EntryOptions>,
    pub(crate) local_ts: Vec<Selector>,
    pub(crate) remote_ts: Vec<Selector>,
    /// What the peer has leased to us.
    pub(crate) virtual_ips: Vec<IpAddr>,
    /// Our outer address, where it is known.
    pub(crate) local: Option<IpAddr>,
    /// The peer's outer address, where it is known.
    pub(crate) peer: Option<IpAddr>,
}

impl From<&ChildSa> for Needs {
    fn from(sa: &ChildSa) -> Self {
        Self {
            name: sa.name.clone(),
            mode: sa.mode,
            options: sa.options.clone(),
            local_ts: sa.local_ts.clone(),
            remote_ts: sa.remote_ts.clone(),
            virtual_ips: sa.virtual_ips.clone(),
            local: Some(sa.local.ip()),
            peer: Some(sa.remote.ip()),
        }
    }
}

impl From<&TrapPolicy> for Needs {
    fn from(trap: &TrapPolicy) -> Self {
        Self {
            name: trap.name.clone(),
            mode: trap.mode,
            options: trap.options.clone(),
            local_ts: trap.local_ts.clone(),
            remote_ts: trap.remote_ts.clone(),
            virtual_ips: Vec::new(),
            local: trap.local,
            peer: trap.remote,
        }
    }
}

impl From<&ShuntPolicy> for Needs {
    fn from(shunt: &ShuntPolicy) -> Self {
        Self {
            name: shunt.name.clone(),
            mode: Mode::Tunnel,
            options: shunt.options.clone(),
            local_ts: shunt.local_ts.clone(),
            remote_ts: if shunt.kind == Shunt::Pass { shunt.remote_ts.clone() } else { Vec::new() },
            virtual_ips: Vec::new(),
            local: None,
            peer: None,
        }
    }
}

#[derive(Debug)]
struct Held {
    needs: Needs,
    dests: Vec<(IpAddr, u8)>,
    /// It needs our sockets' packets to go around the table.
    detour: bool,
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
}

impl RouteBook {
    /// An empty book. A device must be ours already: a second daemon must not get here and tidy away what the first one
    /// uses.
    ///
    /// Removes what a killed predecessor left: the rule in any number of copies, `throw` routes that carry our
    /// mark, routes through and addresses of a device that had been persistent. Then adds the rules.
    pub(crate) fn start(config: RouteConfig, place: Place) -> io::Result<Self> {
        let mut book = Self {
            netlink: Netlink::new()?.marked(config.socket_mark),
            config,
            place,
            owners: BTreeMap::new(),
            dests: BTreeMap::new(),
            peers: BTreeMap::new(),
            vips: BTreeMap::new(),
            rules: Vec::new(),
            detours: Vec::new(),
        };
        if let Place::Device(ifindex) = place {
            for address in book.netlink.addresses()? {
                if address.ifindex == ifindex {
                    book.netlink.del_address(ifindex, address.address, address.prefix)?;
                }
            }
        }
        if book.config.table != 0 {
            let device = book.device();
            book.netlink.flush_table(book.config.table, device)?;
            book.netlink.flush_detours()?;
            for rule in book.netlink.rules()? {
                if rule == book.rule(rule.v4) {
                    book.netlink.del_rule(&rule)?;
                }
            }
            if let Err(error) = book.add_rules() {
                book.clear();
                return Err(error);
            }
        }
        Ok(book)
    }

    fn rule(&self, v4: bool) -> Rule {
        let config = &self.config;
        Rule { priority: config.table_prio, table: config.table, v4, fwmark: config.fwmark }
    }

    fn add_rules(&mut self) -> io::Result<()> {
        for v4 in [true, false] {
            let rule = self.rule(v4);
            match self.netlink.add_rule(&rule) {
                Ok(_) => self.rules.push(rule),
                // A kernel without IPv6 has no IPv6 rules; tunnels for IPv4 work all the same.
                Err(_) if !v4 => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Adds what an SA or policy needs; on an error, nothing of it stays.
    pub(crate) fn add(&mut self, owner: Owner, needs: Needs) -> Result<(), InstallError> {
        let dests = self.destinations(&needs)?;
        let detour = self.needs_detour(&needs, &dests)?;
        let peer = needs.peer;
        self.owners.insert(owner, Held { needs, dests: dests.clone(), detour });
        for dest in &dests {
            self.dests.entry(*dest).or_default().users.push(owner);
        }
        if let Some(peer) = peer {
            self.peers.entry(peer).or_default().users += 1;
        }
        let result = self.apply(&dests, peer, detour);
        if result.is_err() {
            self.remove(owner);
        }
        result.map_err(InstallError::from)
    }

    fn apply(&mut self, dests: &[(IpAddr, u8)], peer: Option<IpAddr>, detour: bool) -> io::Result<()> {
        self.lead_around(dests, peer, detour)?;
        if !dests.is_empty() {
            let mut here = Here::look(&mut self.netlink)?;
            for dest in dests {
                self.route(*dest, &mut here)?;
            }
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
        match (state.installed, wanted) {
            (None, Some(wanted)) => self.netlink.add_route(&wanted)?,
            (Some(_), Some(wanted)) => self.netlink.replace_route(&wanted)?,
            // If it cannot be removed, it goes with its interface at the latest.
            (Some(old), None) => drop(self.netlink.del_route(&old)),
            (None, None) => {}
        }
        state.installed = wanted;
        Ok(())
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
                }
                self.dests.remove(&dest);
                self.throw_inside(dest);
            } else {
                // The next user may prefer another source address.
                if here.is_none() {
                    here = Here::look(&mut self.netlink).ok();
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
            let mut here = Here::look(&mut self.netlink)?;
            for dest in dests {
                result = result.and(self.route(dest, &mut here));
            }
        }
        result
    }

    /// Brings all routes up to date after the host's addresses or routes have changed.
    pub(crate) fn refresh(&mut self) {
        let Ok(mut here) = Here::look(&mut self.netlink) else { return };
        let dests: Vec<_> = self.dests.keys().copied().collect();
        for dest in dests {
            let _ = self.route(dest, &mut here);
        }
    }

    /// Removes everything that is in the tables.
    pub(crate) fn clear(&mut self) {
        let owners: Vec<Owner> = self.owners.keys().copied().collect();
        for owner in owners {
            self.remove(owner);
        }
        self.clear_vips();
        for (rule, _) in std::mem::take(&mut self.detours).iter().rev() {
            let _ = self.netlink.del_detour(rule);
        }
        for rule in std::mem::take(&mut self.rules) {
            let _ = self.netlink.del_rule(&rule);
        }
    }
}
