//! Deadlines: plain fields, looked at when the earliest is due.

use crate::action::Action;
use crate::core::{Core, Wait, log};
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::revive::End;
use crate::sa::{IkeSa, Phase, Task};
use crate::time::Instant;
use crate::view::ChildState;

impl IkeSa {
    /// The next time something is to be done, and what.
    pub(crate) fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        let window = &self.window;
        let own = [
            (window.request.as_ref().map(|request| request.deadline), "retransmission"),
            (window.answered.as_ref().map(|answered| answered.forget_at), "forget last response"),
            (self.reassembly.as_ref().map(|it| it.until), "missing fragments"),
            (self.half_open_until, "half-open timeout"),
            (self.rekey_at, "IKE_SA rekeying"),
            (self.reauth_at, "reauthentication"),
            (self.expire_at, "IKE_SA lifetime"),
            (self.dpd_at, "liveness check"),
            (self.keepalive_at, "NAT keepalive"),
            (self.linger_until, "end of a replaced or deleted IKE_SA"),
            (self.retry_at, "retry"),
            (self.redirect_until, "end of a redirected IKE_SA"),
            (self.yield_at, "end of a duplicate"),
        ];
        let children = self.children.iter().flat_map(|child| {
            [
                (child.rekey_at, "CHILD_SA rekeying"),
                (child.expire_at, "CHILD_SA lifetime"),
                (child.remove_at, "end of a rekeyed CHILD_SA"),
                (child.idle_at, "CHILD_SA inactivity"),
            ]
        });
        own.into_iter()
            .chain(children)
            .filter_map(|(at, what)| at.map(|at| (at, what)))
            .min_by_key(|(at, _)| *at)
    }

    /// Does whatever is due.
    pub(crate) fn on_timer(&mut self, core: &mut Core) {
        let now = core.now;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.linger_until) {
            self.check_successor(core);
            return self.close(core, None);
        }
        if due(self.half_open_until) {
            let pending = self.waiting.is_some_and(|waiting| waiting.pending);
            let stats = &mut core.stats;
            let (counter, reason) = if pending {
                (&mut stats.pending_timeouts, Reason::PendingAuthTimeout)
            } else {
                (&mut stats.half_open_timeouts, Reason::HalfOpenTimeout)
            };
            *counter += 1;
            return self.give_up(core, reason);
        }
        if due(self.expire_at) {
            self.expire_at = None;
            if self.is_established() {
                let reason = Reason::LifetimeExceeded;
                core.event(Event::Failure {
                    conn: Some(std::sync::Arc::clone(&self.conn.name)),
                    child: None,
                    peer: self.peer_addr(),
                    reason: reason.clone(),
                });
                self.note_end_of_all(core, End::Expired);
                self.delete_with(core, Some(reason));
            }
        }
        if due(self.yield_at) {
            self.yield_at = None;
            let remote = self.peer_identity().clone();
            self.delete_with(core, Some(Reason::ReplacedByNew { remote }));
        }
        if due(self.window.answered.as_ref().map(|answered| answered.forget_at)) {
            self.window.answered = None;
        }
        if due(self.reassembly.as_ref().map(|it| it.until)) {
            log!(core, Enc, 1, self, "not all fragments of a message came, dropped those that did");
            self.reassembly = None;
            core.stats.dropped_fragments += 1;
        }
        if due(self.window.request.as_ref().map(|request| request.deadline)) {
            self.on_retransmit_timer(core);
            if self.is_closed() {
                return;
            }
        }
        if due(self.rekey_at) {
            self.rekey_at = None;
            let queued = self.queue.iter().any(|task| matches!(task, Task::RekeyIke { .. }));
            if self.is_established() && !queued {
                self.queue.push_back(Task::RekeyIke { group: None });
            }
        }
        if due(self.reauth_at) {
            self.reauth_at = None;
            if self.is_established() {
                self.reauthenticate(core);
            }
        }
        if due(self.redirect_until) {
            self.redirect_until = None;
            self.delete_with(core, Some(Reason::Redirected));
        }
        if due(self.dpd_at) {
            self.on_dpd_timer(core);
        }
        if due(self.keepalive_at) {
            self.on_keepalive_timer(core);
        }
        if due(self.retry_at) {
            self.retry_at = None;
            if matches!(self.phase, Phase::Preparing(_)) {
                return self.restart(core);
            }
        }
        self.on_child_timers(core);
        if !matches!(self.phase, Phase::Closed) {
            self.pump(core);
        }
    }

    fn on_child_timers(&mut self, core: &mut Core) {
        let now = core.now;
        let ids: Vec<u32> = self.children.iter().map(|child| child.id).collect();
        for id in ids {
            let Some(child) = self.child_mut(id) else { continue };
            let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if due(child.remove_at) {
                self.drop_child(core, id);
                continue;
            }
            if due(child.expire_at) {
                child.expire_at = None;
                self.expire_child(core, id);
                continue;
            }
            if due(child.rekey_at) {
                child.rekey_at = None;
                if child.state == ChildState::Installed {
                    self.queue.push_back(Task::RekeyChild { id, group: None });
                }
            }
            let Some(child) = self.child_mut(id) else { continue };
            if due(child.idle_at) {
                child.idle_at = None;
                core.ask(self.id, Wait::Idle { child: id }, Action::QueryUsage { id });
            }
        }
    }

    /// A hard lifetime is over.
    pub(crate) fn expire_child(&mut self, core: &mut Core, id: u32) {
        let Some(child) = self.child(id) else { return };
        if child.replaced_by.is_none() && !child.redundant {
            self.note_end(core, id, End::Expired);
            let Some(child) = self.child(id) else { return };
            core.event(Event::Failure {
                conn: Some(std::sync::Arc::clone(&self.conn.name)),
                child: Some(std::sync::Arc::clone(&child.config.name)),
                peer: self.peer_addr(),
                reason: Reason::LifetimeExceeded,
            });
        }
        self.delete_child(core, id);
    }

    /// How long a child has been idle.
    pub(crate) fn on_idle_usage(&mut self, core: &mut Core, id: u32, usage: Option<adit_ipsec::Usage>) {
        let now = core.now;
        let Some(child) = self.child_mut(id).filter(|child| child.is_up()) else { return };
        let limit = child.config.inactivity;
        if limit.is_zero() {
            return;
        }
        let age = child.installed_at.map_or(limit, |at| now - at);
        let of = |idle: Option<std::time::Duration>| idle.unwrap_or(age);
        let idle = usage.map_or(age, |usage| of(usage.idle_in).min(of(usage.idle_out)));
        if idle < limit {
            child.idle_at = Some(now + limit.saturating_sub(idle).max(std::time::Duration::from_millis(1)));
            return;
        }
        log!(core, Job, 1, self, "deleting CHILD_SA after {} seconds of inactivity", limit.as_secs());
        let only = self.children.iter().filter(|child| child.is_up()).count() == 1;
        let more = self.queue.iter().any(|task| matches!(task, Task::Child(_)));
        if only && !more && core.settings.inactivity_close_ike {
            return self.delete_with(core, Some(Reason::Inactive { after: limit }));
        }
        self.delete_child(core, id);
    }

    /// The peer has rekeyed this IKE_SA, and has neither deleted it since nor used the new one: perhaps it never got our
    /// answer and gave up. Whoever asks on the new one gets it either confirmed or found dead.
    fn check_successor(&self, core: &mut Core) {
        let Some(new) = self.successor else { return };
        core.with(new, |sa, core| {
            if sa.is_established() && !sa.heard && sa.window.request.is_none() {
                log!(core, Ike, 1, sa, "not a word of the peer on the rekeyed IKE_SA, checking liveness");
                sa.queue.push_back(Task::Dpd);
                sa.pump(core);
            }
        });
    }
}
