//! The client: asks for tickets, keeps one for each connection, and presents it once.

use std::net::IpAddr;
use std::time::Duration;

use adit_ipsec::MatchQuality;
use adit_wire::{ExchangeType, IdPayload, NotifyType, Payload};

use super::{Inherited, MAX_TICKET};
use crate::action::Path;
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::auth_method::{Whose, id_payload};
use crate::sa::init_i::{Init, Transcript, nonce_fits, syntax};
use crate::sa::{AuthI, Fatal, IkeSa, Message, Phase, Task};
use crate::time::Instant;

/// A ticket is not presented in its last moments.
const MARGIN: Duration = Duration::from_secs(10);
/// No ticket is believed to last longer.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A ticket, and what the client has to remember with it (RFC 5723 §4.2).
pub(crate) struct Held {
    pub ticket: Vec<u8>,
    pub inherited: Inherited,
    /// Of the gateway that gave it, and of the IKE_SA that it is for.
    remote: IpAddr,
    ike: u32,
    until: Instant,
}

impl IkeSa {
    /// TICKET_REQUEST, if tickets are wanted.
    pub(crate) fn ticket_request(&self, core: &Core) -> Option<Payload> {
        let wanted = core.settings.resume && self.first_initiator;
        wanted.then(|| Payload::notify(NotifyType::TICKET_REQUEST, Vec::new()))
    }

    /// Keeps the ticket in an answer of the gateway, in place of an older one.
    pub(crate) fn keep_ticket(&mut self, core: &mut Core, message: &Message) {
        if !core.settings.resume || !self.first_initiator {
            return;
        }
        let Some((lifetime, ticket)) =
            message.notify(NotifyType::TICKET_LT_OPAQUE).and_then(<[u8]>::split_first_chunk::<4>)
        else {
            return;
        };
        let lifetime = Duration::from_secs(u32::from_be_bytes(*lifetime).into()).min(LONGEST);
        let Some(keys) = self.keys.as_ref().filter(|_| (1..=MAX_TICKET).contains(&ticket.len())) else {
            return;
        };
        log!(core, Ike, 1, self, "received a ticket for {}s", lifetime.as_secs());
        let inherited = Inherited {
            suite: keys.suite,
            sk_d: keys.sk_d.clone(),
            id_i: self.local_id.clone(),
            id_r: self.remote_id.clone(),
        };
        let held = Held {
            ticket: ticket.to_vec(),
            inherited,
            remote: self.path.remote.ip(),
            ike: self.id,
            until: core.now + lifetime,
        };
        core.tickets.insert(std::sync::Arc::clone(&self.conn.name), held);
    }

    /// RFC 5723 §6.2: with its IKE_SA, deleted or rekeyed, goes the ticket.
    pub(crate) fn forget_ticket(&self, core: &mut Core) {
        if core.tickets.get(&self.conn.name).is_some_and(|held| held.ike == self.id) {
            core.tickets.remove(&self.conn.name);
        }
    }

    /// The IKE_SA was rekeyed: the client asks for a ticket of the new one.
    pub(crate) fn ask_ticket_after_rekey(&mut self, core: &Core) {
        if core.settings.resume && self.first_initiator {
            self.queue.push_back(Task::AskTicket);
        }
    }

    /// The ticket to begin with, if there is one that is good here. It is used up with that (RFC 5723 §4.3.1).
    pub(crate) fn take_ticket(&self, core: &mut Core) -> Option<Box<Held>> {
        if !core.settings.resume || self.reauth_of.is_some() {
            return None;
        }
        let held = core.tickets.remove(&self.conn.name)?;
        let theirs = &held.inherited.id_r;
        let fits = held.remote == self.path.remote.ip()
            && core.now + MARGIN < held.until
            && self.conn.remote.id.matches(theirs) != MatchQuality::None
            && self.conn.local.id.as_ref().is_none_or(|id| id.is_any() || *id == held.inherited.id_i);
        fits.then(|| Box::new(held))
    }

    /// Payloads of IKE_SESSION_RESUME behind the cookie (RFC 5723 §4.3.2).
    pub(crate) fn resume_request(&self, core: &mut Core, held: &Held, nonce: &[u8]) -> Vec<Payload> {
        let mut payloads = vec![
            Payload::Nonce(nonce.to_vec()),
            Payload::notify(NotifyType::TICKET_OPAQUE, held.ticket.clone()),
        ];
        payloads.extend(self.nat_notifies(core, 0, self.path));
        payloads.extend(crate::sa::init_i::fragmentation(self.conn.fragmentation));
        payloads
    }

    /// The gateway has taken the ticket: keys, and IKE_AUTH.
    pub(crate) fn complete_resume(
        &mut self,
        core: &mut Core,
        init: &Init,
        held: Box<Held>,
        message: &mut Message,
        (spi_r, path, bytes): (u64, Path, &[u8]),
    ) -> Fatal<AuthI> {
        if spi_r == 0 {
            return Err(syntax("IKE_SESSION_RESUME response without a responder SPI"));
        }
        let nr = message.nonce().ok_or_else(|| syntax("IKE_SESSION_RESUME response without nonce"))?;
        let (prf, ..) = held.inherited.suite.primitives()?;
        if !nonce_fits(&nr, prf.key_len()) {
            return Err(syntax("the nonce has a wrong length"));
        }
        self.spi_r = spi_r;
        self.path.local.set_ip(path.local.ip());
        self.detect_nat(core, message, spi_r, Path { local: self.path.local, remote: path.remote });
        let auth_keys = self.resume_keys(core, &held.inherited, &init.nonce, &nr)?;
        self.peer_fragments = message.has_notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
        self.peer_childless = self.conn.childless != crate::config::Childless::Never
            && message.has_notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED);
        log!(core, Ike, 1, self, "the gateway takes the ticket");
        let transcript = Transcript {
            init_request: init.request.clone(),
            init_response: bytes.to_vec(),
            ni: init.nonce.clone(),
            nr,
            sk_pi: auth_keys.sk_pi,
            sk_pr: auth_keys.sk_pr,
            peer_hashes: None,
            cert_request: None,
        };
        Ok(AuthI::resumed(transcript, held))
    }

    /// IDi, IDr and AUTH of a resumed IKE_SA. No certificate, no EAP (RFC 5723 §4.3.3).
    pub(crate) fn prove_resumed(&mut self, t: &Transcript, held: &Held) -> Fatal<Vec<Payload>> {
        self.local_id = held.inherited.id_i.clone();
        let id = id_payload(&self.local_id);
        let proof = self.resume_proof(t, Whose::Initiator, &id)?;
        Ok(vec![Payload::IdI(id), Payload::IdR(id_payload(&held.inherited.id_r)), proof])
    }

    /// The gateway's identity and its proof: no other gateway than the one that gave the ticket.
    pub(crate) fn check_resumed_gateway(
        &mut self,
        t: &Transcript,
        held: &Held,
        id: &IdPayload,
        proof: (u8, Vec<u8>),
    ) -> Fatal<()> {
        if *id != id_payload(&held.inherited.id_r) {
            return Err(Reason::TicketMismatch);
        }
        self.check_resume_proof(t, Whose::Responder, id, Some(proof))?;
        self.remote_id = held.inherited.id_r.clone();
        Ok(())
    }

    /// A resumption that was refused or not understood: a regular exchange takes its place.
    pub(crate) fn begin_without_ticket(&mut self, core: &mut Core) {
        log!(core, Ike, 1, self, "the gateway does not take the ticket, initiating anew");
        self.phase = Phase::Closed;
        self.restart(core);
    }
}

/// The exchange that a first message belongs to.
pub(crate) fn exchange_of(held: Option<&Held>) -> ExchangeType {
    if held.is_some() { ExchangeType::IKE_SESSION_RESUME } else { ExchangeType::IKE_SA_INIT }
}
