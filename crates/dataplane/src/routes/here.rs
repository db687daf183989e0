//! What this host looks like at the moment: its addresses, and its ways to the peers.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use adit_linux::route::{Address, Netlink, Way, Without};

use super::RouteConfig;

/// Addresses, and the ways that have been asked for.
#[derive(Debug)]
pub(super) struct Here {
    addresses: Vec<Address>,
    ways: BTreeMap<IpAddr, Option<Way>>,
    /// Interfaces that are not to be used.
    closed: Vec<u32>,
}

impl Here {
    pub(super) fn look(netlink: &mut Netlink, config: &RouteConfig) -> io::Result<Self> {
        let mut addresses = netlink.addresses()?;
        // What a route may have as source.
        addresses.retain(|a| match a.address {
            IpAddr::V4(a) => !a.is_loopback() && !a.is_link_local(),
            IpAddr::V6(a) => !a.is_loopback() && !a.is_unicast_link_local(),
        });
        let closed = netlink.links_outside(&config.interfaces)?;
        Ok(Self { addresses, ways: BTreeMap::new(), closed })
    }

    /// Our addresses, in the kernel's order.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|a| a.address)
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.addresses().any(|a| a == address)
    }

    /// The interface that has an address.
    pub(super) fn interface_of(&self, address: IpAddr) -> Option<u32> {
        self.addresses.iter().find(|a| a.address == address).map(|a| a.ifindex)
    }

    /// The way to a peer, as if the tunnels' own table were not there.
    pub(super) fn way(&mut self, netlink: &mut Netlink, peer: IpAddr, config: &RouteConfig) -> Option<Way> {
        let look = || {
            let own = (config.table != 0).then_some(config.table);
            let tables: Vec<u32> = own.into_iter().chain(config.ignore_tables.iter().copied()).collect();
            netlink.way_around(peer, Without { tables: &tables, interfaces: &self.closed }).ok()
        };
        *self.ways.entry(peer).or_insert_with(look)
    }
}
