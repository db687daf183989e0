//! The gateway: gives tickets, and takes them back once.

use std::sync::Arc;

use adit_crypto::sha1;
use adit_eap::EapSecrets;
use adit_ipsec::{Identity, MatchQuality};
use adit_wire::{ExchangeType, Header, NotifyType, Payload, emit_clear};

use super::ticket::{self, State};
use super::{Inherited, MAX_TICKET};
use crate::action::Path;
use crate::config::{AuthMethod, Connection};
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::auth_method::{Passwords, Whose, id_payload, shared_secrets};
use crate::sa::childless::announcement;
use crate::sa::init_i::{Transcript, fragmentation, nonce_fits};
use crate::sa::seal::crypto;
use crate::sa::{AuthR, Fatal, IkeSa, Message, Phase};
use crate::select;

/// Tickets of which it is remembered that they were used, until they expire; beyond that the ones that expire first
/// are forgotten.
const MAX_USED: usize = 65_536;

/// A ticket that a half-open IKE_SA began with.
pub(crate) struct Presented {
    pub inherited: Inherited,
    eap_id: Option<Identity>,
    /// SPIs of the IKE_SA that it was for.
    spis: (u64, u64),
    mark: (i64, [u8; 20]),
}

impl IkeSa {
    /// The answer to a TICKET_REQUEST: a ticket, or TICKET_NACK (RFC 5723 §4.1). Nothing where tickets are not given.
    pub(crate) fn give_ticket(&mut self, core: &mut Core) -> Option<Payload> {
        let secret = core.settings.ticket_secrets.first()?.clone();
        let keys = self.keys.as_ref()?;
        // RFC 5723 §6.2: not longer than the IKE_SA, and not longer than its authentication counts.
        let limits = [
            self.conn.rekey_time + self.conn.over_time,
            self.conn.reauth_time,
            core.settings.ticket_lifetime,
        ];
        let bounded = [!self.conn.rekey_time.is_zero(), !self.conn.reauth_time.is_zero(), true];
        let lifetime =
            limits.into_iter().zip(bounded).filter(|(_, counts)| *counts).map(|(it, _)| it).min()?;
        let left = self.auth_until.map_or(lifetime, |until| until.since(core.now));
        let seconds = u32::try_from(lifetime.min(left).as_secs()).ok()?;
        let state = State {
            inherited: Inherited {
                suite: keys.suite,
                sk_d: keys.sk_d.clone(),
                id_i: self.remote_id.clone(),
                id_r: self.local_id.clone(),
            },
            eap_id: self.remote_eap_id.clone(),
            conn: self.conn.name.to_string(),
            spis: (self.spi_i, self.spi_r),
            expires: core.unix_now().saturating_add(i64::from(seconds)),
        };
        let sealed = ticket::seal(&secret, &mut *core.rng, &state).filter(|it| it.len() <= MAX_TICKET);
        let Some(sealed) = sealed.filter(|_| seconds > 0) else {
            return Some(Payload::notify(NotifyType::TICKET_NACK, Vec::new()));
        };
        log!(core, Ike, 1, self, "giving '{}' a ticket for {seconds}s", self.peer_identity());
        core.stats.tickets_given += 1;
        self.void_ticket(core);
        self.ticket_given = Some(Box::new((state.expires, sha1(&[&sealed]))));
        let data = [&seconds.to_be_bytes()[..], &sealed].concat();
        Some(Payload::notify(NotifyType::TICKET_LT_OPAQUE, data))
    }

    /// RFC 5723 §4.3.2, §6.2: an IKE_SA that ended in order or was rekeyed is not resumed.
    pub(crate) fn void_ticket(&mut self, core: &mut Core) {
        if let Some(mark) = self.ticket_given.take() {
            core.use_ticket(*mark);
        }
    }

    /// The first IKE_AUTH request of a resumed IKE_SA: the client has to be whom the ticket is of, and to know its key.
    pub(crate) fn check_resumed_client(
        &mut self,
        core: &mut Core,
        t: &Transcript,
        ticket: &Presented,
        message: &mut Message,
    ) -> Fatal<Vec<Payload>> {
        let own = id_payload(&ticket.inherited.id_r);
        let id = message.id_i().filter(|id| *id == id_payload(&ticket.inherited.id_i));
        let id = id.ok_or(Reason::TicketMismatch)?;
        if message.id_r().is_some_and(|asked| asked != own) {
            return Err(Reason::TicketMismatch);
        }
        let proof = message.auth();
        self.check_resume_proof(t, Whose::Initiator, &id, proof)?;
        // Somebody else may have been faster with the same ticket.
        if !core.use_ticket(ticket.mark) {
            return Err(Reason::TicketMismatch);
        }
        self.remote_id = ticket.inherited.id_i.clone();
        self.local_id = ticket.inherited.id_r.clone();
        self.remote_eap_id.clone_from(&ticket.eap_id);
        log!(core, Ike, 1, self, "'{}' resumes its session", self.peer_identity());
        core.stats.resumed += 1;
        self.bury(core, ticket.spis);
        let proof = self.resume_proof(t, Whose::Responder, &own)?;
        Ok(vec![Payload::IdR(own), proof])
    }

    /// RFC 5723 §4.3.4: the IKE_SA that the client had before goes without a word.
    fn bury(&self, core: &mut Core, (spi_i, spi_r): (u64, u64)) {
        let old = [spi_i, spi_r].iter().find_map(|spi| core.by_spi.get(spi).copied());
        let Some(old) = old.filter(|old| *old != self.id) else { return };
        core.with(old, |sa, core| {
            if (sa.spi_i, sa.spi_r) == (spi_i, spi_r) {
                let remote = sa.peer_identity().clone();
                sa.close(core, Some(Reason::ReplacedByNew { remote }));
            }
        });
    }
}

impl Core {
    /// Whether a ticket is used for the first time; it is used with that.
    fn use_ticket(&mut self, mark: (i64, [u8; 20])) -> bool {
        let now = self.unix_now();
        while self.used_tickets.first().is_some_and(|(expires, _)| *expires <= now)
            || self.used_tickets.len() > MAX_USED
        {
            self.used_tickets.pop_first();
        }
        self.used_tickets.insert(mark)
    }

    /// What a ticket of ours says, if it is worth something.
    fn redeem(&self, path: Path, data: &[u8]) -> Option<(Arc<Connection>, Presented)> {
        let state = ticket::open(&self.settings.ticket_secrets, data)?;
        let mark = (state.expires, sha1(&[data]));
        if state.expires <= self.unix_now() || self.used_tickets.contains(&mark) {
            return None;
        }
        let State { inherited, eap_id, conn, spis, .. } = state;
        let conn = select::by_address(self, path).into_iter().find(|it| *it.name == *conn)?;
        self.still_admits(&conn, &inherited, eap_id.as_ref())
            .then_some((conn, Presented { inherited, eap_id, spis, mark }))
    }

    /// Whether the connection, as it is configured now, would have that client (RFC 5723 §6.2).
    fn still_admits(&self, conn: &Connection, of: &Inherited, eap_id: Option<&Identity>) -> bool {
        let fits = |pattern: &Identity, id: &Identity| pattern.matches(id) != MatchQuality::None;
        let ours = conn.local.id.as_ref().is_none_or(|id| fits(id, &of.id_r));
        let theirs = fits(&conn.remote.id, &of.id_i);
        let credentials = &self.config.credentials;
        let known = match conn.remote.method {
            AuthMethod::Psk => !shared_secrets(&credentials.shared, &of.id_r, &of.id_i).is_empty(),
            AuthMethod::Pubkey => eap_id.is_none(),
            AuthMethod::Eap => {
                let who = eap_id.unwrap_or(&of.id_i);
                let wanted = conn.remote.eap_id.as_ref().unwrap_or(&conn.remote.id);
                let name = crate::sa::auth_i::eap_name(who);
                fits(wanted, who) && Passwords(credentials).password(&name).is_some()
            }
        };
        ours && theirs && known
    }

    /// IKE_SESSION_RESUME (RFC 5723 §4.3.2): a half-open IKE_SA, or TICKET_NACK.
    pub(crate) fn answer_resume(
        &mut self,
        path: Path,
        header: &Header,
        bytes: &[u8],
        payloads: Vec<Payload>,
    ) -> Option<Box<IkeSa>> {
        let mut message = Message(payloads);
        let nonce = message.nonce().filter(|nonce| nonce_fits(nonce, 0))?;
        let data = message.notify(NotifyType::TICKET_OPAQUE)?.to_vec();
        let (conn, ticket) = self.redeem(path, &data)?;
        self.make_resumed(path, header, bytes, (nonce, message), conn, ticket).ok()
    }

    fn make_resumed(
        &mut self,
        path: Path,
        header: &Header,
        bytes: &[u8],
        (ni, rest): (Vec<u8>, Message),
        conn: Arc<Connection>,
        ticket: Presented,
    ) -> Fatal<Box<IkeSa>> {
        let (prf, ..) = ticket.inherited.suite.primitives()?;
        if !nonce_fits(&ni, prf.key_len()) {
            return Err(crypto("the nonce has a wrong length"));
        }
        let nr = self.random::<32>().to_vec();
        let id = self.next_sa_id();
        let mut sa = Box::new(IkeSa::new(id, conn, false, path, self.now));
        (sa.spi_i, sa.spi_r) = (header.spi_i, self.new_ike_spi());
        log!(self, Ike, 1, sa, "{} presents a ticket", path.remote.ip());
        sa.detect_nat(self, &rest, 0, path);
        let auth_keys = sa.resume_keys(self, &ticket.inherited, &ni, &nr)?;
        sa.peer_fragments = rest.has_notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
        let mut payloads = vec![Payload::Nonce(nr.clone())];
        payloads.extend(sa.nat_notifies(self, sa.spi_r, sa.path));
        payloads.extend(fragmentation(sa.conn.fragmentation));
        let childless = announcement(sa.conn.childless);
        let announced = childless.is_some();
        payloads.extend(childless);
        let response =
            emit_clear(&sa.header(ExchangeType::IKE_SESSION_RESUME, true, 0), &payloads).map_err(crypto)?;
        self.transmit(sa.path, response.clone());
        sa.last_out = self.now;
        sa.window.recv_next = 1;
        sa.half_open_until = Some(self.now + self.settings.half_open_timeout);
        let transcript = Transcript {
            init_request: bytes.to_vec(),
            init_response: response,
            ni,
            nr,
            sk_pi: auth_keys.sk_pi,
            sk_pr: auth_keys.sk_pr,
            peer_hashes: None,
            cert_request: None,
        };
        sa.phase = Phase::AuthR(Box::new(AuthR::resumed(transcript, announced, ticket)));
        Ok(sa)
    }
}
