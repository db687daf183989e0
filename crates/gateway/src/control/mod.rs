//! The control surface: VICI commands and events.
//!
//! In: commands of clients, each on its client's thread. Out: trees, field for field as clients of strongSwan read
//! them. Between both stands [`Daemon`]: the handlers know the daemon only through it, ask for plain snapshots and give
//! plain orders. Nothing here holds a lock of the daemon, waits for a peer (but where a client asked to wait), or
//! decides anything about the protocol.
//!
//! One command group, one file: `info`, `sas`, `conns`, `creds`, `authorities`, `pools`, `actions`,
//! `status`; and [`events`] for what is told unasked.

use std::sync::Arc;
use std::time::Duration;

use adit_conf::swanctl::{Connection, Pool};
use adit_ipsec::GatewayId;
use adit_pki::Certificate;
use adit_vici::{Broadcaster, EventSink, Handler, Message};

use crate::firewall::FirewallSnapshot;

mod actions;
mod authorities;
mod conns;
mod creds;
pub mod events;
mod firewall;
mod info;
mod loading;
mod plan;
mod pools;
#[cfg(test)]
mod real_swanctl;
mod sas;
mod snapshot;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
pub(crate) use testing::folder;

pub use events::Events;
pub use snapshot::*;

/// Which IKE_SAs and CHILD_SAs are meant. What is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaFilter {
    /// Name of the connection.
    pub ike: Option<String>,
    /// Unique id of the IKE_SA.
    pub ike_id: Option<u32>,
}

/// One SA to act on, by unique id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// An IKE_SA with all its children.
    Ike(u32),
    /// A CHILD_SA.
    Child(u32),
}

/// How long a client wants to wait for the end of what it ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: the order is given, and that is the answer.
    Detached,
    /// Until it is decided (every exchange ends, if only by the last retransmission).
    Forever,
    /// So long.
    AtMost(Duration),
}

/// Why `initiate` has no SA to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitiateError {
    /// Not decided in the time the client gave; it goes on.
    Timeout,
    /// It failed, with the sentence that says why.
    Failed(String),
}

/// Where log lines go while an order is carried out. `false` = nobody reads them any more; stop passing lines.
pub type LineSink<'a> = &'a mut dyn FnMut(&LogLine) -> bool;

/// The daemon, as its control surface sees it. Every method may be called from several threads at once.
///
/// Errors are sentences for the operator. Methods that only ask answer with what is true at the moment of asking;
/// those that change something have done it when they return.
pub trait Daemon: Send + Sync + 'static {
    // --- about the daemon

    /// Name, version, machine.
    fn version(&self) -> VersionInfo;
    /// Threads, queues, SAs.
    fn stats(&self) -> StatsSnapshot;
    /// Counters; none if there is no such connection.
    fn counters(&self, scope: CounterScope<'_>) -> Vec<CounterSnapshot>;
    /// Sets counters to zero; `false` if there is no such connection.
    fn reset_counters(&self, scope: CounterScope<'_>) -> bool;
    /// The firewall; `None` if there is none, or it does not answer.
    fn firewall(&self) -> Option<FirewallSnapshot>;
    /// The file for the operator's own ruleset, for what is loaded.
    fn firewall_file(&self) -> String;
    /// Reads strongswan.conf again (log levels, timers).
    fn reload_settings(&self) -> Result<(), String>;

    // --- SAs

    /// IKE_SAs that match, with a unique id greater than `after`, by ascending id, about `limit` of them (more is
    /// allowed). Called again with the last id until nothing comes: the listing is linear and never holds up the
    /// protocol for longer than one page.
    fn ike_sas(&self, filter: &SaFilter, after: Option<u32>, limit: usize) -> Vec<IkeSaSnapshot>;
    /// Trap policies.
    fn policies(&self) -> Vec<PolicySnapshot>;

    // --- orders

    /// Establishes a child of a connection, or with `child = None` an IKE_SA without children. Both exist.
    /// Lines of the log up to `level` that concern this IKE_SA go to `sink`; it is never called when detached.
    fn initiate(
        &self,
        conn: &str,
        child: Option<&str>,
        wait: Wait,
        level: i8,
        sink: LineSink<'_>,
    ) -> Result<(), InitiateError>;
    /// Closes an SA; with `force` without waiting for the peer's answer. `Ok` when it is gone (or, detached, when
    /// the order is given).
    fn terminate(
        &self,
        target: Target,
        force: bool,
        wait: Wait,
        level: i8,
        sink: LineSink<'_>,
    ) -> Result<(), String>;
    /// Sends the client of an IKE_SA to another gateway. `Ok` when it will be told.
    fn redirect(&self, ike: u32, gateway: &GatewayId) -> Result<(), String>;
    /// Children that were lost and wait for the next attempt to bring them back.
    fn retries(&self) -> Vec<RetrySnapshot>;
    /// Gives up bringing back what was lost, of a connection, a child or (without both) everything; how many waited.
    fn cancel_retries(&self, conn: Option<&str>, child: Option<&str>) -> usize;
    /// Starts rekeying an SA (with `reauth` authenticating an IKE_SA again). `Ok` when it is started.
    fn rekey(&self, target: Target, reauth: bool) -> Result<(), String>;
    /// Installs the trap policy of a child. Both exist.
    fn install(&self, conn: &str, child: &str) -> Result<(), String>;
    /// Removes the trap policy of a child; `false` if none is installed. Without `conn`, of any connection.
    fn uninstall(&self, conn: Option<&str>, child: &str) -> bool;

    // --- connections

    /// All connections, from the file and from clients, in the order in which they were loaded.
    fn connections(&self) -> Vec<Arc<Connection>>;
    /// Subjects of the certificates that a connection's round names (a file, or the object itself); what cannot be read
    /// is left out.
    fn subjects(&self, flag: CertFlag, reference: &str) -> Vec<String>;
    /// Loads a connection or replaces the one of that name, and runs its start actions.
    fn load_conn(&self, connection: Connection) -> Result<(), String>;
    /// Unloads a connection; `false` if there is none of that name.
    fn unload_conn(&self, name: &str) -> bool;

    // --- credentials

    /// Loaded certificates, end entities first.
    fn certificates(&self) -> Vec<CertSnapshot>;
    /// Loads a certificate.
    fn load_cert(&self, certificate: Certificate, flag: CertFlag) -> Result<(), String>;
    /// Loads a private key (PEM or DER, not encrypted); answers its key id: 40 hex digits.
    fn load_key(&self, data: &[u8]) -> Result<String, String>;
    /// Unloads a private key; `false` if there is none of that id.
    fn unload_key(&self, id: &str) -> bool;
    /// Key ids of the loaded private keys, from the files and from clients.
    fn key_ids(&self) -> Vec<String>;
    /// Loads a shared secret or replaces the one of that id.
    fn load_shared(&self, secret: SharedSpec) -> Result<(), String>;
    /// Unloads a shared secret; `false` if there is none of that id.
    fn unload_shared(&self, id: &str) -> bool;
    /// Ids of the loaded shared secrets, from the file and from clients.
    fn shared_ids(&self) -> Vec<String>;
    /// Unloads all certificates, keys and shared secrets. They are gone from every listing, and out of use after
    /// [`Self::loading_ends`] or half a minute.
    fn clear_creds(&self);
    /// Forgets certificates received from peers, CRLs and OCSP responses that are cached.
    fn flush_certs(&self);

    // --- authorities

    /// All authorities, by name.
    fn authorities(&self) -> Vec<AuthoritySpec>;
    /// Loads an authority or replaces the one of that name.
    fn load_authority(&self, authority: AuthoritySpec) -> Result<(), String>;
    /// Unloads an authority; `false` if there is none of that name.
    fn unload_authority(&self, name: &str) -> bool;

    // --- pools

    /// All pools, or the one of that name; leases only if asked for.
    fn pools(&self, name: Option<&str>, leases: bool) -> Vec<PoolSnapshot>;
    /// Loads a pool or replaces the one of that name. It has addresses.
    fn load_pool(&self, pool: Pool) -> Result<(), String>;
    /// Unloads a pool; out of use as with [`Self::clear_creds`]. The error is one of the two sentences `<pool> has online leases, unable to unload` and
    /// `<pool> not found`.
    fn unload_pool(&self, name: &str) -> Result<(), String>;

    // --- reloading

    /// Whoever cleared or unloaded something has loaded what takes its place, or will not.
    fn loading_ends(&self);
    /// What a reload of the files would do now; the errors are everything that keeps it from being done.
    fn plan(&self) -> Result<Vec<PlanRow>, Vec<String>>;
    /// Reloads the files as a whole, or says everything that is wrong and leaves things as they are.
    fn reload(&self) -> Result<Vec<PlanRow>, Vec<String>>;

    // --- why something is not up

    /// The last failure of a connection (of the connection as a whole, or of this child of it) since it was last up.
    fn last_failure(&self, conn: &str, child: Option<&str>) -> Option<FailureNote>;
    /// Failures with peers that matched no connection, oldest first.
    fn strangers(&self) -> Vec<FailureNote>;
}

/// Answers VICI commands out of a [`Daemon`].
pub struct Control {
    daemon: Arc<dyn Daemon>,
    loading: loading::Loading,
}

impl Control {
    /// The handler for [`adit_vici::Server::bind_with`].
    pub fn new(daemon: Arc<dyn Daemon>) -> Self {
        Self { daemon, loading: loading::Loading::default() }
    }

    /// The means to send events, for the daemon's parts, made before the server.
    pub fn events() -> (Events, Broadcaster) {
        let broadcaster = Broadcaster::default();
        (Events::new(broadcaster.clone()), broadcaster)
    }
}

impl Handler for Control {
    fn command(&self, name: &str, message: &Message, stream: &mut dyn EventSink) -> Option<Message> {
        let daemon = &*self.daemon;
        self.loading.before(daemon, stream.client(), name);
        Some(match name {
            "version" => info::version(daemon),
            "stats" => info::stats(daemon),
            "get-algorithms" => info::algorithms(),
            "get-counters" => info::counters(daemon, message),
            "reset-counters" => info::reset_counters(daemon, message),
            "reload-settings" => info::reload_settings(daemon),

            "list-sas" => sas::list_sas(daemon, message, stream),
            "list-policies" => sas::list_policies(daemon, message, stream),

            "initiate" => actions::initiate(daemon, message, stream),
            "terminate" => actions::terminate(daemon, message, stream),
            "rekey" => actions::rekey(daemon, message),
            "redirect" => actions::redirect(daemon, message),
            "install" => actions::install(daemon, message),
            "uninstall" => actions::uninstall(daemon, message),

            "list-conns" => conns::list(daemon, message, stream),
            "get-conns" => conns::get(daemon),
            "load-conn" => conns::load(daemon, message),
            "unload-conn" => conns::unload(daemon, message),

            "list-certs" => creds::list_certs(daemon, message, stream),
            "load-cert" => creds::load_cert(daemon, message),
            "load-key" => creds::load_key(daemon, message),
            "unload-key" => creds::unload_key(daemon, message),
            "get-keys" => creds::get_keys(daemon),
            "load-token" => creds::load_token(),
            "load-shared" => creds::load_shared(daemon, message),
            "unload-shared" => creds::unload_shared(daemon, message),
            "get-shared" => creds::get_shared(daemon),
            "clear-creds" => creds::clear(daemon),
            "flush-certs" => creds::flush_certs(daemon, message),

            "list-authorities" => authorities::list(daemon, message, stream),
            "get-authorities" => authorities::get(daemon),
            "load-authority" => authorities::load(daemon, message),
            "unload-authority" => authorities::unload(daemon, message),

            "load-pool" => pools::load(daemon, message),
            "unload-pool" => pools::unload(daemon, message),
            "get-pools" => pools::get(daemon, message),

            "adit-plan" => plan::plan(daemon, stream),
            "adit-reload" => plan::reload(daemon, stream),
            "adit-firewall" => firewall::file(daemon),
            "adit-status" => status::status(daemon, message, stream),
            _ => return None,
        })
    }

    fn knows_event(&self, name: &str) -> bool {
        events::NAMES.contains(&name)
    }

    fn hung_up(&self, client: u64) {
        self.loading.end(&*self.daemon, client);
    }
}

/// The answer of a command that can fail.
fn answer(result: Result<(), String>) -> Message {
    match result {
        Ok(()) => Message::success(),
        Err(errmsg) => Message::failure(errmsg),
    }
}

/// Walks all IKE_SAs that match, page by page; `each` says whether to go on.
fn each_sa(daemon: &dyn Daemon, filter: &SaFilter, mut each: impl FnMut(IkeSaSnapshot) -> bool) {
    const PAGE: usize = 256;
    let mut after = None;
    loop {
        let page = daemon.ike_sas(filter, after, PAGE);
        let Some(last) = page.last().map(|sa| sa.id) else { return };
        // Ids that do not ascend would never end.
        if after.is_some_and(|a| last <= a) {
            return;
        }
        after = Some(last);
        for sa in page {
            if !each(sa) {
                return;
            }
        }
    }
}
