//! The protocol thread: one loop around the sans-IO core.
//!
//! Inputs (datagrams, time, mail) go into the endpoint; after each, everything the endpoint has to say is carried out
//! before the next input is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_conf::StrongswanConf;
use adit_dataplane::{Dataplane, DataplaneEvent};
use adit_ike::{Command, Endpoint, Event, Group, Instant, Path, Reason, TransmitKind};
use adit_linux::poll::Poller;
use adit_linux::route::Netlink;

use crate::control::Events;
use crate::counters::Counters;
use crate::failures::{Failure, Failures};
use crate::firewall::Firewall;
use crate::keylog::KeyLog;
use crate::log::{Line, Logger};
use crate::mailbox::{Mail, Mailbox};
use crate::pools::Pools;
use crate::resolv::ResolvConf;
use crate::resolver::Resolver;
use crate::roam::Roam;
use crate::shunts::Shunts;
use crate::sockets::Sockets;
use crate::store::Store;
use crate::traps::Traps;
use crate::updown::Updown;
use crate::{key_export, views};

/// Datagrams of one socket that are read before other inputs get their turn.
const READ_BUDGET: usize = 64;
/// Mails that are read before other inputs get their turn.
const MAIL_BUDGET: usize = 256;
const WAKER: u64 = 0;
const WATCH: u64 = u64::MAX;
const FIRST_SOCKET: u64 = 1;
/// After this long without an answer of its peers the daemon leaves anyway.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(600);

/// Who waits for the outcome of a command.
pub(crate) type Waiter = Box<dyn FnOnce(Result<(), Reason>) + Send>;

/// Real time as the core counts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// Starts at zero.
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Now.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Everything the protocol thread owns.
pub(crate) struct Driver {
    pub(crate) endpoint: Endpoint,
    pub(crate) clock: Clock,
    pub(crate) dataplane: Box<dyn Dataplane>,
    pub(crate) sockets: Sockets,
    pub(crate) pools: Pools,
    pub(crate) store: Store,
    pub(crate) failures: Failures,
    pub(crate) counters: Counters,
    pub(crate) logger: Arc<Logger>,
    pub(crate) events: Events,
    pub(crate) netlink: Netlink,
    pub(crate) resolver: Resolver,
    pub(crate) resolv: Option<ResolvConf>,
    pub(crate) keylog: Option<KeyLog>,
    pub(crate) traps: Traps,
    pub(crate) shunts: Shunts,
    pub(crate) firewall: Option<Firewall>,
    pub(crate) updown: Updown,
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
    /// What strongswan.conf says, but for what was decided at the start.
    pub(crate) settings: StrongswanConf,
    /// What could not be used of the files when they were last read.
    pub(crate) unresolved: BTreeSet<String>,
    /// When what clients took out goes out of use at the latest.
    pub(crate) leaving_until: Option<std::time::Instant>,
    pub(crate) mailbox: Mailbox,
    pub(crate) roam: Roam,
    waiting: BTreeMap<u64, Waiter>,
    last_tag: u64,
    /// Datagrams and events that found the mailbox full, and when that was last logged.
    lost: u64,
    lost_told: Option<std::time::Instant>,
    ending: Option<std::time::Instant>,
    ended: bool,
}

/// The parts that differ between daemons.
pub(crate) struct Parts {
    pub(crate) endpoint: Endpoint,
    pub(crate) clock: Clock,
    pub(crate) dataplane: Box<dyn Dataplane>,
    pub(crate) sockets: Sockets,
    pub(crate) store: Store,
    pub(crate) logger: Arc<Logger>,
    pub(crate) events: Events,
    pub(crate) netlink: Netlink,
    pub(crate) resolv: Option<ResolvConf>,
    pub(crate) keylog: Option<KeyLog>,
    pub(crate) settings: StrongswanConf,
    pub(crate) mailbox: Mailbox,
    pub(crate) roam: Roam,
    pub(crate) firewall: Option<Firewall>,
}

impl Driver {
    /// Puts the parts together.
    pub(crate) fn new(parts: Parts) -> Self {
        let updown = Updown::new(Arc::clone(&parts.logger));
        Self {
            endpoint: parts.endpoint,
            clock: parts.clock,
            dataplane: parts.dataplane,
            sockets: parts.sockets,
            pools: Pools::default(),
            store: parts.store,
            failures: Failures::default(),
            counters: Counters::default(),
            logger: parts.logger,
            events: parts.events,
            netlink: parts.netlink,
            resolver: Resolver::new(parts.mailbox.clone()),
            resolv: parts.resolv,
            keylog: parts.keylog,
            traps: Traps::default(),
            shunts: Shunts::default(),
            firewall: parts.firewall,
            updown,
            attributes: parts.settings.attributes.clone(),
            settings: parts.settings,
            unresolved: BTreeSet::new(),
            leaving_until: None,
            mailbox: parts.mailbox,
            roam: parts.roam,
            waiting: BTreeMap::new(),
            last_tag: 0,
            lost: 0,
            lost_told: None,
            ending: None,
            ended: false,
        }
    }

    /// Runs until a shutdown is complete.
    ///
    /// # Errors
    /// When the sockets cannot be polled.
    pub(crate) fn run(&mut self, mail: &Receiver<Mail>) -> io::Result<()> {
        let poller = Poller::new()?;
        poller.add(self.mailbox.waker(), WAKER)?;
        let reads_nat_t = self.dataplane.name() != "userspace";
        self.sockets.register(&poller, FIRST_SOCKET, reads_nat_t)?;
        if let Some(watch) = self.roam.watch() {
            poller.add(watch, WATCH)?;
        }
        let mut ready = Vec::new();
        while !self.ended {
            poller.wait(&mut ready, self.wait())?;
            for token in &ready {
                match *token {
                    WAKER => self.mailbox.waker().drain(),
                    WATCH => self.note_changes(),
                    socket => self.read(socket - FIRST_SOCKET),
                }
            }
            self.read_mail(mail);
            self.roam_if_due();
            self.mend_if_due();
            self.timeout();
            self.sweep_if_due();
            if self.ending.is_some_and(|since| since.elapsed() > SHUTDOWN_LIMIT) {
                self.ended = true;
            }
        }
        self.leave();
        Ok(())
    }

    fn read_mail(&mut self, mail: &Receiver<Mail>) {
        let dropped = self.mailbox.take_dropped();
        self.lost += dropped;
        if dropped > 0 && self.lost_told.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
            self.lost_told = Some(std::time::Instant::now());
            let text = format!(
                "IKE datagrams or data plane events lost, {} so far: more came than can be worked on",
                self.lost
            );
            self.logger.line(Group::Net, 1, text);
        }
        for (id, hard) in self.mailbox.take_expired() {
            self.command(Command::ChildExpired { id, hard });
        }
        for _ in 0..MAIL_BUDGET {
            let Ok(mail) = mail.try_recv() else { return };
            self.handle(mail);
            self.pump();
        }
        // what is left over must not wait for somebody's next wake-up
        self.mailbox.waker().wake();
    }

    /// What was lost before anybody looked at it: to a full mailbox, to full socket buffers, to scripts that are too slow.
    pub(crate) fn lost(&self) -> [(&'static str, u64); 4] {
        [
            ("queue-full", self.lost),
            ("socket-full", self.sockets.dropped()),
            ("interface-closed", self.roam.turned_away),
            ("updown-full", self.updown.dropped()),
        ]
    }

    fn wait(&self) -> Option<Duration> {
        let timer = self.endpoint.poll_timeout().map(|(at, _)| at.since(self.clock.now()));
        let ending = self.ending.map(|since| SHUTDOWN_LIMIT.saturating_sub(since.elapsed()));
        let leaving =
            self.leaving_until.map(|until| until.saturating_duration_since(std::time::Instant::now()));
        [timer, ending, leaving, self.roam.wait()].into_iter().flatten().min()
    }

    fn read(&mut self, index: u64) {
        let Ok(index) = usize::try_from(index) else { return };
        let (endpoint, counters, clock) = (&mut self.endpoint, &mut self.counters, self.clock);
        let roam = &mut self.roam;
        self.sockets.read(index, READ_BUDGET, |path, bytes| {
            if !roam.takes(path.local.ip()) {
                return;
            }
            counters.received(bytes);
            endpoint.handle_datagram(clock.now(), path, bytes);
        });
        self.pump();
    }

    fn timeout(&mut self) {
        let now = self.clock.now();
        if self.endpoint.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.endpoint.handle_timeout(now);
            self.pump();
        }
    }

    fn handle(&mut self, mail: Mail) {
        match mail {
            Mail::Datagram(path, _) if !self.roam.takes(path.local.ip()) => {}
            Mail::Datagram(path, bytes) => {
                self.counters.received(&bytes);
                self.endpoint.handle_datagram(self.clock.now(), path, &bytes);
            }
            Mail::Dataplane(event) => self.dataplane_event(event),
            Mail::Complete(action, completion) => {
                self.endpoint.complete(self.clock.now(), action, completion);
            }
            Mail::Call(call) => call(self),
            Mail::Shutdown => self.shut_down(),
        }
    }

    fn shut_down(&mut self) {
        if self.ending.is_some() {
            // asked twice: whoever asks does not want to wait
            self.ended = true;
            return;
        }
        self.logger.line(Group::Dmn, 0, "SIGTERM received, shutting down");
        self.ending = Some(std::time::Instant::now());
        self.command(Command::Shutdown);
    }

    /// Gives the core a command.
    pub(crate) fn command(&mut self, command: Command) {
        self.endpoint.command(self.clock.now(), command);
        self.pump();
    }

    /// A tag for a command whose outcome `waiter` wants to hear.
    pub(crate) fn tag(&mut self, waiter: Waiter) -> u64 {
        self.last_tag += 1;
        self.waiting.insert(self.last_tag, waiter);
        self.last_tag
    }

    /// Carries out everything the core has to say.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(transmit) = self.endpoint.poll_transmit() {
                quiet = false;
                self.send(transmit.path, &transmit.bytes, transmit.kind);
            }
            while let Some(event) = self.endpoint.poll_event() {
                quiet = false;
                self.event(event);
            }
            while let Some((id, action)) = self.endpoint.poll_action() {
                quiet = false;
                if let Some(completion) = self.perform(id, action) {
                    self.endpoint.complete(self.clock.now(), id, completion);
                }
            }
            if quiet {
                self.tell_notes();
                return;
            }
        }
    }

    fn send(&mut self, path: Path, bytes: &[u8], kind: TransmitKind) {
        if kind == TransmitKind::Ike {
            self.counters.sent(bytes);
        }
        if let Err(error) = self.sockets.send(path, bytes, kind == TransmitKind::Ike) {
            // Retransmission is the remedy; what an operator sees here is a wrong address or route.
            self.logger.line(
                Group::Net,
                1,
                format!("error writing to socket: {error} (from {} to {})", path.local, path.remote),
            );
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Log { group, level, sa, text } => self.logger.write(Line { group, level, sa, text }),
            Event::Outcome { tag, result } => {
                if let Some(waiter) = self.waiting.remove(&tag) {
                    waiter(result);
                }
            }
            Event::Failure { conn, child, peer, reason } => self.failed(conn, child, peer, &reason),
            Event::ShutdownComplete => self.ended = self.ending.is_some(),
            Event::IkeKeys(keys) => key_export::ike_keys(self, &keys),
            Event::ChildKeys(keys) => key_export::child_keys(self, &keys),
            Event::TrapWanted { conn, child } => self.trap_wanted(&conn, &child),
            other => self.tell(other),
        }
    }

    fn failed(
        &mut self,
        conn: Option<Arc<str>>,
        child: Option<Arc<str>>,
        peer: Option<SocketAddr>,
        reason: &Reason,
    ) {
        let (sentence, cure) = (reason.sentence(), reason.cure().to_owned());
        let name = conn.as_deref().unwrap_or("no connection");
        let peer_text = peer.map_or_else(String::new, |p| format!(" with {p}"));
        let child_text = child.as_deref().map_or_else(String::new, |c| format!("/{c}"));
        self.logger.line(Group::Ike, 0, format!("{name}{child_text}{peer_text}: {sentence}; {cure}"));
        self.events.alert(alert(reason), &sentence, None);
        let failure = Failure { at: SystemTime::now(), peer, sentence, cure };
        self.failures.record(conn, child, failure);
    }

    /// Ups and downs: to VICI listeners, and out of the memory of failures.
    fn tell(&mut self, event: Event) {
        let now = self.clock.now();
        let shown = |d: &Self, id| d.endpoint.ike_sa(id).map(|view| views::ike_sa(&view, now, &*d.dataplane));
        match event {
            Event::IkeEstablished { id } => {
                if let Some(sa) = shown(self, id) {
                    self.failures.ike_up(&sa.name);
                    self.events.ike_updown(true, &sa);
                }
            }
            Event::IkeClosed { was_established: true, snapshot, .. } => {
                self.events.ike_updown(false, &views::ike_sa(&snapshot, now, &*self.dataplane));
            }
            Event::ChildUp { ike, id } => {
                if let Some(sa) = shown(self, ike)
                    && let Some(child) = sa.children.iter().find(|c| c.id == id)
                {
                    self.failures.child_up(&sa.name, &child.name);
                    self.events.child_updown(true, &sa, child);
                }
                self.updown_up(ike, id);
            }
            Event::ChildDown { snapshot, .. } => {
                let sa = views::ike_sa(&snapshot, now, &*self.dataplane);
                if let Some(child) = sa.children.first() {
                    self.events.child_updown(false, &sa, child);
                }
                self.updown_down(&snapshot);
            }
            Event::IkeRekeyed { old, new } => {
                self.counters.ike_rekeyed(self.endpoint.ike_sa(new).is_some_and(|v| v.initiator));
                if let (Some(old), Some(new)) = (shown(self, old), shown(self, new)) {
                    self.events.ike_rekey(&old, &new);
                }
            }
            Event::ChildRekeyed { ike, old, new } => {
                self.counters.child_rekeyed();
                self.updown.rekeyed(old, new);
                if let Some(sa) = shown(self, ike) {
                    let child = |id| sa.children.iter().find(|c| c.id == id);
                    if let (Some(old), Some(new)) = (child(old), child(new)) {
                        self.events.child_rekey(&sa, old, new);
                    }
                }
            }
            Event::IkeUpdated { id, local, remote } => {
                if let Some(new) = shown(self, id) {
                    let mut old = new.clone();
                    (old.local, old.remote) = (local, remote);
                    self.events.ike_update(&old, &new);
                }
            }
            _ => {}
        }
    }

    fn dataplane_event(&mut self, event: DataplaneEvent) {
        match event {
            DataplaneEvent::Acquire { trap_id, packet } => self.acquire(trap_id, packet),
            DataplaneEvent::Expired { id, hard } => self.command(Command::ChildExpired { id, hard }),
            DataplaneEvent::Remapped { id, remote } => self.command(Command::PeerMoved { id, remote }),
            DataplaneEvent::SelectorMismatch { id, packet } => self.logger.line(
                Group::Esp,
                1,
                format!(
                    "dropped a decrypted packet {} -> {} that is outside of the selectors of its CHILD_SA #{id}",
                    packet.src, packet.dst
                ),
            ),
            DataplaneEvent::SpiUnknown { spi, remote } => {
                self.logger.line(Group::Esp, 2, format!("no CHILD_SA with SPI {spi:08x}, ESP packet from {remote}"));
            }
            DataplaneEvent::Disturbed { sentence } => self.logger.line(Group::Knl, 0, sentence),
            DataplaneEvent::DeviceLost => self.logger.line(
                Group::Knl,
                0,
                "somebody deleted the TUN device: no traffic passes; restart aditd to make it again",
            ),
            _ => {}
        }
    }

    fn leave(&mut self) {
        self.pump();
        self.updown_all_down();
        self.dataplane.shutdown();
        if let Some(firewall) = self.firewall.take() {
            firewall.stop();
        }
        if let Some(resolv) = &mut self.resolv
            && let Err(error) = resolv.clear()
        {
            self.logger.line(
                Group::Dmn,
                0,
                format!("taking our servers out of {}: {error}", resolv.path().display()),
            );
        }
    }

    /// Unix time at which the core's clock was zero.
    pub(crate) fn unix_epoch() -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_secs()).unwrap_or(0)
    }
}

/// strongSwan's alert type that a reason belongs to.
fn alert(reason: &Reason) -> &'static str {
    match reason {
        Reason::PeerUnreachable { established: true, .. } => "retransmit-send-timeout",
        Reason::PeerUnreachable { .. } => "peer-init-unreachable",
        Reason::NameUnresolved { .. } | Reason::NoRemoteAddress => "peer-addr-failed",
        Reason::HalfOpenTimeout | Reason::PendingAuthTimeout => "half-open-timeout",
        Reason::NoProposal { protocol: "ESP", .. } | Reason::PfsMismatch { .. } => "proposal-mismatch-child",
        Reason::NoProposal { .. } | Reason::InvalidKe { .. } => "proposal-mismatch-ike",
        Reason::TsUnacceptable { .. } => "ts-mismatch",
        Reason::InstallFailed { .. } => "install-child-sa-failed",
        Reason::NoLease { .. }
        | Reason::NoVirtualIp
        | Reason::AddressNotAsked { .. }
        | Reason::AddressDemanded
        | Reason::VirtualIpFailed { .. } => "vip-failure",
        Reason::CertExpired { .. } => "cert-expired",
        Reason::CertUntrusted { .. } => "cert-no-issuer",
        Reason::CertMalformed { .. } | Reason::CertNotPinned { .. } => "cert-validation-failed",
        Reason::AuthFailedByPeer { .. } => "local-auth-failed",
        Reason::LifetimeExceeded => "ike-sa-expired",
        _ => "peer-auth-failed",
    }
}
