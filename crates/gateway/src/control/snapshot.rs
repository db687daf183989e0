//! What the daemon says about itself: plain values, complete when handed over, so that printing them holds up nobody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_ipsec::{Identity, Mark, Pair};
use adit_pki::Certificate;
use zeroize::Zeroizing;

/// An algorithm with its key size, as shown: `AES_GCM_16` and 256, `HMAC_SHA2_256_128` and 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithm {
    /// Display name.
    pub name: String,
    /// Key size in bits; 0 = not shown.
    pub bits: u16,
}

/// One IKE_SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeSaSnapshot {
    /// Name of its connection.
    pub name: Arc<str>,
    /// Unique id, as in `#7`.
    pub id: u32,
    /// `CREATED CONNECTING ESTABLISHED PASSIVE REKEYING REKEYED DELETING DESTROYING`.
    pub state: &'static str,
    /// Our end.
    pub local: SocketAddr,
    /// Our identity, as shown.
    pub local_id: String,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The peer's identity, as shown.
    pub remote_id: String,
    /// The peer's EAP identity, if it is another one.
    pub remote_eap_id: Option<String>,
    /// Did we initiate it?
    pub initiator: bool,
    /// SPI of the original initiator.
    pub initiator_spi: u64,
    /// SPI of the original responder.
    pub responder_spi: u64,
    /// We are behind NAT.
    pub nat_local: bool,
    /// The peer is behind NAT.
    pub nat_remote: bool,
    /// We pretend to be, to get UDP encapsulation.
    pub nat_fake: bool,
    /// XFRM interfaces of its children; 0 = not shown.
    pub if_ids: Pair,
    /// Encryption; `None` before a proposal was chosen (as with those below).
    pub encryption: Option<Algorithm>,
    /// Integrity, unless the cipher brings it.
    pub integrity: Option<Algorithm>,
    /// PRF.
    pub prf: Option<String>,
    /// Key exchange.
    pub ke: Option<String>,
    /// Seconds since it was established; shown with the two below only in state `ESTABLISHED`.
    pub established: Option<u64>,
    /// Seconds until it is rekeyed, if that is scheduled.
    pub rekey_in: Option<u64>,
    /// Seconds until it is reauthenticated, if that is scheduled.
    pub reauth_in: Option<u64>,
    /// Virtual addresses we were given.
    pub local_vips: Vec<IpAddr>,
    /// Virtual addresses we gave the peer.
    pub remote_vips: Vec<IpAddr>,
    /// Exchanges that wait, by task name (`CHILD_CREATE`, …).
    pub tasks_queued: Vec<&'static str>,
    /// Exchanges we run.
    pub tasks_active: Vec<&'static str>,
    /// Exchanges the peer runs.
    pub tasks_passive: Vec<&'static str>,
    /// Its CHILD_SAs, in the order of their ids.
    pub children: Vec<ChildSaSnapshot>,
}

/// One CHILD_SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSaSnapshot {
    /// Name of its configuration.
    pub name: Arc<str>,
    /// Unique id, as in `#12`.
    pub id: u32,
    /// The reqid.
    pub reqid: u32,
    /// `CREATED ROUTED INSTALLING INSTALLED UPDATING REKEYING REKEYED RETRYING DELETING DELETED DESTROYING`.
    pub state: &'static str,
    /// `TUNNEL` or `TRANSPORT`.
    pub mode: &'static str,
    /// UDP encapsulation.
    pub encap: bool,
    /// Inbound SPI.
    pub spi_in: u32,
    /// Outbound SPI.
    pub spi_out: u32,
    /// Mark of what comes in.
    pub mark_in: Mark,
    /// Mark of what goes out.
    pub mark_out: Mark,
    /// XFRM interfaces; 0 = not shown.
    pub if_ids: Pair,
    /// SAs of one CPU each.
    pub per_cpu: bool,
    /// Encryption.
    pub encryption: Option<Algorithm>,
    /// Integrity, unless the cipher brings it.
    pub integrity: Option<Algorithm>,
    /// Key exchange, if it had its own.
    pub ke: Option<String>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Bytes received.
    pub bytes_in: u64,
    /// Packets received.
    pub packets_in: u64,
    /// Seconds since the last packet was received, if one was.
    pub use_in: Option<u64>,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Seconds since the last packet was sent, if one was.
    pub use_out: Option<u64>,
    /// Seconds until it is rekeyed, if that is scheduled.
    pub rekey_in: Option<u64>,
    /// Seconds until it expires, if it does.
    pub life_in: Option<u64>,
    /// Seconds since it was installed.
    pub installed: u64,
    /// Our side's selectors, as shown.
    pub local_ts: Vec<String>,
    /// The peer's selectors, as shown.
    pub remote_ts: Vec<String>,
}

/// A policy that no CHILD_SA has installed: a trap, or (later) a shunt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySnapshot {
    /// Its connection.
    pub ike: String,
    /// Its child.
    pub child: String,
    /// The reqid it is installed under.
    pub reqid: u32,
    /// `TUNNEL`, `TRANSPORT`; `PASS` and `DROP` for shunts.
    pub mode: &'static str,
    /// Our side's selectors, as shown.
    pub local_ts: Vec<String>,
    /// The peer's selectors, as shown.
    pub remote_ts: Vec<String>,
}

/// A child that was lost and is being brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySnapshot {
    /// Its connection.
    pub ike: Arc<str>,
    /// The child.
    pub child: Arc<str>,
    /// Losses and failed attempts in a row.
    pub failures: u32,
    /// Seconds until the next attempt.
    pub next_in: u64,
}

/// What `version` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// `aditd`.
    pub daemon: String,
    /// Of the daemon.
    pub version: String,
    /// `Linux`.
    pub sysname: String,
    /// Of the kernel.
    pub release: String,
    /// `x86_64`, …
    pub machine: String,
}

/// What `stats` answers. The four-fold counts are by priority: critical, high, medium, low.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Since the daemon started.
    pub uptime: Duration,
    /// When it started, in unix seconds.
    pub started: u64,
    /// Threads.
    pub workers: u32,
    /// Threads that wait.
    pub idle: u32,
    /// Threads that work.
    pub active: [u32; 4],
    /// Jobs that wait for a thread.
    pub queued: [u32; 4],
    /// Timers.
    pub scheduled: u32,
    /// IKE_SAs.
    pub ike_sas: u32,
    /// IKE_SAs not established yet.
    pub half_open: u32,
    /// What strangers did and how it was met, by name.
    pub admission: Vec<(&'static str, u64)>,
    /// What is compiled in, under the names operators know from plugin lists.
    pub plugins: Vec<String>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Its name.
    pub name: String,
    /// What is shown as its base.
    pub base: IpAddr,
    /// Number of addresses, saturating.
    pub size: u64,
    /// Leased to peers that are connected.
    pub online: u64,
    /// Kept for peers that are not.
    pub offline: u64,
    /// The leases, if they were asked for.
    pub leases: Vec<LeaseSnapshot>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSnapshot {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub identity: String,
    /// Is that peer connected?
    pub online: bool,
}

/// What a certificate is loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertFlag {
    /// An end entity.
    None,
    /// A certification authority.
    Ca,
}

/// A loaded certificate.
#[derive(Debug, Clone)]
pub struct CertSnapshot {
    /// The certificate.
    pub certificate: Certificate,
    /// What it is loaded as.
    pub flag: CertFlag,
    /// Is its private key loaded?
    pub has_private_key: bool,
}

/// What a shared secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedUse {
    /// IKE pre-shared key.
    Ike,
    /// EAP password.
    Eap,
}

/// A shared secret that a client loads. Its `Debug` shows nothing of the secret.
pub struct SharedSpec {
    /// Unique name, by which it is replaced and unloaded.
    pub id: String,
    /// What for.
    pub kind: SharedUse,
    /// Whose; empty = anyone's.
    pub owners: Vec<Identity>,
    /// The secret.
    pub secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for SharedSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedSpec({:?} {:?} of {:?})", self.kind, self.id, self.owners)
    }
}

/// A certification authority with where its revocations are found.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthoritySpec {
    /// Name of the section.
    pub name: String,
    /// The CA's certificate.
    pub cacert: Certificate,
    /// Additional CRL addresses.
    pub crl_uris: Vec<String>,
    /// Additional OCSP responders.
    pub ocsp_uris: Vec<String>,
    /// Hash-and-URL base.
    pub cert_uri_base: Option<String>,
}

/// Whether a reload would hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanGroup {
    /// Traffic stops, if only for a moment.
    Cut,
    /// Something is different afterwards; no traffic stops.
    Changed,
    /// It stays as it is.
    Alone,
}

impl PlanGroup {
    /// As `adit-plan` says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Changed => "changed",
            Self::Alone => "alone",
        }
    }
}

/// One thing that a reload of the files concerns, or would leave alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// Whether it would hurt.
    pub group: PlanGroup,
    /// `connection`, `child`, `IKE_SA`, `CHILD_SA`, `trap`, `pool`, `secret`, `key`, `certificate`, `authority`,
    /// `setting`.
    pub kind: &'static str,
    /// Its name, for children and what belongs to them `connection/child`.
    pub name: String,
    /// Unique id of an SA.
    pub id: Option<u32>,
    /// What would happen, and why.
    pub text: String,
}

/// A failure that is remembered, for `adit status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureNote {
    /// When, in unix seconds.
    pub when: u64,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// What happened: one sentence.
    pub sentence: String,
    /// What to do about it, and on which end.
    pub cure: String,
}

/// A line of the log, as `log` and `control-log` carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// `IKE`, `CHD`, `NET`, …
    pub group: &'static str,
    /// 0 audit, 1 control flow, …
    pub level: i8,
    /// The thread that said it.
    pub thread: u32,
    /// Connection name and unique id of the IKE_SA it speaks of.
    pub sa: Option<(Arc<str>, u32)>,
    /// What is said, escaped.
    pub text: String,
}

/// The counters of `get-counters`, in this order.
pub const COUNTERS: [&str; 21] = [
    "ike-rekey-init",
    "ike-rekey-resp",
    "child-rekey",
    "invalid",
    "invalid-spi",
    "ike-init-in-req",
    "ike-init-in-resp",
    "ike-init-out-req",
    "ike-init-out-resp",
    "ike-auth-in-req",
    "ike-auth-in-resp",
    "ike-auth-out-req",
    "ike-auth-out-resp",
    "create-child-in-req",
    "create-child-in-resp",
    "create-child-out-req",
    "create-child-out-resp",
    "info-in-req",
    "info-in-resp",
    "info-out-req",
    "info-out-resp",
];

/// Counters of one connection, or of all together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// The connection; empty = the whole daemon.
    pub name: String,
    /// In the order of [`COUNTERS`].
    pub values: [u64; COUNTERS.len()],
}

/// Whose counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterScope<'a> {
    /// The daemon's own.
    Global,
    /// One connection's.
    Connection(&'a str),
    /// Those of all connections.
    All,
}
