//! Trap policies: children that the first matching packet brings up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use adit_ike::{ChildConfig, Command, Connection, Group, HostSpec};
use adit_ipsec::{PacketInfo, Selector, TrapPolicy};

use crate::driver::Driver;

/// The traps that are installed, by id.
#[derive(Default)]
pub(crate) struct Traps {
    installed: BTreeMap<u32, TrapPolicy>,
    last: u32,
}

impl Traps {
    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TrapPolicy> {
        self.installed.values()
    }
}

impl Driver {
    /// Installs the trap of a child; one that is installed already stays.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn install_trap(&mut self, conn: &Connection, child: &ChildConfig) -> Result<(), String> {
        let same = |t: &TrapPolicy| *t.ike_name == *conn.name && *t.name == *child.name;
        if self.traps.installed.values().any(same) {
            return Ok(());
        }
        let remote = conn.remote_addrs.iter().find_map(|h| match h {
            HostSpec::Addr(address) => Some(*address),
            _ => None,
        });
        let local_ts = self.local_selectors(conn, child, remote);
        let remote_ts: Vec<Selector> =
            child.remote_ts.iter().flat_map(|ts| ts.resolve(remote.as_slice())).collect();
        if remote_ts.is_empty() || local_ts.is_empty() {
            return Err(format!(
                "installing policy '{}' failed: it names no remote network, and the peer's address is not known",
                child.name
            ));
        }
        self.traps.last += 1;
        let (reqid, options) = self.endpoint.trap_added(conn, child, &local_ts, &remote_ts);
        let trap = TrapPolicy {
            id: self.traps.last,
            name: Arc::clone(&child.name),
            ike_name: Arc::clone(&conn.name),
            reqid,
            mode: child.mode,
            local_ts,
            remote_ts,
            local: self.own_address(conn, remote),
            remote,
            options,
        };
        if let Err(error) = self.dataplane.add_trap(trap.clone()) {
            self.endpoint.trap_removed(&conn.name, &child.name);
            return Err(format!("installing policy '{}' failed: {}", child.name, error.sentence));
        }
        self.logger.line(Group::Cfg, 1, format!("installed trap policy '{}'", child.name));
        self.traps.installed.insert(trap.id, trap);
        Ok(())
    }

    /// A child ended whose action is a trap. One whose configuration is gone gets none.
    pub(crate) fn trap_wanted(&mut self, conn: &str, child: &str) {
        let Some(conn) = self.store.ike(conn).map(Arc::clone) else { return };
        let Some(child) = conn.child(child).map(Arc::clone) else { return };
        if let Err(problem) = self.install_trap(&conn, &child) {
            self.logger.line(Group::Cfg, 0, problem);
        }
    }

    /// The address that we would talk to the peer from.
    fn own_address(&mut self, conn: &Connection, remote: Option<IpAddr>) -> Option<IpAddr> {
        match conn.local_addrs.first() {
            Some(HostSpec::Addr(address)) => Some(*address),
            _ => remote.and_then(|r| self.netlink.source_for(r).ok()),
        }
    }

    /// What a trap matches on our side: with virtual addresses still to come, everything.
    fn local_selectors(
        &mut self,
        conn: &Connection,
        child: &ChildConfig,
        remote: Option<IpAddr>,
    ) -> Vec<Selector> {
        let own = self.own_address(conn, remote);
        let fixed = child.local_ts.iter().flat_map(|ts| {
            if conn.vips.is_empty() {
                return ts.resolve(own.as_slice());
            }
            let any = |v4| if v4 { Selector::any_v4() } else { Selector::any_v6() };
            match ts
                .resolve(&[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)])
                .as_slice()
            {
                // `dynamic` alone resolves to as many selectors as there are hosts
                [_, _] => conn.vips.iter().map(|vip| any(vip.is_ipv4())).collect(),
                other => other.to_vec(),
            }
        });
        fixed.collect()
    }

    /// Removes the traps that `which` names; how many there were.
    pub(crate) fn remove_traps(&mut self, which: impl Fn(&TrapPolicy) -> bool) -> usize {
        let ids: Vec<u32> = self.traps.installed.values().filter(|t| which(t)).map(|t| t.id).collect();
        for id in &ids {
            self.dataplane.remove_trap(*id);
            if let Some(trap) = self.traps.installed.remove(id) {
                self.endpoint.trap_removed(&trap.ike_name, &trap.name);
            }
        }
        ids.len()
    }

    /// A packet waits at a trap.
    pub(crate) fn acquire(&mut self, id: u32, packet: PacketInfo) {
        let Some(trap) = self.traps.installed.get(&id) else { return };
        let (conn, child) = (Arc::clone(&trap.ike_name), Arc::clone(&trap.name));
        let reqid = trap.reqid;
        let (from, to) = (Selector::host(packet.src), Selector::host(packet.dst));
        self.logger.line(
            Group::Knl,
            1,
            format!("creating acquire job for policy {from} === {to} with reqid {{{reqid}}}"),
        );
        self.command(Command::Initiate {
            conn: Some(conn),
            child: Some(child),
            tag: 0,
            trigger: Some(packet),
        });
    }
}
