//! The endpoint: everything that concerns more than one IKE_SA.

mod admission;
mod commands;
pub(crate) mod cookie;
pub(crate) mod dispatch;
mod reconfigure;
mod redirect;
pub(crate) mod retry;

use std::sync::Arc;

use adit_crypto::Random;
use adit_ipsec::{EntryOptions, Pair, Selector};

use crate::action::{Action, ActionId, Command, Completion, Path, Transmit};
use crate::config::{ChildConfig, Config, Connection};
use crate::core::Core;
pub use crate::endpoint::retry::RetryView;
use crate::event::Event;
use crate::settings::Settings;
use crate::time::Instant;
use crate::view::IkeSaView;

pub use reconfigure::RunningConfig;

/// Counters of an endpoint since its start, and sizes of its tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// IKE_SAs in any state.
    pub ike_sas: usize,
    /// IKE_SAs whose IKE_SA_INIT was answered and whose peer, the initiator, has not come back.
    pub half_open: usize,
    /// IKE_SAs whose peer, the initiator, has sent a genuine IKE_AUTH and not proved itself yet.
    pub pending: usize,
    /// CHILD_SAs.
    pub child_sas: usize,
    /// Datagrams dropped as no IKE messages.
    pub malformed: u64,
    /// Messages for SPIs that nobody has.
    pub unknown_spi: u64,
    /// Messages that failed their integrity check.
    pub bad_integrity: u64,
    /// Messages that the state of their IKE_SA does not allow.
    pub wrong_state: u64,
    /// Messages whose Message ID is not the one that is awaited.
    pub out_of_window: u64,
    /// Genuine fragments dropped: seen before, contradicting the others, or beyond a limit.
    pub dropped_fragments: u64,
    /// Tickets given.
    pub tickets_given: u64,
    /// IKE_SAs that began with a ticket.
    pub resumed: u64,
    /// Quick crash detection tokens that proved nothing.
    pub wrong_tokens: u64,
    /// Datagrams longer than `max_packet`.
    pub oversized: u64,
    /// Cookies demanded.
    pub cookies_sent: u64,
    /// Cookies shown that were good.
    pub cookies_accepted: u64,
    /// Cookies shown that were not: forged, too old, or for another request.
    pub cookies_wrong: u64,
    /// IKE_SA_INIT requests ignored because of a limit; the next six say which.
    pub refused: u64,
    /// By `initiator_only`, or because we are leaving.
    pub not_responding: u64,
    /// By `block_threshold`.
    pub blocked: u64,
    /// By `init_limit_half_open`.
    pub half_open_limited: u64,
    /// By `ikesa_limit`.
    pub sas_limited: u64,
    /// By `adit.init_rate_ip`, with a good cookie.
    pub rate_limited_ip: u64,
    /// By `adit.init_rate`, with a good cookie.
    pub rate_limited: u64,
    /// Unprotected messages without an answer, because too many were answered in that second.
    pub unanswered: u64,
    /// Half-open IKE_SAs given up after `half_open_timeout`.
    pub half_open_timeouts: u64,
    /// Half-open IKE_SAs that made room for another one.
    pub half_open_evicted: u64,
    /// Pending IKE_SAs given up after `adit.pending_auth_timeout`.
    pub pending_timeouts: u64,
    /// Pending IKE_SAs that made room for another one.
    pub pending_evicted: u64,
    /// Peers that did not prove to be who they said they are.
    pub auth_failures: u64,
    /// Authentications refused unseen by `adit.auth_failures`.
    pub auth_limited: u64,
    /// Strangers' messages that had no line in the log, because others had filled that second.
    pub untold: u64,
    /// Clients that we sent to another gateway.
    pub redirects_sent: u64,
    /// Times that we went to another gateway.
    pub redirects_followed: u64,
    /// Synchronizations of Message IDs, of either end.
    pub synchronized: u64,
    /// Addresses that peers announced beyond the limit of RFC 4555's list, or that nobody can be reached at.
    pub dropped_addresses: u64,
    /// Requests retransmitted by us.
    pub retransmits: u64,
    /// Requests retransmitted by peers.
    pub peer_retransmits: u64,
}

impl Stats {
    /// What concerns strangers, under the names that operators see.
    #[must_use]
    pub const fn admission(&self) -> [(&'static str, u64); 23] {
        [
            ("half-open", self.half_open as u64),
            ("pending-auth", self.pending as u64),
            ("cookies-sent", self.cookies_sent),
            ("cookies-accepted", self.cookies_accepted),
            ("cookies-wrong", self.cookies_wrong),
            ("refused", self.refused),
            ("not-responding", self.not_responding),
            ("blocked", self.blocked),
            ("half-open-limited", self.half_open_limited),
            ("sas-limited", self.sas_limited),
            ("rate-limited-ip", self.rate_limited_ip),
            ("rate-limited", self.rate_limited),
            ("unanswered", self.unanswered),
            ("half-open-timeouts", self.half_open_timeouts),
            ("half-open-evicted", self.half_open_evicted),
            ("pending-auth-timeouts", self.pending_timeouts),
            ("pending-auth-evicted", self.pending_evicted),
            ("auth-failures", self.auth_failures),
            ("auth-limited", self.auth_limited),
            ("malformed", self.malformed),
            ("oversized", self.oversized),
            ("unknown-spi", self.unknown_spi),
            ("untold", self.untold),
        ]
    }
}

/// All IKE_SAs of one shard.
pub struct Endpoint {
    core: Core,
}

impl Endpoint {
    /// An endpoint without SAs. `unix_at_epoch` is the wall clock, in unix seconds, at [`Instant::ZERO`].
    #[must_use]
    pub fn new(settings: Settings, config: Arc<Config>, rng: Box<dyn Random>, unix_at_epoch: i64) -> Self {
        Self { core: Core::new(settings, config, rng, unix_at_epoch) }
    }

    /// A datagram came, its non-ESP marker removed.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        self.core.now = now;
        self.core.receive(path, bytes);
        self.finish();
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.core.now = now;
        while let Some((at, id)) = self.core.deadlines.first().copied() {
            if at > now {
                break;
            }
            let found = self.core.with(id, |sa, core| sa.on_timer(core));
            // Whatever a timer does, it must not be due again at once, or this would never end.
            if found.is_none() || self.core.deadlines.contains(&(at, id)) {
                self.core.deadlines.remove(&(at, id));
                if let Some(sa) = self.core.sas.get_mut(&id) {
                    sa.scheduled = None;
                }
            }
        }
        self.finish();
    }

    /// When [`Self::handle_timeout`] wants to be called, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let sa = self.core.deadlines.first().map(|(at, id)| {
            let what = self.core.sas.get(id).and_then(|sa| sa.next_deadline()).map_or("", |(_, what)| what);
            (*at, what)
        });
        let shutdown = self.core.shutdown.filter(|_| !self.core.shutdown_told).map(|at| (at, "shutdown"));
        let retry = self.core.retries.next().map(|at| (at, "bringing back a lost child"));
        sa.into_iter().chain(shutdown).chain(retry).min_by_key(|(at, _)| *at)
    }

    /// Carries out a command.
    pub fn command(&mut self, now: Instant, command: Command) {
        self.core.now = now;
        self.core.run(command);
        self.finish();
    }

    /// The answer to an [`Action`].
    pub fn complete(&mut self, now: Instant, id: ActionId, completion: Completion) {
        self.core.now = now;
        self.core.answered(id, completion);
        self.finish();
    }

    /// What follows from what has just been done.
    fn finish(&mut self) {
        self.core.run_retries();
        self.core.end_shutdown();
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// The next question or order.
    pub fn poll_action(&mut self) -> Option<(ActionId, Action)> {
        self.core.actions.pop_front()
    }

    /// The next news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// Every IKE_SA, by ascending id.
    pub fn ike_sas(&self) -> impl Iterator<Item = IkeSaView<'_>> {
        self.core.sas.values().map(|sa| sa.view())
    }

    /// One IKE_SA.
    #[must_use]
    pub fn ike_sa(&self, id: u32) -> Option<IkeSaView<'_>> {
        self.core.sas.get(&id).map(|sa| sa.view())
    }

    /// The IKE_SA that a CHILD_SA belongs to.
    #[must_use]
    pub fn ike_of_child(&self, child: u32) -> Option<u32> {
        self.core.child_owner.get(&child).copied()
    }

    /// Counters and sizes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            ike_sas: self.core.sas.len(),
            half_open: self.core.guard.half_open.len(),
            pending: self.core.guard.pending.len(),
            child_sas: self.core.child_owner.len(),
            ..self.core.stats
        }
    }

    /// The children that were lost and wait for the next attempt to bring them back, by connection and name.
    pub fn retries(&self) -> impl Iterator<Item = RetryView> {
        self.core.retries.waiting()
    }

    /// Gives up bringing back what was lost: of one connection or all, of one child or all of them. How many waited.
    pub fn cancel_retries(&mut self, conn: Option<&str>, child: Option<&str>) -> usize {
        self.core.retries.cancel(conn, child)
    }

    /// A trap is to be there for a child: its reqid, and its options with the numbers that are its own. A CHILD_SA with
    /// the trap's selectors will have both, one that the trap brings up the numbers in any case.
    pub fn trap_added(
        &mut self,
        conn: &Connection,
        child: &ChildConfig,
        local_ts: &[Selector],
        remote_ts: &[Selector],
    ) -> (u32, Arc<EntryOptions>) {
        let core = &mut self.core;
        let reqid = if child.reqid == 0 { core.next_reqid() } else { child.reqid };
        let options = if child.numbering.is_given() {
            Arc::clone(&child.options)
        } else {
            // There is no IKE_SA yet whose ids it could have.
            let ike = Pair::draw(conn.if_ids.choice_in, conn.if_ids.choice_out, Pair::default(), || {
                core.next_if_id()
            });
            core.draw_options(child, conn.if_ids.of(ike))
        };
        let names = (&conn.name, &child.name);
        core.traps.set(names, reqid, Arc::clone(&options), (local_ts, remote_ts));
        (reqid, options)
    }

    /// The trap of a child is gone.
    pub fn trap_removed(&mut self, conn: &Arc<str>, child: &Arc<str>) {
        self.core.traps.unset(conn, child);
    }

    #[cfg(feature = "digest")]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The settings in use.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// Changes settings; requests already out keep their timers.
    pub fn set_settings(&mut self, settings: Settings) {
        self.core.settings = settings;
    }

    /// Forgets a CHILD_SA without a word to the peer, as after a crash of the data plane. For tests.
    #[cfg(feature = "impair")]
    pub fn lose_child(&mut self, now: Instant, id: u32) {
        self.core.now = now;
        if let Some(owner) = self.core.child_owner.get(&id).copied() {
            self.core.with(owner, |sa, core| sa.drop_child(core, id));
        }
        self.finish();
    }

    /// What is left in the tables of an endpoint whose SAs are all gone, by name: a leak, if it is not empty.
    #[must_use]
    pub fn leftovers(&self) -> Vec<(&'static str, usize)> {
        let core = &self.core;
        [
            ("IKE_SAs", core.sas.len()),
            ("IKE SPIs", core.by_spi.len()),
            ("connection names", core.by_conn.len()),
            ("peers", core.by_peer.len()),
            ("CHILD_SAs", core.child_owner.len()),
            ("ESP SPIs", core.esp_spis.len()),
            ("deadlines", core.deadlines.len()),
            ("first messages", core.init_requests.len() - core.init_done.len().min(core.init_requests.len())),
        ]
        .into_iter()
        .chain(core.guard.leftovers())
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}
