//! Routes, and the question where a destination would be routed.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};

use super::{Netlink, allow, family_of, full_prefix};
use crate::sys::tried;

/// Routing protocol number that marks entries no one but Adit makes (`throw` routes), so that those a killed
/// predecessor left can be told from anybody else's. Shown by `ip route` as `proto 220`.
pub const ADIT_PROTOCOL: u8 = 220;

/// `RTPROT_STATIC`: the protocol of tunnel routes, which routing daemons learn.
pub const STATIC: u8 = 4;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Sends through [`Route::ifindex`], or [`Route::gateway`].
    Unicast,
    /// Ends the lookup in this table as if nothing had matched; the next rule is tried.
    Throw,
    /// Any other kind, only seen in listings.
    Other(u8),
}

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination network and prefix length.
    pub dest: (IpAddr, u8),
    /// Routing table.
    pub table: u32,
    /// Outgoing interface.
    pub ifindex: Option<u32>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Preferred source address.
    pub src: Option<IpAddr>,
    /// What it does.
    pub kind: RouteKind,
    /// Who made it: `RTPROT_STATIC` (4) unless set otherwise.
    pub protocol: u8,
    /// Metric; the kernel's default when `None`.
    pub metric: Option<u32>,
    /// MTU of what goes this way, if less than the interface's.
    pub mtu: Option<u32>,
    /// TCP segment size announced for what goes this way.
    pub advmss: Option<u32>,
}

impl Route {
    /// A static route through an interface.
    #[must_use]
    pub const fn through(dest: (IpAddr, u8), table: u32, ifindex: u32, src: Option<IpAddr>) -> Self {
        Self {
            dest,
            table,
            ifindex: Some(ifindex),
            gateway: None,
            src,
            kind: RouteKind::Unicast,
            protocol: STATIC,
            metric: None,
            mtu: None,
            advmss: None,
        }
    }

    /// A route that sends the lookup for `dest` on to the next rule; marked with [`ADIT_PROTOCOL`].
    #[must_use]
    pub const fn throw(dest: (IpAddr, u8), table: u32) -> Self {
        Self {
            dest,
            table,
            ifindex: None,
            gateway: None,
            src: None,
            kind: RouteKind::Throw,
            protocol: ADIT_PROTOCOL,
            metric: None,
            mtu: None,
            advmss: None,
        }
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(self.dest.0);
        message.header.destination_prefix_length = self.dest.1;
        message.header.protocol = RouteProtocol::from(self.protocol);
        message.header.table = u8::try_from(self.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        message.header.kind = match self.kind {
            RouteKind::Unicast => RouteType::Unicast,
            RouteKind::Throw => RouteType::Throw,
            RouteKind::Other(kind) => RouteType::from(kind),
        };
        // Universe also without a next hop: as charon leaves its routes.
        message.header.scope = RouteScope::Universe;
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Table(self.table));
        if self.dest.1 > 0 {
            attributes.push(RouteAttribute::Destination(self.dest.0.into()));
        }
        attributes.extend(self.ifindex.map(RouteAttribute::Oif));
        attributes.extend(self.gateway.map(|g| RouteAttribute::Gateway(g.into())));
        attributes.extend(self.src.map(|s| RouteAttribute::PrefSource(s.into())));
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        let metrics = [self.mtu.map(RouteMetric::Mtu), self.advmss.map(RouteMetric::Advmss)];
        let metrics: Vec<RouteMetric> = metrics.into_iter().flatten().collect();
        if !metrics.is_empty() {
            attributes.push(RouteAttribute::Metrics(metrics));
        }
        message
    }

    pub(super) fn parse(message: &RouteMessage) -> Option<Self> {
        let mut route = Self {
            dest: (unspecified_like(message)?, message.header.destination_prefix_length),
            table: u32::from(message.header.table),
            ifindex: None,
            gateway: None,
            src: None,
            kind: match message.header.kind {
                RouteType::Unicast => RouteKind::Unicast,
                RouteType::Throw => RouteKind::Throw,
                other => RouteKind::Other(other.into()),
            },
            protocol: message.header.protocol.into(),
            metric: None,
            mtu: None,
            advmss: None,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(a) => route.dest.0 = ip(a)?,
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::Oif(index) => route.ifindex = Some(*index),
                RouteAttribute::Gateway(a) => route.gateway = ip(a),
                RouteAttribute::PrefSource(a) => route.src = ip(a),
                RouteAttribute::Priority(metric) => route.metric = Some(*metric),
                RouteAttribute::Metrics(metrics) => {
                    for metric in metrics {
                        match metric {
                            RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
                            RouteMetric::Advmss(mss) => route.advmss = Some(*mss),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(route)
    }
}

/// "10.2.0.0/24 dev if7 table 220 src 10.3.0.1", as `ip route` would say it.
impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.kind == RouteKind::Throw {
            f.write_str("throw ")?;
        }
        write!(f, "{}/{}", self.dest.0, self.dest.1)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(index) = self.ifindex {
            match nix::net::if_::if_indextoname(index) {
                Ok(name) => write!(f, " dev {}", name.to_string_lossy())?,
                Err(_) => write!(f, " dev if{index}")?,
            }
        }
        write!(f, " table {}", self.table)?;
        self.src.map_or(Ok(()), |src| write!(f, " src {src}"))
    }
}

fn unspecified_like(message: &RouteMessage) -> Option<IpAddr> {
    use netlink_packet_route::AddressFamily;
    match message.header.address_family {
        AddressFamily::Inet => Some(std::net::Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(std::net::Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

pub(super) const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}

/// How the host would send to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The source address it would use.
    pub source: Option<IpAddr>,
    /// The interface it would use.
    pub ifindex: Option<u32>,
    /// The next hop, unless on the link.
    pub gateway: Option<IpAddr>,
    /// Largest packet: the learnt path MTU, the route's, or the interface's.
    pub mtu: u32,
}

impl Netlink {
    /// Adds a route; one for the same destination, table and metric that goes through the same interface (or is
    /// of the same kind, for `throw`) is brought up to date, one that is somebody else's is left alone.
    ///
    /// # Errors
    /// `AlreadyExists` when another one is in the way; else as rtnetlink.
    pub fn add_route(&mut self, route: &Route) -> io::Result<()> {
        let failed = |e: io::Error| tried(format_args!("adding route {route}"), &e);
        match self.change(Message::NewRoute(route.message()), NLM_F_CREATE | NLM_F_EXCL) {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {
                let ours = self.list_routes(route.table)?.into_iter().any(|other| {
                    other.dest == route.dest
                        && other.kind == route.kind
                        && other.protocol == route.protocol
                        && (route.ifindex.is_none() || other.ifindex == route.ifindex)
                        && (route.metric.is_none() || other.metric == route.metric)
                });
                if !ours {
                    return Err(failed(e));
                }
                self.change(Message::NewRoute(route.message()), NLM_F_CREATE | NLM_F_REPLACE).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    /// Puts a route in the place of the one with the same destination, table and metric, whoever's it is, or adds it.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        self.change(Message::NewRoute(route.message()), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|e| tried(format_args!("changing route {route}"), &e))
    }

    /// Removes a route.
    ///
    /// # Errors
    /// As rtnetlink; success when it (or its interface) is gone already.
    pub fn del_route(&mut self, route: &Route) -> io::Result<()> {
        let mut message = route.message();
        // Whatever the source is by now; and scope NOWHERE matches any (as `ip route del` does).
        message.attributes.retain(|a| !matches!(a, RouteAttribute::PrefSource(_)));
        message.header.scope = RouteScope::NoWhere;
        allow(self.change(Message::DelRoute(message), 0), &[libc::ESRCH, libc::ENODEV, libc::ENOENT])
            .map_err(|e| tried(format_args!("removing route {route}"), &e))
    }

    /// The routes of one table, both families.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn list_routes(&mut self, table: u32) -> io::Result<Vec<Route>> {
        let mut found = Vec::new();
        for family in [netlink_packet_route::AddressFamily::Inet, netlink_packet_route::AddressFamily::Inet6]
        {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.attributes.push(RouteAttribute::Table(table));
            let result = self.dump(Message::GetRoute(message), |message| {
                let Message::NewRoute(message) = message else { return };
                found.extend(Route::parse(&message).filter(|r| r.table == table));
            });
            // ENOENT: nobody has used this table yet. EOPNOTSUPP, EAFNOSUPPORT: no IPv6 here.
            allow(result, &[libc::ENOENT, libc::EOPNOTSUPP, libc::EAFNOSUPPORT])
                .map_err(|e| tried(format_args!("listing table {table}"), &e))?;
        }
        Ok(found)
    }

    /// Removes from a table the routes through `ifindex` and the `throw` routes marked [`ADIT_PROTOCOL`]; others
    /// are left alone. Returns how many there were.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn flush_table(&mut self, table: u32, ifindex: Option<u32>) -> io::Result<usize> {
        let mut removed = 0;
        for route in self.list_routes(table)? {
            let ours = (ifindex.is_some() && route.ifindex == ifindex)
                || (route.kind == RouteKind::Throw && route.protocol == ADIT_PROTOCOL);
            if ours {
                self.del_route(&route)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// How the host would send to `dest` now.
    ///
    /// # Errors
    /// `NetworkUnreachable` when it has no route.
    pub fn way_to(&mut self, dest: IpAddr) -> io::Result<Way> {
        self.way_to_marked(dest, self.mark)
    }

    /// As [`Self::way_to`], for a packet with a firewall mark.
    ///
    /// # Errors
    /// `NetworkUnreachable` when there is no route.
    pub fn way_to_marked(&mut self, dest: IpAddr, mark: Option<u32>) -> io::Result<Way> {
        self.ask_way(dest, mark).map(|(way, _)| way)
    }

    /// The kernel's answer, and the table that it comes from.
    pub(super) fn ask_way(&mut self, dest: IpAddr, mark: Option<u32>) -> io::Result<(Way, u32)> {
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(dest);
        message.header.destination_prefix_length = full_prefix(dest);
        // IPv6 always says which table it was, and strictly checked refuses to be asked.
        if dest.is_ipv4() {
            message.header.flags = RouteFlags::LookupTable;
        }
        message.attributes.push(RouteAttribute::Destination(dest.into()));
        message.attributes.extend(mark.map(RouteAttribute::Mark));
        let answer = self
            .get(Message::GetRoute(message))
            .map_err(|e| tried(format_args!("looking up the route to {dest}"), &e))?;
        let Message::NewRoute(answer) = answer else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "netlink answered something else"));
        };
        let mut table = u32::from(answer.header.table);
        let mut way = Way { source: None, ifindex: None, gateway: None, mtu: 0 };
        for attribute in &answer.attributes {
            match attribute {
                RouteAttribute::Table(it) => table = *it,
                RouteAttribute::PrefSource(a) => way.source = ip(a),
                RouteAttribute::Gateway(a) => way.gateway = ip(a),
                RouteAttribute::Oif(index) => way.ifindex = Some(*index),
                RouteAttribute::Metrics(metrics) => {
                    for metric in metrics {
                        if let RouteMetric::Mtu(mtu) = metric {
                            way.mtu = *mtu;
                        }
                    }
                }
                _ => {}
            }
        }
        if let (0, Some(index)) = (way.mtu, way.ifindex) {
            way.mtu = self.link_info(index)?.1;
        }
        Ok((way, table))
    }

    /// The source address the host would use to send to `dest`.
    ///
    /// # Errors
    /// When there is no route, or none with a source address.
    pub fn source_for(&mut self, dest: IpAddr) -> io::Result<IpAddr> {
        self.way_to(dest)?.source.ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no source address to reach {dest} from"))
        })
    }

    /// The largest packet that can be sent to `dest` as far as known.
    ///
    /// # Errors
    /// When there is no route.
    pub fn path_mtu(&mut self, dest: IpAddr) -> io::Result<u32> {
        Ok(self.way_to(dest)?.mtu)
    }
}
