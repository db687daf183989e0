//! This host's addresses and routes change: the kernel says so, the core and the data plane hear of it.
//!
//! Changes come in bursts (an address goes, another comes, routes follow), so they are heard together a moment after the
//! first. A host whose routes never rest must not be kept busy either.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_ike::{Command, Group};
use adit_linux::route::{Address, Netlink, Own, Watch};

use crate::driver::Driver;

/// From the first change to when it is heard (charon: 100 ms).
const SETTLE: Duration = Duration::from_millis(100);
/// Least time from one hearing to the next.
const REST: Duration = Duration::from_millis(500);

/// What the driver knows of this host's addresses.
#[derive(Debug, Default)]
pub(crate) struct Roam {
    watch: Option<Watch>,
    /// When to look at them.
    due: Option<Instant>,
    /// When that was last.
    heard: Option<Instant>,
    addresses: Vec<IpAddr>,
}

impl Roam {
    /// Listens from now on; without a watch the first look is the last.
    pub(crate) fn new(watch: Option<Watch>) -> Self {
        Self { watch, ..Self::default() }
    }

    pub(crate) const fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// How long until there is something to do.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.due.map(|at| at.saturating_duration_since(Instant::now()))
    }

    fn note(&mut self, own: Own) {
        let changed = self.watch.as_mut().is_some_and(|watch| watch.drain(own));
        if changed && self.due.is_none() {
            let settled = Instant::now() + SETTLE;
            self.due = Some(self.heard.map_or(settled, |at| settled.max(at + REST)));
        }
    }
}

impl Driver {
    /// The kernel has news.
    pub(crate) fn note_changes(&mut self) {
        let own = Own { ifindex: self.dataplane.device(), table: self.table };
        self.roam.note(own);
    }

    /// Looks at the addresses if it is time to.
    pub(crate) fn roam_if_due(&mut self) {
        if self.roam.due.is_some_and(|at| at <= Instant::now()) {
            self.hear_addresses();
        }
    }

    /// Tells everybody which addresses this host has.
    pub(crate) fn hear_addresses(&mut self) {
        self.roam.due = None;
        self.roam.heard = Some(Instant::now());
        match usable(&mut self.netlink, self.dataplane.device()) {
            Ok(addresses) => {
                if addresses != self.roam.addresses {
                    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                    self.logger.line(Group::Knl, 1, format!("addresses of this host: {}", list.join(", ")));
                    self.roam.addresses.clone_from(&addresses);
                }
                self.dataplane.addresses_changed();
                self.command(Command::AddressesChanged { addresses });
            }
            Err(error) => self.logger.line(Group::Knl, 0, error.to_string()),
        }
    }
}

/// Addresses that datagrams can be sent from to others, in the kernel's order; the tunnels' own are none.
fn usable(netlink: &mut Netlink, device: Option<u32>) -> std::io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for Address { ifindex, address, tentative, .. } in netlink.addresses()? {
        let local = match address {
            IpAddr::V4(a) => a.is_loopback() || a.is_link_local(),
            IpAddr::V6(a) => a.is_loopback() || a.is_unicast_link_local(),
        };
        if !local && !tentative && Some(ifindex) != device && !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}
