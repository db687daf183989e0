//! This host's addresses and routes change: the kernel says so, the core and the data plane hear of it.
//!
//! Changes come in bursts (an address goes, another comes, routes follow), so they are heard together a moment after the
//! first. A host whose routes never rest must not be kept busy either.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_conf::strongswan::NetworkConf;
use adit_dataplane::Own;
use adit_ike::{Command, Group};
use adit_linux::route::{Address, Interfaces, Netlink, Watch};

use crate::driver::Driver;
use crate::settings;

/// From the first change to when it is heard (charon: 100 ms).
const SETTLE: Duration = Duration::from_millis(100);
/// Least time from one hearing to the next.
const REST: Duration = Duration::from_millis(500);

/// What the driver knows of this host's addresses.
#[derive(Debug, Default)]
pub(crate) struct Roam {
    watch: Option<Watch>,
    pub(crate) network: NetworkConf,
    /// Our addresses on interfaces that IKE is not to use.
    closed: BTreeSet<IpAddr>,
    /// IKE messages that were sent to one of them.
    pub(crate) turned_away: u64,
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
    pub(crate) fn new(watch: Option<Watch>, network: NetworkConf) -> Self {
        Self { watch, network, ..Self::default() }
    }

    /// Whether an IKE message to one of our addresses is to be looked at.
    pub(crate) fn takes(&mut self, local: IpAddr) -> bool {
        let taken = !self.closed.contains(&local);
        self.turned_away += u64::from(!taken);
        taken
    }

    /// Whether it is an address of an interface that IKE is not to use.
    pub(crate) fn is_closed(&self, address: IpAddr) -> bool {
        self.closed.contains(&address)
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
        let heeded = news.addresses
            || (news.routes && self.network.process_route)
            || (news.rules && self.network.process_rules);
        if heeded && self.due.is_none() {
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
        let first = self.roam.heard.replace(Instant::now()).is_none();
        let chosen = settings::interfaces(&self.roam.network);
        match usable(&mut self.netlink, &self.dataplane.own(), &chosen) {
            Ok((addresses, closed)) => {
                self.roam.closed = closed;
                if addresses != self.roam.addresses {
                    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                    self.logger.line(Group::Knl, 1, format!("addresses of this host: {}", list.join(", ")));
                    self.roam.addresses.clone_from(&addresses);
                }
                self.roam.mend = self.dataplane.addresses_changed().map(|wait| Instant::now() + wait);
                if first || self.roam.network.roam_events {
                    self.command(Command::AddressesChanged { addresses });
                }
            }
            Err(error) => self.logger.line(Group::Knl, 0, error.to_string()),
        }
    }
}

/// Addresses that datagrams can be sent from to others, in the kernel's order, and those that must not be used; the
/// tunnels' own are neither.
fn usable(
    netlink: &mut Netlink,
    own: &Own,
    chosen: &Interfaces,
) -> std::io::Result<(Vec<IpAddr>, BTreeSet<IpAddr>)> {
    let outside = netlink.links_outside(chosen)?;
    let (mut found, mut closed) = (Vec::new(), BTreeSet::new());
    for Address { ifindex, address, tentative, .. } in netlink.addresses()? {
        let local = match address {
            IpAddr::V4(a) => a.is_loopback() || a.is_link_local(),
            IpAddr::V6(a) => a.is_loopback() || a.is_unicast_link_local(),
        };
        let ours = own.interfaces.contains(&ifindex) || own.addresses.contains(&address);
        if outside.contains(&ifindex) {
            closed.insert(address);
        } else if !local && !tentative && !ours && !found.contains(&address) {
            found.push(address);
        }
    }
    // One that is on two interfaces is open if one of them is.
    closed.retain(|address| !found.contains(address));
    Ok((found, closed))
}
