//! Where a destination would be routed if some tables were not there.
//!
//! The kernel answers for the rules as they are. Its answer is good unless it comes from a table that is to be left out;
//! then the rules are gone through here, with the routes of each table they name.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::routes::ip;
use super::{Netlink, Route, Way, allow, family_of};
use crate::sys::tried;

/// What a way must not use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Without<'a> {
    /// Tables whose rules count for nothing.
    pub tables: &'a [u32],
    /// Interfaces that packets must not leave by.
    pub interfaces: &'a [u32],
}

impl Without<'_> {
    fn allows(&self, ifindex: Option<u32>) -> bool {
        ifindex.is_none_or(|ifindex| !self.interfaces.contains(&ifindex))
    }
}

/// What a rule means for a packet of this host whose source is still open.
struct Step {
    table: u32,
    /// Routes with a prefix of at most this length do not count.
    suppressed: Option<u8>,
}

impl Netlink {
    /// How the host would send to `dest` if some tables and interfaces were not there.
    ///
    /// # Errors
    /// `NetworkUnreachable` when there is no route.
    pub fn way_around(&mut self, dest: IpAddr, without: Without<'_>) -> io::Result<Way> {
        let mark = self.mark;
        match self.ask_way(dest, mark) {
            Ok((way, table)) if !without.tables.contains(&table) && without.allows(way.ifindex) => {
                return Ok(way);
            }
            // Only what stands in one of the tables can have hidden a way (an unreachable route, say).
            Err(error) if without.tables.is_empty() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        for step in self.steps(dest, mark)? {
            if without.tables.contains(&step.table) {
                continue;
            }
            match self.best(dest, &step, without)? {
                Some((RouteType::Unicast, route)) => return self.way_by(dest, &route),
                // The address of an interface of our own.
                Some((RouteType::Local, route)) => return self.way_by(dest, &route),
                Some((RouteType::Throw, _)) | None => {}
                Some(_) => break,
            }
        }
        Err(io::Error::new(io::ErrorKind::NetworkUnreachable, format!("there is no route to {dest}")))
    }

    /// The tables in the order in which they are asked.
    fn steps(&mut self, dest: IpAddr, mark: Option<u32>) -> io::Result<Vec<Step>> {
        let mut steps = Vec::new();
        let mut message = RuleMessage::default();
        message.header.family = family_of(dest);
        let result = self.dump(Message::GetRule(message), |message| {
            if let Message::NewRule(message) = message {
                steps.extend(step(&message, dest, mark));
            }
        });
        allow(result, &[libc::EOPNOTSUPP, libc::EAFNOSUPPORT]).map_err(|e| tried("listing rules", &e))?;
        Ok(steps)
    }

    /// The route of a table that is for `dest`: of those with the longest prefix the one with the least metric.
    fn best(
        &mut self,
        dest: IpAddr,
        step: &Step,
        without: Without<'_>,
    ) -> io::Result<Option<(RouteType, Route)>> {
        let mut best: Option<(RouteType, Route)> = None;
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(dest);
        message.attributes.push(RouteAttribute::Table(step.table));
        let result = self.dump(Message::GetRoute(message), |message| {
            let Message::NewRoute(message) = message else { return };
            let Some(mut route) = Route::parse(&message) else { return };
            let dead = RouteFlags::Dead | RouteFlags::Linkdown;
            if route.table != step.table
                || message.header.flags.intersects(dead | RouteFlags::Cloned)
                || step.suppressed.is_some_and(|longest| route.dest.1 <= longest)
                || !covers(route.dest, dest)
            {
                return;
            }
            first_hop(&message, &mut route, without);
            if !without.allows(route.ifindex) {
                return;
            }
            let key = |r: &Route| (std::cmp::Reverse(r.dest.1), r.metric.unwrap_or(0));
            if best.as_ref().is_none_or(|(_, other)| key(&route) < key(other)) {
                best = Some((message.header.kind, route));
            }
        });
        allow(result, &[libc::ENOENT, libc::EOPNOTSUPP, libc::EAFNOSUPPORT])
            .map_err(|e| tried(format_args!("listing table {}", step.table), &e))?;
        Ok(best)
    }

    /// A route as a way; the source it does not name is the first address of the interface in the network of the next
    /// hop, else the first that is not virtual.
    fn way_by(&mut self, dest: IpAddr, route: &Route) -> io::Result<Way> {
        let next = route.gateway.unwrap_or(dest);
        let mut source = route.src;
        let mut mtu = 0;
        if let Some(ifindex) = route.ifindex {
            mtu = self.link_info(ifindex)?.1;
            if source.is_none() {
                let all = self.addresses()?;
                let mut usable =
                    all.iter().filter(|a| a.ifindex == ifindex && a.address.is_ipv4() == dest.is_ipv4());
                source = usable
                    .clone()
                    .find(|a| covers((a.address, a.prefix), next))
                    .or_else(|| usable.find(|a| !a.tentative && !a.deprecated && !link_local(a.address)))
                    .map(|a| a.address);
            }
        }
        Ok(Way { source, ifindex: route.ifindex, gateway: route.gateway, mtu })
    }
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

/// Whether a network has an address in it.
fn covers((network, prefix): (IpAddr, u8), address: IpAddr) -> bool {
    let (a, b, bits) = match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(u32::from(a)), u128::from(u32::from(b)), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a), u128::from(b), 128),
        _ => return false,
    };
    (a ^ b).checked_shr(bits - u32::from(prefix).min(bits)).unwrap_or(0) == 0
}

/// Of several next hops the first that may be used.
fn first_hop(message: &RouteMessage, route: &mut Route, without: Without<'_>) {
    for attribute in &message.attributes {
        let RouteAttribute::MultiPath(hops) = attribute else { continue };
        let usable = hops.iter().find(|hop| without.allows(Some(hop.interface_index)));
        let Some(hop) = usable.or(hops.first()) else { continue };
        route.ifindex = Some(hop.interface_index);
        route.gateway = hop.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(gateway) => ip(gateway),
            _ => None,
        });
    }
}

/// `None` for a rule that is not for the packet, or for other actions than asking a table.
fn step(rule: &RuleMessage, dest: IpAddr, mark: Option<u32>) -> Option<Step> {
    let mut step = Step { table: u32::from(rule.header.table), suppressed: None };
    let (mut value, mut mask, mut applies) = (0, None, rule.header.src_len == 0);
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Table(table) => step.table = *table,
            RuleAttribute::Destination(network) => applies &= covers((*network, rule.header.dst_len), dest),
            RuleAttribute::FwMark(it) => value = *it,
            RuleAttribute::FwMask(it) => mask = Some(*it),
            // u32::MAX: none.
            RuleAttribute::SuppressPrefixLen(it) => step.suppressed = u8::try_from(*it).ok(),
            RuleAttribute::Iifname(name) => applies &= name == "lo",
            RuleAttribute::Oifname(_)
            | RuleAttribute::IpProtocol(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_)
            | RuleAttribute::L3MDev(true)
            | RuleAttribute::TunId(_) => applies = false,
            _ => {}
        }
    }
    if let Some(mask) = mask.or((value != 0).then_some(u32::MAX)) {
        applies &= (mark.unwrap_or(0) ^ value) & mask == 0;
    }
    if rule.header.flags.contains(RuleFlags::Invert) {
        applies = !applies;
    }
    (applies && rule.header.action == RuleAction::ToTable).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_what_is_in_them() {
        let a = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(covers((a("10.1.0.0"), 16), a("10.1.255.1")) && !covers((a("10.1.0.0"), 16), a("10.2.0.1")));
        assert!(covers((a("0.0.0.0"), 0), a("10.2.0.1")) && !covers((a("0.0.0.0"), 0), a("::1")));
        assert!(covers((a("::"), 0), a("fd00::1")) && covers((a("fd00::1"), 128), a("fd00::1")));
    }

    #[test]
    fn rules_apply_to_whom_they_are_for() {
        let dest = "10.0.0.1".parse().unwrap();
        let rule = |attributes: &[RuleAttribute], invert| {
            let mut message = RuleMessage::default();
            message.header.action = RuleAction::ToTable;
            message.attributes = attributes.to_vec();
            message.attributes.push(RuleAttribute::Table(51820));
            if invert {
                message.header.flags = RuleFlags::Invert;
            }
            step(&message, dest, Some(0xdc)).map(|step| (step.table, step.suppressed))
        };
        let mark = [RuleAttribute::FwMark(0xca6c), RuleAttribute::FwMask(u32::MAX)];
        assert_eq!(rule(&[], false), Some((51820, None)));
        assert_eq!(rule(&mark, false), None);
        // wg-quick's: everything but its own packets, and main without its default route.
        assert_eq!(rule(&mark, true), Some((51820, None)));
        assert_eq!(rule(&[RuleAttribute::SuppressPrefixLen(0)], false), Some((51820, Some(0))));
        assert_eq!(rule(&[RuleAttribute::SuppressPrefixLen(u32::MAX)], false), Some((51820, None)));
        assert_eq!(rule(&[RuleAttribute::Iifname("eth0".into())], false), None);
    }
}
