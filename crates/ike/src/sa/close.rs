//! The end of an IKE_SA: everything it holds is given back.

use std::sync::Arc;

use adit_wire::{ExchangeType, NotifyType, Payload};

use crate::action::Action;
use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::{Active, IkeSa, Phase, Task};
use crate::view::{ChildState, Snapshot};

impl IkeSa {
    /// Ends it for a reason that the operator should know.
    pub(crate) fn fail(&mut self, core: &mut Core, reason: Reason) {
        if self.ended {
            return;
        }
        log!(core, Ike, 1, self, "IKE_SA {} failed: {reason}", self.label());
        core.event(self.failure(&reason));
        self.count_failed_proof(core, &reason);
        self.close(core, Some(reason));
    }

    /// Ends one whose peer has not proved itself and stalls, or is one too many. An attacker makes many of those: what is
    /// told of them is limited.
    pub(crate) fn give_up(&mut self, core: &mut Core, reason: Reason) {
        let muted = core.muted;
        let reason = match self.refused_proof() {
            Some(refused) => refused,
            None => {
                core.hush(|guard| &mut guard.quiet_admitted);
                reason
            }
        };
        let ip = self.path.remote.ip();
        log!(core, Job, 1, self, "deleting half open IKE_SA {} with {ip}", self.label());
        self.fail(core, reason);
        core.muted = muted;
    }

    pub(crate) fn failure(&self, reason: &Reason) -> Event {
        let child = match &self.phase {
            Phase::Preparing(_) | Phase::Init(_) => self.queue.iter().find_map(|task| match task {
                Task::Child(wish) => Some(Arc::clone(&wish.config.name)),
                _ => None,
            }),
            _ => None,
        };
        // A connection was only guessed from addresses before the peer said who it is.
        let known = self.initiator || self.established_at.is_some() || self.conn_is_certain();
        Event::Failure {
            conn: known.then(|| Arc::clone(&self.conn.name)),
            child,
            peer: self.peer_addr(),
            reason: reason.clone(),
        }
    }

    fn conn_is_certain(&self) -> bool {
        !self.local_id.is_any()
    }

    /// Our verdict on a peer that takes the IKE_SA as established: it must hear of it (RFC 7296 §2.21.2).
    pub(crate) fn fail_telling(&mut self, core: &mut Core, reason: Reason) {
        log!(core, Ike, 1, self, "IKE_SA {} failed: {reason}", self.label());
        core.event(self.failure(&reason));
        self.settle_tags(core, &reason);
        self.leave_politely(core, Payload::notify(NotifyType::AUTHENTICATION_FAILED, Vec::new()));
    }

    /// The peer takes it as established, and it is not: one request that says so.
    pub(crate) fn leave_politely(&mut self, core: &mut Core, payload: Payload) {
        self.phase = Phase::Deleting;
        // Nobody waits for this; it goes as soon as the peer has answered, or after two retransmissions.
        self.linger_until =
            Some(core.now + core.settings.retransmit_wait(0) + core.settings.retransmit_wait(1));
        self.request(core, ExchangeType::INFORMATIONAL, &[payload], Active::DeleteIke);
    }

    /// Outcomes of everything that waits for this IKE_SA.
    fn settle_tags(&mut self, core: &mut Core, reason: &Reason) {
        let mut tags = std::mem::take(&mut self.up_tags);
        tags.extend(self.sync.give_up());
        let mut offers = Vec::new();
        if let Phase::AuthI(auth) = &mut self.phase {
            offers.extend(auth.take_offer());
        }
        match std::mem::replace(&mut self.active, Active::None) {
            Active::Child(offer) => offers.push(*offer),
            other => self.active = other,
        }
        let mut names: Vec<Arc<str>> = Vec::new();
        for offer in offers {
            core.release_esp_spi(offer.spi_in);
            if offer.rekeys.is_none() {
                names.push(Arc::clone(&offer.wish.config.name));
            }
            tags.extend(offer.wish.tags);
        }
        for task in self.queue.drain(..) {
            if let Task::Child(wish) = task {
                names.push(Arc::clone(&wish.config.name));
                tags.extend(wish.tags);
            }
        }
        tags.extend(self.children.iter_mut().flat_map(|child| std::mem::take(&mut child.tags)));
        core.outcome(&tags, Err(reason.clone()));
        for child in names {
            core.attempt_failed(&self.conn.name, &child);
        }
    }

    /// Deletes an established IKE_SA with the peer, as soon as the window allows; any other just goes.
    pub(crate) fn delete_with(&mut self, core: &mut Core, reason: Option<Reason>) {
        if !self.is_established() {
            if !matches!(self.phase, Phase::Deleting | Phase::Rekeyed) {
                self.close(core, reason);
            }
            return;
        }
        if let Some(reason) = &reason {
            log!(core, Ike, 2, self, "closing because {reason}");
        }
        let why = reason.unwrap_or(Reason::Terminated);
        self.settle_tags(core, &why);
        // What is in flight would hold up the delete for the whole retransmission table if the peer is gone; what the
        // peer misses of it does not matter any more.
        self.queue.push_front(Task::DeleteIke);
        self.pump(core);
    }

    /// Sends a delete without regard to what is in flight, once: for when there is no time to wait.
    pub(crate) fn farewell(&mut self, core: &mut Core, reason: &Reason) {
        if self.keys.is_none() || self.established_at.is_none() {
            return;
        }
        // What is in flight is given up for the delete: nobody will hear of it otherwise.
        self.settle_tags(core, reason);
        let payload = [Payload::Delete { protocol: 1, spis: Vec::new() }];
        let exchange = ExchangeType::INFORMATIONAL;
        log!(core, Ike, 0, self, "deleting IKE_SA {} between {}", self.label(), self.between());
        log!(core, Ike, 1, self, "sending DELETE for IKE_SA {}", self.label());
        // RFC 7296 §2.2: the Message ID of what is in flight is taken. The peer may or may not have got that: it goes along
        // once more, octet by octet, so that the delete behind it is next in either case. This steps over the window of
        // one (§2.3), once; a peer that minds drops it.
        let (mid, mut packets) = match self.window.request.take() {
            Some(request) => (request.mid.wrapping_add(1), request.packets),
            None => (self.window.send_next, Vec::new()),
        };
        // One that was replaced stays that: its end is no news.
        if !matches!(self.phase, Phase::Rekeyed) {
            self.phase = Phase::Deleting;
        }
        if let Ok(delete) = self.seal(core, exchange, false, mid, &payload) {
            packets.extend(delete);
            self.active = Active::DeleteIke;
            self.launch(core, mid, exchange, packets);
            if let Some(request) = &mut self.window.request {
                request.deadline = core.now + std::time::Duration::from_millis(100);
            }
        }
    }

    /// Gives everything back. The IKE_SA leaves the table when it is put back.
    pub(crate) fn close(&mut self, core: &mut Core, reason: Option<Reason>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let replaced = matches!(self.phase, Phase::Rekeyed);
        let snapshot: Box<Snapshot> = Box::new(self.view().into_owned());
        let why = reason.clone().unwrap_or(Reason::IkeClosed);
        self.settle_tags(core, &why);
        self.passive = None;
        let ids: Vec<u32> = self.children.iter().map(|child| child.id).collect();
        for id in ids {
            if let Some(child) = self.child_mut(id) {
                let tags = std::mem::take(&mut child.tags);
                core.outcome(&tags, Err(why.clone()));
            }
            // No one is left whose packets a successor would have to wait for.
            if let Some(child) = self.child_mut(id) {
                child.outbound_pending = false;
                if child.state == ChildState::Rekeyed {
                    child.state = ChildState::Deleted;
                }
            }
            self.drop_child(core, id);
        }
        if let Some(lease) = self.lease.take() {
            let addresses = std::mem::take(&mut self.remote_vips);
            core.order(Action::Release { pools: lease.pools, identity: lease.identity, addresses });
        }
        if !self.local_vips.is_empty() {
            core.order(Action::RemoveVirtualIps {
                ike: self.vips_of,
                addresses: std::mem::take(&mut self.local_vips),
                dns: std::mem::take(&mut self.local_dns),
            });
        }
        self.leave_half_open(core, false);
        self.forget_peer(core);
        // RFC 5723 §6.2; but what is lost without a word is what tickets are for.
        if !matches!(reason, Some(Reason::PeerUnreachable { .. } | Reason::PeerLostState)) {
            self.forget_ticket(core);
            self.void_ticket(core);
        }
        self.window.request = None;
        self.active = Active::None;
        self.reassembly = None;
        self.phase = Phase::Closed;
        let tags = std::mem::take(&mut self.terminate_tags);
        core.outcome(&tags, Ok(()));
        if let Some(old) = self.reauth_of.take() {
            let elsewhere = self.detour.is_some();
            core.with(old, |sa, core| sa.reauth_failed(core, elsewhere));
        }
        if !replaced {
            core.event(Event::IkeClosed {
                id: self.id,
                name: Arc::clone(&self.conn.name),
                was_established: self.established_at.is_some(),
                reason,
                snapshot,
            });
        }
    }
}
