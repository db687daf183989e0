//! The data plane that carries nothing: load tests of the protocol, and machines without any ESP.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use adit_ipsec::{ChildSa, ShuntPolicy, TrapPolicy, Usage};

use crate::{Dataplane, InstallError};

/// Remembers what is installed, to answer [`Dataplane::usage`] and to be counted. Keeps no keys: what it holds
/// per SA is 4 bytes, so that load tests measure the protocol.
#[derive(Debug, Default)]
pub struct Null {
    children: HashMap<u32, ()>,
    traps: HashMap<u32, ()>,
}

impl Null {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many CHILD_SAs are installed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether no CHILD_SA is installed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}

impl Dataplane for Null {
    fn name(&self) -> &'static str {
        "null"
    }

    fn install(&mut self, sa: ChildSa) -> Result<(), InstallError> {
        self.children.insert(sa.id, ());
        Ok(())
    }

    fn activate_outbound(&mut self, _id: u32) {}

    fn update_path(&mut self, _id: u32, _local: SocketAddr, _remote: SocketAddr, _udp_encap: bool) {}

    fn remove(&mut self, id: u32) {
        self.children.remove(&id);
    }

    fn usage(&self, id: u32) -> Option<Usage> {
        self.children.contains_key(&id).then(Usage::default)
    }

    fn add_trap(&mut self, trap: TrapPolicy) -> Result<(), InstallError> {
        self.traps.insert(trap.id, ());
        Ok(())
    }

    fn remove_trap(&mut self, id: u32) {
        self.traps.remove(&id);
    }

    fn add_shunt(&mut self, _policy: ShuntPolicy) -> Result<(), InstallError> {
        Ok(())
    }

    fn remove_shunt(&mut self, _id: u32) {}

    fn add_virtual_ip(&mut self, _address: IpAddr, _local: IpAddr) -> Result<(), InstallError> {
        Ok(())
    }

    fn remove_virtual_ip(&mut self, _address: IpAddr) {}

    fn shutdown(&mut self) {
        self.children.clear();
        self.traps.clear();
    }
}
