//! Rekeying of the IKE_SA: a new one takes over children, addresses and tasks (RFC 7296 §1.3.2, §2.18).

use std::sync::Arc;

use adit_crypto::{KeGroup, KeSecret, Secret, kdf};
use adit_ipsec::Proposal;
use adit_wire::{ExchangeType, NotifyType, Payload};

use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::{Reason, notify_name};
use crate::sa::collision::{Verdict, log_nonce};
use crate::sa::init_i::{nonce_fits, syntax};
use crate::sa::message::{invalid_ke, offer, wanted_group};
use crate::sa::proposals::choose;
use crate::sa::seal::crypto;
use crate::sa::{Active, Contest, Fatal, IkeSa, Message, Phase, Suite, Task};
use crate::view::ChildState;

/// A rekeying that we have offered.
pub(crate) struct IkeOffer {
    spi: u64,
    nonce: Vec<u8>,
    secret: KeSecret,
    /// What was offered; the configuration may be another by the time of the answer.
    proposals: Vec<Proposal>,
    /// The group is the one that the peer asked for.
    retried: bool,
    /// Whether the peer rekeys it as well.
    pub contest: Contest,
}

/// The SPIs, nonces and key exchange result of a new IKE_SA.
struct Agreed<'a> {
    initiator: bool,
    spi_i: u64,
    spi_r: u64,
    ni: &'a [u8],
    nr: &'a [u8],
    shared: Secret,
    suite: Suite,
}

impl IkeSa {
    pub(crate) fn send_ike_rekey(&mut self, core: &mut Core, group: Option<u16>) {
        self.rekey_at = None;
        log!(core, Ike, 0, self, "initiating IKE_SA {} rekeying", self.label());
        let current = self.keys.as_ref().map(|keys| keys.suite.ke.id);
        let made = group
            .or(current)
            .and_then(KeGroup::from_id)
            .ok_or_else(|| crypto("no key exchange method"))
            .and_then(|group| KeSecret::generate(group, &mut *core.rng).map_err(crypto));
        let secret = match made {
            Ok(secret) => secret,
            Err(reason) => {
                self.tell_ike_rekey_failure(core, reason);
                return self.ike_rekey_later(core);
            }
        };
        let (spi, nonce) = (core.new_ike_spi(), core.random::<32>().to_vec());
        let (proposals, retried) = (self.conn.proposals.clone(), group.is_some());
        let offered = IkeOffer { spi, nonce, secret, proposals, retried, contest: Contest::Alone };
        let payloads = [
            offer(&offered.proposals, &offered.spi.to_be_bytes()),
            Payload::Nonce(offered.nonce.clone()),
            Payload::KeyExchange {
                group: offered.secret.group().id(),
                data: offered.secret.public().to_vec(),
            },
        ];
        log_nonce(core, self, "Ni", &offered.nonce);
        self.request(core, ExchangeType::CREATE_CHILD_SA, &payloads, Active::RekeyIke(Box::new(offered)));
    }

    /// What an error notify of the peer means.
    fn ike_rekey_refusal(&self, kind: NotifyType, data: &[u8]) -> Reason {
        match (kind, wanted_group(data)) {
            (NotifyType::INVALID_KE_PAYLOAD, Some(wanted)) => Reason::InvalidKe { wanted },
            (NotifyType::NO_PROPOSAL_CHOSEN, _) => {
                let ours = self.conn.proposals.clone();
                Reason::NoProposal { protocol: "IKE", ours, theirs: Vec::new() }
            }
            (notify, _) => Reason::PeerNotify { notify, exchange: "the rekeying of the IKE_SA" },
        }
    }

    /// It stands as it stood, but whoever looks for the cause later must find it.
    fn tell_ike_rekey_failure(&self, core: &mut Core, reason: Reason) {
        log!(core, Ike, 1, self, "rekeying of the IKE_SA failed: {reason}");
        let conn = Some(Arc::clone(&self.conn.name));
        core.event(Event::Failure { conn, child: None, peer: self.peer_addr(), reason });
    }

    fn ike_rekey_later(&mut self, core: &mut Core) {
        let (first, longest) = (std::time::Duration::from_secs(12), std::time::Duration::from_secs(300));
        let wait = core.pause(self.rekey_failures, first, longest);
        self.rekey_failures = self.rekey_failures.saturating_add(1);
        log!(core, Ike, 1, self, "IKE_SA rekeying failed, trying again in {} seconds", wait.as_secs());
        self.rekey_at = Some(core.now + wait);
    }

    pub(crate) fn on_ike_rekey_response(&mut self, core: &mut Core, it: IkeOffer, mut message: Message) {
        if let Some((kind, data)) = message.error() {
            log!(core, Ike, 1, self, "received {} notify error", notify_name(kind));
            let group = (kind == NotifyType::INVALID_KE_PAYLOAD).then(|| wanted_group(data)).flatten();
            if matches!(it.contest, Contest::Lost) || self.ike_rival_stays(core, &it.contest) {
                return;
            }
            let sent = it.secret.group().id();
            match group.filter(|group| *group != sent && !it.retried) {
                Some(group) if self.other_group(core, sent, group).is_ok() => {
                    self.queue.push_front(Task::RekeyIke { group: Some(group) });
                }
                _ => {
                    // RFC 7296 §2.25: that one is no failure, only "not now".
                    if kind != NotifyType::TEMPORARY_FAILURE {
                        let reason = self.ike_rekey_refusal(kind, data);
                        self.tell_ike_rekey_failure(core, reason);
                    }
                    self.ike_rekey_later(core);
                    // RFC 7296 §4: a minimal peer does without CREATE_CHILD_SA; then all is made anew.
                    if kind == NotifyType::NO_ADDITIONAL_SAS && self.may_initiate() {
                        self.reauthenticate(core);
                    }
                }
            }
            return;
        }
        match self.accept_ike_rekey(core, &it, &mut message) {
            Ok((new, Some((true, lowest)))) if self.contest_goes_on(core, &it.contest) => {
                log!(core, Ike, 1, self, "IKE_SA rekey collision lost, lowest nonce is {lowest}");
                // RFC 7296 §2.8.2: who created the redundant one deletes it; the other inherits.
                self.shelve(core, new, true);
                self.ike_rival_stays(core, &it.contest);
            }
            Ok((new, verdict)) => {
                if let Some((_, lowest)) = verdict {
                    log!(core, Ike, 1, self, "IKE_SA rekey collision won, lowest nonce is {lowest}");
                }
                // RFC 7296 §2.8: who rekeyed deletes the old one.
                self.hand_over(core, new);
                self.queue.push_back(Task::DeleteIke);
            }
            Err(reason) => {
                self.tell_ike_rekey_failure(core, reason);
                if !matches!(it.contest, Contest::Lost) && !self.ike_rival_stays(core, &it.contest) {
                    self.ike_rekey_later(core);
                }
            }
        }
    }

    fn accept_ike_rekey(
        &mut self,
        core: &mut Core,
        it: &IkeOffer,
        message: &mut Message,
    ) -> Fatal<(Box<Self>, Verdict)> {
        let missing = |what: &str| syntax(&format!("answer to a rekeying without {what}"));
        let answer = message.sa().ok_or_else(|| missing("SA"))?;
        let nr = message.nonce().filter(|nonce| nonce_fits(nonce, 0)).ok_or_else(|| missing("nonce"))?;
        let (group, public) = message.ke().ok_or_else(|| missing("KE"))?;
        let proposal = self.accept_answer(core, "IKE", &it.proposals, &answer)?;
        let suite = Suite::of(&proposal).ok_or_else(|| syntax("the chosen proposal is incomplete"))?;
        if group != suite.ke.id || group != it.secret.group().id() {
            return Err(syntax("the key exchange method is not the chosen one"));
        }
        let spi_r = answer.first().and_then(|one| spi(&one.spi)).ok_or_else(|| missing("SPI"))?;
        let shared =
            it.secret.agree(&public).map_err(|error| Reason::BadKeyExchange { detail: error.to_string() })?;
        let agreed = Agreed { initiator: true, spi_i: it.spi, spi_r, ni: &it.nonce, nr: &nr, shared, suite };
        let verdict = it.contest.verdict(&it.nonce, &nr);
        let mut new = self.successor(core, agreed)?;
        new.take_token(message);
        Ok((new, verdict))
    }

    pub(crate) fn on_ike_rekey_request(&mut self, core: &mut Core, mid: u32, mut message: Message) {
        let exchange = ExchangeType::CREATE_CHILD_SA;
        // RFC 7296 §2.25.2: not while something of ours runs that would be torn in two.
        let busy = matches!(self.active, Active::Child(_) | Active::DeleteChild { .. } | Active::DeleteIke)
            || matches!(&self.active, Active::RekeyIke(offer) if !matches!(offer.contest, Contest::Alone))
            || self.children.iter().any(|child| {
                matches!(child.state, ChildState::Installing | ChildState::Rekeying | ChildState::Deleting)
            });
        if busy {
            return self.respond_notify(core, exchange, mid, NotifyType::TEMPORARY_FAILURE);
        }
        match self.answer_ike_rekey(core, &mut message) {
            Ok(Ok((new, nonces, payloads))) => {
                self.respond(core, exchange, mid, payloads);
                if let (false, Active::RekeyIke(offer)) = (self.is_closed(), &mut self.active) {
                    // RFC 7296 §2.25.2: which of the two inherits is known when our own is answered.
                    offer.contest = Contest::Rival { new: new.id, nonces };
                    log!(core, Ike, 1, self, "detected IKE_SA rekey collision");
                    self.shelve(core, new, false);
                } else if !self.is_closed() {
                    self.hand_over(core, new);
                    self.linger_until = Some(core.now + core.settings.retransmit_total());
                } else {
                    core.by_spi.remove(&new.own_spi());
                }
            }
            Ok(Err(notify)) => self.respond(core, exchange, mid, vec![notify]),
            Err(reason) => {
                let kind = reason.notify().unwrap_or(NotifyType::NO_PROPOSAL_CHOSEN);
                self.tell_ike_rekey_failure(core, reason);
                self.respond_notify(core, exchange, mid, kind);
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "the new IKE_SA with the answer, or a notify, or a reason")]
    fn answer_ike_rekey(
        &mut self,
        core: &mut Core,
        message: &mut Message,
    ) -> Fatal<Result<(Box<Self>, [Vec<u8>; 2], Vec<Payload>), Payload>> {
        let missing = |what: &str| syntax(&format!("request for a rekeying without {what}"));
        let offered = message.sa().ok_or_else(|| missing("SA"))?;
        let ni = message.nonce().filter(|nonce| nonce_fits(nonce, 0)).ok_or_else(|| missing("nonce"))?;
        let (group, public) = message.ke().ok_or_else(|| missing("KE"))?;
        let conn = Arc::clone(&self.conn);
        let chosen = choose(core, &conn.proposals, &offered)
            .and_then(|(num, proposal)| Suite::of(&proposal).map(|suite| (num, proposal, suite)));
        let Some((num, proposal, suite)) = chosen else {
            return Err(Reason::NoProposal {
                protocol: "IKE",
                ours: conn.proposals.clone(),
                theirs: offered.iter().map(|one| one.proposal.clone()).take(16).collect(),
            });
        };
        if group != suite.ke.id {
            return Ok(Err(invalid_ke(suite.ke.id)));
        }
        let spi_i = offered
            .iter()
            .find(|one| one.num == num)
            .and_then(|one| spi(&one.spi))
            .ok_or_else(|| missing("SPI"))?;
        let group = KeGroup::from_id(group).ok_or_else(|| crypto("the group is not served"))?;
        let secret = KeSecret::generate(group, &mut *core.rng).map_err(crypto)?;
        let shared =
            secret.agree(&public).map_err(|error| Reason::BadKeyExchange { detail: error.to_string() })?;
        let nr = core.random::<32>();
        let spi_r = core.new_ike_spi();
        log!(core, Cfg, 1, self, "selected proposal: {proposal}");
        let agreed = Agreed { initiator: false, spi_i, spi_r, ni: &ni, nr: &nr, shared, suite };
        let new = self.successor(core, agreed)?;
        log_nonce(core, self, "Nr", &nr);
        let mut sa = offer(std::slice::from_ref(&proposal), &spi_r.to_be_bytes());
        if let Payload::Sa(list) = &mut sa {
            list.iter_mut().for_each(|one| one.num = num);
        }
        let ke = Payload::KeyExchange { group: group.id(), data: secret.public().to_vec() };
        let mut payloads = vec![sa, Payload::Nonce(nr.to_vec()), ke];
        payloads.extend(new.own_token(core));
        Ok(Ok((new, [ni, nr.to_vec()], payloads)))
    }

    /// A new IKE_SA with its keys; nothing has moved yet.
    fn successor(&mut self, core: &mut Core, agreed: Agreed<'_>) -> Fatal<Box<Self>> {
        let old = self.keys.as_ref().ok_or_else(|| crypto("no keys"))?;
        let (prf, encr, integ) = agreed.suite.primitives()?;
        let skeyseed = kdf::skeyseed_rekey(old.prf, &old.sk_d, &agreed.shared, agreed.ni, agreed.nr);
        let keys =
            kdf::ike_keys(prf, &skeyseed, agreed.ni, agreed.nr, agreed.spi_i, agreed.spi_r, encr, integ)
                .map_err(crypto)?;
        let id = core.next_sa_id();
        let mut new = Box::new(Self::new(id, Arc::clone(&self.conn), agreed.initiator, self.path, core.now));
        new.spi_i = agreed.spi_i;
        new.spi_r = agreed.spi_r;
        new.use_keys(core, agreed.suite, keys)?;
        Ok(new)
    }

    /// Moves everything to the new IKE_SA and puts that into the table.
    pub(crate) fn hand_over(&mut self, core: &mut Core, mut new: Box<Self>) {
        new.phase = Phase::Established;
        new.local_id = self.local_id.clone();
        new.remote_id = self.remote_id.clone();
        new.remote_eap_id = self.remote_eap_id.clone();
        new.nat = self.nat;
        // It may have changed since the new one was made.
        new.path = self.path;
        new.peer_fragments = self.peer_fragments;
        new.sync = self.sync.successor();
        new.follows = self.follows;
        new.detour = self.detour.take();
        new.redirect_until = self.redirect_until.take();
        new.stands_alone = self.stands_alone;
        new.children = std::mem::take(&mut self.children);
        new.queue = std::mem::take(&mut self.queue);
        new.queue.retain(|task| !matches!(task, Task::RekeyIke { .. }));
        self.bequeath_mobike(&mut new);
        new.retry_at = self.retry_at.take();
        new.drawn_if_ids = self.drawn_if_ids;
        new.local_vips = std::mem::take(&mut self.local_vips);
        new.local_dns = std::mem::take(&mut self.local_dns);
        new.vips_of = self.vips_of;
        new.remote_vips = std::mem::take(&mut self.remote_vips);
        new.lease = self.lease.take();
        // Whoever wanted the heir gone before it was one gets it now.
        let condemned = !new.terminate_tags.is_empty();
        new.terminate_tags.append(&mut self.terminate_tags);
        new.reauth_of = self.reauth_of.take();
        new.vips_pending = self.vips_pending;
        new.first_initiator = self.first_initiator;
        new.established_at = Some(core.now);
        // A rekeying does not put off a reauthentication.
        new.reauth_at = self.reauth_at.take();
        new.reauth_failures = self.reauth_failures;
        new.auth_until = self.auth_until.take();
        new.yield_at = self.yield_at.take();
        new.set_lifetimes(core);
        self.successor = Some(new.id);
        new.start_idle_timers(core);
        for child in &new.children {
            core.child_owner.insert(child.id, new.id);
        }
        for (owner, _) in core.pending.values_mut() {
            if *owner == self.id {
                *owner = new.id;
            }
        }
        new.usage_waiting = self.usage_waiting;
        self.forget_peer(core);
        new.remember_peer(core);
        self.phase = Phase::Rekeyed;
        self.rekey_at = None;
        self.expire_at = None;
        self.dpd_at = None;
        self.keepalive_at = None;
        if new.initiator {
            new.tell_token_after_rekey(core);
        }
        self.forget_ticket(core);
        self.void_ticket(core);
        new.ask_ticket_after_rekey(core);
        log!(core, Ike, 0, self, "IKE_SA {} rekeyed between {}", new.label(), new.between());
        core.event(Event::IkeRekeyed { old: self.id, new: new.id });
        let id = new.id;
        core.adopt(new);
        core.with(id, |sa, core| match condemned {
            true => sa.delete_with(core, Some(Reason::Terminated)),
            false => sa.pump(core),
        });
    }
}

fn spi(bytes: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes).filter(|spi| *spi != 0)
}
