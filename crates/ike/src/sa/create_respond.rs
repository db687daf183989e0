//! CHILD_SAs that the peer asks for, inside IKE_AUTH and by CREATE_CHILD_SA.

use std::sync::Arc;

use adit_crypto::{KeGroup, KeSecret, Secret};
use adit_ipsec::{Mode, Proposal, Protocol, Selector, narrow};
use adit_wire::{ExchangeType, NotifyType, Payload, ProposalPayload};

use crate::config::ChildConfig;
use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::child::resolve;
use crate::sa::child_create::pfs_groups;
use crate::sa::child_install::NewChild;
use crate::sa::collision::log_nonce;
use crate::sa::init_i::{nonce_fits, syntax};
use crate::sa::message::{invalid_ke, offer};
use crate::sa::proposals::{ChildSuite, choose};
use crate::sa::seal::crypto;
use crate::sa::transport::{ChildNotifies, Translated, use_transport};
use crate::sa::{Active, Contest, IkeSa, Message, Passive, Step, Task};
use crate::view::ChildState;

/// Most children of one IKE_SA.
const MAX_CHILDREN: usize = 256;

/// What a peer asks for.
pub(crate) struct ChildRequest {
    pub proposals: Vec<ProposalPayload>,
    pub ts_i: Vec<Selector>,
    pub ts_r: Vec<Selector>,
    pub ke: Option<(u16, Vec<u8>)>,
    pub notifies: ChildNotifies,
}

/// A configured child that fits a request.
struct Match {
    config: Arc<ChildConfig>,
    mode: Mode,
    local_ts: Vec<Selector>,
    remote_ts: Vec<Selector>,
    /// The same as the peer calls them.
    answer: (Vec<Selector>, Vec<Selector>),
    /// Another child would take what this one leaves.
    more: bool,
}

/// Why not, and what the peer is told.
pub(crate) struct Refused {
    pub answer: Payload,
    pub reason: Option<Box<Reason>>,
}

impl Refused {
    fn because(reason: Reason) -> Self {
        let kind = reason.notify().unwrap_or(NotifyType::NO_PROPOSAL_CHOSEN);
        Self { answer: Payload::notify(kind, Vec::new()), reason: Some(Box::new(reason)) }
    }

    fn only(kind: NotifyType) -> Self {
        Self { answer: Payload::notify(kind, Vec::new()), reason: None }
    }
}

impl ChildRequest {
    /// The child payloads of a message; `None` if any is missing.
    pub(crate) fn take(message: &mut Message) -> Option<Self> {
        let proposals = message.sa()?;
        let notifies = ChildNotifies::of(message);
        Some(Self { proposals, ts_i: message.ts_i()?, ts_r: message.ts_r()?, ke: message.ke(), notifies })
    }
}

impl IkeSa {
    /// Chooses a child for a request, asks for its installation, and gives its id and the payloads of the answer.
    /// `ours` is the nonce that the answer carries, none inside IKE_AUTH.
    pub(crate) fn grant_child(
        &mut self,
        core: &mut Core,
        request: ChildRequest,
        rekeys: Option<u32>,
        (ni, nr): (&[u8], &[u8]),
        first: bool,
    ) -> Result<(u32, Vec<Payload>), Refused> {
        if self.children.len() >= MAX_CHILDREN {
            return Err(Refused::because(Reason::NoAdditionalSas));
        }
        let Match { config, mode, local_ts, remote_ts, answer, more } =
            self.match_selectors(core, &request, rekeys)?;
        let configured: Vec<Proposal> = if first {
            config.esp_proposals.iter().map(Proposal::without_ke).collect()
        } else {
            config.esp_proposals.clone()
        };
        let mut offered = request.proposals;
        if first {
            // RFC 7296 §1.2: no key exchange in the first child; what is proposed of it is ignored, but it tells what the
            // peer will want when this one is rekeyed.
            self.foresee_pfs(core, &config, &offered);
            for one in &mut offered {
                one.proposal = one.proposal.without_ke();
            }
        }
        let chosen = choose(core, &configured, &offered)
            .and_then(|(num, proposal)| ChildSuite::of(&proposal).map(|suite| (num, proposal, suite)));
        let Some((num, proposal, suite)) = chosen else {
            log!(core, Ike, 1, self, "no acceptable proposal found");
            let theirs: Vec<Proposal> = offered.iter().map(|one| one.proposal.clone()).take(16).collect();
            let list = |proposals: &[Proposal]| {
                proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            log!(core, Cfg, 1, self, "received proposals: {}", list(&theirs));
            log!(core, Cfg, 1, self, "configured proposals: {}", list(&configured));
            let bare = |list: &[Proposal]| list.iter().map(Proposal::without_ke).collect::<Vec<_>>();
            let (ours, offers) = (bare(&configured), bare(&theirs));
            let reason = if ours.iter().any(|own| offers.iter().any(|their| own.select(their).is_some())) {
                Reason::PfsMismatch { ours: pfs_groups(&configured), theirs: pfs_groups(&theirs) }
            } else {
                Reason::NoProposal { protocol: "ESP", ours: configured, theirs }
            };
            return Err(Refused::because(reason));
        };
        log!(core, Cfg, 1, self, "selected proposal: {proposal}");
        let spi_out = offered
            .iter()
            .find(|one| one.num == num)
            .and_then(|one| <[u8; 4]>::try_from(one.spi.as_slice()).ok())
            .map(u32::from_be_bytes)
            .filter(|spi| *spi > 255)
            .ok_or_else(|| Refused::because(syntax("the proposal has no SPI")))?;
        let (shared, ke_payload) = self.agree(core, suite, request.ke)?;

        let spi_in = core.new_esp_spi();
        let new = NewChild {
            config,
            suite,
            mode,
            tfc: !request.notifies.no_tfc,
            spi_in,
            spi_out,
            local_ts,
            remote_ts,
            replaces: rekeys,
            asked: false,
            tags: Vec::new(),
            redundant: false,
        };
        let id = match self.install_child(core, new, shared.as_ref(), ni, nr) {
            Ok(id) => id,
            Err(reason) => {
                core.release_esp_spi(spi_in);
                return Err(Refused::because(reason));
            }
        };
        let mut sa = offer(std::slice::from_ref(&proposal), &spi_in.to_be_bytes());
        if let Payload::Sa(list) = &mut sa {
            list.iter_mut().for_each(|one| one.num = num);
        }
        let mut payloads = Vec::new();
        if mode == Mode::Transport {
            payloads.push(use_transport());
        }
        payloads.push(sa);
        if !first {
            payloads.push(Payload::Nonce(nr.to_vec()));
        }
        payloads.extend(ke_payload);
        payloads.push(Payload::TsI(answer.1));
        payloads.push(Payload::TsR(answer.0));
        if more {
            payloads.push(Payload::notify(NotifyType::ADDITIONAL_TS_POSSIBLE, Vec::new()));
        }
        Ok((id, payloads))
    }

    /// Warns of a rekeying that will fail, if the peer shows already now which groups it has.
    fn foresee_pfs(&self, core: &mut Core, config: &ChildConfig, offered: &[ProposalPayload]) {
        let theirs: Vec<Proposal> = offered.iter().map(|one| one.proposal.clone()).take(16).collect();
        let (ours, theirs) = (pfs_groups(&config.esp_proposals), pfs_groups(&theirs));
        // Most peers leave the groups out here: that says nothing.
        if theirs.iter().any(|id| *id != 0) && !theirs.iter().any(|id| ours.contains(id)) {
            let reason = Reason::PfsMismatch { ours, theirs };
            log!(core, Ike, 0, self, "the first rekeying of CHILD_SA {} will fail: {reason}", config.name);
        }
    }

    /// The configured child whose selectors meet the request's, and what they have in common.
    fn match_selectors(
        &self,
        core: &mut Core,
        request: &ChildRequest,
        rekeys: Option<u32>,
    ) -> Result<Match, Refused> {
        let (local_hosts, remote_hosts) = (self.local_hosts(), self.remote_hosts());
        let old = rekeys
            .and_then(|id| self.child(id))
            .map(|child| (self.successor_config(&child.config), child.mode));
        let candidates: Vec<(&Arc<ChildConfig>, Mode)> = match &old {
            Some((config, mode)) => vec![(config, *mode)],
            None => self.conn.children.iter().map(|config| (config, config.mode)).collect(),
        };
        let translated = self.translate(&request.ts_r, &request.ts_i);
        let mut fitting: Vec<(u8, Match)> = Vec::new();
        let mut ours = (Vec::new(), Vec::new());
        for (config, mode) in candidates {
            let local = resolve(&config.local_ts, &local_hosts);
            let remote = resolve(&config.remote_ts, &remote_hosts);
            let Some(found) = self.meet(core, request, &translated, (config, mode), (&local, &remote)) else {
                ours.0.extend(local);
                ours.1.extend(remote);
                continue;
            };
            // A child that takes all of the offer is better than one that cuts it, one that is exactly it is best.
            let whole = |offered: &[Selector], got: &[Selector]| {
                u8::from(offered.iter().all(|want| got.iter().any(|have| have.contains(want))))
            };
            let exact = u8::from(found.local_ts == local) + u8::from(found.remote_ts == remote);
            let wanted = u8::from(request.notifies.transport && found.mode == Mode::Transport);
            let quality = 8 * wanted
                + 4 * (whole(&request.ts_r, &found.answer.0) + whole(&request.ts_i, &found.answer.1))
                + exact;
            fitting.push((quality, found));
        }
        // The first of the best.
        let best =
            fitting.iter().enumerate().rev().max_by_key(|(_, (quality, _))| *quality).map(|(at, _)| at);
        if let Some(at) = best {
            let (_, mut found) = fitting.remove(at);
            // RFC 7296 §2.9: what is left of the offer would be accepted in a CHILD_SA of its own.
            let covers = |mine: &[Selector], others: &[Selector]| {
                others.iter().all(|other| mine.iter().any(|own| own.contains(other)))
            };
            found.more = rekeys.is_none()
                && fitting.iter().any(|(_, other)| {
                    !(covers(&found.local_ts, &other.local_ts) && covers(&found.remote_ts, &other.remote_ts))
                });
            return Ok(found);
        }
        self.log_selectors(core, (&request.ts_r, &request.ts_i));
        ours.0.truncate(16);
        ours.1.truncate(16);
        let theirs = (
            request.ts_r.iter().take(16).copied().collect(),
            request.ts_i.iter().take(16).copied().collect(),
        );
        Err(Refused::because(Reason::TsUnacceptable { ours, theirs }))
    }

    /// What a child has in common with a request: in transport mode where both want and can, else in tunnel mode.
    fn meet(
        &self,
        core: &mut Core,
        request: &ChildRequest,
        translated: &Translated,
        (config, mode): (&Arc<ChildConfig>, Mode),
        (local, remote): (&[Selector], &[Selector]),
    ) -> Option<Match> {
        let found = |mode, local_ts: Vec<Selector>, remote_ts: Vec<Selector>, answer| {
            let any = !local_ts.is_empty() && !remote_ts.is_empty();
            any.then(|| Match { config: Arc::clone(config), mode, local_ts, remote_ts, answer, more: false })
        };
        if request.notifies.transport && mode == Mode::Transport {
            let local_ts = narrow(local, &translated.local);
            let remote_ts = narrow(remote, &translated.remote);
            if self.host_to_host(&local_ts, &remote_ts) {
                let answer = translated.answer(&local_ts, &remote_ts);
                return found(Mode::Transport, local_ts, remote_ts, answer);
            }
            log!(core, Ike, 1, self, "not using transport mode, not host-to-host");
        }
        let local_ts = narrow(local, &request.ts_r);
        let remote_ts = narrow(remote, &request.ts_i);
        let answer = (local_ts.clone(), remote_ts.clone());
        found(Mode::Tunnel, local_ts, remote_ts, answer)
    }

    /// The responder's half of an optional key exchange.
    fn agree(
        &self,
        core: &mut Core,
        suite: ChildSuite,
        ke: Option<(u16, Vec<u8>)>,
    ) -> Result<(Option<Secret>, Option<Payload>), Refused> {
        let Some(wanted) = suite.ke else { return Ok((None, None)) };
        let Some((group, public)) = ke.filter(|(group, _)| *group == wanted.id) else {
            return Err(Refused { answer: invalid_ke(wanted.id), reason: None });
        };
        let made = KeGroup::from_id(group)
            .ok_or_else(|| crypto("the group is not served"))
            .and_then(|group| KeSecret::generate(group, &mut *core.rng).map_err(crypto));
        let secret = made.map_err(Refused::because)?;
        let shared = secret
            .agree(&public)
            .map_err(|error| Refused::because(Reason::BadKeyExchange { detail: error.to_string() }))?;
        let payload = Payload::KeyExchange { group, data: secret.public().to_vec() };
        Ok((Some(shared), Some(payload)))
    }

    /// CREATE_CHILD_SA: a new child, a rekeyed child, or a rekeyed IKE_SA.
    pub(crate) fn on_create_child_request(&mut self, core: &mut Core, mid: u32, mut message: Message) {
        let for_ike = message.0.iter().any(|payload| {
            matches!(payload, Payload::Sa(list) if list.iter().any(|one| one.proposal.protocol == Protocol::Ike))
        });
        if for_ike {
            return self.on_ike_rekey_request(core, mid, message);
        }
        match self.create_child(core, &mut message) {
            Ok((child, payloads)) => {
                self.passive = Some(Box::new(Passive { mid, payloads, step: Step::CreateInstall { child } }));
            }
            Err(refused) => {
                if let Some(reason) = refused.reason {
                    log!(core, Ike, 1, self, "refusing CHILD_SA: {reason}");
                    core.event(Event::Failure {
                        conn: Some(Arc::clone(&self.conn.name)),
                        child: self.only_child(),
                        peer: self.peer_addr(),
                        reason: *reason,
                    });
                }
                self.respond(core, ExchangeType::CREATE_CHILD_SA, mid, vec![refused.answer]);
            }
        }
    }

    fn create_child(
        &mut self,
        core: &mut Core,
        message: &mut Message,
    ) -> Result<(u32, Vec<Payload>), Refused> {
        // RFC 7296 §2.25.2: while we rekey or delete the IKE_SA, nothing new starts on it.
        if matches!(self.active, Active::RekeyIke(_) | Active::DeleteIke) {
            return Err(Refused::only(NotifyType::TEMPORARY_FAILURE));
        }
        let mut rekeys = None;
        if let Some((protocol, spi)) = message.notify_spi(NotifyType::REKEY_SA) {
            // RFC 7296 §2.8: the SPI is the initiator's inbound one, our outbound one.
            let spi = <[u8; 4]>::try_from(spi).ok().map(u32::from_be_bytes).filter(|_| protocol == 3);
            let found = self.children.iter().find(|child| Some(child.spi_out) == spi);
            rekeys = match found.map(|child| (child.id, child.state)) {
                Some((id, ChildState::Installed)) => Some(id),
                // RFC 7296 §2.25.1: while we rekey it ourselves, the answer is as usual.
                Some((id, ChildState::Rekeying)) if matches!(self.contest_of(id), Some(Contest::Alone)) => {
                    Some(id)
                }
                Some((_, state)) if state != ChildState::Deleted => {
                    // RFC 7296 §2.25.1: it is being closed, by command or because our own rekeying is through.
                    return Err(Refused::only(NotifyType::TEMPORARY_FAILURE));
                }
                None if matches!(self.active, Active::Child(_)) => {
                    // It may be the very one that we asked for, and whose answer is still on its way.
                    return Err(Refused::only(NotifyType::TEMPORARY_FAILURE));
                }
                _ => {
                    // Hostile row 4: the answer repeats the SPI only if its protocol is one.
                    let spi = spi.map_or_else(Vec::new, |spi| spi.to_be_bytes().to_vec());
                    let protocol = if spi.is_empty() { 0 } else { 3 };
                    let kind = NotifyType::CHILD_SA_NOT_FOUND;
                    let answer = Payload::Notify { protocol, spi, kind, data: Vec::new() };
                    return Err(Refused { answer, reason: None });
                }
            };
            // A rekeying of ours that still waits is superseded.
            self.queue.retain(|task| !matches!(task, Task::RekeyChild { id, .. } if Some(*id) == rekeys));
        }
        let ni = message.nonce().filter(|nonce| nonce_fits(nonce, 0));
        let ni = ni.ok_or_else(|| Refused::because(syntax("CREATE_CHILD_SA without a proper nonce")))?;
        let request = ChildRequest::take(message)
            .ok_or_else(|| Refused::because(syntax("CREATE_CHILD_SA without SA, TSi or TSr")))?;
        let nr = core.random::<32>();
        let granted = self.grant_child(core, request, rekeys, (&ni, &nr), false)?;
        log_nonce(core, self, "Nr", &nr);
        if let Some(contest) = rekeys.and_then(|id| self.contest_of(id)) {
            *contest = Contest::Rival { new: granted.0, nonces: [ni, nr.to_vec()] };
        }
        // From now on the old one is being replaced; our own soft expiry must not start another rekeying.
        if let Some(child) = rekeys.and_then(|id| self.child_mut(id)) {
            child.rekey_at = None;
        }
        Ok(granted)
    }
}
