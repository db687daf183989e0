//! This host's addresses and routes change: the kernel says so, the core and the data plane hear of it.
//!
//! Changes come in bursts (an address goes, another comes, routes follow), so they are heard together a moment after the
//! first. A host whose routes never rest must not be kept busy either.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_dataplane::Own;
use adit_ike::{Command, Group};
use adit_linux::route::{Address, Netlink, Watch};

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
    /// When to look after what is ours.
    mend: Option<Instant>,
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
        self.due.into_iter().chain(self.mend).min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    fn note(&mut self, own: &Own) {
        let news = self.watch.as_mut().map(|watch| watch.drain(own)).unwrap_or_default();
        if news.own && self.mend.is_none() {
            // Who empties a table does it route by route.
            self.mend = Some(Instant::now() + SETTLE);
        }
        if (news.addresses || news.routes) && self.due.is_none() {
            let settled = Instant::now() + SETTLE;
            self.due = Some(self.heard.map_or(settled, |at| settled.max(at + REST)));
        }
    }
}

impl Driver {
    /// The kernel has news.
    pub(crate) fn note_changes(&mut self) {
        let own = self.dataplane.own();
        self.roam.note(&own);
    }

    /// Looks at the addresses if it is time to.
    pub(crate) fn roam_if_due(&mut self) {
        if self.roam.due.is_some_and(|at| at <= Instant::now()) {
            self.hear_addresses();
        }
    }

    /// Puts back what somebody has taken away of ours, if it is time to.
    pub(crate) fn mend_if_due(&mut self) {
        if self.roam.mend.is_some_and(|at| at <= Instant::now()) {
            self.roam.mend = self.dataplane.mend().map(|wait| Instant::now() + wait);
            self.tell_notes();
        }
    }

    /// What the data plane has to say goes to the log.
    pub(crate) fn tell_notes(&mut self) {
        for note in self.dataplane.notes() {
            self.logger.line(Group::Knl, 0, note);
        }
    }

    /// Tells everybody which addresses this host has.
    pub(crate) fn hear_addresses(&mut self) {
        self.roam.due = None;
        self.roam.heard = Some(Instant::now());
        match usable(&mut self.netlink, &self.dataplane.own()) {
            Ok(addresses) => {
                if addresses != self.roam.addresses {
                    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                    self.logger.line(Group::Knl, 1, format!("addresses of this host: {}", list.join(", ")));
                    self.roam.addresses.clone_from(&addresses);
                }
                self.roam.mend = self.dataplane.addresses_changed().map(|wait| Instant::now() + wait);
                self.command(Command::AddressesChanged { addresses });
            }
            Err(error) => self.logger.line(Group::Knl, 0, error.to_string()),
        }
    }
}

/// Addresses that datagrams can be sent from to others, in the kernel's order; the tunnels' own are none.
fn usable(netlink: &mut Netlink, own: &Own) -> std::io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for Address { ifindex, address, tentative, .. } in netlink.addresses()? {
        let local = match address {
            IpAddr::V4(a) => a.is_loopback() || a.is_link_local(),
            IpAddr::V6(a) => a.is_loopback() || a.is_unicast_link_local(),
        };
        let ours = own.interfaces.contains(&ifindex) || own.addresses.contains(&address);
        if !local && !tentative && !ours && !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}
