//! CHILD_SAs that we ask for: offer, and what the peer makes of it (RFC 7296 §1.2, §1.3.1, §1.3.3, §2.9).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use adit_crypto::{KeGroup, KeSecret};
use adit_ipsec::{Mode, Proposal, Selector, SelectorSpec, TransformType, narrow};
use adit_wire::{ExchangeType, NotifyType, Payload};

use crate::config::ChildConfig;
use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::{Reason, notify_name};
use crate::sa::child::{resolve, show};
use crate::sa::child_install::NewChild;
use crate::sa::collision::log_nonce;
use crate::sa::init_i::syntax;
use crate::sa::message::{offer, wanted_group};
use crate::sa::proposals::ChildSuite;
use crate::sa::seal::crypto;
use crate::sa::transport::{ChildNotifies, use_transport};
use crate::sa::{Active, Child, Contest, Fatal, IkeSa, Message, Task, Wish};
use crate::view::ChildState;

/// Attempts to get a child past TEMPORARY_FAILURE and key exchange mismatches.
const MAX_ATTEMPTS: u8 = 5;

/// A CHILD_SA that we have offered.
pub(crate) struct ChildOffer {
    pub wish: Wish,
    /// The child to be replaced.
    pub rekeys: Option<u32>,
    pub spi_in: u32,
    pub nonce: Vec<u8>,
    pub secret: Option<KeSecret>,
    pub proposals: Vec<Proposal>,
    /// What we ask for; the peer may choose tunnel mode all the same.
    pub mode: Mode,
    /// Our side, the peer's side.
    pub local_ts: Vec<Selector>,
    pub remote_ts: Vec<Selector>,
    /// SPIs that the peer deleted meanwhile and we did not know: ours may be among them, its answer late.
    pub deleted: Vec<u32>,
    /// Whether the peer rekeys the same child.
    pub contest: Contest,
}

/// More unknown SPIs than this in one exchange are a peer's mischief.
const MAX_DELETED: usize = 16;

impl ChildOffer {
    pub(crate) fn note_deleted(&mut self, spi: u32) {
        if self.deleted.len() < MAX_DELETED {
            self.deleted.push(spi);
        }
    }
}

impl IkeSa {
    /// Prepares an offer. `first` is the one inside IKE_AUTH: it has neither nonce nor key exchange of its own.
    pub(crate) fn make_offer(
        &mut self,
        core: &mut Core,
        wish: Wish,
        rekeys: Option<u32>,
        first: bool,
    ) -> Fatal<ChildOffer> {
        let config = Arc::clone(&wish.config);
        let proposals: Vec<Proposal> = if first {
            let mut list: Vec<Proposal> = Vec::new();
            for proposal in config.esp_proposals.iter().map(Proposal::without_ke) {
                if !list.contains(&proposal) {
                    list.push(proposal);
                }
            }
            list
        } else {
            config.esp_proposals.clone()
        };
        let group = wish.group.or_else(|| {
            let first = proposals.first()?.first(TransformType::KeyExchange)?;
            (first.id != 0).then_some(first.id)
        });
        let secret = match group.filter(|_| !first) {
            None => None,
            Some(id) => {
                let group = KeGroup::from_id(id).ok_or_else(|| crypto("the group is not served"))?;
                Some(KeSecret::generate(group, &mut *core.rng).map_err(crypto)?)
            }
        };
        let (wanted, local_ts, remote_ts) = match rekeys.and_then(|id| self.child(id)) {
            // RFC 7296 §2.9.2: not narrower than what is in use.
            Some(old) => (old.mode, old.local_ts.to_vec(), old.remote_ts.to_vec()),
            None => {
                let (local, remote) = self.offered_selectors(&wish, first);
                (config.mode, local, remote)
            }
        };
        let mode = self.mode_to_offer(core, wanted, (&local_ts, &remote_ts));
        Ok(ChildOffer {
            wish,
            rekeys,
            spi_in: core.new_esp_spi(),
            nonce: core.random::<32>().to_vec(),
            secret,
            proposals,
            mode,
            local_ts,
            remote_ts,
            deleted: Vec::new(),
            contest: Contest::Alone,
        })
    }

    fn offered_selectors(&self, wish: &Wish, first: bool) -> (Vec<Selector>, Vec<Selector>) {
        let config = &wish.config;
        // An address that is yet to be assigned can be any.
        let unassigned = first && self.local_vips.is_empty() && !self.conn.vips.is_empty();
        let mut local: Vec<Selector> = if unassigned {
            let mut list = Vec::new();
            if self.conn.vips.iter().any(|vip| vip.is_ipv4()) {
                list.extend(any_host(&config.local_ts, Ipv4Addr::UNSPECIFIED.into()));
            }
            if self.conn.vips.iter().any(|vip| vip.is_ipv6()) {
                list.extend(any_host(&config.local_ts, Ipv6Addr::UNSPECIFIED.into()));
            }
            list
        } else {
            resolve(&config.local_ts, &self.local_hosts())
        };
        let mut remote = resolve(&config.remote_ts, &self.remote_hosts());
        if let Some(packet) = &wish.trigger {
            // RFC 7296 §2.9: the packet that asked for it comes first.
            local.insert(0, exactly(packet.protocol, packet.src, packet.src_port));
            remote.insert(0, exactly(packet.protocol, packet.dst, packet.dst_port));
        }
        local.truncate(64);
        remote.truncate(64);
        (local, remote)
    }

    /// The payloads of an offer, in their order.
    pub(crate) fn offer_payloads(&self, it: &ChildOffer, first: bool, payloads: &mut Vec<Payload>) {
        if it.mode == Mode::Transport {
            payloads.push(use_transport());
        }
        payloads.push(offer(&it.proposals, &it.spi_in.to_be_bytes()));
        if !first {
            payloads.push(Payload::Nonce(it.nonce.clone()));
        }
        if let Some(secret) = &it.secret {
            payloads
                .push(Payload::KeyExchange { group: secret.group().id(), data: secret.public().to_vec() });
        }
        payloads.push(Payload::TsI(it.local_ts.clone()));
        payloads.push(Payload::TsR(it.remote_ts.clone()));
    }

    /// Sends CREATE_CHILD_SA for a new child.
    pub(crate) fn send_new_child(&mut self, core: &mut Core, wish: Wish) {
        // The same child is not made twice.
        let pending = self.vips_pending;
        if let Some(child) = self.children.iter_mut().find(|child| child.satisfies(&wish)) {
            if child.state == ChildState::Installing || pending {
                child.tags.extend(wish.tags);
            } else {
                core.outcome(&wish.tags, Ok(()));
            }
            return;
        }
        let (tags, name) = (wish.tags.clone(), Arc::clone(&wish.config.name));
        log!(core, Ike, 0, self, "establishing CHILD_SA {}", wish.config.name);
        match self.make_offer(core, wish, None, false) {
            Ok(it) => {
                let mut payloads = Vec::new();
                self.offer_payloads(&it, false, &mut payloads);
                self.request(core, ExchangeType::CREATE_CHILD_SA, &payloads, Active::Child(Box::new(it)));
            }
            Err(reason) => {
                core.outcome(&tags, Err(reason));
                core.attempt_failed(&self.conn.name, &name);
            }
        }
    }

    /// Sends CREATE_CHILD_SA with REKEY_SA.
    pub(crate) fn send_rekey_child(&mut self, core: &mut Core, id: u32, group: Option<u16>) {
        // The peer's rekeying of it may be being installed.
        let replaced = self.children.iter().any(|child| child.replaces == Some(id));
        let fits = |child: &&mut Child| child.state == ChildState::Installed && child.told && !replaced;
        let Some(child) = self.child_mut(id).filter(fits) else { return };
        child.state = ChildState::Rekeying;
        child.rekey_at = None;
        let (label, spi_in, config) = (child.label(), child.spi_in, Arc::clone(&child.config));
        let config = self.successor_config(&config);
        log!(core, Ike, 0, self, "establishing CHILD_SA {label} reqid rekeying");
        let wish = Wish { config, tags: Vec::new(), trigger: None, attempts: 0, group };
        match self.make_offer(core, wish, Some(id), false) {
            Ok(it) => {
                // RFC 7296 §1.3.3: the SPI is the one that we receive on.
                let mut payloads = vec![Payload::Notify {
                    protocol: 3,
                    spi: spi_in.to_be_bytes().to_vec(),
                    kind: NotifyType::REKEY_SA,
                    data: Vec::new(),
                }];
                self.offer_payloads(&it, false, &mut payloads);
                log_nonce(core, self, "Ni", &it.nonce);
                self.request(core, ExchangeType::CREATE_CHILD_SA, &payloads, Active::Child(Box::new(it)));
            }
            Err(reason) => {
                log!(core, Ike, 1, self, "rekeying failed: {reason}");
                self.rekey_later(core, id);
            }
        }
    }

    /// The answer to CREATE_CHILD_SA for a new or rekeyed child.
    pub(crate) fn on_child_response(&mut self, core: &mut Core, it: ChildOffer, mut message: Message) {
        let Some((kind, data)) = message.error() else {
            let nonce = message.nonce();
            let result = match nonce {
                Some(nr) if crate::sa::init_i::nonce_fits(&nr, 0) => {
                    let ni = it.nonce.clone();
                    self.accept_child(core, &it, &mut message, (&ni, &nr))
                }
                _ => Err(syntax("CREATE_CHILD_SA response without a nonce")),
            };
            if let Err(reason) = result {
                if matches!(reason, Reason::DeletedByPeer) {
                    // What the peer deleted is what the old one became: that is to go, too.
                    core.release_esp_spi(it.spi_in);
                    core.outcome(&it.wish.tags, Err(reason));
                    if let Some(id) = it.rekeys {
                        self.delete_child(core, id);
                    }
                    return;
                }
                // The peer has installed what we cannot use.
                let spi = it.spi_in;
                self.child_failed(core, it, reason);
                self.queue.push_back(Task::DeleteSpi { spi });
            }
            return;
        };
        let group = (kind == NotifyType::INVALID_KE_PAYLOAD).then(|| wanted_group(data)).flatten();
        log!(core, Ike, 1, self, "received {} notify error", notify_name(kind));
        core.release_esp_spi(it.spi_in);
        match it.contest {
            Contest::Alone => {}
            // RFC 7296 §2.8.1: what the peer made stands alone.
            Contest::Rival { new, .. } => return self.child_rival_stays(core, new),
            Contest::Lost => return,
        }
        if let Some(wanted) = group {
            let ours = it
                .proposals
                .iter()
                .any(|p| p.of_kind(TransformType::KeyExchange).any(|transform| transform.id == wanted));
            let sent = it.secret.as_ref().map(|secret| secret.group().id());
            // A rekeying asks for another group once: a peer that cannot decide must not keep us at it.
            let again = it.rekeys.is_some() && it.wish.group.is_some();
            if !ours {
                let reason = Reason::PfsMismatch { ours: pfs_groups(&it.proposals), theirs: vec![wanted] };
                return self.child_failed(core, it, reason);
            }
            if sent == Some(wanted) || again || it.wish.attempts >= MAX_ATTEMPTS {
                return self.child_failed(core, it, Reason::InvalidKe { wanted });
            }
            let mut wish = it.wish;
            wish.attempts += 1;
            wish.group = Some(wanted);
            match it.rekeys {
                None => self.queue.push_front(Task::Child(wish)),
                Some(id) => {
                    if self.end_rekeying(id) {
                        self.queue.push_front(Task::RekeyChild { id, group: Some(wanted) });
                    }
                }
            }
            return;
        }
        match (kind, it.rekeys) {
            (NotifyType::TEMPORARY_FAILURE, Some(id)) => {
                self.rekey_later(core, id);
            }
            (NotifyType::TEMPORARY_FAILURE, None) if it.wish.attempts < MAX_ATTEMPTS => {
                let mut wish = it.wish;
                let wait =
                    core.pause(u32::from(wish.attempts), Duration::from_secs(4), Duration::from_secs(60));
                wish.attempts += 1;
                self.queue.push_back(Task::Child(wish));
                self.retry_at = Some(core.now + wait);
            }
            (NotifyType::CHILD_SA_NOT_FOUND, Some(id)) => {
                // RFC 7296 §2.25: the peer no longer has it; make it anew, unless the peer has told us of its end, or it
                // was to go.
                let wanted = self.child(id).map(|child| child.state == ChildState::Rekeying);
                // If it was the peer's replacement for another, and that is still there, the peer has taken it back.
                let old = self.child(id).filter(|child| !child.asked).and_then(|child| child.replaces);
                if wanted.is_some() {
                    self.queue.retain(|task| !matches!(task, Task::DeleteChild { id: it } if *it == id));
                    self.drop_child(core, id);
                }
                let revived = old.is_some_and(|old| self.revive_child(core, old, id));
                if wanted == Some(true) && !revived {
                    let wish = Wish { group: None, attempts: 0, ..it.wish };
                    self.queue.push_front(Task::Child(wish));
                }
            }
            (NotifyType::SINGLE_PAIR_REQUIRED, None) if self.ask_for_single_pair(&it.wish) => {
                log!(core, Ike, 1, self, "asking for the addresses of the packet that met the trap alone");
            }
            _ => {
                let reason = self.refusal(kind, &it);
                let rekeying = it.rekeys.is_some();
                self.child_failed(core, it, reason);
                // RFC 7296 §4: a minimal peer does without CREATE_CHILD_SA; then all is made anew.
                if rekeying && kind == NotifyType::NO_ADDITIONAL_SAS && self.may_initiate() {
                    self.reauthenticate(core);
                }
            }
        }
    }

    /// RFC 7296 §2.9: a peer that takes one pair of addresses only is asked for that of the packet that wants the
    /// CHILD_SA. False if there is no such packet, or that has been asked for already.
    pub(crate) fn ask_for_single_pair(&mut self, wish: &Wish) -> bool {
        let Some(packet) = &wish.trigger else { return false };
        let pair = |addr| vec![SelectorSpec::Fixed(Selector::host(addr))];
        let config = ChildConfig {
            local_ts: pair(packet.src),
            remote_ts: pair(packet.dst),
            ..ChildConfig::clone(&wish.config)
        };
        if config == *wish.config {
            return false;
        }
        // Offered first would be the packet itself, which is narrower than the pair.
        self.queue.push_front(Task::Child(Wish { config: Arc::new(config), trigger: None, ..wish.clone() }));
        true
    }

    /// What an error notify of the peer means for an offer.
    pub(crate) fn refusal(&self, kind: NotifyType, it: &ChildOffer) -> Reason {
        match kind {
            // What the peer took without a key exchange it refuses with one.
            NotifyType::NO_PROPOSAL_CHOSEN if self.was_taken_before(it) => {
                Reason::PfsMismatch { ours: pfs_groups(&it.proposals), theirs: Vec::new() }
            }
            NotifyType::NO_PROPOSAL_CHOSEN => {
                Reason::NoProposal { protocol: "ESP", ours: it.proposals.clone(), theirs: Vec::new() }
            }
            NotifyType::TS_UNACCEPTABLE | NotifyType::SINGLE_PAIR_REQUIRED => Reason::TsUnacceptable {
                ours: (it.local_ts.clone(), it.remote_ts.clone()),
                theirs: (Vec::new(), Vec::new()),
            },
            NotifyType::INTERNAL_ADDRESS_FAILURE => Reason::NoVirtualIp,
            NotifyType::FAILED_CP_REQUIRED => Reason::AddressDemanded,
            NotifyType::NO_ADDITIONAL_SAS => Reason::NoAdditionalSas,
            NotifyType::CHILD_SA_NOT_FOUND => Reason::ChildNotFound,
            NotifyType::TEMPORARY_FAILURE => Reason::TemporaryFailure,
            notify => Reason::PeerNotify { notify, exchange: "the request for a CHILD_SA" },
        }
    }

    /// Whether the peer has accepted what is offered before, all but the key exchange.
    fn was_taken_before(&self, it: &ChildOffer) -> bool {
        let with_ke = pfs_groups(&it.proposals).iter().any(|id| *id != 0);
        let old = it.rekeys.and_then(|id| self.child(id));
        let had = |old: &Child| {
            it.proposals.iter().any(|offered| {
                let has = |kind, id| offered.of_kind(kind).any(|transform| transform.id == id);
                has(TransformType::Encryption, old.suite.encr.id)
                    && old.suite.integ.is_none_or(|integ| has(TransformType::Integrity, integ.id))
            })
        };
        with_ke && old.is_some_and(had)
    }

    /// Takes a positive answer into use: proposal, key exchange, selectors, installation.
    pub(crate) fn accept_child(
        &mut self,
        core: &mut Core,
        it: &ChildOffer,
        message: &mut Message,
        (ni, nr): (&[u8], &[u8]),
    ) -> Fatal<()> {
        let notifies = ChildNotifies::of(message);
        if notifies.transport && it.mode != Mode::Transport {
            return Err(syntax("transport mode, which was not asked for"));
        }
        let mode = if notifies.transport { Mode::Transport } else { Mode::Tunnel };
        if mode != it.mode {
            // RFC 7296 §1.3.1: that is the responder's choice; as strongSwan does, we take it.
            log!(core, Ike, 1, self, "the peer declines transport mode, using tunnel mode");
        }
        let missing = |what: &str| syntax(&format!("answer for a CHILD_SA without {what}"));
        let answer = message.sa().ok_or_else(|| missing("SA"))?;
        let ts_i = message.ts_i().ok_or_else(|| missing("TSi"))?;
        let ts_r = message.ts_r().ok_or_else(|| missing("TSr"))?;
        let proposal = self.accept_answer(core, "ESP", &it.proposals, &answer)?;
        let suite = ChildSuite::of(&proposal).ok_or_else(|| syntax("the chosen proposal is incomplete"))?;
        let spi_out = answer
            .first()
            .and_then(|one| <[u8; 4]>::try_from(one.spi.as_slice()).ok())
            .map(u32::from_be_bytes)
            .filter(|spi| *spi > 255)
            .ok_or_else(|| syntax("the chosen proposal has no SPI"))?;
        if it.deleted.contains(&spi_out) {
            // The peer made it, deleted it, and only then we hear of it.
            return Err(Reason::DeletedByPeer);
        }
        let shared = match (suite.ke, &it.secret, message.ke()) {
            (None, ..) => None,
            (Some(ke), Some(secret), Some((group, public)))
                if group == ke.id && group == secret.group().id() =>
            {
                let agreed = secret.agree(&public);
                Some(agreed.map_err(|error| Reason::BadKeyExchange { detail: error.to_string() })?)
            }
            _ => return Err(syntax("key exchange of the answer does not fit")),
        };
        // The assigned address may have made it narrower than what we offered.
        let local_offer = if it.rekeys.is_none() && !self.local_vips.is_empty() {
            resolve(&it.wish.config.local_ts, &self.local_hosts())
        } else {
            it.local_ts.clone()
        };
        let (ours, theirs) = if mode == Mode::Transport {
            let seen = self.translate(&ts_i, &ts_r);
            (seen.local, seen.remote)
        } else {
            (ts_i.clone(), ts_r.clone())
        };
        let local_ts = narrow(&local_offer, &ours);
        let remote_ts = narrow(&it.remote_ts, &theirs);
        if local_ts.is_empty() || remote_ts.is_empty() {
            log!(core, Ike, 1, self, "no acceptable traffic selectors found");
            return Err(Reason::TsUnacceptable {
                ours: (local_offer, it.remote_ts.clone()),
                theirs: (ts_i, ts_r),
            });
        }
        if notifies.more_selectors {
            log!(core, Ike, 1, self, "the peer would take more traffic selectors in another CHILD_SA");
        }
        let verdict = it.contest.verdict(ni, nr);
        if let Some((redundant, lowest)) = verdict {
            let word = if redundant { "lost" } else { "won" };
            log!(core, Ike, 1, self, "CHILD_SA rekey collision {word}, lowest nonce is {lowest}");
        }
        let redundant = verdict.is_some_and(|(redundant, _)| redundant);
        let new = NewChild {
            config: Arc::clone(&it.wish.config),
            suite,
            mode,
            tfc: !notifies.no_tfc,
            spi_in: it.spi_in,
            spi_out,
            local_ts,
            remote_ts,
            replaces: it.rekeys,
            asked: true,
            tags: it.wish.tags.clone(),
            redundant,
        };
        self.install_child(core, new, shared.as_ref(), ni, nr)?;
        match it.contest.rival() {
            Some(rival) if redundant => self.child_rival_stays(core, rival),
            Some(rival) => self.child_rival_goes(core, rival),
            None => {}
        }
        Ok(())
    }

    /// An offer came to nothing.
    pub(crate) fn child_failed(&mut self, core: &mut Core, it: ChildOffer, reason: Reason) {
        core.release_esp_spi(it.spi_in);
        log!(core, Ike, 1, self, "CHILD_SA {}: {reason}", it.wish.config.name);
        core.event(Event::Failure {
            conn: Some(Arc::clone(&self.conn.name)),
            child: Some(Arc::clone(&it.wish.config.name)),
            peer: self.peer_addr(),
            reason: reason.clone(),
        });
        if let Some(id) = it.rekeys {
            match it.contest.rival() {
                Some(rival) => self.child_rival_stays(core, rival),
                None => self.rekey_later(core, id),
            }
            return;
        }
        core.outcome(&it.wish.tags, Err(reason));
        core.attempt_failed(&self.conn.name, &it.wish.config.name);
        self.reauth_done(core);
        self.close_if_useless(core);
    }

    /// An IKE_SA that we made for a child, and that has none and awaits none, goes again.
    pub(crate) fn close_if_useless(&mut self, core: &mut Core) {
        let more = self.queue.iter().any(|task| matches!(task, Task::Child(_)));
        if !self.is_established() || !self.children.is_empty() || more || self.stands_alone {
            return;
        }
        if self.initiator || core.settings.close_ike_on_child_failure {
            log!(core, Ike, 1, self, "closing IKE_SA due CHILD_SA setup failure");
            self.queue.push_back(Task::DeleteIke);
            self.pump(core);
        } else {
            log!(core, Ike, 1, self, "failed to establish CHILD_SA, keeping IKE_SA");
        }
    }

    /// A rekeying did not work out: again in a while, as long as the lifetime allows.
    pub(crate) fn rekey_later(&mut self, core: &mut Core, id: u32) {
        if !self.end_rekeying(id) {
            return;
        }
        let Some(failures) = self.child(id).map(|child| child.rekey_failures) else { return };
        let wait = core.pause(failures, Duration::from_secs(12), Duration::from_secs(300));
        let at = core.now + wait;
        if let Some(child) = self.child_mut(id) {
            child.rekey_at = Some(at);
            child.rekey_failures = failures.saturating_add(1);
        }
        log!(core, Ike, 1, self, "CHILD_SA rekeying failed, trying again in {} seconds", wait.as_secs());
    }

    /// The child goes on as it was. False if it has been told to go meanwhile.
    fn end_rekeying(&mut self, id: u32) -> bool {
        let going_on =
            |child: &&mut Child| matches!(child.state, ChildState::Installed | ChildState::Rekeying);
        let Some(child) = self.child_mut(id).filter(going_on) else { return false };
        child.state = ChildState::Installed;
        true
    }

    /// For log lines about selectors that do not meet.
    pub(crate) fn log_selectors(&self, core: &mut Core, theirs: (&[Selector], &[Selector])) {
        log!(core, Ike, 1, self, "traffic selectors {} === {} unacceptable", show(theirs.0), show(theirs.1));
    }
}

/// The key exchange groups of proposals; 0 = may be without.
pub(crate) fn pfs_groups(proposals: &[Proposal]) -> Vec<u16> {
    let mut ids = Vec::new();
    for proposal in proposals {
        let mut own: Vec<u16> =
            proposal.of_kind(TransformType::KeyExchange).map(|transform| transform.id).collect();
        if own.is_empty() {
            own.push(0);
        }
        own.retain(|id| !ids.contains(id));
        ids.extend(own);
    }
    ids
}

/// The selector of one packet's address and port. Where the protocol has no ports, or they could not be seen, all are
/// meant (RFC 7296 §3.13.1).
fn exactly(protocol: u8, address: std::net::IpAddr, port: u16) -> Selector {
    // ICMP: type and code 0 are those of an echo reply.
    let (start, end) = if port == 0 && protocol != 1 { (0, u16::MAX) } else { (port, port) };
    Selector::host(address).with_ports(protocol, start, end)
}

/// `dynamic` as the whole of a family, fixed selectors of that family as they are.
fn any_host(specs: &[SelectorSpec], any: std::net::IpAddr) -> Vec<Selector> {
    specs
        .iter()
        .filter_map(|spec| match spec {
            SelectorSpec::Dynamic { protocol, start_port, end_port } => {
                let all = if any.is_ipv4() { Selector::any_v4() } else { Selector::any_v6() };
                Selector::new(*protocol, *start_port, *end_port, all.start(), all.end())
            }
            SelectorSpec::Fixed(selector) => (selector.is_v4() == any.is_ipv4()).then_some(*selector),
        })
        .collect()
}

/// The children that a connection wants when only its name is given.
pub(crate) fn wishes_for_all(children: &[Arc<ChildConfig>], tag: u64) -> Vec<Wish> {
    children
        .iter()
        .enumerate()
        .map(|(n, config)| Wish {
            config: Arc::clone(config),
            tags: if n == 0 { vec![tag] } else { Vec::new() },
            trigger: None,
            attempts: 0,
            group: None,
        })
        .collect()
}
