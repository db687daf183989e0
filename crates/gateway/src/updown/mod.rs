//! `updown`: a command of the operator's that is run when a CHILD_SA comes up and when it is gone.
//!
//! As with charon it is run for each pair of selectors, told everything by PLUTO_* variables, not run when a CHILD_SA or its
//! IKE_SA is rekeyed or moves (the `down` then says where it ended), and run anew by a reauthentication. Unlike charon it
//! never holds up the protocol: workers run it, and what it does cannot take longer than a bound.

mod environment;
mod queue;
mod script;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_ike::{AuthMethod, ChildSaView, IkeSaView, Snapshot};
use adit_linux::route::Netlink;

use crate::driver::Driver;
use crate::log::Logger;
use environment::{Surroundings, calls};
use queue::{Job, Queue};

/// What charon says where an address is on no interface.
const NO_INTERFACE: &str = "unknown";

/// The children whose command has been run for `up`.
pub(crate) struct Updown {
    queue: Arc<Queue>,
    up: BTreeMap<u32, Up>,
}

/// What `down` is to be run with.
struct Up {
    command: Arc<str>,
    around: Surroundings,
}

impl Updown {
    /// Nothing is up yet.
    pub(crate) fn new(logger: Arc<Logger>) -> Self {
        Self { queue: Queue::new(logger), up: BTreeMap::new() }
    }

    /// Calls that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// A CHILD_SA has taken another's place.
    pub(crate) fn rekeyed(&mut self, old: u32, new: u32) {
        if let Some(it) = self.up.remove(&old) {
            self.up.insert(new, it);
        }
    }

    /// Waits for what is still to be run, but not longer than this.
    pub(crate) fn finish(&self, bound: Duration) {
        self.queue.finish(bound);
    }

    /// A CHILD_SA is gone.
    fn down(&mut self, ike: &IkeSaView<'_>, child: &ChildSaView<'_>, limit: Duration) {
        if let Some(it) = self.up.remove(&child.id) {
            self.queue.push(job(false, ike, child, &it), limit);
        }
    }
}

fn job(up: bool, ike: &IkeSaView<'_>, child: &ChildSaView<'_>, it: &Up) -> Job {
    Job {
        key: format!("{}/{} {:?}", ike.name, child.name, child.remote_ts),
        command: Arc::clone(&it.command),
        calls: calls(up, ike, child, &it.around),
        child: Arc::clone(&child.name),
        sa: (Arc::clone(&ike.name), ike.id),
        up,
    }
}

impl Driver {
    /// A CHILD_SA has come up.
    pub(crate) fn updown_up(&mut self, ike: u32, id: u32) {
        let Some(view) = self.endpoint.ike_sa(ike) else { return };
        let Some(child) = view.children.iter().find(|child| child.id == id) else { return };
        let conf = self
            .store
            .conf(&view.name)
            .and_then(|conn| conn.children.iter().find(|it| *it.name == *child.name));
        let Some((conf, command)) = conf.and_then(|conf| Some((conf, conf.updown.as_deref()?))) else {
            return;
        };
        let me = view.local.map(|local| local.ip());
        let around = Surroundings {
            interface: me
                .and_then(|me| interface(&mut self.netlink, me))
                .unwrap_or_else(|| NO_INTERFACE.into()),
            dns: if self.settings.updown_dns { view.local_dns.to_vec() } else { Vec::new() },
            eap: self.store.ike(&view.name).is_some_and(|conn| conn.remote.method == AuthMethod::Eap),
            host_access: conf.hostaccess,
        };
        let it = Up { command: command.into(), around };
        // What was not run is not to be taken back.
        if self.updown.queue.push(job(true, &view, child, &it), self.settings.adit.updown_timeout) {
            self.updown.up.insert(id, it);
        }
    }

    /// A CHILD_SA is gone: what it was like just before.
    pub(crate) fn updown_down(&mut self, snapshot: &Snapshot) {
        for child in &snapshot.children {
            self.updown.down(snapshot, child, self.settings.adit.updown_timeout);
        }
    }

    /// Whatever is still up goes with the daemon.
    pub(crate) fn updown_all_down(&mut self) {
        for view in self.endpoint.ike_sas() {
            for child in &view.children {
                self.updown.down(&view, child, self.settings.adit.updown_timeout);
            }
        }
    }
}

/// The name of the interface that has an address.
fn interface(netlink: &mut Netlink, address: IpAddr) -> Option<String> {
    let ifindex = netlink.addresses().ok()?.into_iter().find(|it| it.address == address)?.ifindex;
    netlink.link_info(ifindex).ok().map(|(name, _)| name)
}
