//! Addresses, routes and rules of the tunnels, counted by user.
//!
//! Table 220 (configurable) gets one route per remote prefix, `proto static dev <tun> [src …]`, as charon leaves
//! them: routing daemons read it. It stays as long as any SA or trap uses it, so a rekey does not touch it.
//!
//! Where a prefix also covers the peer's own outer address (a full tunnel), the encrypted packets would be routed
//! into the tunnel again. A `throw` route for that address sends their lookup on to table main; it is marked with
//! a routing protocol number of our own. Where a tunnel is for the peer's address itself (transport mode, host to host),
//! the packets for it must go both ways: into the tunnel, and sealed to the peer. Then a rule in front of ours lets what
//! our sockets send, known by its firewall mark, go around the table. With a firewall mark configured the rule itself exempts our sockets and
//! no `throw` routes are made. As with strongSwan, a full tunnel also takes local subnets that only table main
//! knows, since rule 220 is asked first; exempt them with a passthrough route in table 220 if that is not wanted.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ipsec::Selector;
use adit_linux::route::{Detour, Fwmark, Netlink, Route, Rule, Traffic};

use super::UserspaceConfig;
use super::policy::{MAX_PREFIXES, prefixes};
use crate::InstallError;

/// Who uses a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Child(u32),
    Trap(u32),
}

/// What an SA or trap needs of the routing tables.
#[derive(Debug)]
pub(super) struct Needs {
    pub(super) name: String,
    pub(super) local_ts: Vec<Selector>,
    pub(super) remote_ts: Vec<Selector>,
    pub(super) virtual_ips: Vec<IpAddr>,
    pub(super) peer: Option<IpAddr>,
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
    /// The source the installed route has; `None` while it is not installed.
    installed: Option<Option<IpAddr>>,
}

#[derive(Debug, Default)]
struct Peer {
    users: u32,
    thrown: bool,
}

/// Everything of ours in the routing tables.
#[derive(Debug)]
pub(super) struct RouteBook {
    pub(super) netlink: Netlink,
    table: u32,
    priority: u32,
    fwmark: Option<Fwmark>,
    enabled: bool,
    ifindex: u32,
    owners: BTreeMap<Owner, Held>,
    dests: BTreeMap<(IpAddr, u8), Dest>,
    peers: BTreeMap<IpAddr, Peer>,
    vips: BTreeMap<IpAddr, u32>,
    rules: Vec<Rule>,
    /// Mark of our own sockets.
    mark: Option<u32>,
    /// Detours that are installed, with their users.
    detours: Vec<(Detour, u32)>,
}

impl RouteBook {
    /// An empty book for the device `ifindex`, which must be ours already: a second daemon must not get here and
    /// tidy away what the first one uses.
    ///
    /// Removes what a killed predecessor left: the rule in any number of copies, `throw` routes that carry our
    /// mark, routes through and addresses of a device that had been persistent. Then adds the rules.
    pub(super) fn start(config: &UserspaceConfig, ifindex: u32) -> io::Result<Self> {
        let table = config.table;
        let mut book = Self {
            netlink: Netlink::new()?,
            table,
            priority: config.table_prio,
            fwmark: config.fwmark,
            enabled: config.install_routes,
            ifindex,
            owners: BTreeMap::new(),
            dests: BTreeMap::new(),
            peers: BTreeMap::new(),
            vips: BTreeMap::new(),
            rules: Vec::new(),
            mark: config.socket_mark,
            detours: Vec::new(),
        };
        for address in book.netlink.addresses()? {
            if address.ifindex == ifindex {
                book.netlink.del_address(ifindex, address.address, address.prefix)?;
            }
        }
        if table != 0 {
            book.netlink.flush_table(table, Some(ifindex))?;
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
        Rule { priority: self.priority, table: self.table, v4, fwmark: self.fwmark }
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

    /// Adds what an SA or trap needs; on an error, nothing of it stays.
    pub(super) fn add(&mut self, owner: Owner, needs: Needs) -> Result<(), InstallError> {
        let Some(mut dests) = prefixes(&needs.remote_ts) else {
            return Err(InstallError::new(format!(
                "the remote traffic selectors of {} need more than {MAX_PREFIXES} routes",
                needs.name
            )));
        };
        if !self.enabled || self.table == 0 {
            dests.clear();
        }
        // A family without a local selector has no traffic to route.
        dests.retain(|(a, _)| needs.local_ts.iter().any(|s| s.is_v4() == a.is_ipv4()));
        let mut detour = false;
        if self.fwmark.is_none() {
            let clash = dests
                .iter()
                .find(|(a, p)| *p == full(*a) && (needs.peer == Some(*a) || self.peers.contains_key(a)));
            let clash = clash
                .map(|(a, _)| *a)
                .or_else(|| needs.peer.filter(|p| self.dests.contains_key(&(*p, full(*p)))));
            detour = clash.is_some() && self.mark.is_some() && self.can_detour();
            if let Some(address) = clash.filter(|_| !detour) {
                return Err(InstallError::new(format!(
                    "a route for {}'s traffic selector {address}/{} would also catch the IKE and ESP packets sent to \
                     {address}; set a fwmark for the sockets, or choose other selectors",
                    needs.name,
                    full(address)
                )));
            }
        }
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
        if detour {
            self.detour_own()?;
        }
        // Throw routes first: not one packet may be routed in a circle.
        if let Some(peer) = peer {
            self.throw(peer)?;
        }
        for (address, prefix) in dests {
            let inside: Vec<IpAddr> =
                self.peers.range(*address..=last(*address, *prefix)).map(|(peer, _)| *peer).collect();
            for peer in inside {
                self.throw(peer)?;
            }
        }
        if !dests.is_empty() {
            let hosts = self.host_addresses()?;
            for dest in dests {
                self.route(*dest, &hosts)?;
            }
        }
        Ok(())
    }

    /// Brings the route for one prefix up to date with its users.
    fn route(&mut self, dest: (IpAddr, u8), hosts: &[IpAddr]) -> io::Result<()> {
        let Some(state) = self.dests.get_mut(&dest) else { return Ok(()) };
        let source = state.users.last().and_then(|owner| self.owners.get(owner)).and_then(|held| {
            let within = |a: &&IpAddr, wide: bool| {
                a.is_ipv4() == dest.0.is_ipv4()
                    && held.needs.local_ts.iter().any(|s| s.contains_addr(**a) && (wide || !has_loopback(s)))
            };
            // A virtual IP before any other address of ours that may use the tunnel. Where all may, the kernel chooses.
            let wanted = held.needs.virtual_ips.iter().find(|a| within(a, true) && hosts.contains(a));
            wanted.or_else(|| hosts.iter().find(|a| within(a, false))).copied()
        });
        if state.users.is_empty() || state.installed == Some(source) {
            return Ok(());
        }
        self.netlink.add_route(&Route::through(dest, self.table, self.ifindex, source))?;
        state.installed = Some(source);
        Ok(())
    }

    /// Adds the throw route for a peer, if some prefix covers it.
    fn throw(&mut self, peer: IpAddr) -> io::Result<()> {
        let Some(state) = self.peers.get_mut(&peer) else { return Ok(()) };
        let covered = (0..full(peer)).any(|prefix| self.dests.contains_key(&(masked(peer, prefix), prefix)));
        let wanted = covered && self.fwmark.is_none() && state.users > 0;
        if wanted == state.thrown {
            return Ok(());
        }
        let route = Route::throw((peer, full(peer)), self.table);
        if wanted {
            self.netlink.add_route(&route)?;
        } else {
            self.netlink.del_route(&route)?;
        }
        state.thrown = wanted;
        Ok(())
    }

    /// Takes back what an SA or trap needed and nobody else does.
    pub(super) fn remove(&mut self, owner: Owner) {
        let Some(held) = self.owners.remove(&owner) else { return };
        // Asked for only where somebody stays: an SA that was alone with its routes is the common case.
        let mut hosts = None;
        for dest in held.dests {
            let Some(state) = self.dests.get_mut(&dest) else { continue };
            state.users.retain(|user| *user != owner);
            if state.users.is_empty() {
                if state.installed.is_some() {
                    // If it cannot be removed, it goes with the device at the latest.
                    let _ = self.netlink.del_route(&Route::through(dest, self.table, self.ifindex, None));
                }
                self.dests.remove(&dest);
                let inside: Vec<IpAddr> =
                    self.peers.range(dest.0..=last(dest.0, dest.1)).map(|(p, _)| *p).collect();
                for peer in inside {
                    let _ = self.throw(peer);
                }
            } else {
                // The next user may prefer another source address.
                if hosts.is_none() {
                    hosts = self.host_addresses().ok();
                }
                if let Some(hosts) = &hosts {
                    let _ = self.route(dest, hosts);
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

    /// Whether there is room for a rule in front of ours.
    pub(super) const fn can_detour(&self) -> bool {
        self.table != 0 && self.priority > 1 && self.priority < u32::MAX
    }

    /// Whether our table catches anything that could need a detour.
    pub(super) const fn routes_anything(&self) -> bool {
        self.table != 0 && self.enabled
    }

    /// Lets what our sockets send go around the table.
    fn detour_own(&mut self) -> io::Result<()> {
        let traffic = Traffic { mark: self.mark, ..Traffic::default() };
        self.add_detour(true, traffic)?;
        // A kernel without IPv6 has no IPv6 rules.
        let _ = self.add_detour(false, traffic);
        Ok(())
    }

    fn release_own(&mut self) {
        let traffic = Traffic { mark: self.mark, ..Traffic::default() };
        self.remove_detour(true, traffic);
        self.remove_detour(false, traffic);
    }

    /// The two rules of a detour: the way, and the place behind our rule that it leads to.
    fn detour(&self, v4: bool, traffic: Traffic) -> [Detour; 2] {
        let (before, behind) = (self.priority.saturating_sub(1), self.priority.saturating_add(1));
        [
            Detour { v4, priority: behind, to: None },
            Detour { v4, priority: before, to: Some((traffic, behind)) },
        ]
    }

    /// Lets traffic go around the table, or counts one more user of that.
    pub(super) fn add_detour(&mut self, v4: bool, traffic: Traffic) -> io::Result<()> {
        let rules = self.detour(v4, traffic);
        for (at, rule) in rules.iter().enumerate() {
            match self.detours.iter_mut().find(|(other, _)| other == rule) {
                Some((_, users)) => *users += 1,
                None => match self.netlink.add_detour(rule) {
                    Ok(()) => self.detours.push((*rule, 1)),
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
    pub(super) fn remove_detour(&mut self, v4: bool, traffic: Traffic) {
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

    fn release_peer(&mut self, peer: IpAddr) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.users = state.users.saturating_sub(1);
            if state.users == 0 {
                let _ = self.throw(peer);
                self.peers.remove(&peer);
            }
        }
    }

    /// Notes that the peer of an SA has another outer address now.
    pub(super) fn move_peer(&mut self, owner: Owner, to: IpAddr) -> io::Result<()> {
        let Some(held) = self.owners.get_mut(&owner) else { return Ok(()) };
        if held.needs.peer == Some(to) {
            return Ok(());
        }
        let from = held.needs.peer.replace(to);
        self.peers.entry(to).or_default().users += 1;
        let result = self.throw(to);
        if let Some(from) = from {
            self.release_peer(from);
        }
        result
    }

    /// Adds a virtual IP to the device, or counts one more user of it.
    pub(super) fn add_vip(&mut self, address: IpAddr) -> io::Result<()> {
        if let Some(users) = self.vips.get_mut(&address) {
            *users += 1;
            return Ok(());
        }
        self.netlink.add_address(self.ifindex, address, full(address))?;
        self.vips.insert(address, 1);
        self.refresh();
        Ok(())
    }

    /// Takes back one use of a virtual IP.
    pub(super) fn remove_vip(&mut self, address: IpAddr) {
        let Some(users) = self.vips.get_mut(&address) else { return };
        *users -= 1;
        if *users > 0 {
            return;
        }
        self.vips.remove(&address);
        let _ = self.netlink.del_address(self.ifindex, address, full(address));
        self.refresh();
    }

    /// Brings all routes up to date after the host's addresses have changed.
    pub(super) fn refresh(&mut self) {
        let Ok(hosts) = self.host_addresses() else { return };
        // The kernel has removed the IPv4 routes whose source is gone.
        for state in self.dests.values_mut() {
            if state.installed.flatten().is_some_and(|source| !hosts.contains(&source)) {
                state.installed = None;
            }
        }
        let dests: Vec<_> = self.dests.keys().copied().collect();
        for dest in dests {
            let _ = self.route(dest, &hosts);
        }
    }

    /// Addresses a route may have as source.
    fn host_addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        let mut found: Vec<IpAddr> = self.netlink.addresses()?.into_iter().map(|a| a.address).collect();
        found.retain(|a| match a {
            IpAddr::V4(a) => !a.is_loopback() && !a.is_link_local(),
            IpAddr::V6(a) => !a.is_loopback() && !a.is_unicast_link_local(),
        });
        Ok(found)
    }

    /// Removes everything that is in the tables.
    pub(super) fn clear(&mut self) {
        let owners: Vec<Owner> = self.owners.keys().copied().collect();
        for owner in owners {
            self.remove(owner);
        }
        for (address, _) in std::mem::take(&mut self.vips) {
            let _ = self.netlink.del_address(self.ifindex, address, full(address));
        }
        for (rule, _) in std::mem::take(&mut self.detours).iter().rev() {
            let _ = self.netlink.del_detour(rule);
        }
        for rule in std::mem::take(&mut self.rules) {
            let _ = self.netlink.del_rule(&rule);
        }
    }
}

/// Full prefix length of an address's family.
const fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether a selector is so wide that it has localhost in it, and says nothing about who we are.
fn has_loopback(selector: &Selector) -> bool {
    selector.contains_addr(Ipv4Addr::LOCALHOST.into()) || selector.contains_addr(Ipv6Addr::LOCALHOST.into())
}

/// The network of `address` with this prefix length.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V4((u32::from(a) & mask).into())
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix.into())).unwrap_or(0);
            IpAddr::V6((u128::from(a) & mask).into())
        }
    }
}

/// The last address of a network.
fn last(network: IpAddr, prefix: u8) -> IpAddr {
    match network {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0)).into()),
        IpAddr::V6(a) => {
            IpAddr::V6((u128::from(a) | u128::MAX.checked_shr(prefix.into()).unwrap_or(0)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_begin_and_end_where_they_should() {
        let a: IpAddr = "10.2.3.4".parse().unwrap();
        assert_eq!(masked(a, 8).to_string(), "10.0.0.0");
        assert_eq!(masked(a, 0).to_string(), "0.0.0.0");
        assert_eq!(last(masked(a, 0), 0).to_string(), "255.255.255.255");
        assert_eq!(last(a, 32), a);
        let a: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(masked(a, 32).to_string(), "2001:db8::");
        assert_eq!(masked(a, 0).to_string(), "::");
        assert_eq!(last(a, 128), a);
    }
}
