//! What a route of a tunnel looks like.
//!
//! Through a device: `DEST dev DEVICE [src OURS]`. On the path, as charon with kernel-netlink leaves it: the device that
//! the sealed packets leave by, via the next hop or the peer itself, and as source our address in the local selector, a
//! virtual IP first. A selector with localhost in it (0.0.0.0/0) names no source. No route is made where no address of
//! ours is in the local selector (the gateway only forwards then, and routes as it would anyway), for transport mode, for
//! single protocols or ports. A policy that passes is a `throw` route.
//!
//! Through an XFRM interface that we make, as through a device: also for single protocols and where no address of ours is
//! in the local selector, since what is not routed there does not meet the policies. Without `adit.xfrm_interfaces` its
//! routes are the operator's, unless `charon.plugins.kernel-netlink.install_routes_xfrmi` says that they are ours.
//!
//! Of several users of one prefix the newest that gives a route has it; when it goes, the one before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ipsec::{Mode, Selector};
use adit_linux::route::{Route, RouteKind, STATIC};

use super::here::Here;
use super::nets::{MAX_PREFIXES, full, has_loopback, prefixes};
use super::{Held, Needs, Owner, Place, RouteBook};
use crate::InstallError;

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

impl RouteBook {
    /// The prefixes that get a route.
    pub(super) fn destinations(&self, needs: &Needs) -> Result<Vec<(IpAddr, u8)>, InstallError> {
        let on_path = self.place == Place::Path;
        let bound = on_path && needs.options.if_id_out != 0;
        let all = !on_path || (bound && self.makes_interfaces());
        let routed: Vec<Selector> =
            needs.remote_ts.iter().filter(|s| all || covers_all(s)).copied().collect();
        let Some(mut dests) = prefixes(&routed) else {
            return Err(InstallError::new(format!(
                "the remote traffic selectors of {} need more than {MAX_PREFIXES} routes",
                needs.name
            )));
        };
        let never = on_path
            && (needs.mode == Mode::Transport
                || !needs.options.policies
                || (bound && !self.makes_interfaces() && !self.config.install_routes_xfrmi));
        if !self.routes_anything() || never {
            dests.clear();
        }
        // A family without a local selector has no traffic to route.
        dests.retain(|(a, _)| needs.local_ts.iter().any(|s| s.is_v4() == a.is_ipv4()));
        if self.table() == MAIN {
            // Not in the place of the default route that table main has: two halves go before it.
            dests = dests.into_iter().flat_map(halves).collect();
        }
        Ok(dests)
    }

    /// The route that one prefix should have now.
    pub(super) fn wanted(&mut self, dest: (IpAddr, u8), here: &mut Here) -> Option<Route> {
        let users = self.dests.get(&dest)?.users.clone();
        let mut route = match self.place {
            Place::Device(ifindex) => {
                let held = users.last().and_then(|owner| self.owners.get(owner))?;
                Route::through(dest, self.table(), ifindex, device_source(held, dest.0, here))
            }
            Place::Path => users.iter().rev().find_map(|owner| self.on_path(*owner, dest, here))?,
        };
        if route.kind == RouteKind::Unicast {
            (route.mtu, route.advmss) = (self.config.mtu, self.config.mss);
        }
        Some(route)
    }

    fn on_path(&mut self, owner: Owner, dest: (IpAddr, u8), here: &mut Here) -> Option<Route> {
        let table = self.table();
        let Held { needs, .. } = self.owners.get(&owner)?;
        if matches!(owner, Owner::Shunt(_)) {
            let passes = needs.local_ts.iter().any(|s| s.is_v4() == dest.0.is_ipv4() && covers_all(s));
            return passes.then(|| Route { protocol: STATIC, ..Route::throw(dest, table) });
        }
        let source = path_source(needs, self.vips.keys(), dest.0, here);
        let (peer, local, if_id) = (needs.peer, needs.local, needs.options.if_id_out);
        if if_id != 0 {
            let source = if self.makes_interfaces() { source.flatten() } else { source? };
            return Some(Route::through(dest, table, self.interface(if_id)?, source));
        }
        let source = source?;
        let way = peer.and_then(|peer| here.way(&mut self.netlink, peer, &self.config));
        let ifindex = way.and_then(|way| way.ifindex).or_else(|| here.interface_of(local?))?;
        let mut route = Route::through(dest, table, ifindex, source);
        // On the link, the peer is the next hop.
        route.gateway =
            way.and_then(|way| way.gateway.or(peer)).filter(|next| next.is_ipv4() == dest.0.is_ipv4());
        Some(route)
    }

    /// The table that routes go to.
    fn table(&self) -> u32 {
        if self.config.table == 0 { MAIN } else { self.config.table }
    }

    /// Whether our table catches anything that could need a detour.
    pub(crate) fn routes_anything(&self) -> bool {
        self.config.install_routes && (self.config.table != 0 || self.place == Place::Path)
    }

    /// As [`Dataplane::hidden_table`](crate::Dataplane::hidden_table).
    pub(crate) fn hidden_table(&self) -> Option<u32> {
        Some(self.config.table).filter(|table| *table != 0 && self.place == Place::Path)
    }

    /// The device that tunnels go through.
    pub(crate) const fn device(&self) -> Option<u32> {
        match self.place {
            Place::Device(ifindex) => Some(ifindex),
            Place::Path => None,
        }
    }
}

/// Whether a selector is for all protocols and ports: others would route more than they are for.
const fn covers_all(selector: &Selector) -> bool {
    selector.protocol() == 0 && selector.start_port() == 0 && selector.end_port() == u16::MAX
}

/// A virtual IP before any other address of ours that may use the tunnel. Where all may, the kernel chooses.
fn device_source(held: &Held, dest: IpAddr, here: &Here) -> Option<IpAddr> {
    let within = |a: IpAddr, wide: bool| {
        a.is_ipv4() == dest.is_ipv4()
            && held.needs.local_ts.iter().any(|s| s.contains_addr(a) && (wide || !has_loopback(s)))
    };
    let leased = held.needs.virtual_ips.iter().copied().find(|a| within(*a, true) && here.has(*a));
    leased.or_else(|| here.addresses().find(|a| within(*a, false)))
}

/// The source that the last local selector gives that gives any; `Some(None)` = the kernel chooses.
fn path_source<'a>(
    needs: &'a Needs,
    vips: impl Iterator<Item = &'a IpAddr> + Clone,
    dest: IpAddr,
    here: &Here,
) -> Option<Option<IpAddr>> {
    let family = needs.local_ts.iter().rev().filter(|s| s.is_v4() == dest.is_ipv4() && covers_all(s));
    family.into_iter().find_map(|selector| {
        if has_loopback(selector) {
            return Some(None);
        }
        let leased = needs.virtual_ips.iter().chain(vips.clone()).copied().filter(|a| here.has(*a));
        leased.chain(here.addresses()).find(|a| selector.contains_addr(*a)).map(Some)
    })
}

/// The halves of everything; other prefixes as they are.
fn halves((address, prefix): (IpAddr, u8)) -> Vec<(IpAddr, u8)> {
    match address {
        _ if prefix > 0 => vec![(address, prefix)],
        IpAddr::V4(_) => vec![(address, 1), (Ipv4Addr::new(128, 0, 0, 0).into(), 1)],
        IpAddr::V6(_) => vec![(address, 1), (Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0).into(), 1)],
    }
}

/// Whether a prefix is one address.
pub(super) fn is_host((address, prefix): (IpAddr, u8)) -> bool {
    prefix == full(address)
}
