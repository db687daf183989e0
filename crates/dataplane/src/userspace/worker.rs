//! The thread that carries packets: TUN to ESP and ESP to TUN, in bounded turns, both sides in alternation.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use adit_crypto::SystemRandom;
use adit_ipsec::parse_packet;
use adit_linux::poll::{Poller, Waker};
use adit_linux::raw::{EspSocket, HeaderSocket};
use adit_linux::route::Netlink;
use adit_linux::tun::Tun;
use adit_linux::udp::UdpSocket;

use super::policy::{Policies, Target};
use super::queue::Queue;
use super::receiving::Came;
use super::sa::Sa;
use crate::{Counters, Datagram, DataplaneEvent, DataplaneEvents};

/// Packets taken from one descriptor before the others have their turn.
const BATCH: usize = 32;
/// Largest datagram, and room for it.
const BUFFER: usize = 65_535;
/// How often old packets are looked for among the waiting.
const QUEUE_TICK: Duration = Duration::from_secs(1);
/// Events about unauthenticated or refused packets, per second and data plane.
const HINTS_PER_SECOND: u32 = 10;
/// ICMP errors to the inside, per second (RFC 1812 §4.3.2.8).
const ERRORS_PER_SECOND: u32 = 100;

const TOKEN_WAKER: u64 = 0;
const TOKEN_TUN: u64 = 1;
const TOKEN_UDP: u64 = 0x100;
const TOKEN_RAW: u64 = 0x200;

/// SAs and policies, as control changes them and the worker reads them (locked once per batch).
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By inbound SPI.
    pub(super) inbound: std::collections::HashMap<u32, Arc<Sa>>,
    pub(super) policies: Policies,
}

/// Where IKE messages that came on NAT-T sockets go. Called from the worker: must not block.
pub type IkeSink = Box<dyn Fn(Datagram) + Send>;

/// [`Counters`] while they count.
#[derive(Debug, Default)]
pub(super) struct CounterCells {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) no_policy: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) seal_failed: AtomicU64,
    pub(super) send_failed: AtomicU64,
    pub(super) too_big: AtomicU64,
    pub(super) not_whole: AtomicU64,
    pub(super) congested: AtomicU64,
    pub(super) dummies: AtomicU64,
    pub(super) unknown_spi: AtomicU64,
    pub(super) open_failed: AtomicU64,
    pub(super) selector_mismatch: AtomicU64,
    pub(super) deliver_failed: AtomicU64,
}

impl CounterCells {
    pub(super) fn read(&self) -> Counters {
        Counters {
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            no_policy: self.no_policy.load(Relaxed),
            queue_full: self.queue_full.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            seal_failed: self.seal_failed.load(Relaxed),
            send_failed: self.send_failed.load(Relaxed),
            too_big: self.too_big.load(Relaxed),
            not_whole: self.not_whole.load(Relaxed),
            congested: self.congested.load(Relaxed),
            dummies: self.dummies.load(Relaxed),
            unknown_spi: self.unknown_spi.load(Relaxed),
            open_failed: self.open_failed.load(Relaxed),
            selector_mismatch: self.selector_mismatch.load(Relaxed),
            deliver_failed: self.deliver_failed.load(Relaxed),
        }
    }
}

pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What control and worker share.
pub(super) struct Shared {
    pub(super) tables: RwLock<Tables>,
    pub(super) counters: CounterCells,
    pub(super) waker: Waker,
    pub(super) stop: AtomicBool,
    /// Set, with the tables locked, when an SA was installed that waiting packets may be for.
    pub(super) flush: AtomicBool,
    pub(super) start: Instant,
}

/// Sockets and device of a worker.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) tun: Tun,
    pub(super) udp: Vec<Arc<UdpSocket>>,
    pub(super) raw: Vec<EspSocket>,
    /// For IPv4 packets with DF.
    pub(super) whole: Option<HeaderSocket>,
    pub(super) ike_sink: IkeSink,
    pub(super) events: DataplaneEvents,
    pub(super) poller: Poller,
}

/// What changes while a worker runs.
pub(super) struct Running {
    queue: Queue,
    /// When the queue was last freed of old packets.
    expired: Instant,
    pub(super) random: SystemRandom,
    /// The packet being made.
    pub(super) out: Vec<u8>,
    pub(super) hints: Limiter,
    /// For ICMP errors to the inside.
    pub(super) errors: Limiter,
    pub(super) netlink: Netlink,
}

/// Limits what strangers can cause, by the second.
pub(super) struct Limiter {
    since: Instant,
    left: u32,
    per_second: u32,
}

impl Limiter {
    fn new(per_second: u32) -> Self {
        Self { since: Instant::now(), left: per_second, per_second }
    }

    pub(super) fn allow(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::new(self.per_second);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

impl Worker {
    /// Adds all descriptors to the poller.
    pub(super) fn register(&self) -> io::Result<()> {
        self.poller.add(&self.shared.waker, TOKEN_WAKER)?;
        self.poller.add(&self.tun, TOKEN_TUN)?;
        for (token, socket) in (TOKEN_UDP..).zip(&self.udp) {
            self.poller.add(&**socket, token)?;
        }
        for (token, socket) in (TOKEN_RAW..).zip(&self.raw) {
            self.poller.add(socket, token)?;
        }
        Ok(())
    }

    /// Carries packets until told to stop; `netlink` is asked for the MTU of paths.
    pub(super) fn run(self, netlink: Netlink) {
        let mut buffer = vec![0; BUFFER];
        let mut ready = Vec::new();
        let mut running = Running {
            queue: Queue::default(),
            expired: Instant::now(),
            random: SystemRandom,
            out: Vec::with_capacity(BUFFER),
            hints: Limiter::new(HINTS_PER_SECOND),
            errors: Limiter::new(ERRORS_PER_SECOND),
            netlink,
        };
        while !self.shared.stop.load(Relaxed) {
            let timeout = (!running.queue.is_empty()).then_some(QUEUE_TICK);
            if self.poller.wait(&mut ready, timeout).is_err() {
                // Nothing that can be waited for any more; control notices when it stops us.
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            for token in &ready {
                match *token {
                    TOKEN_WAKER => self.shared.waker.drain(),
                    TOKEN_TUN => self.drain_tun(&mut running, &mut buffer),
                    token if token >= TOKEN_RAW => {
                        self.drain_raw(&mut running, &mut buffer, token - TOKEN_RAW)
                    }
                    token => self.drain_udp(&mut running, &mut buffer, token - TOKEN_UDP),
                }
            }
            if self.shared.flush.load(Relaxed) {
                let tables = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner);
                self.flush(&mut running, &tables);
            }
            if !running.queue.is_empty() && running.expired.elapsed() >= QUEUE_TICK {
                running.expired = Instant::now();
                let dropped = running.queue.expire(running.expired);
                self.shared.counters.queue_full.fetch_add(dropped, Relaxed);
            }
        }
    }

    fn drain_tun(&self, running: &mut Running, buffer: &mut [u8]) {
        let tables = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner);
        // Before any packet that comes later: those that have waited are the older ones.
        self.flush(running, &tables);
        for _ in 0..BATCH {
            let length = match self.tun.recv(buffer) {
                Ok(length) => length,
                Err(e) if Tun::is_gone(&e) => {
                    // Else it would wake us for ever.
                    let _ = self.poller.remove(&self.tun);
                    return (self.events)(DataplaneEvent::DeviceLost);
                }
                Err(_) => return,
            };
            let Some(packet) = buffer.get(..length) else { return };
            self.outbound(running, &tables.policies, packet);
        }
    }

    fn outbound(&self, running: &mut Running, policies: &Policies, packet: &[u8]) {
        let Some(info) = parse_packet(packet) else { return bump(&self.shared.counters.malformed) };
        match policies.lookup(&info) {
            Some(Target::Sa(sa)) => self.seal_and_send(running, sa, &info, packet),
            Some(Target::Trap(trap)) => {
                let pushed = running.queue.push(trap.id, packet, Instant::now());
                if !pushed.queued {
                    bump(&self.shared.counters.queue_full);
                }
                if pushed.ask {
                    (self.events)(DataplaneEvent::Acquire { trap_id: trap.id, packet: info });
                }
            }
            None => bump(&self.shared.counters.no_policy),
        }
    }

    /// Sends what waited for an SA that is there now, if one was installed.
    fn flush(&self, running: &mut Running, tables: &Tables) {
        if !self.shared.flush.swap(false, Relaxed) {
            return;
        }
        let mut queue = std::mem::take(&mut running.queue);
        queue.flush(|packet| {
            let Some(info) = parse_packet(packet) else { return true };
            match tables.policies.lookup(&info) {
                Some(Target::Trap(_)) => return false,
                Some(Target::Sa(sa)) => self.seal_and_send(running, sa, &info, packet),
                None => bump(&self.shared.counters.no_policy),
            }
            true
        });
        running.queue = queue;
    }

    fn drain_udp(&self, running: &mut Running, buffer: &mut [u8], index: u64) {
        let Some(socket) = usize::try_from(index).ok().and_then(|i| self.udp.get(i)) else { return };
        let tables = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..BATCH {
            let (length, meta) = match socket.recv(buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => continue, // An ICMP error about something sent before, or a giant: not for us.
            };
            let Some(datagram) = buffer.get_mut(..length) else { continue };
            // RFC 3948 §2.2, §2.3: four zero bytes are IKE, a single 0xff is a keepalive, all else is ESP.
            if let Some(message) = datagram.strip_prefix(&[0, 0, 0, 0]) {
                let bytes = message.to_vec();
                (self.ike_sink)(Datagram { local: meta.local, remote: meta.remote, bytes });
            } else if !adit_esp::is_nat_keepalive(datagram) {
                let came =
                    Came { local: meta.local.ip(), remote: meta.remote, fields: meta.fields, encap: true };
                self.inbound(running, &tables, datagram, came);
            }
        }
    }

    fn drain_raw(&self, running: &mut Running, buffer: &mut [u8], index: u64) {
        let Some(socket) = usize::try_from(index).ok().and_then(|i| self.raw.get(i)) else { return };
        let tables = self.shared.tables.read().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..BATCH {
            let meta = match socket.recv(buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            let Some(packet) = buffer.get_mut(meta.packet) else { continue };
            let remote = SocketAddr::new(meta.remote, 0);
            let came = Came { local: meta.local, remote, fields: meta.fields, encap: false };
            self.inbound(running, &tables, packet, came);
        }
    }
}
