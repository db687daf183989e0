//! The thread that carries packets: TUN to ESP and ESP to TUN, in bounded turns, both sides in alternation.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use adit_crypto::SystemRandom;
use adit_esp::EspError;
use adit_ipsec::{PacketInfo, parse_packet};
use adit_linux::poll::{Poller, Waker, wait_writable};
use adit_linux::raw::EspSocket;
use adit_linux::tun::Tun;
use adit_linux::udp::UdpSocket;

use super::policy::{Policies, Target};
use super::queue::Queue;
use super::sa::Sa;
use crate::state::millis_since;
use crate::{Counters, Datagram, DataplaneEvent, DataplaneEvents};

/// Packets taken from one descriptor before the others have their turn.
const BATCH: usize = 32;
/// Largest datagram, and room for it.
const BUFFER: usize = 65_535;
/// How long a full socket may hold up the worker before a packet is dropped.
const SEND_PATIENCE: Duration = Duration::from_millis(5);
/// How often old packets are looked for among the waiting.
const QUEUE_TICK: Duration = Duration::from_secs(1);
/// Events about unauthenticated or refused packets, per second and data plane.
const HINTS_PER_SECOND: u32 = 10;
/// With less than this fraction of the sequence numbers left it is time to rekey (RFC 4303 §3.3.3): 1/16.
const SEQUENCE_LEFT_SHIFT: u32 = 4;

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
    sent: AtomicU64,
    received: AtomicU64,
    no_policy: AtomicU64,
    queue_full: AtomicU64,
    malformed: AtomicU64,
    seal_failed: AtomicU64,
    send_failed: AtomicU64,
    unknown_spi: AtomicU64,
    open_failed: AtomicU64,
    selector_mismatch: AtomicU64,
    deliver_failed: AtomicU64,
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
            unknown_spi: self.unknown_spi.load(Relaxed),
            open_failed: self.open_failed.load(Relaxed),
            selector_mismatch: self.selector_mismatch.load(Relaxed),
            deliver_failed: self.deliver_failed.load(Relaxed),
        }
    }
}

fn bump(counter: &AtomicU64) {
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
    pub(super) ike_sink: IkeSink,
    pub(super) events: DataplaneEvents,
    pub(super) poller: Poller,
}

/// What changes while a worker runs.
struct Running {
    queue: Queue,
    /// When the queue was last freed of old packets.
    expired: Instant,
    random: SystemRandom,
    /// The ESP packet being made.
    out: Vec<u8>,
    hints: Hints,
}

/// Limits events that strangers can cause.
struct Hints {
    since: Instant,
    left: u32,
}

impl Hints {
    fn allow(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self { since: Instant::now(), left: HINTS_PER_SECOND };
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

    /// Carries packets until told to stop.
    pub(super) fn run(self) {
        let mut buffer = vec![0; BUFFER];
        let mut ready = Vec::new();
        let mut running = Running {
            queue: Queue::default(),
            expired: Instant::now(),
            random: SystemRandom,
            out: Vec::with_capacity(BUFFER),
            hints: Hints { since: Instant::now(), left: HINTS_PER_SECOND },
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

    fn seal_and_send(&self, running: &mut Running, sa: &Sa, info: &PacketInfo, packet: &[u8]) {
        let counters = &self.shared.counters;
        if sa.is_spent() {
            return bump(&counters.seal_failed);
        }
        let next_header = if info.dst.is_ipv4() { 4 } else { 41 };
        running.out.clear();
        match sa.outbound.seal(next_header, packet, &mut running.random, &mut running.out) {
            Ok(sequence) => {
                let last = sa.outbound.last_sequence();
                if last - sequence.min(last) < last >> SEQUENCE_LEFT_SHIFT && sa.nearly_spent() {
                    (self.events)(DataplaneEvent::Expired { id: sa.id, hard: false });
                }
            }
            Err(EspError::SequenceExhausted) => {
                // RFC 4303 §3.3.3: the sequence number must never cycle.
                if sa.spend() {
                    (self.events)(DataplaneEvent::Expired { id: sa.id, hard: true });
                }
                return bump(&counters.seal_failed);
            }
            Err(_) => return bump(&counters.seal_failed),
        }
        // Counted before it is out: whoever has seen the packet finds it counted.
        bump(&counters.sent);
        sa.sent.count(packet.len(), millis_since(self.shared.start));
        let path = sa.path();
        let sent = if path.udp_encap {
            self.send_udp(path.local, path.remote, &running.out)
        } else {
            self.send_raw(path.local.ip(), path.remote.ip(), &running.out)
        };
        if sent.is_err() {
            bump(&counters.send_failed);
        }
        if let Some(hard) = sa.limit_reached(&sa.sent) {
            (self.events)(DataplaneEvent::Expired { id: sa.id, hard });
        }
    }

    fn send_udp(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let fits = |s: &&Arc<UdpSocket>| s.local_addr().is_ipv4() == remote.is_ipv4();
        let socket = self
            .udp
            .iter()
            .find(|s| fits(s) && s.local_addr().port() == local.port())
            .or_else(|| self.udp.iter().find(fits))
            .ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
        retry(&**socket, || socket.send(Some(local.ip()), remote, bytes))
    }

    fn send_raw(&self, local: IpAddr, remote: IpAddr, bytes: &[u8]) -> io::Result<()> {
        let socket = self
            .raw
            .iter()
            .find(|s| s.is_v4() == remote.is_ipv4())
            .ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
        retry(socket, || socket.send(Some(local), remote, bytes))
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
                self.inbound(running, &tables, datagram, meta.remote, true);
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
            self.inbound(running, &tables, packet, SocketAddr::new(meta.remote, 0), false);
        }
    }

    fn inbound(
        &self,
        running: &mut Running,
        tables: &Tables,
        packet: &mut [u8],
        remote: SocketAddr,
        encap: bool,
    ) {
        let counters = &self.shared.counters;
        let Some(spi) = adit_esp::spi_of(packet) else { return bump(&counters.open_failed) };
        let Some(sa) = tables.inbound.get(&spi) else {
            bump(&counters.unknown_spi);
            if running.hints.allow() {
                (self.events)(DataplaneEvent::SpiUnknown { spi, remote });
            }
            return;
        };
        let Ok(opened) = sa.inbound.open(packet) else { return bump(&counters.open_failed) };
        // From here on the packet is authentic: its outer source is worth something (RFC 7296 §2.23), unless a later
        // packet has overtaken it.
        if encap && sa.remapped(remote, opened.sequence) {
            (self.events)(DataplaneEvent::Remapped { id: sa.id, remote });
        }
        let expected = match opened.next_header {
            4 => 4,
            41 => 6,
            59 => return, // RFC 4303 §2.6: a dummy packet.
            _ => return bump(&counters.selector_mismatch),
        };
        let payload: &[u8] = opened.payload;
        let info = match parse_packet(payload) {
            Some(info) if payload.first().is_some_and(|b| b >> 4 == expected) => info,
            _ => return bump(&counters.selector_mismatch),
        };
        // RFC 4301 §5.2 step 4: what comes in must be what this very SA was negotiated for.
        let from = sa.remote_ts.iter().any(|s| s.matches(info.src, info.protocol, info.src_port));
        let to = sa.local_ts.iter().any(|s| s.matches(info.dst, info.protocol, info.dst_port));
        if !from || !to {
            bump(&counters.selector_mismatch);
            if running.hints.allow() {
                (self.events)(DataplaneEvent::SelectorMismatch { id: sa.id, packet: info });
            }
            return;
        }
        if sa.is_spent() {
            return bump(&counters.open_failed);
        }
        // RFC 4303 §2.7: bytes after the inner packet's own length are padding.
        let Some(inner) = payload.get(..info.total_len) else { return bump(&counters.selector_mismatch) };
        bump(&counters.received);
        sa.received.count(inner.len(), millis_since(self.shared.start));
        if self.tun.send(inner).is_err() {
            bump(&counters.deliver_failed);
        }
        if let Some(hard) = sa.limit_reached(&sa.received) {
            (self.events)(DataplaneEvent::Expired { id: sa.id, hard });
        }
    }
}

/// Sends, and once more after a bounded wait if the socket was full.
fn retry(fd: impl std::os::fd::AsFd, send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match send() {
        Err(e) if e.kind() == ErrorKind::WouldBlock => {
            wait_writable(fd, SEND_PATIENCE)?;
            send()
        }
        other => other,
    }
}
