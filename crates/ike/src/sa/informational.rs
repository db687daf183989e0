//! INFORMATIONAL: deletes, liveness, notifies (RFC 7296 §1.4, §2.4).

use std::time::Duration;

use adit_ipsec::Usage;
use adit_wire::{ExchangeType, NotifyType, Payload};

use crate::action::Action;
use crate::core::{Core, Wait, log};
use crate::reason::{Reason, notify_name};
use crate::sa::revive::End;
use crate::sa::{Active, Contest, IkeSa, Message, Phase, Task};
use crate::view::ChildState;

impl IkeSa {
    pub(crate) fn on_informational_request(&mut self, core: &mut Core, mid: u32, message: Message) {
        let mut answer = self.on_mobility(core, &message);
        let mut closing = None;
        let mut redirect = None;
        let mut skipped = false;
        if self.is_established() {
            self.on_auth_lifetime(core, &message);
        }
        self.take_token(&message);
        // RFC 5723 §4.1: the client's to ask.
        if message.has_notify(NotifyType::TICKET_REQUEST) && self.is_established() && !self.first_initiator {
            answer.extend(self.give_ticket(core));
        }
        for payload in message.0 {
            match payload {
                Payload::Delete { protocol: 1, .. } => {
                    log!(core, Ike, 0, self, "received DELETE for IKE_SA {}", self.label());
                    closing = Some(Reason::DeletedByPeer);
                }
                Payload::Delete { protocol: 3, spis } => {
                    let ours = self.on_delete_spis(core, &spis);
                    if !ours.is_empty() {
                        answer.push(Payload::Delete { protocol: 3, spis: ours });
                    }
                }
                Payload::Notify { kind, .. } if kind == NotifyType::AUTHENTICATION_FAILED => {
                    // RFC 7296 §2.21.2: the initiator did not believe our AUTH.
                    log!(core, Ike, 1, self, "received {} notify error", notify_name(kind));
                    let (method, local) = (self.conn.local.method, self.local_id.clone());
                    closing = Some(Reason::AuthFailedByPeer { method, local });
                }
                Payload::Notify { kind: NotifyType::REDIRECT, data, .. } => redirect = Some(data),
                // Once per message, however often it says so.
                Payload::Notify { kind: NotifyType::IPSEC_REPLAY_COUNTER_SYNC, data, .. }
                    if !std::mem::replace(&mut skipped, true) =>
                {
                    self.on_replay_sync(core, &data);
                }
                // RFC 7296 §3.10.1: unknown status notifies are ignored.
                _ => {}
            }
            // Hostile row 13: nothing behind the delete of this very SA counts.
            if closing.is_some() {
                break;
            }
        }
        if closing.is_some() {
            answer.clear();
        }
        self.respond(core, ExchangeType::INFORMATIONAL, mid, answer);
        let Some(reason) = closing else {
            if let Some(data) = redirect.filter(|_| !self.is_closed()) {
                self.on_redirect(core, &data);
            }
            return;
        };
        // RFC 7296 §2.8.2: the peer has rekeyed it; we forget our own attempt.
        if matches!(self.active, Active::RekeyIke(_))
            && let Active::RekeyIke(offer) = std::mem::replace(&mut self.active, Active::None)
        {
            self.window.request = None;
            self.ike_rival_stays(core, &offer.contest);
        }
        if matches!(self.phase, Phase::Rekeyed | Phase::Closed) {
            return self.close(core, None);
        }
        if self.is_established() {
            log!(core, Ike, 0, self, "deleting IKE_SA {} between {}", self.label(), self.between());
            log!(core, Ike, 0, self, "IKE_SA deleted");
        }
        if matches!(reason, Reason::AuthFailedByPeer { .. }) {
            return self.fail(core, reason);
        }
        if self.is_established() {
            self.note_end_of_all(core, End::ByPeer);
        }
        self.close(core, Some(reason));
    }

    /// Deletes of the peer; our SPIs for the answer.
    fn on_delete_spis(&mut self, core: &mut Core, spis: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut answer = Vec::new();
        for spi in spis {
            let Ok(bytes) = <[u8; 4]>::try_from(spi.as_slice()) else { continue };
            let spi = u32::from_be_bytes(bytes);
            let found = self
                .children
                .iter()
                .find(|child| child.spi_out == spi && child.state != ChildState::Deleted)
                .map(|child| (child.id, child.spi_in, child.state, child.replaced_by));
            let Some((id, spi_in, state, replaced_by)) = found else {
                log!(core, Ike, 1, self, "received DELETE for unknown ESP CHILD_SA with SPI {spi:08x}");
                if let Active::Child(offer) = &mut self.active {
                    offer.note_deleted(spi);
                }
                continue;
            };
            log!(core, Ike, 1, self, "received DELETE for ESP CHILD_SA with SPI {spi:08x}");
            let ours_is_out = matches!(&self.active, Active::DeleteChild { ids } if ids.contains(&id));
            if !ours_is_out {
                // RFC 7296 §1.4.1: if both delete at once, the answer leaves out what is being deleted anyway.
                answer.push(spi_in.to_be_bytes().to_vec());
            }
            // RFC 7296 §2.8.1: the peer has not noticed that we rekey the same, or has found that its own stays.
            let replaced_by = match self.rival_of(id) {
                Some(rival) if self.child(rival).is_some_and(|it| it.state != ChildState::Installing) => {
                    self.take_place(core, rival);
                    if let Some(contest) = self.contest_of(id) {
                        *contest = Contest::Lost;
                    }
                    Some(rival)
                }
                _ => replaced_by,
            };
            if state == ChildState::Installing {
                // Deleted before our answer went out: it goes when that is done.
                self.delete_child(core, id);
                continue;
            }
            if replaced_by.is_some() {
                if !ours_is_out {
                    self.queue.retain(|task| !matches!(task, Task::DeleteChild { id: it } if *it == id));
                }
                self.retire_child(core, id);
                continue;
            }
            self.note_end(core, id, End::ByPeer);
            self.queue.retain(|task| {
                !matches!(task, Task::DeleteChild { id: it } | Task::RekeyChild { id: it, .. } if *it == id)
            });
            let withdrawn = self.child(id).filter(|child| !child.asked).and_then(|child| child.replaces);
            self.drop_child(core, id);
            if let Some(old) = withdrawn {
                self.revive_child(core, old, id);
            }
        }
        answer
    }

    /// The peer took back the successor of a child before it deleted the child: its rekeying failed, and it goes on
    /// with the old one.
    /// False if there is no such predecessor.
    pub(crate) fn revive_child(&mut self, core: &mut Core, id: u32, successor: u32) -> bool {
        let Some(child) = self
            .child_mut(id)
            .filter(|child| child.state == ChildState::Rekeyed && child.replaced_by == Some(successor))
        else {
            return false;
        };
        child.replaced_by = None;
        child.state = ChildState::Installed;
        child.told = true;
        self.rekey_later(core, id);
        core.event(crate::Event::ChildUp { ike: self.id, id });
        true
    }

    pub(crate) fn send_delete_child(&mut self, core: &mut Core, id: u32) {
        let Some(child) = self.child_mut(id).filter(|child| child.state != ChildState::Deleted) else {
            return;
        };
        if child.replaced_by.is_none() {
            child.state = ChildState::Deleting;
        }
        let spi = child.spi_in;
        log!(core, Ike, 1, self, "sending DELETE for ESP CHILD_SA with SPI {spi:08x}");
        let payload = Payload::Delete { protocol: 3, spis: vec![spi.to_be_bytes().to_vec()] };
        let active = Active::DeleteChild { ids: vec![id] };
        self.request(core, ExchangeType::INFORMATIONAL, &[payload], active);
    }

    pub(crate) fn on_delete_child_response(&mut self, core: &mut Core, ids: &[u32], message: &Message) {
        for payload in &message.0 {
            if let Payload::Delete { protocol: 3, spis } = payload {
                for bytes in spis.iter().filter_map(|spi| <[u8; 4]>::try_from(spi.as_slice()).ok()) {
                    let spi = u32::from_be_bytes(bytes);
                    log!(core, Ike, 1, self, "received DELETE for ESP CHILD_SA with SPI {spi:08x}");
                }
            }
        }
        for id in ids {
            match self.child(*id).map(|child| child.replaced_by.is_some()) {
                Some(true) => self.retire_child(core, *id),
                Some(false) => {
                    // The peer may not know yet that this one replaced another: both are to go.
                    let old = self.child(*id).and_then(|child| child.replaces);
                    self.drop_child(core, *id);
                    let waits = |child: &&mut crate::sa::Child| {
                        child.state == ChildState::Rekeyed && child.replaced_by == Some(*id)
                    };
                    if let Some(child) = old.and_then(|old| self.child_mut(old)).filter(waits) {
                        let id = child.id;
                        self.queue.push_back(Task::DeleteChild { id });
                    }
                }
                None => {}
            }
        }
    }

    pub(crate) fn send_delete_ike(&mut self, core: &mut Core) {
        log!(core, Ike, 0, self, "deleting IKE_SA {} between {}", self.label(), self.between());
        log!(core, Ike, 1, self, "sending DELETE for IKE_SA {}", self.label());
        if !matches!(self.phase, Phase::Rekeyed) {
            self.phase = Phase::Deleting;
        }
        let payload = Payload::Delete { protocol: 1, spis: Vec::new() };
        self.request(core, ExchangeType::INFORMATIONAL, &[payload], Active::DeleteIke);
    }

    // -- liveness ------------------------------------------------------------------------------------------------

    /// Nothing was heard for a while; ask the data plane before asking the peer.
    pub(crate) fn on_dpd_timer(&mut self, core: &mut Core) {
        let delay = self.conn.dpd_delay;
        self.dpd_at = None;
        if delay.is_zero() || !self.is_established() {
            return;
        }
        let quiet = core.now - self.last_in;
        if quiet < delay {
            self.dpd_at = Some(self.last_in + delay);
            return;
        }
        if self.window.request.is_some() || !self.queue.is_empty() {
            // A request is out: its retransmissions find out as well.
            self.dpd_at = Some(core.now + delay);
            return;
        }
        self.usage_idle = None;
        let ids: Vec<u32> =
            self.children.iter().filter(|child| child.is_up()).map(|child| child.id).take(8).collect();
        self.usage_waiting = u32::try_from(ids.len()).unwrap_or(0);
        if ids.is_empty() {
            self.check_liveness(core);
        }
        for id in ids {
            core.ask(self.id, Wait::Usage, Action::QueryUsage { id });
        }
    }

    pub(crate) fn on_usage(&mut self, core: &mut Core, usage: Option<Usage>) {
        let Some(left) = self.usage_waiting.checked_sub(1) else { return };
        self.usage_waiting = left;
        if let Some(idle) = usage.and_then(|usage| usage.idle_in) {
            self.usage_idle = Some(self.usage_idle.map_or(idle, |shortest| shortest.min(idle)));
        }
        if left > 0 || !self.is_established() {
            return;
        }
        match self.usage_idle.take() {
            // RFC 7296 §2.4: inbound ESP proves liveness, too.
            Some(idle) if idle < self.conn.dpd_delay => {
                let wait = self.conn.dpd_delay.saturating_sub(idle).max(Duration::from_millis(1));
                self.dpd_at = Some(core.now + wait);
            }
            _ => self.check_liveness(core),
        }
    }

    fn check_liveness(&mut self, core: &mut Core) {
        self.queue.push_back(Task::Dpd);
        self.pump(core);
    }

    pub(crate) fn on_dpd_response(&mut self, core: &mut Core, message: &Message) {
        self.on_mapping_answer(core, message);
        self.keep_ticket(core, message);
        if !self.conn.dpd_delay.is_zero() {
            self.dpd_at = Some(core.now + self.conn.dpd_delay);
        }
    }

    /// The peer of an established IKE_SA is gone: dpd_action, then the end.
    pub(crate) fn on_dead_peer(&mut self, core: &mut Core, reason: Reason) {
        self.note_end_of_all(core, End::DeadPeer);
        self.fail(core, reason);
    }
}
