//! What all IKE_SAs of an endpoint share: time, randomness, configuration, outputs, indexes, deadlines.
//!
//! An IKE_SA that works on something is taken out of the table, so that it can be given the core; what it finds there
//! are the others.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use adit_crypto::Random;
use adit_ipsec::Identity;
use adit_pki::{Certificate, TrustAnchors};

use crate::action::{Action, ActionId, Path, Transmit, TransmitKind};
use crate::config::{Config, Credentials};
use crate::endpoint::Stats;
use crate::endpoint::cookie::Cookies;
use crate::endpoint::retry::Retries;
use crate::event::{Event, Group};
use crate::guard::{Guard, Quiet, Source, Voice, Waiting};
use crate::reason::Reason;
use crate::sa::IkeSa;
use crate::sa::resume::Held;
use crate::settings::Settings;
use crate::time::Instant;
use crate::traps::Traps;

/// Makes a log event, formatting only if somebody wants the line.
macro_rules! log {
    ($core:expr, $group:ident, $level:literal, none, $($arg:tt)+) => {
        if $core.wants($crate::event::Group::$group, $level) {
            let text = format!($($arg)+);
            $core.log($crate::event::Group::$group, $level, None, text);
        }
    };
    ($core:expr, $group:ident, $level:literal, $sa:expr, $($arg:tt)+) => {
        if $core.wants($crate::event::Group::$group, $level) {
            let text = format!($($arg)+);
            let sa = $sa.log_name();
            $core.log($crate::event::Group::$group, $level, Some(sa), text);
        }
    };
}
pub(crate) use log;

/// SPIs and ids are random or consecutive already; hashing them again buys nothing.
#[derive(Default)]
pub(crate) struct Identityish(u64);

impl Hasher for Identityish {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        // Tables take their buckets from the low and their tags from the high bits: both must vary.
        self.0 = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
}

pub(crate) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Identityish>>;

/// What the answer to an action is for.
#[derive(Clone)]
pub(crate) enum Wait {
    Resolve,
    Source,
    /// From where to go on, after addresses changed for the `turn`th time.
    Roam {
        remote: IpAddr,
        turn: u32,
    },
    /// Whose lease it will be, should the IKE_SA be gone by then.
    Lease(Box<crate::sa::Lease>),
    VirtualIps,
    Install {
        child: u32,
    },
    Usage,
    Idle {
        child: u32,
    },
}

pub(crate) struct Core {
    pub now: Instant,
    pub settings: Settings,
    pub config: Arc<Config>,
    pub rng: Box<dyn Random>,
    pub unix_at_epoch: i64,
    pub sas: BTreeMap<u32, Box<IkeSa>>,
    pub by_spi: Table<u64, u32>,
    pub by_conn: BTreeMap<Arc<str>, BTreeSet<u32>>,
    /// Digest of identities → IKE_SAs of that peer.
    pub by_peer: BTreeSet<(u64, u32)>,
    pub child_owner: Table<u32, u32>,
    pub esp_spis: Table<u32, ()>,
    /// Digest of IKE_SA_INIT requests that made an IKE_SA: its id while half-open, 0 for a while after that, because
    /// late duplicates must not make another one. By the initiator's SPI first: most requests are new, and need no
    /// digest to tell.
    pub init_requests: BTreeMap<InitKey, u32>,
    /// When each of those with 0 was established.
    pub init_done: VecDeque<(Instant, InitKey)>,
    pub deadlines: BTreeSet<(Instant, u32)>,
    /// What strangers may cost.
    pub guard: Guard,
    /// What is being worked on is no news: neither lines nor failures are told.
    pub muted: bool,
    pub cookies: Cookies,
    /// Tickets to come back with, by connection (RFC 5723).
    pub tickets: BTreeMap<Arc<str>, Held>,
    /// Tickets of ours that were used: when they expire, and their digest.
    pub used_tickets: BTreeSet<(i64, [u8; 20])>,
    pub pending: BTreeMap<ActionId, (u32, Wait)>,
    pub transmits: VecDeque<Transmit>,
    pub actions: VecDeque<(ActionId, Action)>,
    pub events: VecDeque<Event>,
    pub retries: Retries,
    /// Addresses of this host, as it was told of them last, and how often it was.
    pub addresses: Vec<IpAddr>,
    pub turn: u32,
    /// The IKE_SA whose heir is known, because the peer uses it.
    pub inherit: Option<u32>,
    pub stats: Stats,
    /// Set once [`Command::Shutdown`](crate::Command::Shutdown) came: when to give up waiting.
    pub shutdown: Option<Instant>,
    /// Its end has been told.
    pub shutdown_told: bool,
    pub traps: Traps,
    anchors: Option<(Arc<Credentials>, Arc<TrustAnchors>)>,
    last_sa: u32,
    last_child: u32,
    last_reqid: u32,
    last_mark: u32,
    last_if_id: u32,
    last_action: u64,
}

/// Initiator's SPI and digest of an IKE_SA_INIT request.
pub(crate) type InitKey = (u64, [u8; 20]);

impl Core {
    pub(crate) fn new(
        settings: Settings,
        config: Arc<Config>,
        rng: Box<dyn Random>,
        unix_at_epoch: i64,
    ) -> Self {
        Self {
            now: Instant::ZERO,
            settings,
            config,
            rng,
            unix_at_epoch,
            sas: BTreeMap::new(),
            by_spi: Table::default(),
            by_conn: BTreeMap::new(),
            by_peer: BTreeSet::new(),
            child_owner: Table::default(),
            esp_spis: Table::default(),
            init_requests: BTreeMap::new(),
            init_done: VecDeque::new(),
            deadlines: BTreeSet::new(),
            guard: Guard::default(),
            muted: false,
            cookies: Cookies::default(),
            tickets: BTreeMap::new(),
            used_tickets: BTreeSet::new(),
            pending: BTreeMap::new(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            retries: Retries::default(),
            addresses: Vec::new(),
            turn: 0,
            inherit: None,
            stats: Stats::default(),
            shutdown: None,
            shutdown_told: false,
            anchors: None,
            last_sa: 0,
            last_child: 0,
            last_reqid: 0,
            last_mark: 0,
            last_if_id: 0,
            traps: Traps::default(),
            last_action: 0,
        }
    }

    pub(crate) fn unix_now(&self) -> i64 {
        let seconds = i64::try_from(self.now.as_micros() / 1_000_000).unwrap_or(i64::MAX);
        self.unix_at_epoch.saturating_add(seconds)
    }

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.rng.fill(&mut out);
        out
    }

    /// A number below `bound`; 0 if that is 0. The bias of the modulus is of no matter for timers.
    pub(crate) fn random_below(&mut self, bound: u64) -> u64 {
        u64::from_be_bytes(self.random()).checked_rem(bound).unwrap_or(0)
    }

    pub(crate) fn random_duration(&mut self, bound: std::time::Duration) -> std::time::Duration {
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        std::time::Duration::from_micros(self.random_below(micros))
    }

    // -- ids -----------------------------------------------------------------------------------------------------

    pub(crate) fn next_sa_id(&mut self) -> u32 {
        self.last_sa = self.last_sa.wrapping_add(1).max(1);
        self.last_sa
    }

    pub(crate) fn next_child_id(&mut self) -> u32 {
        self.last_child = self.last_child.wrapping_add(1).max(1);
        self.last_child
    }

    pub(crate) fn next_reqid(&mut self) -> u32 {
        let base = self.settings.reqid_base.max(1);
        self.last_reqid = self.last_reqid.wrapping_add(1).max(base);
        self.last_reqid
    }

    /// A mark that no other SA has been given.
    pub(crate) fn next_mark(&mut self) -> u32 {
        self.last_mark = self.last_mark.wrapping_add(1).max(1);
        self.last_mark
    }

    /// An XFRM interface id that no other SA has been given.
    pub(crate) fn next_if_id(&mut self) -> u32 {
        self.last_if_id = self.last_if_id.wrapping_add(1).max(1);
        self.last_if_id
    }

    /// A fresh IKE SPI that says which shard it belongs to.
    pub(crate) fn new_ike_spi(&mut self) -> u64 {
        loop {
            let spi = u64::from_be_bytes(self.random());
            let shards = u64::from(self.settings.shards.max(1));
            let spi = (spi - spi % shards).saturating_add(u64::from(self.settings.shard) % shards);
            if spi != 0 && !self.by_spi.contains_key(&spi) {
                return spi;
            }
        }
    }

    /// A fresh ESP SPI, reserved until [`Self::release_esp_spi`]; in strongSwan's range, and it says its shard.
    pub(crate) fn new_esp_spi(&mut self) -> u32 {
        loop {
            let spi = 0xc000_0000 | (u32::from_be_bytes(self.random()) & 0x0fff_ffff);
            let shards = u32::from(self.settings.shards.max(1));
            let spi = (spi - spi % shards).saturating_add(u32::from(self.settings.shard) % shards);
            if spi >= 0xc000_0000 && self.esp_spis.insert(spi, ()).is_none() {
                return spi;
            }
        }
    }

    pub(crate) fn release_esp_spi(&mut self, spi: u32) {
        self.esp_spis.remove(&spi);
    }

    // -- outputs -------------------------------------------------------------------------------------------------

    pub(crate) fn transmit(&mut self, path: Path, bytes: Vec<u8>) {
        if self.wants(Group::Net, 1) {
            let text = format!(
                "sending packet: from {} to {} ({} bytes)",
                Bracketed(path.local),
                Bracketed(path.remote),
                bytes.len()
            );
            self.log(Group::Net, 1, None, text);
        }
        self.transmits.push_back(Transmit { path, bytes, kind: TransmitKind::Ike });
    }

    /// An order or a question whose answer is of no interest.
    pub(crate) fn order(&mut self, action: Action) {
        self.last_action += 1;
        self.actions.push_back((ActionId(self.last_action), action));
    }

    pub(crate) fn ask(&mut self, sa: u32, wait: Wait, action: Action) {
        self.last_action += 1;
        let id = ActionId(self.last_action);
        self.pending.insert(id, (sa, wait));
        self.actions.push_back((id, action));
    }

    pub(crate) fn event(&mut self, event: Event) {
        if self.muted && matches!(event, Event::Failure { .. }) {
            return;
        }
        self.events.push_back(event);
    }

    pub(crate) fn outcome(&mut self, tags: &[u64], result: Result<(), Reason>) {
        for tag in tags.iter().filter(|tag| **tag != 0) {
            self.events.push_back(Event::Outcome { tag: *tag, result: result.clone() });
        }
    }

    pub(crate) fn wants(&self, group: Group, level: i8) -> bool {
        !self.muted && self.settings.log_levels.wants(group, level)
    }

    pub(crate) fn log(&mut self, group: Group, level: i8, sa: Option<(Arc<str>, u32)>, text: String) {
        self.events.push_back(Event::Log { group, level, sa, text });
    }

    /// Begins work that a stranger caused: whether it is told of is limited. Ends with `muted = false`.
    pub(crate) fn hush(&mut self, quiet: impl FnOnce(&mut Guard) -> &mut Quiet) {
        let voice = quiet(&mut self.guard).voice(self.now);
        self.muted = voice == Voice::Hush;
        match voice {
            Voice::Hush => self.stats.untold += 1,
            Voice::Recap(count) => {
                log!(self, Net, 1, none, "{count} more messages of strangers came, too many for a line each");
            }
            Voice::Speak => {}
        }
    }

    // -- the table -----------------------------------------------------------------------------------------------

    /// Takes an IKE_SA out to work on it; [`Self::put`] it back.
    pub(crate) fn take(&mut self, id: u32) -> Option<Box<IkeSa>> {
        self.sas.remove(&id)
    }

    /// Puts an IKE_SA back, with its deadline; one that is closed is gone then.
    pub(crate) fn put(&mut self, mut sa: Box<IkeSa>) {
        if sa.is_closed() {
            if let Some(at) = sa.scheduled.take() {
                self.deadlines.remove(&(at, sa.id));
            }
            self.by_spi.remove(&sa.own_spi());
            self.forget_name(&sa);
            return;
        }
        let next = sa.next_deadline().map(|(at, _)| at);
        if next != sa.scheduled {
            if let Some(at) = sa.scheduled.take() {
                self.deadlines.remove(&(at, sa.id));
            }
            if let Some(at) = next {
                self.deadlines.insert((at, sa.id));
            }
            sa.scheduled = next;
        }
        self.sas.insert(sa.id, sa);
    }

    /// Adds a new IKE_SA to the indexes and the table.
    pub(crate) fn adopt(&mut self, sa: Box<IkeSa>) {
        self.by_spi.insert(sa.own_spi(), sa.id);
        self.by_conn.entry(Arc::clone(&sa.conn.name)).or_default().insert(sa.id);
        self.put(sa);
    }

    /// Works on one IKE_SA with the core at hand.
    pub(crate) fn with<R>(&mut self, id: u32, work: impl FnOnce(&mut IkeSa, &mut Self) -> R) -> Option<R> {
        let mut sa = self.take(id)?;
        let result = work(&mut sa, self);
        self.put(sa);
        Some(result)
    }

    /// An IKE_SA found out that it belongs to another connection than its addresses suggested.
    pub(crate) fn switch_connection(&mut self, sa: &mut IkeSa, conn: Arc<crate::config::Connection>) {
        if conn.name != sa.conn.name {
            log!(self, Cfg, 1, sa, "switching to peer config '{}'", conn.name);
            self.forget_name(sa);
            self.by_conn.entry(Arc::clone(&conn.name)).or_default().insert(sa.id);
        }
        sa.conn = conn;
    }

    fn forget_name(&mut self, sa: &IkeSa) {
        if let Some(ids) = self.by_conn.get_mut(&sa.conn.name) {
            ids.remove(&sa.id);
            if ids.is_empty() {
                self.by_conn.remove(&sa.conn.name);
            }
        }
    }

    /// An IKE_SA waits for its peer from now on, in the crowd of the half-open or the pending ones.
    pub(crate) fn wait_for_peer(&mut self, sa: &mut IkeSa, pending: bool) {
        self.wait_no_more(sa);
        let waiting = Waiting { source: Source::of(sa.path.remote.ip()), since: self.now, pending };
        self.guard.crowd(pending).join(waiting.source, waiting.since, sa.id);
        sa.waiting = Some(waiting);
    }

    pub(crate) fn wait_no_more(&mut self, sa: &mut IkeSa) {
        if let Some(Waiting { source, since, pending }) = sa.waiting.take() {
            self.guard.crowd(pending).leave(source, since, sa.id);
        }
    }

    /// The configured authorities, parsed once per set of credentials.
    pub(crate) fn anchors(&mut self) -> Arc<TrustAnchors> {
        let credentials = Arc::clone(&self.config.credentials);
        if let Some((of, anchors)) = &self.anchors
            && Arc::ptr_eq(of, &credentials)
        {
            return Arc::clone(anchors);
        }
        let authorities: Vec<Certificate> = credentials.authorities.clone();
        let anchors = Arc::new(TrustAnchors::new(authorities));
        self.anchors = Some((credentials, Arc::clone(&anchors)));
        anchors
    }
}

/// Digest of a peer's identity, for the index; equality is checked on the SAs found.
pub(crate) fn peer_digest(local: &Identity, remote: &Identity) -> u64 {
    let (local, remote) = (local.wire_data(), remote.wire_data());
    let digest = adit_crypto::sha1(&[&(local.len() as u64).to_be_bytes(), &local, &remote]);
    digest.first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head))
}

/// `192.0.2.1[500]`, as log lines show an endpoint.
pub(crate) struct Bracketed(pub(crate) std::net::SocketAddr);

impl std::fmt::Display for Bracketed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.0.ip(), self.0.port())
    }
}
