//! What is configured, and what SAs and policies ask of the routing tables.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use adit_ipsec::{ChildSa, EntryOptions, Mode, Selector, Shunt, ShuntPolicy, TrapPolicy, XfrmInterfaces};
use adit_linux::route::{Fwmark, Interfaces};

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
    /// The interfaces that ways to peers may use (`charon.interfaces_use`, `interfaces_ignore`).
    pub interfaces: Interfaces,
    /// The interface for virtual IPs (`charon.install_virtual_ip_on`), if not the one with our outer address.
    pub install_virtual_ip_on: Option<String>,
    /// Whether tunnels through an XFRM interface get routes (`charon.plugins.kernel-netlink.install_routes_xfrmi`).
    pub install_routes_xfrmi: bool,
    /// Where routes and virtual IPs are written down, to be recognised after a crash; not needed with a device.
    pub journal: Option<PathBuf>,
    /// Which XFRM interfaces are made (`adit.xfrm_interfaces`).
    pub xfrm_interfaces: XfrmInterfaces,
    /// Their MTU (`adit.mtu`), if not what fits the path.
    pub interface_mtu: Option<u32>,
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
            interfaces: Interfaces::default(),
            install_virtual_ip_on: None,
            install_routes_xfrmi: false,
            journal: None,
            xfrm_interfaces: XfrmInterfaces::No,
            interface_mtu: None,
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
