//! From the end of the handshake on: lifetimes, indexes, the queue of tasks, reauthentication.

use std::sync::Arc;

use adit_wire::{ExchangeType, Payload};

use crate::core::{Core, log, peer_digest};
use crate::event::Event;
use crate::sa::{Active, IkeSa, Phase, Task};

impl IkeSa {
    /// Both ends have proved themselves.
    pub(crate) fn on_established(&mut self, core: &mut Core) {
        self.leave_half_open(core, true);
        self.established_at = Some(core.now);
        log!(core, Ike, 0, self, "IKE_SA {} established between {}", self.label(), self.between());
        self.draw_if_ids(core);
        self.set_auth_lifetimes(core);
        self.set_lifetimes(core);
        self.start_idle_timers(core);
        core.event(Event::IkeEstablished { id: self.id });
        let tags = std::mem::take(&mut self.up_tags);
        core.outcome(&tags, Ok(()));
    }

    /// Rekeying and the end, from the configuration; the latter not after that of the authentication.
    pub(crate) fn set_lifetimes(&mut self, core: &mut Core) {
        let conn = Arc::clone(&self.conn);
        let now = core.now;
        let mut hard = None;
        if !conn.rekey_time.is_zero() {
            let jitter = core.random_duration(conn.rand_time);
            let wait = conn.rekey_time.saturating_sub(jitter);
            log!(core, Ike, 1, self, "scheduling rekeying in {}s", wait.as_secs());
            self.rekey_at = Some(now + wait);
            hard = Some(conn.rekey_time + conn.over_time);
        }
        if let Some(until) = self.auth_until {
            let limit = until - now;
            hard = Some(hard.map_or(limit, |hard: std::time::Duration| hard.min(limit)));
        }
        if let Some(hard) = hard {
            log!(core, Ike, 1, self, "maximum IKE_SA lifetime {}s", hard.as_secs());
            self.expire_at = Some(now + hard);
        }
    }

    pub(crate) fn start_idle_timers(&mut self, core: &Core) {
        if !self.conn.dpd_delay.is_zero() {
            self.dpd_at = Some(core.now + self.conn.dpd_delay);
        }
        self.tend_keepalives(core);
    }

    /// No longer counts as half-open. Late duplicates of its first message are remembered for a while.
    pub(crate) fn leave_half_open(&mut self, core: &mut Core, established: bool) {
        self.half_open_until = None;
        core.wait_no_more(self);
        if let Some(key) = self.init_key.take() {
            core.init_requests.remove(&key);
            if established {
                core.init_requests.insert(key, 0);
                core.init_done.push_back((core.now, key));
            }
        }
    }

    /// Enters the peer's identity into the index.
    pub(crate) fn remember_peer(&mut self, core: &mut Core) {
        self.forget_peer(core);
        let key = peer_digest(&self.local_id, self.peer_identity());
        self.peer_key = Some(key);
        core.by_peer.insert((key, self.id));
    }

    pub(crate) fn forget_peer(&mut self, core: &mut Core) {
        if let Some(key) = self.peer_key.take() {
            core.by_peer.remove(&(key, self.id));
        }
    }

    /// Starts waiting tasks as long as nothing is in flight.
    pub(crate) fn pump(&mut self, core: &mut Core) {
        while self.window.request.is_none() && matches!(self.active, Active::None) {
            let usable = match self.phase {
                Phase::Established => true,
                Phase::Rekeyed => matches!(self.queue.front(), Some(Task::DeleteIke)),
                _ => false,
            };
            if !usable {
                return;
            }
            let held = self.retry_at.is_some_and(|at| core.now < at);
            let next = self.queue.iter().position(|task| !(held && matches!(task, Task::Child(_))));
            let Some(task) = next.and_then(|at| self.queue.remove(at)) else { return };
            self.start(core, task);
        }
    }

    fn start(&mut self, core: &mut Core, task: Task) {
        match task {
            Task::Child(wish) => self.send_new_child(core, wish),
            Task::RekeyChild { id, group } => self.send_rekey_child(core, id, group),
            Task::RekeyIke { group } => self.send_ike_rekey(core, group),
            Task::DeleteChild { id } => self.send_delete_child(core, id),
            Task::DeleteSpi { spi } => {
                log!(core, Ike, 1, self, "sending DELETE for ESP CHILD_SA with SPI {spi:08x}");
                let payload = Payload::Delete { protocol: 3, spis: vec![spi.to_be_bytes().to_vec()] };
                let active = Active::DeleteChild { ids: Vec::new() };
                self.request(core, ExchangeType::INFORMATIONAL, &[payload], active);
            }
            Task::DeleteIke => self.send_delete_ike(core),
            Task::SyncReplay { payload } => {
                self.request(core, ExchangeType::INFORMATIONAL, &[payload], Active::SyncReplay);
            }
            Task::Redirect { gateway } => self.send_redirect(core, &gateway),
            Task::AuthLifetime => self.send_auth_lifetime(core),
            Task::AskTicket => {
                let asked: Vec<Payload> = self.ticket_request(core).into_iter().collect();
                self.request(core, ExchangeType::INFORMATIONAL, &asked, Active::Dpd);
            }
            Task::TellToken => {
                let token: Vec<Payload> = self.own_token(core).into_iter().collect();
                self.request(core, ExchangeType::INFORMATIONAL, &token, Active::Dpd);
            }
            Task::Dpd => {
                log!(core, Ike, 1, self, "sending DPD request");
                let payloads = self.mapping_question(core);
                self.request(core, ExchangeType::INFORMATIONAL, &payloads, Active::Dpd);
            }
            Task::Mobike => self.send_mobike(core),
        }
    }
}
