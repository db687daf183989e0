//! ESP in the kernel: SAs and policies over XFRM netlink.
//!
//! In: CHILD_SAs, traps, shunts. Out: entries of the kernel's SAD and SPD, and what it tells about them. One book
//! (`state`) says what should be there; control changes it on the protocol thread, and a thread of its own
//! (`watch`) hears the kernel and puts back what others take away. Entries of others are never touched: ours carry a mark
//! (`marker`), by which a later aditd also knows what one that was killed has left.
//!
//! The kernel's SPD is ordered by priorities, computed as strongSwan does. Templates name the reqid and no SPI: the kernel
//! then takes the newest SA of that reqid, and rekeying touches no policy.

mod entries;
mod larval;
mod marker;
mod moving;
mod pairs;
mod priority;
mod probe;
mod repair;
mod spd;
mod state;
mod sweep;
mod watch;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ipsec::{ChildSa, EntryOptions, PerCpu, Shunt, ShuntPolicy, TrapPolicy, Usage};
use adit_linux::poll::Waker;
use adit_linux::route::Netlink;
use adit_linux::xfrm::{Monitor, Xfrm};

use self::moving::Made;
use self::state::State;
use self::watch::Shared;
use crate::routes::{Needs, Owner, Place, RouteBook};
use crate::{Dataplane, DataplaneEvent, DataplaneEvents, InstallError, Own, RouteConfig};

/// The kernel's data plane.
pub struct Kernel {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
    book: RouteBook,
    /// Keeps others from starting beside us.
    _only_one: UnixListener,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("children", &self.shared.state().children.len())
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Finds out whether the kernel does ESP, removes what a killed predecessor left, makes the rules of the routing table,
    /// and starts listening. Everything happens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// A sentence that says what is missing and what to do; nothing is left behind then.
    pub fn new(routes: RouteConfig, events: DataplaneEvents) -> io::Result<Self> {
        let only_one = sweep::only_one()?;
        let mut xfrm = Xfrm::new()?;
        probe::probe(&mut xfrm)?;
        // Before anything is ours, so that nothing that happens to it is missed.
        let monitor = Monitor::new()?;
        let swept = sweep::sweep(&mut xfrm)?;
        let shared = Arc::new(Shared {
            port: xfrm.port(),
            state: Mutex::new(State::new(xfrm, Netlink::new()?)),
            stop: AtomicBool::new(false),
            waker: Waker::new()?,
            events,
        });
        let poller = watch::poller(&shared, &monitor)?;
        let mut book = RouteBook::start(routes, Place::Path)?;
        let watched = Arc::clone(&shared);
        let work = move || watch::watch(&watched, monitor, &poller);
        let watcher = match std::thread::Builder::new().name("adit-xfrm".to_owned()).spawn(work) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                book.clear();
                return Err(error);
            }
        };
        if swept > 0 {
            let sentence = format!("removed {swept} SAs and policies that an aditd before this one has left");
            (shared.events)(DataplaneEvent::Disturbed { sentence });
        }
        Ok(Self { shared, watcher, book, _only_one: only_one })
    }

    fn running(&self) -> Result<(), InstallError> {
        match self.watcher {
            Some(_) => Ok(()),
            None => Err(InstallError::new("the data plane has been shut down")),
        }
    }

    /// What could not be made again is rekeyed.
    fn tell(&self, id: u32, made: Made) {
        let Made::Lost(error) = made else { return };
        let sentence = format!("an SA of CHILD_SA #{id} is lost, rekeying it: {error}");
        (self.shared.events)(DataplaneEvent::Disturbed { sentence });
        (self.shared.events)(DataplaneEvent::Expired { id, hard: false });
    }
}

impl Dataplane for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn serves(&self, options: &EntryOptions) -> Result<(), InstallError> {
        if options.per_cpu == PerCpu::No {
            return Ok(());
        }
        Err(InstallError::new("SAs of one CPU each (per_cpu_sas) are not served yet"))
    }

    fn if_id(&mut self, connection: &str) -> u32 {
        self.book.if_id(connection)
    }

    fn install(&mut self, sa: ChildSa) -> Result<(), InstallError> {
        self.running()?;
        self.serves(&sa.options)?;
        self.shared.state().install(&sa)?;
        let added = self.book.add(Owner::Child(sa.id), Needs::from(&sa));
        if added.is_err() {
            self.shared.state().remove(sa.id);
        }
        added
    }

    fn activate_outbound(&mut self, id: u32) {
        let result = self.shared.state().activate(id);
        if let Err(error) = result {
            (self.shared.events)(DataplaneEvent::Disturbed { sentence: error.sentence });
            (self.shared.events)(DataplaneEvent::Expired { id, hard: true });
        }
    }

    fn update_path(&mut self, id: u32, local: SocketAddr, remote: SocketAddr, udp_encap: bool) {
        let made = self.shared.state().update_path(id, local, remote, udp_encap);
        self.tell(id, made);
        // All that can be done about a failure is to let the peer's silence be noticed.
        let _ = self.book.move_path(Owner::Child(id), local.ip(), remote.ip());
    }

    fn skip_sequence(&mut self, id: u32, by: u64) {
        let made = self.shared.state().skip_sequence(id, by);
        self.tell(id, made);
    }

    fn remove(&mut self, id: u32) {
        self.shared.state().remove(id);
        self.book.remove(Owner::Child(id));
    }

    fn usage(&self, id: u32) -> Option<Usage> {
        self.shared.state().usage(id)
    }

    fn add_trap(&mut self, trap: TrapPolicy) -> Result<(), InstallError> {
        self.running()?;
        self.serves(&trap.options)?;
        self.remove_trap(trap.id);
        self.shared.state().add_trap(&trap)?;
        let added = self.book.add(Owner::Trap(trap.id), Needs::from(&trap));
        if added.is_err() {
            self.shared.state().remove_trap(trap.id);
        }
        added
    }

    fn remove_trap(&mut self, id: u32) {
        self.shared.state().remove_trap(id);
        self.book.remove(Owner::Trap(id));
    }

    fn add_shunt(&mut self, policy: ShuntPolicy) -> Result<(), InstallError> {
        self.running()?;
        self.serves(&policy.options)?;
        self.remove_shunt(policy.id);
        self.shared.state().add_shunt(&policy)?;
        if policy.kind == Shunt::Drop {
            return Ok(());
        }
        let added = self.book.add(Owner::Shunt(policy.id), Needs::from(&policy));
        if added.is_err() {
            self.shared.state().remove_shunt(policy.id);
        }
        added
    }

    fn remove_shunt(&mut self, id: u32) {
        self.shared.state().remove_shunt(id);
        self.book.remove(Owner::Shunt(id));
    }

    fn add_virtual_ip(&mut self, address: IpAddr, local: IpAddr) -> Result<(), InstallError> {
        Ok(self.book.add_vip(address, local)?)
    }

    fn remove_virtual_ip(&mut self, address: IpAddr) {
        self.book.remove_vip(address);
    }

    fn own(&self) -> Own {
        self.book.own()
    }

    fn hidden_table(&self) -> Option<u32> {
        self.book.hidden_table()
    }

    fn addresses_changed(&mut self) -> Option<Duration> {
        self.book.refresh()
    }

    fn mend(&mut self) -> Option<Duration> {
        self.book.mend()
    }

    fn notes(&mut self) -> Vec<String> {
        self.book.take_notes()
    }

    fn shutdown(&mut self) {
        let Some(watcher) = self.watcher.take() else { return };
        self.shared.stop.store(true, Relaxed);
        self.shared.waker.wake();
        // A watcher that panicked holds nothing.
        let _ = watcher.join();
        self.book.clear();
        self.shared.state().clear();
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.shutdown();
    }
}
