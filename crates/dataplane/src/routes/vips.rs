//! Virtual IPs: addresses of this host that peers have leased to us.
//!
//! With a device of ours they are on it. Else they are on the one that is configured, or that has our outer address, with a full prefix.
//! An IPv6 one is deprecated from the start there, as charon has it, so that only the tunnels' routes choose it as
//! source. What the host had already stays when the last user goes.

use std::io;
use std::net::IpAddr;

use super::journal::Thing;
use super::nets::full;
use super::{Place, RouteBook};

/// A virtual IP that is in use.
#[derive(Debug)]
pub(super) struct Vip {
    users: u32,
    pub(super) ifindex: u32,
    /// Our outer address when it was added.
    local: IpAddr,
    /// Somebody else's: the host had it before.
    pub(super) foreign: bool,
    /// It is there as far as we know.
    pub(super) installed: bool,
}

impl RouteBook {
    /// Adds a virtual IP for tunnels that begin at `local`, or counts one more user of it.
    pub(crate) fn add_vip(&mut self, address: IpAddr, local: IpAddr) -> io::Result<()> {
        if !self.config.install_virtual_ip {
            return Ok(());
        }
        if let Some(vip) = self.vips.get_mut(&address) {
            vip.users += 1;
            return Ok(());
        }
        let vip = match self.place {
            Place::Device(ifindex) => {
                self.netlink.add_address(ifindex, address, full(address))?;
                Vip { users: 1, ifindex, local, foreign: false, installed: true }
            }
            Place::Path => self.add_on_path(address, local)?,
        };
        self.vips.insert(address, vip);
        self.refresh();
        Ok(())
    }

    fn add_on_path(&mut self, address: IpAddr, local: IpAddr) -> io::Result<Vip> {
        let here = self.netlink.addresses()?;
        if let Some(had) = here.iter().find(|a| a.address == address) {
            return Ok(Vip { users: 1, ifindex: had.ifindex, local, foreign: true, installed: true });
        }
        let chosen = self.config.install_virtual_ip_on.clone();
        let chosen = chosen.and_then(|name| self.netlink.link_index(&name).ok());
        let by_address = || here.iter().find(|a| a.address == local).map(|a| a.ifindex);
        let ifindex = chosen.or_else(by_address).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("no interface for the virtual IP {address}: none has {local}"),
            )
        })?;
        self.journal.remember(Thing::Address(address, ifindex));
        if let Err(error) = self.netlink.add_virtual_address(ifindex, address) {
            self.journal.forget(Thing::Address(address, ifindex));
            return Err(error);
        }
        Ok(Vip { users: 1, ifindex, local, foreign: false, installed: true })
    }

    /// Notes that one has gone with its interface.
    pub(super) fn lost_vip(&mut self, address: IpAddr) {
        if let Some(vip) = self.vips.get_mut(&address) {
            vip.installed = false;
        }
    }

    /// Adds one again that has been removed, or whose interface has.
    pub(super) fn readd_vip(&mut self, address: IpAddr) -> io::Result<()> {
        let Some((users, local)) = self.vips.get(&address).map(|vip| (vip.users, vip.local)) else {
            return Ok(());
        };
        let vip = match self.place {
            Place::Device(ifindex) => {
                self.netlink.add_address(ifindex, address, full(address))?;
                Vip { users, ifindex, local, foreign: false, installed: true }
            }
            Place::Path => {
                let vip = self.add_on_path(address, local)?;
                let up = self.netlink.link_state(vip.ifindex).is_ok_and(|link| link.up);
                Vip { users, installed: up, ..vip }
            }
        };
        self.vips.insert(address, vip);
        Ok(())
    }

    /// Takes back one use of a virtual IP.
    pub(crate) fn remove_vip(&mut self, address: IpAddr) {
        let Some(vip) = self.vips.get_mut(&address) else { return };
        vip.users -= 1;
        if vip.users > 0 {
            return;
        }
        if let Some(vip) = self.vips.remove(&address) {
            self.take_away(address, &vip);
        }
        self.refresh();
    }

    fn take_away(&mut self, address: IpAddr, vip: &Vip) {
        if !vip.foreign {
            let _ = self.netlink.del_address(vip.ifindex, address, full(address));
            self.journal.forget(Thing::Address(address, vip.ifindex));
        }
    }

    /// Removes all.
    pub(super) fn clear_vips(&mut self) {
        for (address, vip) in std::mem::take(&mut self.vips) {
            self.take_away(address, &vip);
        }
    }
}
