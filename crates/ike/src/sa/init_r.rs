//! IKE_SA_INIT as responder, after admission (RFC 7296 §1.2).

use std::sync::Arc;

use adit_crypto::{KeGroup, KeSecret, kdf, sha1};
use adit_ipsec::Proposal;
use adit_wire::{ExchangeType, Header, NotifyType, Payload, ProposalPayload, emit_clear};

use crate::action::Path;
use crate::config::Connection;
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::childless::announcement;
use crate::sa::init_i::{Transcript, announcements, nonce_fits, peer_hashes, syntax};
use crate::sa::message::{invalid_ke, offer};
use crate::sa::proposals::choose;
use crate::sa::redirect;
use crate::sa::seal::crypto;
use crate::sa::{AuthR, Fatal, IkeSa, Message, Phase, Suite};

/// An admitted IKE_SA_INIT request.
pub(crate) struct InitRequest<'a> {
    pub header: Header,
    pub path: Path,
    pub bytes: &'a [u8],
    pub proposals: Vec<ProposalPayload>,
    pub group: u16,
    pub public: Vec<u8>,
    pub nonce: Vec<u8>,
    /// What is left of it: notifies.
    pub rest: Message,
}

/// What becomes of a request.
pub(crate) enum Answer {
    /// A half-open IKE_SA; its response is sent.
    Made(Box<IkeSa>),
    /// Only this is to be sent.
    Notify(Payload, Option<Reason>),
}

impl InitRequest<'_> {
    /// Takes a request apart. The error is what is wrong with it.
    pub(crate) fn parse(
        header: Header,
        path: Path,
        bytes: &[u8],
        payloads: Vec<Payload>,
    ) -> Fatal<InitRequest<'_>> {
        let mut message = Message(payloads);
        let missing = |what: &str| syntax(&format!("IKE_SA_INIT request without {what}"));
        let proposals = message.sa().ok_or_else(|| missing("SA"))?;
        let (group, public) = message.ke().ok_or_else(|| missing("KE"))?;
        let nonce = message.nonce().ok_or_else(|| missing("nonce"))?;
        if !nonce_fits(&nonce, 0) {
            return Err(syntax("the nonce has a wrong length"));
        }
        Ok(InitRequest { header, path, bytes, proposals, group, public, nonce, rest: message })
    }

    /// Recognises a repetition of the very same request from the same place.
    pub(crate) fn digest(path: Path, bytes: &[u8]) -> [u8; 20] {
        let from = path.remote.to_string();
        sha1(&[from.as_bytes(), bytes])
    }

    /// Answers with a new half-open IKE_SA, or a notify.
    pub(crate) fn answer(mut self, core: &mut Core, candidates: &[Arc<Connection>]) -> Answer {
        let Some((conn, num, proposal)) = candidates.iter().find_map(|conn| {
            choose(core, &conn.proposals, &self.proposals).map(|(num, chosen)| (conn, num, chosen))
        }) else {
            return self.no_proposal(core, candidates);
        };
        let Some(suite) = Suite::of(&proposal) else { return self.no_proposal(core, candidates) };
        if self.group != suite.ke.id {
            let wanted = suite.ke.id;
            log!(
                core,
                Ike,
                1,
                none,
                "KE payload has key exchange method {}, requesting {}",
                adit_ipsec::names::ke_name(self.group),
                adit_ipsec::names::ke_name(wanted)
            );
            return Answer::Notify(invalid_ke(wanted), None);
        }
        match self.make(core, Arc::clone(conn), num, &proposal, suite) {
            Ok(sa) => Answer::Made(sa),
            Err(reason) => {
                let kind = reason.notify().unwrap_or(NotifyType::INVALID_SYNTAX);
                Answer::Notify(Payload::notify(kind, Vec::new()), Some(reason))
            }
        }
    }

    fn no_proposal(&self, core: &mut Core, candidates: &[Arc<Connection>]) -> Answer {
        let ours: Vec<Proposal> =
            candidates.iter().flat_map(|conn| conn.proposals.clone()).take(16).collect();
        let theirs: Vec<Proposal> = self.proposals.iter().map(|it| it.proposal.clone()).take(16).collect();
        let list =
            |proposals: &[Proposal]| proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        log!(core, Cfg, 1, none, "received proposals: {}", list(&theirs));
        log!(core, Cfg, 1, none, "configured proposals: {}", list(&ours));
        log!(core, Ike, 1, none, "received proposals unacceptable");
        let reason = Reason::NoProposal { protocol: "IKE", ours, theirs };
        Answer::Notify(Payload::notify(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()), Some(reason))
    }

    fn make(
        &mut self,
        core: &mut Core,
        conn: Arc<Connection>,
        num: u8,
        proposal: &Proposal,
        suite: Suite,
    ) -> Fatal<Box<IkeSa>> {
        let (prf, encr, integ) = suite.primitives()?;
        if !nonce_fits(&self.nonce, prf.key_len()) {
            return Err(syntax("the nonce has a wrong length"));
        }
        let group = KeGroup::from_id(self.group).ok_or_else(|| crypto("the group is not served"))?;
        let secret = KeSecret::generate(group, &mut *core.rng).map_err(crypto)?;
        let shared = secret
            .agree(&self.public)
            .map_err(|error| Reason::BadKeyExchange { detail: error.to_string() })?;
        let nr = core.random::<32>().to_vec();

        let id = core.next_sa_id();
        let mut sa = Box::new(IkeSa::new(id, conn, false, self.path, core.now));
        sa.spi_i = self.header.spi_i;
        sa.spi_r = core.new_ike_spi();
        if core.wants(crate::event::Group::Ike, 0) {
            let text = format!("{} is initiating an IKE_SA", self.path.remote.ip());
            core.log(crate::event::Group::Ike, 0, Some(sa.log_name()), text);
        }
        log!(core, Cfg, 1, sa, "selected proposal: {proposal}");
        // The request's digests were made when our SPI was not known yet.
        sa.detect_nat(core, &self.rest, 0, self.path);
        let skeyseed = kdf::skeyseed(prf, &self.nonce, &nr, &shared);
        let keys = kdf::ike_keys(prf, &skeyseed, &self.nonce, &nr, sa.spi_i, sa.spi_r, encr, integ)
            .map_err(crypto)?;
        let auth_keys = sa.use_keys(core, suite, keys)?;
        sa.follows = redirect::announced(&self.rest);
        sa.peer_fragments = self.rest.has_notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);

        let mut chosen = offer(std::slice::from_ref(proposal), &[]);
        if let Payload::Sa(list) = &mut chosen {
            list.iter_mut().for_each(|it| it.num = num);
        }
        let mut payloads =
            vec![chosen, Payload::KeyExchange { group: self.group, data: secret.public().to_vec() }];
        payloads.push(Payload::Nonce(nr.clone()));
        payloads.extend(sa.nat_notifies(core, sa.spi_r, sa.path));
        if let Some(request) = sa.cert_request(core) {
            payloads.push(request);
        }
        payloads.extend(announcements(sa.conn.fragmentation));
        let childless = announcement(sa.conn.childless);
        let announced = childless.is_some();
        payloads.extend(childless);
        log!(
            core,
            Enc,
            1,
            sa,
            "generating {}",
            adit_wire::describe(ExchangeType::IKE_SA_INIT, true, 0, &payloads)
        );
        let header = sa.header(ExchangeType::IKE_SA_INIT, true, 0);
        let response = emit_clear(&header, &payloads).map_err(crypto)?;
        core.transmit(sa.path, response.clone());
        sa.last_out = core.now;
        sa.window.recv_next = 1;
        sa.half_open_until = Some(core.now + core.settings.half_open_timeout);
        let transcript = Transcript {
            init_request: self.bytes.to_vec(),
            init_response: response,
            ni: self.nonce.clone(),
            nr,
            sk_pi: auth_keys.sk_pi,
            sk_pr: auth_keys.sk_pr,
            peer_hashes: peer_hashes(&self.rest),
            cert_request: self.rest.cert_requests(),
        };
        sa.phase =
            Phase::AuthR(Box::new(AuthR::new(transcript, announced, redirect::was_sent_here(&self.rest))));
        Ok(sa)
    }
}

impl IkeSa {
    /// The same IKE_SA_INIT request came again: answer the same (RFC 7296 §2.1).
    pub(crate) fn repeat_init_response(&mut self, core: &mut Core) {
        if let Phase::AuthR(auth) = &self.phase {
            let response = auth.transcript.init_response.clone();
            core.stats.peer_retransmits += 1;
            log!(core, Ike, 1, self, "received retransmit of request with ID 0, retransmitting response");
            core.transmit(self.path, response);
        }
    }
}
