//! The daemon as its control clients see it: questions and orders that run on the protocol thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use adit_conf::swanctl::{Connection, Pool};
use adit_ike::{Command, Reason};
use adit_ipsec::{GatewayId, Mode, Selector, Shunt};
use adit_pki::Certificate;

use crate::control::{
    AuthoritySpec, CertFlag, CertSnapshot, CounterScope, CounterSnapshot, Daemon, FailureNote, IkeSaSnapshot,
    InitiateError, LeaseSnapshot, LineSink, LogLine, PlanRow, PolicySnapshot, PoolSnapshot, RetrySnapshot,
    SaFilter, SharedSpec, SharedUse, StatsSnapshot, Target, VersionInfo, Wait,
};
use crate::creds::{self, SharedKind};
use crate::driver::{Clock, Driver};
use crate::failures::Failure;
use crate::firewall::{Asker, FirewallSnapshot};
use crate::log::{Line, Logger};
use crate::mailbox::Mailbox;
use crate::reload::{Files, pool_spec};
use crate::store::Source;
use crate::views;

/// What a caller hears when the protocol thread is gone.
const GONE: &str = "the daemon is shutting down";

/// Lines that may wait for a client before it loses some.
const MAX_LINES: usize = 1024;

/// Threads besides those of clients: protocol, data plane, signals.
const THREADS: u32 = 3;

/// The names that operators know from plugin lists, but for the data plane's.
const PLUGINS: [&str; 15] = [
    "aes",
    "sha2",
    "hmac",
    "gcm",
    "chapoly",
    "curve25519",
    "openssl",
    "pem",
    "pkcs1",
    "pkcs8",
    "x509",
    "pubkey",
    "eap-identity",
    "eap-mschapv2",
    "vici",
];

/// The plugin of strongSwan that does what a data plane does.
fn plugin_of(dataplane: &str) -> Option<&'static str> {
    match dataplane {
        "kernel" => Some("kernel-netlink"),
        "userspace" => Some("kernel-libipsec"),
        _ => None,
    }
}

/// Reaches the protocol thread; any thread may hold one.
pub(crate) struct Handle {
    mailbox: Mailbox,
    logger: Arc<Logger>,
    clock: Clock,
    files: Arc<Files>,
    firewall: Option<Asker>,
}

/// What a client that waits is told.
enum Progress {
    Line(Line),
    Done(Result<(), Reason>),
}

impl Handle {
    /// A handle on the daemon behind `mailbox`.
    pub(crate) fn new(
        mailbox: Mailbox,
        logger: Arc<Logger>,
        clock: Clock,
        files: Arc<Files>,
        firewall: Option<Asker>,
    ) -> Self {
        Self { mailbox, logger, clock, files, firewall }
    }

    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T, String> {
        self.mailbox.call(work).ok_or_else(|| GONE.to_owned())
    }

    fn ask<T: Default + Send + 'static>(&self, work: impl FnOnce(&mut Driver) -> T + Send + 'static) -> T {
        self.mailbox.call(work).unwrap_or_default()
    }

    /// Gives a command and follows it: its lines go to `sink` until its outcome is there.
    fn follow(
        &self,
        command: impl FnOnce(u64) -> Command + Send + 'static,
        about: Option<String>,
        (wait, level): (Wait, i8),
        sink: LineSink<'_>,
    ) -> Result<(), Outcome> {
        if wait == Wait::Detached {
            return self.call(move |d| d.command(command(0))).map_err(Outcome::Failed);
        }
        // Lines are bounded by the count, so that the outcome always finds room.
        let (to, progress) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (lines, queued) = (to.clone(), Arc::clone(&waiting));
        let listener = self.logger.subscribe(
            level,
            Box::new(move |line| {
                let concerns =
                    line.sa.as_ref().is_none_or(|(name, _)| about.as_ref().is_none_or(|a| **name == **a));
                // a client that does not read loses lines, the daemon no time
                if !concerns || queued.load(Ordering::Relaxed) >= MAX_LINES {
                    return true;
                }
                queued.fetch_add(1, Ordering::Relaxed);
                lines.send(Progress::Line(line.clone())).is_ok()
            }),
        );
        let given = self.call(move |d| {
            let tag = d.tag(Box::new(move |result| {
                // a client that gave up needs no answer
                let _ = to.send(Progress::Done(result));
            }));
            d.command(command(tag));
        });
        let result = given.map_err(Outcome::Failed).and_then(|()| listen(&progress, &waiting, wait, sink));
        self.logger.unsubscribe(listener);
        result
    }
}

enum Outcome {
    Timeout,
    Failed(String),
}

fn listen(
    progress: &Receiver<Progress>,
    waiting: &AtomicUsize,
    wait: Wait,
    sink: LineSink<'_>,
) -> Result<(), Outcome> {
    let started = Instant::now();
    let mut reading = true;
    loop {
        let next = match wait {
            Wait::AtMost(limit) => progress.recv_timeout(limit.saturating_sub(started.elapsed())),
            Wait::Forever | Wait::Detached => progress.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(Progress::Line(line)) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                reading = reading && sink(&log_line(&line));
            }
            Ok(Progress::Done(Ok(()))) => return Ok(()),
            Ok(Progress::Done(Err(reason))) => {
                return Err(Outcome::Failed(format!("{}; {}", reason.sentence(), reason.cure())));
            }
            Err(RecvTimeoutError::Timeout) => return Err(Outcome::Timeout),
            Err(RecvTimeoutError::Disconnected) => return Err(Outcome::Failed(GONE.to_owned())),
        }
    }
}

/// A line as clients get it.
pub(crate) fn log_line(line: &Line) -> LogLine {
    LogLine {
        group: line.group.name(),
        level: line.level,
        thread: 0,
        sa: line.sa.clone(),
        text: line.text.clone(),
    }
}

fn note(failure: &Failure) -> FailureNote {
    let when = failure.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    FailureNote { when, peer: failure.peer, sentence: failure.sentence.clone(), cure: failure.cure.clone() }
}

fn uname(file: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/kernel/{file}"))
        .map_or_else(|_| "?".into(), |s| s.trim().to_owned())
}

impl Daemon for Handle {
    fn version(&self) -> VersionInfo {
        VersionInfo {
            daemon: "aditd".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            sysname: uname("ostype"),
            release: uname("osrelease"),
            machine: std::env::consts::ARCH.into(),
        }
    }

    fn stats(&self) -> StatsSnapshot {
        let (stats, lost, dataplane) = self.ask(|d| (d.endpoint.stats(), d.lost(), d.dataplane.name()));
        let uptime = self.clock.elapsed();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(uptime);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        StatsSnapshot {
            uptime,
            started: started.as_secs(),
            workers: THREADS,
            idle: THREADS,
            ike_sas: count(stats.ike_sas),
            half_open: count(stats.half_open + stats.pending),
            admission: stats.admission().into_iter().chain(lost).collect(),
            scheduled: count(stats.ike_sas),
            plugins: PLUGINS.into_iter().chain(plugin_of(dataplane)).map(str::to_owned).collect(),
            ..StatsSnapshot::default()
        }
    }

    fn counters(&self, scope: CounterScope<'_>) -> Vec<CounterSnapshot> {
        match scope {
            CounterScope::Connection(_) => Vec::new(),
            CounterScope::Global | CounterScope::All => {
                let values = self.ask(|d| d.counters.values());
                vec![CounterSnapshot { name: String::new(), values }]
            }
        }
    }

    fn reset_counters(&self, scope: CounterScope<'_>) -> bool {
        if matches!(scope, CounterScope::Connection(_)) {
            return false;
        }
        self.ask(|d| d.counters.reset());
        true
    }

    fn firewall(&self) -> Option<FirewallSnapshot> {
        self.firewall.as_ref()?.snapshot()
    }

    fn firewall_file(&self) -> String {
        self.ask(|d| d.dropin())
    }

    fn reload_settings(&self) -> Result<(), String> {
        self.call(Driver::reload_settings)?
    }

    fn ike_sas(&self, filter: &SaFilter, after: Option<u32>, limit: usize) -> Vec<IkeSaSnapshot> {
        let filter = filter.clone();
        self.ask(move |d| {
            let now = d.clock.now();
            d.endpoint
                .ike_sas()
                .skip_while(|sa| after.is_some_and(|after| sa.id <= after))
                .filter(|sa| filter.ike.as_ref().is_none_or(|name| **name == *sa.name))
                .filter(|sa| filter.ike_id.is_none_or(|id| id == sa.id))
                .take(limit)
                .map(|sa| views::ike_sa(&sa, now, &*d.dataplane))
                .collect()
        })
    }

    fn policies(&self) -> Vec<PolicySnapshot> {
        self.ask(|d| {
            let mode = |conn: &str, child: &str| {
                let config = d.store.ike(conn).and_then(|conn| conn.child(child));
                match config.map(|child| child.mode) {
                    Some(Mode::Transport) => "TRANSPORT",
                    _ => "TUNNEL",
                }
            };
            let texts = |list: &[Selector]| list.iter().map(ToString::to_string).collect();
            let traps = d.traps.iter().map(|trap| PolicySnapshot {
                ike: trap.ike_name.to_string(),
                child: trap.name.to_string(),
                reqid: trap.reqid,
                mode: mode(&trap.ike_name, &trap.name),
                local_ts: texts(&trap.local_ts),
                remote_ts: texts(&trap.remote_ts),
            });
            let shunts = d.shunts.iter().map(|shunt| PolicySnapshot {
                ike: shunt.ike_name.to_string(),
                child: shunt.name.to_string(),
                reqid: 0,
                mode: match shunt.kind {
                    Shunt::Pass => "PASS",
                    Shunt::Drop => "DROP",
                },
                local_ts: texts(&shunt.local_ts),
                remote_ts: texts(&shunt.remote_ts),
            });
            traps.chain(shunts).collect()
        })
    }

    fn initiate(
        &self,
        conn: &str,
        child: Option<&str>,
        wait: Wait,
        level: i8,
        sink: LineSink<'_>,
    ) -> Result<(), InitiateError> {
        let (conn_name, child) = (Arc::from(conn), child.map(Arc::from));
        let command = move |tag| match child {
            None => Command::InitiateIke { conn: conn_name, tag },
            child => Command::Initiate { conn: Some(conn_name), child, tag, trigger: None },
        };
        self.follow(command, Some(conn.to_owned()), (wait, level), sink).map_err(|outcome| match outcome {
            Outcome::Timeout => InitiateError::Timeout,
            Outcome::Failed(sentence) => InitiateError::Failed(sentence),
        })
    }

    fn terminate(
        &self,
        target: Target,
        force: bool,
        wait: Wait,
        level: i8,
        sink: LineSink<'_>,
    ) -> Result<(), String> {
        let command = move |tag| match target {
            Target::Ike(id) => Command::TerminateIke { id, force, tag },
            Target::Child(id) => Command::TerminateChild { id, tag },
        };
        self.follow(command, None, (wait, level), sink).map_err(|outcome| match outcome {
            Outcome::Timeout => {
                "the peer has not answered in time; the SA goes when it does or is given up".into()
            }
            Outcome::Failed(sentence) => sentence,
        })
    }

    fn redirect(&self, ike: u32, gateway: &GatewayId) -> Result<(), String> {
        let gateway = gateway.clone();
        let command = move |tag| Command::Redirect { id: ike, gateway, tag };
        // The outcome is there at once: the client's own answer is not waited for.
        self.follow(command, None, (Wait::Forever, -1), &mut |_| true).map_err(|outcome| match outcome {
            Outcome::Timeout => GONE.to_owned(),
            Outcome::Failed(sentence) => sentence,
        })
    }

    fn retries(&self) -> Vec<RetrySnapshot> {
        self.ask(|d| {
            let now = d.clock.now();
            let shown = |retry: adit_ike::RetryView| RetrySnapshot {
                ike: retry.conn,
                child: retry.child,
                failures: retry.failures,
                next_in: retry.at.since(now).as_secs(),
            };
            d.endpoint.retries().map(shown).collect()
        })
    }

    fn cancel_retries(&self, conn: Option<&str>, child: Option<&str>) -> usize {
        let (conn, child) = (conn.map(str::to_owned), child.map(str::to_owned));
        self.ask(move |d| d.endpoint.cancel_retries(conn.as_deref(), child.as_deref()))
    }

    fn rekey(&self, target: Target, reauth: bool) -> Result<(), String> {
        self.call(move |d| {
            d.command(match target {
                Target::Ike(id) if reauth => Command::ReauthIke { id },
                Target::Ike(id) => Command::RekeyIke { id },
                Target::Child(id) => Command::RekeyChild { id },
            });
        })
    }

    fn install(&self, conn: &str, child: &str) -> Result<(), String> {
        let (conn, child) = (conn.to_owned(), child.to_owned());
        self.call(move |d| {
            let missing = || format!("CHILD_SA config '{child}' not found");
            let conn = d.store.ike(&conn).map(Arc::clone).ok_or_else(missing)?;
            if let Some(shunt) = conn.shunts.iter().find(|shunt| *shunt.name == *child) {
                return d.install_shunt(&conn, shunt);
            }
            let child = conn.child(&child).ok_or_else(missing)?;
            d.install_trap(&conn, child)
        })?
    }

    fn uninstall(&self, conn: Option<&str>, child: &str) -> bool {
        let (conn, child) = (conn.map(str::to_owned), child.to_owned());
        self.ask(move |d| {
            let which = |ike: &str, name: &str| *name == *child && conn.as_ref().is_none_or(|c| **c == *ike);
            let traps = d.remove_traps(|t| which(&t.ike_name, &t.name));
            traps + d.remove_shunts(|s| which(&s.ike_name, &s.name)) > 0
        })
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.ask(|d| d.store.configured().map(Arc::clone).collect())
    }

    fn subjects(&self, flag: CertFlag, reference: &str) -> Vec<String> {
        let Ok(dir) = self.call(|d| d.store.environment().swanctl_dir.clone()) else { return Vec::new() };
        let folder = match flag {
            CertFlag::None => "x509",
            CertFlag::Ca => "x509ca",
        };
        let certs = creds::referenced(&dir, folder, reference).unwrap_or_default();
        certs.iter().map(|c| c.subject().to_string()).collect()
    }

    fn load_conn(&self, connection: Connection) -> Result<(), String> {
        self.call(move |d| d.load_connection(connection))?
    }

    fn unload_conn(&self, name: &str) -> bool {
        let name = name.to_owned();
        self.ask(move |d| d.unload_connection(&name))
    }

    fn certificates(&self) -> Vec<CertSnapshot> {
        self.ask(|d| {
            let sets = [&d.store.files, &d.store.clients];
            let mut all: Vec<CertSnapshot> = Vec::new();
            for (certificate, authority) in sets.iter().flat_map(|s| s.certificates()) {
                if all.iter().any(|c| c.certificate.der() == certificate.der()) {
                    continue;
                }
                all.push(CertSnapshot {
                    certificate: certificate.clone(),
                    flag: if authority { CertFlag::Ca } else { CertFlag::None },
                    has_private_key: sets.iter().any(|s| s.has_key_for(certificate)),
                });
            }
            all.sort_by_key(|c| c.flag);
            all
        })
    }

    fn load_cert(&self, certificate: Certificate, flag: CertFlag) -> Result<(), String> {
        self.call(move |d| {
            if d.store.load_certificate(certificate, flag == CertFlag::Ca) {
                d.apply();
            }
        })
    }

    fn load_key(&self, data: &[u8]) -> Result<String, String> {
        let data = zeroize::Zeroizing::new(data.to_vec());
        self.call(move |d| {
            let (id, new) = d.store.load_key(&data)?;
            if new {
                d.apply();
            }
            Ok(id)
        })?
    }

    fn unload_key(&self, id: &str) -> bool {
        let id = id.to_owned();
        self.ask(move |d| {
            let removed = d.store.clients.remove_key(&id) | d.store.files.remove_key(&id);
            d.apply();
            removed
        })
    }

    fn key_ids(&self) -> Vec<String> {
        self.ask(|d| merged(d.store.files.key_ids(), d.store.clients.key_ids()))
    }

    fn load_shared(&self, secret: SharedSpec) -> Result<(), String> {
        let kind = match secret.kind {
            SharedUse::Ike => SharedKind::Ike,
            SharedUse::Eap => SharedKind::Eap,
        };
        self.call(move |d| {
            if d.store.load_shared(secret.id, kind, secret.owners, secret.secret.to_vec()) {
                d.apply();
            }
        })
    }

    fn unload_shared(&self, id: &str) -> bool {
        let id = id.to_owned();
        self.ask(move |d| {
            let removed = d.store.clients.remove_shared(&id) | d.store.files.remove_shared(&id);
            d.apply();
            removed
        })
    }

    fn shared_ids(&self) -> Vec<String> {
        self.ask(|d| merged(d.store.files.shared_names(), d.store.clients.shared_names()))
    }

    fn clear_creds(&self) {
        self.ask(|d| {
            d.store.clear();
            d.hold_leaving();
        });
    }

    fn flush_certs(&self) {
        // nothing that peers send is cached
    }

    fn authorities(&self) -> Vec<AuthoritySpec> {
        self.ask(|d| d.store.authorities().cloned().collect())
    }

    fn load_authority(&self, authority: AuthoritySpec) -> Result<(), String> {
        self.call(move |d| {
            if d.store.load_authority(authority) {
                d.apply();
            }
        })
    }

    fn unload_authority(&self, name: &str) -> bool {
        let name = name.to_owned();
        self.ask(move |d| {
            let removed = d.store.unload_authority(&name);
            d.apply();
            removed
        })
    }

    fn pools(&self, name: Option<&str>, leases: bool) -> Vec<PoolSnapshot> {
        let name = name.map(str::to_owned);
        self.ask(move |d| {
            d.pools
                .views()
                .filter(|(spec, ..)| name.as_ref().is_none_or(|n| *n == spec.name))
                .map(|(spec, size, online, offline, all)| PoolSnapshot {
                    name: spec.name.clone(),
                    base: spec.base,
                    size,
                    online: online as u64,
                    offline: offline as u64,
                    leases: if leases { all.into_iter().map(lease).collect() } else { Vec::new() },
                })
                .collect()
        })
    }

    fn load_pool(&self, pool: Pool) -> Result<(), String> {
        let spec = pool_spec(&pool).ok_or_else(|| format!("missing addrs for pool '{}'", pool.name))?;
        self.call(move |d| {
            d.pools.insert(spec, Source::Vici);
            d.tell_firewall();
        })
    }

    fn unload_pool(&self, name: &str) -> Result<(), String> {
        let name = name.to_owned();
        self.call(move |d| {
            d.pools.unload(&name)?;
            d.hold_leaving();
            d.tell_firewall();
            Ok(())
        })?
    }

    fn loading_ends(&self) {
        self.ask(Driver::sweep);
    }

    fn plan(&self) -> Result<Vec<PlanRow>, Vec<String>> {
        let mut reading = self.files.read();
        let plan = self.call(move |d| {
            d.give_interfaces(&mut reading);
            d.leave_out_unserved(&mut reading);
            let problems = d.problems(&reading);
            if problems.is_empty() { Ok(d.plan(&reading.wanted)) } else { Err(problems) }
        });
        Ok(plan.map_err(|e| vec![e])??.rows())
    }

    fn reload(&self) -> Result<Vec<PlanRow>, Vec<String>> {
        Ok(self.files.reload(&self.mailbox)?.rows())
    }

    fn last_failure(&self, conn: &str, child: Option<&str>) -> Option<FailureNote> {
        let (conn, child) = (conn.to_owned(), child.map(str::to_owned));
        self.ask(move |d| d.failures.of(&conn, child.as_deref()).map(note))
    }

    fn strangers(&self) -> Vec<FailureNote> {
        self.ask(|d| d.failures.strangers().map(note).collect())
    }
}

fn lease(view: crate::pools::LeaseView) -> LeaseSnapshot {
    LeaseSnapshot { address: view.address, identity: view.identity.to_string(), online: view.online }
}

fn merged<'a>(a: impl Iterator<Item = &'a String>, b: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut all: Vec<String> = a.chain(b).cloned().collect();
    all.sort();
    all.dedup();
    all
}
