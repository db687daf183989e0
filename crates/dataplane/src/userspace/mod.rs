//! ESP in user space: a TUN device on the inside, UDP and raw sockets on the outside, one worker thread between.
//!
//! Control (this file) changes the tables under a lock that the worker takes once per batch of packets; addresses,
//! routes and rules are control's alone. The worker owns the device, the queue of waiting packets and the
//! buffers.

mod mtu;
mod outer;
mod policy;
mod queue;
mod receiving;
mod sa;
mod sending;
mod shunts;
mod toobig;
mod transport;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_ipsec::{ChildSa, EntryOptions, ShuntPolicy, TrapPolicy, Usage};
use adit_linux::poll::{Poller, Waker};
use adit_linux::raw::{EspSocket, HeaderSocket};
use adit_linux::route::Netlink;
use adit_linux::tun::Tun;
use adit_linux::udp::UdpSocket;

pub use adit_linux::route::Fwmark;
pub use worker::IkeSink;

use self::policy::{Target, Trap};
use self::sa::Sa;
use self::shunts::Shunts;
use self::worker::{CounterCells, Shared, Tables, Worker};
use crate::routes::{Needs, Owner, Place, RouteBook, RouteConfig};
use crate::{Counters, Dataplane, DataplaneEvents, InstallError, Own};

/// Firewall mark of the daemon's own packets unless another is configured: where the tunnel is for the peer itself, a
/// rule in front of the one for the routing table keeps packets with it out of the tunnel.
pub const MARK: u32 = 220;

/// How the userspace data plane fits into the host.
#[derive(Debug, Clone)]
pub struct UserspaceConfig {
    /// Name of the TUN device.
    pub tun_name: String,
    /// Routes, rules and virtual IPs. The mark of the sockets is also that of the raw ESP sockets
    /// (`charon.plugins.socket-default.fwmark`). With a mark in the rule, sockets must carry the one that keeps them out
    /// of the tunnel, and no `throw` routes are made.
    pub routes: RouteConfig,
    /// MTU of the TUN device; by default found from the paths of the SAs, at most 1400.
    pub mtu: Option<u32>,
    /// Whether to open raw sockets for ESP without UDP encapsulation.
    pub raw_esp: bool,
}

impl Default for UserspaceConfig {
    fn default() -> Self {
        Self {
            tun_name: "adit0".to_owned(),
            routes: RouteConfig { socket_mark: Some(MARK), ..RouteConfig::default() },
            mtu: None,
            raw_esp: true,
        }
    }
}

/// What control remembers of one CHILD_SA.
#[derive(Debug)]
struct Child {
    sa: Arc<Sa>,
    spi_in: u32,
    replaces: Option<u32>,
    sending: bool,
    /// Its algorithms, for what they add to a packet; no keys.
    sizes: mtu::Sizes,
}

/// The userspace data plane.
pub struct Userspace {
    config: UserspaceConfig,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
    book: RouteBook,
    children: BTreeMap<u32, Child>,
    traps: BTreeMap<u32, Arc<Trap>>,
    shunts: Shunts,
    ifindex: u32,
    mtu: u32,
    raw_v4: bool,
    raw_v6: bool,
}

impl std::fmt::Debug for Userspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Userspace").field("children", &self.children.len()).finish_non_exhaustive()
    }
}

/// Starts a userspace data plane; see [`Userspace::new`].
///
/// # Errors
/// As [`Userspace::new`].
pub fn new(
    config: UserspaceConfig,
    nat_t_sockets: Vec<Arc<UdpSocket>>,
    ike_sink: IkeSink,
    events: DataplaneEvents,
) -> io::Result<Userspace> {
    Userspace::new(config, nat_t_sockets, ike_sink, events)
}

impl Userspace {
    /// Removes what a killed predecessor left, makes the device and the rules, starts the worker.
    ///
    /// The worker reads `nat_t_sockets`; others may send on them. Everything happens in the network namespace of
    /// the calling thread.
    ///
    /// # Errors
    /// A text that names what could not be done; nothing is left behind then.
    pub fn new(
        config: UserspaceConfig,
        nat_t_sockets: Vec<Arc<UdpSocket>>,
        ike_sink: IkeSink,
        events: DataplaneEvents,
    ) -> io::Result<Self> {
        let tun = Tun::open(&config.tun_name)?;
        let ifindex = tun.index();
        let mut book = RouteBook::start(config.routes.clone(), Place::Device(ifindex))?;
        let shunts = Shunts::start(&config.tun_name);
        let started = Self::start(&config, tun, &mut book, nat_t_sockets, ike_sink, events);
        match started {
            Ok((shared, worker, raw)) => Ok(Self {
                mtu: config.mtu.unwrap_or(mtu::DEFAULT),
                config,
                shared,
                worker: Some(worker),
                book,
                children: BTreeMap::new(),
                traps: BTreeMap::new(),
                shunts,
                ifindex,
                raw_v4: raw.contains(&true),
                raw_v6: raw.contains(&false),
            }),
            Err(error) => {
                book.clear();
                Err(error)
            }
        }
    }

    /// Brings the device up and starts the worker; returns it with the families it has raw sockets of (`true`: 4).
    fn start(
        config: &UserspaceConfig,
        tun: Tun,
        book: &mut RouteBook,
        udp: Vec<Arc<UdpSocket>>,
        ike_sink: IkeSink,
        events: DataplaneEvents,
    ) -> io::Result<(Arc<Shared>, JoinHandle<()>, Vec<bool>)> {
        let ifindex = tun.index();
        // No link-local address: it would only send router solicitations into the tunnel. Where /proc/sys is
        // read-only they are dropped as traffic no SA is for.
        let _ = adit_linux::netns::sysctl(&format!("net/ipv6/conf/{}/addr_gen_mode", config.tun_name), "1");
        book.netlink.set_mtu(ifindex, config.mtu.unwrap_or(mtu::DEFAULT))?;
        book.netlink.link_up(ifindex)?;
        book.keep_up(ifindex);

        let mut raw = Vec::new();
        if config.raw_esp {
            // Without the privilege only UDP encapsulation works; an SA that needs more says so when installed.
            raw.extend(
                [true, false]
                    .into_iter()
                    .filter_map(|v4| EspSocket::open(v4, config.routes.socket_mark).ok()),
            );
        }
        let whole = if config.raw_esp { HeaderSocket::open(config.routes.socket_mark).ok() } else { None };
        let families = raw.iter().map(EspSocket::is_v4).collect();
        let shared = Arc::new(Shared {
            tables: RwLock::new(Tables::default()),
            counters: CounterCells::default(),
            waker: Waker::new()?,
            stop: AtomicBool::new(false),
            flush: AtomicBool::new(false),
            start: Instant::now(),
        });
        let poller = Poller::new()?;
        let worker = Worker { shared: shared.clone(), tun, udp, raw, whole, ike_sink, events, poller };
        worker.register()?;
        let netlink = Netlink::new()?.marked(config.routes.socket_mark);
        let work = move || worker.run(netlink);
        let thread = std::thread::Builder::new().name("adit-esp".to_owned()).spawn(work)?;
        Ok((shared, thread, families))
    }

    /// Packets carried and dropped so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    /// The TUN device's current MTU.
    #[must_use]
    pub const fn mtu(&self) -> u32 {
        self.mtu
    }

    fn tables(&self) -> RwLockWriteGuard<'_, Tables> {
        self.shared.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells an SA the MTU of its path, and lowers the device's if that needs it. It is never raised while SAs are up: hosts
    /// behind us would have to find out the smaller one again.
    fn fit_mtu(&mut self, remote: IpAddr, sizes: mtu::Sizes, sa: &Sa) {
        let Ok(way) = self.book.netlink.way_to_marked(remote, self.config.routes.socket_mark) else {
            return;
        };
        sa.set_path_mtu(way.mtu);
        if way.mtu == 0 || self.config.mtu.is_some() {
            return;
        }
        let fits = sizes.inner(way.mtu, remote.is_ipv6()).max(mtu::LEAST);
        if fits < self.mtu && self.book.netlink.set_mtu(self.ifindex, fits).is_ok() {
            self.mtu = fits;
        }
    }

    /// Checks that a path can be served.
    fn check_path(&self, name: &str, remote: SocketAddr, udp_encap: bool) -> Result<(), InstallError> {
        let raw = if remote.is_ipv4() { self.raw_v4 } else { self.raw_v6 };
        if udp_encap || raw {
            return Ok(());
        }
        Err(InstallError::new(format!(
            "CHILD_SA {name} needs ESP without UDP encapsulation, and there is no raw socket for it; run with \
             CAP_NET_RAW or set encap = yes"
        )))
    }

    /// Lets an SA send, in place of the one it replaces.
    fn start_sending(&mut self, id: u32) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if child.sending {
            return;
        }
        child.sending = true;
        let sa = child.sa.clone();
        let old = child.replaces.take().and_then(|old| self.children.get_mut(&old)).map(|old| {
            old.sending = false;
            old.sa.clone()
        });
        let mut tables = self.tables();
        tables.policies.insert(&Target::Sa(sa));
        if let Some(old) = old {
            tables.policies.remove(&Target::Sa(old));
        }
        // While the lock is held, so that no younger packet overtakes the waiting ones.
        self.shared.flush.store(true, Relaxed);
        drop(tables);
        self.shared.waker.wake();
    }
}

impl Dataplane for Userspace {
    fn name(&self) -> &'static str {
        "userspace"
    }

    fn serves(&self, options: &EntryOptions) -> Result<(), InstallError> {
        let keys: Vec<&str> = options.kernel_keys().collect();
        if keys.is_empty() {
            return Ok(());
        }
        Err(InstallError::new(format!(
            "the userspace data plane does not serve {}; it takes the kernel's (`adit.dataplane = kernel`)",
            keys.join(", ")
        )))
    }

    fn install(&mut self, child: ChildSa) -> Result<(), InstallError> {
        if self.worker.is_none() {
            return Err(InstallError::new("the data plane has been shut down"));
        }
        self.serves(&child.options)?;
        self.check_path(&child.name, child.remote, child.udp_encap)?;
        if self.children.contains_key(&child.id) {
            return Err(InstallError::new(format!("a CHILD_SA with id {} is installed already", child.id)));
        }
        let taken = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner);
        if taken.inbound.contains_key(&child.spi_in) {
            return Err(InstallError::new(format!("SPI {:08x} is in use already", child.spi_in)));
        }
        drop(taken);
        let sa = Arc::new(Sa::new(&child)?);
        self.book.add(Owner::Child(child.id), Needs::from(&child))?;
        let sizes = mtu::Sizes::of(&child.keys_out);
        self.fit_mtu(child.remote.ip(), sizes, &sa);
        self.tables().inbound.insert(child.spi_in, sa.clone());
        let entry = Child { sa, spi_in: child.spi_in, replaces: child.replaces, sending: false, sizes };
        self.children.insert(child.id, entry);
        if child.outbound_ready {
            self.start_sending(child.id);
        }
        Ok(())
    }

    fn activate_outbound(&mut self, id: u32) {
        self.start_sending(id);
    }

    fn update_path(&mut self, id: u32, local: SocketAddr, remote: SocketAddr, udp_encap: bool) {
        let Some(child) = self.children.get(&id) else { return };
        // Without its throw route a full tunnel would swallow its own packets; all that can be done about a
        // failure is to let the peer's silence be noticed.
        let _ = self.book.move_path(Owner::Child(id), local.ip(), remote.ip());
        child.sa.set_path(local, remote, udp_encap);
        let (sizes, sa) = (child.sizes, Arc::clone(&child.sa));
        self.fit_mtu(remote.ip(), sizes, &sa);
    }

    fn skip_sequence(&mut self, id: u32, by: u64) {
        if let Some(child) = self.children.get(&id) {
            child.sa.outbound.skip(by);
        }
    }

    fn remove(&mut self, id: u32) {
        let Some(child) = self.children.remove(&id) else { return };
        let mut tables = self.tables();
        tables.inbound.remove(&child.spi_in);
        tables.policies.remove(&Target::Sa(child.sa));
        drop(tables);
        self.book.remove(Owner::Child(id));
        if self.children.is_empty() && self.config.mtu.is_none() && self.mtu != mtu::DEFAULT {
            // Nobody is left who needed it smaller.
            if self.book.netlink.set_mtu(self.ifindex, mtu::DEFAULT).is_ok() {
                self.mtu = mtu::DEFAULT;
            }
        }
    }

    fn usage(&self, id: u32) -> Option<Usage> {
        Some(self.children.get(&id)?.sa.usage(self.shared.start))
    }

    fn add_trap(&mut self, policy: TrapPolicy) -> Result<(), InstallError> {
        if self.worker.is_none() {
            return Err(InstallError::new("the data plane has been shut down"));
        }
        self.serves(&policy.options)?;
        self.remove_trap(policy.id);
        self.book.add(Owner::Trap(policy.id), Needs::from(&policy))?;
        let trap = Arc::new(Trap { id: policy.id, local_ts: policy.local_ts, remote_ts: policy.remote_ts });
        self.tables().policies.insert(&Target::Trap(trap.clone()));
        self.traps.insert(policy.id, trap);
        Ok(())
    }

    fn remove_trap(&mut self, id: u32) {
        let Some(trap) = self.traps.remove(&id) else { return };
        let mut tables = self.tables();
        tables.policies.remove(&Target::Trap(trap));
        self.shared.flush.store(true, Relaxed);
        drop(tables);
        self.shared.waker.wake();
        self.book.remove(Owner::Trap(id));
    }

    fn add_shunt(&mut self, policy: ShuntPolicy) -> Result<(), InstallError> {
        if self.worker.is_none() {
            return Err(InstallError::new("the data plane has been shut down"));
        }
        self.serves(&policy.options)?;
        self.shunts.add(&mut self.book, policy)
    }

    fn remove_shunt(&mut self, id: u32) {
        self.shunts.remove(&mut self.book, id);
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
        let Some(worker) = self.worker.take() else { return };
        // Routes before the device: routing daemons see them withdrawn one by one, and what is not bound to the
        // device must go anyway.
        self.shunts.clear(&mut self.book);
        self.book.clear();
        self.shared.stop.store(true, Relaxed);
        self.shared.waker.wake();
        // A worker that panicked has dropped its device too.
        let _ = worker.join();
        // Closing the device deletes it, unless a child process being started holds a copy for a moment.
        let _ = self.book.netlink.del_link(self.ifindex);
        self.children.clear();
        self.traps.clear();
        *self.tables() = Tables::default();
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        self.shutdown();
    }
}
