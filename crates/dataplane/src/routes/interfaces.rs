//! XFRM interfaces: one for each number that an SA or policy is bound to, made with the first, removed with the last.
//!
//! What is routed into one meets the policies of its number only, so two tunnels may be for the same networks; firewalls,
//! counters and routing daemons see a link like any other. The sealed packets leave by the way to the peer: where a
//! tunnel's route covers that, `throw` routes keep them out of the interface, as they do for a device. Virtual IPs stay
//! where they are without interfaces: they belong to the IKE_SA, which is there before the first interface and after the
//! last, and the routes name them as source.
//!
//! An interface that somebody else has made for a number is used, and neither changed nor removed. One that has the name
//! of ours is in the way, and named. Ours say so by their alias: the next start removes those that a killed predecessor
//! has left.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use adit_ipsec::{EntryOptions, XfrmInterfaces};
use adit_linux::route::{Route, XfrmLink};

use super::here::Here;
use super::journal::Thing;
use super::names::{Numbers, SHARED};
use super::{Held, Owner, Place, RouteBook};

/// What ESP takes of a packet, in round figures: 1400 octets are left of an Ethernet's, as of the userspace device's. The
/// kernel tells senders exactly (RFC 1191, RFC 8201); this spares them the question.
const OVERHEAD: u32 = 100;
/// The MTU while no path is known.
const USUAL: u32 = 1400;
/// IPv6 does not run on smaller links (RFC 8200 §5).
const LEAST: u32 = 1280;

/// An interface that is in use.
#[derive(Debug)]
pub(super) struct Interface {
    name: String,
    /// 0 while it cannot be had.
    pub(super) ifindex: u32,
    /// We made it.
    ours: bool,
    users: u32,
    /// What it was set to, once a path was known.
    mtu: Option<u32>,
}

impl RouteBook {
    /// The number of a connection's interface; 0 = it has none.
    pub(crate) fn if_id(&mut self, connection: &str) -> u32 {
        match self.config.xfrm_interfaces {
            XfrmInterfaces::No => 0,
            XfrmInterfaces::Connection => self.numbers.of(connection),
            XfrmInterfaces::Shared => SHARED,
        }
    }

    /// Removes what a killed predecessor left, and learns which numbers are others'.
    pub(super) fn sweep_interfaces(&mut self) -> io::Result<()> {
        let (ours, others): (Vec<_>, Vec<_>) =
            self.netlink.xfrm_links()?.into_iter().partition(|link| link.ours);
        for link in &ours {
            self.netlink.del_link(link.ifindex)?;
        }
        if !ours.is_empty() {
            let names: Vec<&str> = ours.iter().map(|link| link.name.as_str()).collect();
            self.note(format!(
                "removed XFRM interfaces that an aditd before this one has left: {}",
                names.join(", ")
            ));
        }
        self.numbers = Numbers::without(others.iter().map(|link| link.if_id));
        Ok(())
    }

    /// Has the interfaces that these options ask for be there; which they are.
    pub(super) fn hold_interfaces(&mut self, options: &EntryOptions) -> io::Result<Vec<u32>> {
        let mut held = Vec::new();
        if self.place != Place::Path || !self.makes_interfaces() {
            return Ok(held);
        }
        for number in [options.if_id_out, options.if_id_in] {
            if number == 0 || held.contains(&number) {
                continue;
            }
            if let Err(error) = self.hold(number) {
                self.release_interfaces(&held);
                return Err(error);
            }
            held.push(number);
        }
        Ok(held)
    }

    fn hold(&mut self, number: u32) -> io::Result<()> {
        if let Some(interface) = self.interfaces.get_mut(&number) {
            interface.users += 1;
            return Ok(());
        }
        let name = self.numbers.name(number, |name| self.interfaces.values().any(|it| it.name == name));
        let link = self.make(&name, number)?;
        if !link.ours {
            self.note(format!(
                "XFRM interface {} with if_id {number} is somebody else's: it is used, and left as it is",
                link.name
            ));
        }
        let XfrmLink { name, ifindex, ours, .. } = link;
        self.interfaces.insert(number, Interface { name, ifindex, ours, users: 1, mtu: None });
        Ok(())
    }

    /// Makes an interface, unless there is one of that number.
    fn make(&mut self, name: &str, number: u32) -> io::Result<XfrmLink> {
        let link = match self.netlink.add_xfrm_link(name, number, None) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = self.netlink.xfrm_links()?.into_iter().find(|link| link.if_id == number);
                return there.ok_or(error);
            }
            Err(error) => return Err(error),
        };
        if link.ours {
            let mtu = self.config.interface_mtu.unwrap_or(USUAL);
            let ready =
                self.netlink.set_mtu(link.ifindex, mtu).and_then(|()| self.netlink.link_up(link.ifindex));
            if let Err(error) = ready {
                let _ = self.netlink.del_link(link.ifindex);
                return Err(error);
            }
        }
        Ok(link)
    }

    /// Takes back one use of each.
    pub(super) fn release_interfaces(&mut self, numbers: &[u32]) {
        for number in numbers {
            let Some(interface) = self.interfaces.get_mut(number) else { continue };
            interface.users -= 1;
            if interface.users > 0 {
                continue;
            }
            if let Some(interface) = self.interfaces.remove(number)
                && interface.ours
            {
                let _ = self.netlink.del_link(interface.ifindex);
            }
        }
    }

    /// Has the interface of a tunnel announce what fits the path to its peer: what the narrowest of them takes.
    pub(super) fn fit_interface(&mut self, owner: Owner, here: &mut Here) {
        let Some(Held { needs, .. }) = self.owners.get(&owner) else { return };
        let (number, peer) = (needs.options.if_id_out, needs.peer);
        let Some((ifindex, old)) =
            self.interfaces.get(&number).filter(|it| it.ours).map(|it| (it.ifindex, it.mtu))
        else {
            return;
        };
        let way = peer.and_then(|peer| here.way(&mut self.netlink, peer, &self.config));
        let Some(way) = way.filter(|_| self.config.interface_mtu.is_none()) else { return };
        let fits = way.mtu.saturating_sub(OVERHEAD).max(LEAST);
        // Too large a packet is answered for each path by itself: that this fails is no harm.
        if old.is_none_or(|old| fits < old)
            && self.netlink.set_mtu(ifindex, fits).is_ok()
            && let Some(interface) = self.interfaces.get_mut(&number)
        {
            interface.mtu = Some(fits);
        }
    }

    /// Whether interfaces are ours to make, and to route through.
    pub(super) fn makes_interfaces(&self) -> bool {
        self.config.xfrm_interfaces != XfrmInterfaces::No
    }

    /// The interface of a number.
    pub(super) fn interface(&mut self, number: u32) -> Option<u32> {
        match self.interfaces.get(&number) {
            Some(interface) => Some(interface.ifindex).filter(|ifindex| *ifindex != 0),
            None => {
                self.netlink.xfrm_links().ok()?.into_iter().find(|it| it.if_id == number).map(|it| it.ifindex)
            }
        }
    }

    /// Whether a prefix is routed into a device or an interface that we make: the sealed packets must not go there.
    pub(super) fn leads_in(&self, dest: &(IpAddr, u8)) -> bool {
        let Some(dest) = self.dests.get(dest) else { return false };
        let bound = |owner| self.owners.get(owner).is_some_and(|held| held.needs.options.if_id_out != 0);
        self.device().is_some() || (self.makes_interfaces() && dest.users.iter().any(bound))
    }

    /// Those that are ours.
    pub(super) fn own_interfaces(&self) -> impl Iterator<Item = u32> {
        self.interfaces.values().filter(|it| it.ours).map(|it| it.ifindex)
    }

    /// Puts back what somebody has deleted or taken down, and its routes.
    pub(super) fn interfaces_back(&mut self, back: &mut Vec<String>) -> io::Result<()> {
        if self.interfaces.is_empty() {
            return Ok(());
        }
        let there: HashMap<u32, XfrmLink> =
            self.netlink.xfrm_links()?.into_iter().map(|link| (link.if_id, link)).collect();
        let numbers: Vec<u32> = self.interfaces.keys().copied().collect();
        let mut moved = Vec::new();
        for number in numbers {
            let Some(old) = self.interfaces.get(&number) else { continue };
            let (name, before) = (old.name.clone(), old.ifindex);
            let link = match there.get(&number) {
                Some(link) if link.ifindex == before => {
                    if link.ours && !link.up && self.netlink.link_up(before).is_ok() {
                        back.push(format!("{} (it was down)", link.name));
                    }
                    continue;
                }
                Some(link) => Ok(link.clone()),
                None => self.make(&name, number),
            };
            let now = match link {
                Ok(link) => {
                    back.push(format!("XFRM interface {}", link.name));
                    (link.name, link.ifindex, link.ours)
                }
                Err(error) => {
                    // Once; it is tried again after every change.
                    if before != 0 {
                        self.note(error.to_string());
                    }
                    (name, 0, true)
                }
            };
            if let Some(interface) = self.interfaces.get_mut(&number) {
                (interface.name, interface.ifindex, interface.ours) = now;
                interface.mtu = None;
            }
            moved.push(before);
        }
        self.reroute(&moved)
    }

    /// Leads routes through interfaces that have gone through those in their place.
    fn reroute(&mut self, gone: &[u32]) -> io::Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut here = Here::look(&mut self.netlink, &self.config)?;
        let dests: Vec<(IpAddr, u8)> = self.dests.keys().copied().collect();
        for dest in dests {
            let Some(state) = self.dests.get_mut(&dest) else { continue };
            let lost = |route: &mut Route| route.ifindex.is_some_and(|ifindex| gone.contains(&ifindex));
            // The kernel removes routes with their interface.
            if let Some(route) = state.installed.take_if(lost) {
                self.journal.forget(Thing::Route(route));
            }
            // Also those that had none while there was no interface.
            if self.dests.get(&dest).is_some_and(|state| state.installed.is_none()) {
                let _ = self.route(dest, &mut here);
            }
        }
        Ok(())
    }
}
