//! What a route of a tunnel looks like.
//!
//! Through a device: `DEST dev DEVICE [src OURS]`. On the path, as charon with kernel-netlink leaves it: device and next
//! hop of the way to the peer, and as source our address in the local selector, a virtual IP first. A selector with
//! localhost in it (0.0.0.0/0) names no source. No route is made where no address of ours is in the local selector (the
//! gateway only forwards then, and routes as it would anyway), for transport mode, for single protocols or ports, and
//! for an XFRM interface, whose routes are the operator's.

use std::net::IpAddr;

use adit_ipsec::{Mode, Selector};
use adit_linux::route::Route;

use super::here::Here;
use super::nets::{MAX_PREFIXES, full, has_loopback, prefixes};
use super::{Held, Needs, Place, RouteBook};
use crate::InstallError;

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

impl RouteBook {
    /// The prefixes that get a route.
    pub(super) fn destinations(&self, needs: &Needs) -> Result<Vec<(IpAddr, u8)>, InstallError> {
        let on_path = self.place == Place::Path;
        let routed: Vec<Selector> =
            needs.remote_ts.iter().filter(|s| !on_path || covers_all(s)).copied().collect();
        let Some(mut dests) = prefixes(&routed) else {
            return Err(InstallError::new(format!(
                "the remote traffic selectors of {} need more than {MAX_PREFIXES} routes",
                needs.name
            )));
        };
        let never = on_path
            && (needs.mode == Mode::Transport || !needs.options.policies || needs.options.if_id_out != 0);
        if !self.routes_anything() || never {
            dests.clear();
        }
        // A family without a local selector has no traffic to route.
        dests.retain(|(a, _)| needs.local_ts.iter().any(|s| s.is_v4() == a.is_ipv4()));
        Ok(dests)
    }

    /// The route that one prefix should have now. Through a device the newest user's, who may have a virtual IP; on the
    /// path the oldest's that gives one, as charon keeps them.
    pub(super) fn wanted(&mut self, dest: (IpAddr, u8), here: &mut Here) -> Option<Route> {
        let users = self.dests.get(&dest)?.users.clone();
        match self.place {
            Place::Device(ifindex) => {
                let held = users.last().and_then(|owner| self.owners.get(owner))?;
                Some(Route::through(dest, self.table(), ifindex, device_source(held, dest.0, here)))
            }
            Place::Path => {
                let vips: Vec<IpAddr> = self.vips.keys().copied().collect();
                users.iter().find_map(|owner| {
                    let held = self.owners.get(owner)?;
                    let source = path_source(held, &vips, dest.0, here)?;
                    let (peer, local) = (held.needs.peer, held.needs.local);
                    let way = peer.and_then(|peer| here.way(&mut self.netlink, peer, self.config.table));
                    let ifindex = way.and_then(|way| way.ifindex).or_else(|| here.interface_of(local?))?;
                    let mut route = Route::through(dest, self.table(), ifindex, source);
                    route.gateway =
                        way.and_then(|way| way.gateway).filter(|g| g.is_ipv4() == dest.0.is_ipv4());
                    Some(route)
                })
            }
        }
    }

    /// The table that routes go to.
    fn table(&self) -> u32 {
        if self.config.table == 0 { MAIN } else { self.config.table }
    }

    /// Whether our table catches anything that could need a detour.
    pub(crate) fn routes_anything(&self) -> bool {
        self.config.install_routes && (self.config.table != 0 || self.place == Place::Path)
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

/// The source that the first local selector gives that gives any; `Some(None)` = the kernel chooses.
fn path_source(held: &Held, vips: &[IpAddr], dest: IpAddr, here: &Here) -> Option<Option<IpAddr>> {
    let mut family = held.needs.local_ts.iter().filter(|s| s.is_v4() == dest.is_ipv4() && covers_all(s));
    family.find_map(|selector| {
        if has_loopback(selector) {
            return Some(None);
        }
        let leased = held.needs.virtual_ips.iter().chain(vips).copied().filter(|a| here.has(*a));
        leased.chain(here.addresses()).find(|a| selector.contains_addr(*a)).map(Some)
    })
}

/// Whether a prefix is one address.
pub(super) fn is_host((address, prefix): (IpAddr, u8)) -> bool {
    prefix == full(address)
}
