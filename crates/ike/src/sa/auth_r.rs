//! IKE_AUTH as responder (RFC 7296 §1.2, §2.15, §2.16, §2.19).

use std::net::IpAddr;
use std::sync::Arc;

use adit_crypto::{Secret, ct_eq};
use adit_eap::{EapServer, Method, ServerStep};
use adit_ipsec::{Identity, MatchQuality};
use adit_wire::{ConfigKind, ExchangeType, IdPayload, NotifyType, Payload};

use crate::action::{Action, Leased};
use crate::config::{AuthMethod, Unique};
use crate::core::{Core, Wait, log};
use crate::event::Event;
use crate::guard::Source;
use crate::reason::Reason;
use crate::sa::auth_method::{METHOD_PSK, Passwords, Whose, id_payload, identity};
use crate::sa::config_payload;
use crate::sa::create_respond::ChildRequest;
use crate::sa::init_i::{Transcript, syntax};
use crate::sa::redirect;
use crate::sa::resume::Presented;
use crate::sa::seal::crypto;
use crate::sa::{Fatal, IkeSa, Lease, Message, Passive, Phase, Task};
use crate::select;

/// How long a duplicate stays after the IKE_SA that takes its place.
const REAUTH_GRACE: std::time::Duration = std::time::Duration::from_secs(10);

enum RStep {
    /// The first request is awaited.
    First,
    /// EAP is going on.
    Eap(Box<EapServer>),
    /// EAP succeeded; the client's AUTH is awaited.
    EapDone(Option<Secret>),
}

/// IKE_AUTH of the responder.
pub(crate) struct AuthR {
    pub transcript: Transcript,
    step: RStep,
    id_i: Option<IdPayload>,
    child: Option<ChildRequest>,
    /// CFG_REQUEST.
    wants: Option<Vec<(u16, Vec<u8>)>>,
    initial_contact: bool,
    /// That it failed has been counted already.
    counted: bool,
    /// IKE_SA_INIT said that a child need not come along (RFC 6023).
    childless: bool,
    /// Another gateway has sent the peer here (RFC 5685).
    sent_here: bool,
    /// The peer's further addresses, if it supports MOBIKE.
    mobike: Option<Box<[IpAddr]>>,
    /// The ticket that it began with (RFC 5723).
    resumed: Option<Box<Presented>>,
    /// The peer asked for a ticket.
    wants_ticket: bool,
}

impl AuthR {
    pub(crate) fn new(transcript: Transcript, childless: bool, sent_here: bool) -> Self {
        Self {
            transcript,
            step: RStep::First,
            id_i: None,
            child: None,
            wants: None,
            initial_contact: false,
            childless,
            sent_here,
            mobike: None,
            counted: false,
            resumed: None,
            wants_ticket: false,
        }
    }

    /// After IKE_SESSION_RESUME.
    pub(crate) fn resumed(transcript: Transcript, childless: bool, ticket: Presented) -> Self {
        Self { resumed: Some(Box::new(ticket)), ..Self::new(transcript, childless, false) }
    }
}

/// How IKE_AUTH goes on.
enum Next {
    /// Answer, and wait for the next request.
    Answer(Vec<Payload>),
    /// The peer is authenticated; this is the answer so far.
    Authenticated(Vec<Payload>),
}

/// The handshake is over; what the peer is told.
struct Refusal {
    payloads: Vec<Payload>,
    reason: Box<Reason>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        let kind = match reason.notify() {
            Some(kind @ (NotifyType::INVALID_SYNTAX | NotifyType::AUTHENTICATION_FAILED)) => kind,
            _ => NotifyType::AUTHENTICATION_FAILED,
        };
        Self { payloads: vec![Payload::notify(kind, Vec::new())], reason: Box::new(reason) }
    }
}

impl IkeSa {
    pub(crate) fn on_auth_request(&mut self, core: &mut Core, mid: u32, message: Message) {
        let Phase::AuthR(mut auth) = std::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let step = std::mem::replace(&mut auth.step, RStep::First);
        self.sync.hear(core, &message);
        if matches!(step, RStep::First) {
            // It has come back: no longer half-open. What is still to come may need a human, or the
            // outside.
            core.wait_for_peer(self, true);
            self.half_open_until = Some(core.now + core.settings.pending_auth_timeout);
            core.make_room(true);
        }
        let result = match step {
            RStep::First => self.first_request(core, &mut auth, message),
            RStep::Eap(server) => self.eap_request(core, &mut auth, server, message),
            RStep::EapDone(msk) => self.final_request(core, &mut auth, msk, message),
        };
        match result {
            Ok(Next::Answer(payloads)) => {
                self.phase = Phase::AuthR(auth);
                self.respond(core, ExchangeType::IKE_AUTH, mid, payloads);
            }
            Ok(Next::Authenticated(payloads)) => self.authenticated(core, mid, auth, payloads),
            Err(Refusal { payloads, reason }) => {
                self.phase = Phase::AuthR(auth);
                self.respond(core, ExchangeType::IKE_AUTH, mid, payloads);
                self.fail(core, *reason);
            }
        }
    }

    fn first_request(
        &mut self,
        core: &mut Core,
        auth: &mut AuthR,
        mut message: Message,
    ) -> Result<Next, Refusal> {
        if let Err(reason) = self.check_no_nats(&message) {
            let payloads = vec![Payload::notify(NotifyType::UNEXPECTED_NAT_DETECTED, Vec::new())];
            return Err(Refusal { payloads, reason: Box::new(reason) });
        }
        if let Some(ticket) = auth.resumed.take() {
            let payloads = self.check_resumed_client(core, &auth.transcript, &ticket, &mut message)?;
            self.take_the_rest(core, auth, &mut message)?;
            return Ok(Next::Authenticated(payloads));
        }
        let id = message.id_i().ok_or_else(|| syntax("IKE_AUTH request without IDi"))?;
        let remote = identity(&id)?;
        let asked = message.id_r().map(|id| identity(&id)).transpose()?;
        let proof = message.auth();
        let method = match &proof {
            None => AuthMethod::Eap,
            Some((METHOD_PSK, _)) => AuthMethod::Psk,
            Some(_) => AuthMethod::Pubkey,
        };
        self.remote_id = remote.clone();
        let suite = self.keys.as_ref().ok_or_else(|| crypto("no keys"))?.suite;
        let (conn, local) = select::by_identity(core, self, &remote, asked.as_ref(), method, suite)?;
        core.switch_connection(self, conn);
        self.local_id = local;
        self.check_guesses(core, &remote)?;
        if let Some(asked) = message.cert_requests() {
            auth.transcript.cert_request = Some(asked);
        }
        self.take_the_rest(core, auth, &mut message)?;
        match proof {
            Some((METHOD_PSK, data)) => {
                let (t, local) = (&auth.transcript, self.local_id.clone());
                self.check_psk(core, t, Whose::Initiator, (&remote, &id), &local, &data)?;
            }
            Some((method, data)) => {
                let key = self.peer_key(core, &remote, &message.certificates())?;
                let t = &auth.transcript;
                self.check_signature(core, t, Whose::Initiator, (&remote, &id), &key, (method, &data))?;
            }
            None => {}
        }
        let by_eap = method == AuthMethod::Eap;
        let mut payloads = self.prove_ourselves(core, auth)?;
        auth.id_i = Some(id);
        if !by_eap {
            return Ok(Next::Authenticated(payloads));
        }
        let known = auth.id_i.as_ref().map(|id| id.data.clone());
        let mut server = Box::new(EapServer::new(self.conn.remote.eap_id.is_some(), known, Method::MsChapV2));
        let credentials = Arc::clone(&core.config.credentials);
        match server.start(&mut *core.rng, &Passwords(&credentials)) {
            ServerStep::Request(packet) => {
                payloads.push(Payload::Eap(packet));
                auth.step = RStep::Eap(server);
                Ok(Next::Answer(payloads))
            }
            ServerStep::Failure { packet, reason } => {
                Err(self.eap_failed(&server, packet, &reason.to_string()))
            }
            ServerStep::Success { .. } => Err(syntax("EAP without a method").into()),
        }
    }

    /// What the first request says besides who the peer is.
    fn take_the_rest(&mut self, core: &mut Core, auth: &mut AuthR, message: &mut Message) -> Fatal<()> {
        self.admits_child(auth.childless, message)?;
        auth.child = ChildRequest::take(message);
        auth.wants = message.config(ConfigKind::Request);
        auth.mobike = self.mobike_of(core, message);
        auth.initial_contact = message.has_notify(NotifyType::INITIAL_CONTACT);
        auth.wants_ticket = message.has_notify(NotifyType::TICKET_REQUEST);
        self.take_token(message);
        Ok(())
    }

    /// IDr, our certificates, AUTH.
    fn prove_ourselves(&self, core: &mut Core, auth: &AuthR) -> Fatal<Vec<Payload>> {
        let local = self.local_id.clone();
        let t = &auth.transcript;
        let asked = t.cert_request.as_deref();
        let mut payloads = vec![Payload::IdR(id_payload(&local))];
        match self.conn.local.method {
            AuthMethod::Psk => {
                payloads.push(self.make_psk(core, t, Whose::Responder, &local, &self.remote_id)?);
            }
            AuthMethod::Pubkey => {
                let (cert, key) = self
                    .own_certificate(core, &local, asked)
                    .ok_or_else(|| Reason::NoPrivateKey { id: local.clone() })?;
                payloads.extend(self.cert_payloads(core, &cert, asked));
                payloads.push(self.make_signature(core, t, Whose::Responder, &local, &key)?);
            }
            // RFC 7296 §2.16: a responder cannot prove itself by EAP here.
            AuthMethod::Eap => return Err(Reason::NoPrivateKey { id: local }),
        }
        Ok(payloads)
    }

    fn eap_request(
        &mut self,
        core: &mut Core,
        auth: &mut AuthR,
        mut server: Box<EapServer>,
        mut message: Message,
    ) -> Result<Next, Refusal> {
        let packet = message.eap().ok_or_else(|| syntax("IKE_AUTH request without EAP"))?;
        let credentials = Arc::clone(&core.config.credentials);
        let step = server.receive(&packet, &mut *core.rng, &Passwords(&credentials));
        if packet.get(4) == Some(&1)
            && let Some(name) = server.identity()
        {
            log!(core, Ike, 1, self, "received EAP identity '{}'", printable(name));
            self.check_guesses(core, &guessed(&printable(name)))?;
        }
        if server.refusing().is_some() && !auth.counted {
            // Now, and not when the client is done with it: it could try others meanwhile.
            auth.counted = true;
            let name = server.identity().map(printable);
            self.count_guess(core, name.as_deref());
        }
        match step {
            ServerStep::Request(packet) => {
                auth.step = RStep::Eap(server);
                Ok(Next::Answer(vec![Payload::Eap(packet)]))
            }
            ServerStep::Success { packet, msk, identity } => {
                let got = eap_identity(&identity);
                // Without a pattern of its own the user has to be whom the connection is for: a password proves the
                // user's name, not the IDi that selected the connection.
                let expected = self.conn.remote.eap_id.as_ref().unwrap_or(&self.conn.remote.id).clone();
                if expected.matches(&got) == MatchQuality::None {
                    let failure = vec![4, packet.get(1).copied().unwrap_or(0), 0, 4];
                    return Err(Refusal {
                        payloads: vec![
                            Payload::Eap(failure),
                            Payload::notify(NotifyType::AUTHENTICATION_FAILED, Vec::new()),
                        ],
                        reason: Box::new(Reason::EapIdentityMismatch { expected, got }),
                    });
                }
                log!(
                    core,
                    Ike,
                    1,
                    self,
                    "EAP method EAP_MSCHAPV2 succeeded, {}MSK established",
                    if msk.is_some() { "" } else { "no " }
                );
                self.remote_eap_id = Some(got).filter(|got| *got != self.remote_id);
                auth.step = RStep::EapDone(msk);
                Ok(Next::Answer(vec![Payload::Eap(packet)]))
            }
            ServerStep::Failure { packet, reason } => {
                log!(core, Ike, 1, self, "EAP method EAP_MSCHAPV2 failed for peer {}", self.remote_id);
                Err(self.eap_failed(&server, packet, &reason.to_string()))
            }
        }
    }

    fn eap_failed(&self, server: &EapServer, packet: Vec<u8>, detail: &str) -> Refusal {
        let identity = server.identity().map_or_else(|| self.remote_id.to_string(), printable);
        Refusal {
            payloads: vec![Payload::Eap(packet)],
            reason: Box::new(Reason::EapFailed { identity, detail: detail.to_owned() }),
        }
    }

    fn final_request(
        &mut self,
        core: &mut Core,
        auth: &mut AuthR,
        msk: Option<Secret>,
        mut message: Message,
    ) -> Result<Next, Refusal> {
        let (_, data) = message.auth().ok_or_else(|| syntax("IKE_AUTH request without AUTH"))?;
        let id = auth.id_i.clone().unwrap_or_else(|| id_payload(&self.remote_id));
        let expected = self.auth_by_secret(&auth.transcript, Whose::Initiator, &id, msk.as_ref())?;
        if !ct_eq(&expected, &data) {
            return Err(Reason::EapAuthMismatch.into());
        }
        log!(core, Ike, 1, self, "authentication of '{}' with EAP successful", self.peer_identity());
        let own = id_payload(&self.local_id);
        let data = self.auth_by_secret(&auth.transcript, Whose::Responder, &own, msk.as_ref())?;
        log!(core, Ike, 1, self, "authentication of '{}' (myself) with EAP", self.local_id);
        Ok(Next::Authenticated(vec![Payload::Auth { method: METHOD_PSK, data }]))
    }

    /// The peer is who it says. Uniqueness, then addresses, then its child.
    fn authenticated(&mut self, core: &mut Core, mid: u32, mut auth: Box<AuthR>, mut payloads: Vec<Payload>) {
        // RFC 5685 §6: both have proved themselves; §11: nobody who has not is told anything.
        if let Some(gateway) = self.redirect_after_auth(core, auth.sent_here) {
            log!(core, Ike, 1, self, "redirecting '{}' to {gateway}", self.peer_identity());
            payloads.push(redirect::notify(&gateway, &[]));
            self.phase = Phase::AuthR(auth);
            self.remember_peer(core);
            // Nothing is agreed on for an IKE_SA that is about to go: the redirect is the last word.
            self.sync = crate::sa::Sync::default();
            self.complete_auth(core, mid, payloads);
            return self.was_redirected(core);
        }
        if let Err(reason) = self.check_uniqueness(core, auth.initial_contact) {
            self.phase = Phase::AuthR(auth);
            let refusal = Refusal::from(reason);
            self.respond(core, ExchangeType::IKE_AUTH, mid, refusal.payloads);
            return self.fail(core, *refusal.reason);
        }
        self.remember_peer(core);
        payloads.extend(self.own_token(core));
        if auth.wants_ticket {
            payloads.extend(self.give_ticket(core));
        }
        self.agree_on_mobike(auth.mobike.take(), Box::default());
        let source = Source::of(self.path.remote.ip());
        for identity in [Some(&self.remote_id), self.remote_eap_id.as_ref()].into_iter().flatten() {
            core.guard.guesses.succeeded(identity, source);
        }
        let wanted = auth.wants.as_deref().map(config_payload::wanted).unwrap_or_default();
        self.phase = Phase::AuthR(auth);
        if wanted.is_empty() {
            return self.without_address(core, mid, payloads);
        }
        for address in &wanted {
            let shown = if address.is_unspecified() {
                if address.is_ipv4() { "%any".to_owned() } else { "%any6".to_owned() }
            } else {
                address.to_string()
            };
            log!(core, Ike, 1, self, "peer requested virtual IP {shown}");
        }
        if self.conn.pools.is_empty() {
            log!(core, Ike, 1, self, "no virtual IP found, sending INTERNAL_ADDRESS_FAILURE");
            let reason =
                Reason::NoLease { pools: Vec::new(), detail: "the connection has no pools".to_owned() };
            return self.refuse_first_child(
                core,
                mid,
                payloads,
                NotifyType::INTERNAL_ADDRESS_FAILURE,
                reason,
            );
        }
        let (pools, identity) = (self.conn.pools.clone(), self.peer_identity().clone());
        self.passive = Some(Box::new(Passive { mid, payloads, step: crate::sa::Step::AuthLease }));
        let lease = Box::new(Lease { pools: pools.clone(), identity: identity.clone() });
        core.ask(self.id, Wait::Lease(lease), Action::Lease { pools, identity, wanted });
    }

    /// The peer has asked for no address. RFC 7296 §2.19: where it is to have one, there is no child without.
    fn without_address(&mut self, core: &mut Core, mid: u32, payloads: Vec<Payload>) {
        let asks = matches!(&self.phase, Phase::AuthR(auth) if auth.child.is_some());
        if self.conn.pools.is_empty() || !asks {
            return self.grant_first_child(core, mid, payloads);
        }
        log!(core, Ike, 1, self, "expected a virtual IP request, sending FAILED_CP_REQUIRED");
        let reason = Reason::AddressNotAsked { pools: self.conn.pools.clone() };
        self.refuse_first_child(core, mid, payloads, NotifyType::FAILED_CP_REQUIRED, reason);
    }

    /// The answer to the question for addresses.
    pub(crate) fn on_lease(&mut self, core: &mut Core, result: Result<Leased, String>) {
        let waits = matches!(self.passive.as_deref(), Some(Passive { step: crate::sa::Step::AuthLease, .. }));
        let Some(passive) = self.passive.take_if(|_| waits) else { return };
        let Passive { mid, mut payloads, .. } = *passive;
        match result {
            Ok(leased) if !leased.addresses.is_empty() => {
                for address in &leased.addresses {
                    let who = self.peer_identity();
                    log!(core, Ike, 1, self, "assigning virtual IP {address} to peer '{who}'");
                }
                let (pools, identity) = (self.conn.pools.clone(), self.peer_identity().clone());
                self.remote_vips.clone_from(&leased.addresses);
                self.lease = Some(Box::new(Lease { pools, identity }));
                payloads.push(config_payload::reply(&leased));
                self.grant_first_child(core, mid, payloads);
            }
            other => {
                let detail = other.err().unwrap_or_else(|| "no address is free".to_owned());
                let reason = Reason::NoLease { pools: self.conn.pools.clone(), detail };
                log!(core, Ike, 1, self, "no virtual IP found, sending INTERNAL_ADDRESS_FAILURE");
                self.refuse_first_child(core, mid, payloads, NotifyType::INTERNAL_ADDRESS_FAILURE, reason);
            }
        }
        self.pump(core);
    }

    fn grant_first_child(&mut self, core: &mut Core, mid: u32, mut payloads: Vec<Payload>) {
        let Phase::AuthR(auth) = &mut self.phase else { return };
        let request = auth.child.take();
        let (ni, nr) = (auth.transcript.ni.clone(), auth.transcript.nr.clone());
        let Some(request) = request else { return self.complete_auth(core, mid, payloads) };
        match self.grant_child(core, request, None, (&ni, &nr), true) {
            Ok((child, answer)) => {
                payloads.extend(answer);
                let step = crate::sa::Step::AuthInstall { child };
                self.passive = Some(Box::new(Passive { mid, payloads, step }));
            }
            Err(refused) => {
                let kind = match refused.answer {
                    Payload::Notify { kind, .. } => kind,
                    _ => NotifyType::NO_PROPOSAL_CHOSEN,
                };
                let reason = refused.reason.map_or(Reason::TemporaryFailure, |reason| *reason);
                self.refuse_first_child(core, mid, payloads, kind, reason);
            }
        }
    }

    /// The IKE_SA stands all the same (RFC 7296 §2.21.2).
    fn refuse_first_child(
        &mut self,
        core: &mut Core,
        mid: u32,
        mut payloads: Vec<Payload>,
        kind: NotifyType,
        reason: Reason,
    ) {
        log!(core, Ike, 1, self, "failed to establish CHILD_SA, keeping IKE_SA");
        payloads.push(Payload::notify(kind, Vec::new()));
        self.complete_auth(core, mid, payloads);
        // After the IKE_SA is announced: that is the end of what failed before, and this is not before.
        core.event(Event::Failure {
            conn: Some(Arc::clone(&self.conn.name)),
            child: self.only_child(),
            peer: self.peer_addr(),
            reason,
        });
        if core.settings.close_ike_on_child_failure {
            log!(core, Ike, 1, self, "closing IKE_SA due CHILD_SA setup failure");
            self.queue.push_back(Task::DeleteIke);
        }
    }

    /// The child that a refused request was about, where there is no choice.
    pub(crate) fn only_child(&self) -> Option<Arc<str>> {
        match self.conn.children.as_slice() {
            [child] => Some(Arc::clone(&child.name)),
            _ => None,
        }
    }

    /// A request that says that the client ends the handshake (RFC 7296 §2.21.2). It is protected but its sender not
    /// authenticated: all it can end is this half-open IKE_SA, its own. Was it one?
    pub(crate) fn on_client_gave_up(&mut self, core: &mut Core, mid: u32, message: &Message) -> bool {
        if !message.has_notify(NotifyType::AUTHENTICATION_FAILED) {
            return false;
        }
        log!(core, Ike, 1, self, "received AUTHENTICATION_FAILED notify error");
        let (method, local) = (self.conn.local.method, self.local_id.clone());
        let reason = self.refused_proof().unwrap_or(Reason::AuthFailedByPeer { method, local });
        self.respond(core, ExchangeType::INFORMATIONAL, mid, Vec::new());
        self.fail(core, reason);
        true
    }

    /// Why a client did not go on: many just stop when their password is refused.
    pub(crate) fn refused_proof(&self) -> Option<Reason> {
        match &self.phase {
            Phase::AuthR(auth) => self.refused_password(auth),
            _ => None,
        }
    }

    fn refused_password(&self, auth: &AuthR) -> Option<Reason> {
        let RStep::Eap(server) = &auth.step else { return None };
        let refusing = server.refusing()?;
        Some(Reason::EapFailed {
            identity: server.identity().map_or_else(|| self.remote_id.to_string(), printable),
            detail: refusing.to_string(),
        })
    }

    /// The last answer of IKE_AUTH.
    pub(crate) fn complete_auth(&mut self, core: &mut Core, mid: u32, mut payloads: Vec<Payload>) {
        payloads.extend(self.sync.answer());
        self.become_established(core);
        payloads.extend(self.auth_lifetime());
        if self.mobike.is_some() {
            let told = self.announce_mobike(core, &mut payloads);
            self.addresses_told(told);
        }
        self.respond(core, ExchangeType::IKE_AUTH, mid, payloads);
    }

    pub(crate) fn become_established(&mut self, core: &mut Core) {
        if self.established_at.is_none() {
            self.phase = Phase::Established;
            self.on_established(core);
        }
    }

    /// Refuses an identity unseen that failed too often of late: a secret must not be guessed at the rate of packets.
    fn check_guesses(&self, core: &mut Core, identity: &Identity) -> Fatal<()> {
        let source = Source::of(self.path.remote.ip());
        let key = crate::core::peer_digest(&self.local_id, identity);
        let known = core.by_peer.range((key, 0)..=(key, u32::MAX)).any(|(_, id)| {
            core.sas
                .get(id)
                .is_some_and(|it| it.is_established() && Source::of(it.path.remote.ip()) == source)
        });
        let per_minute = core.settings.auth_failures;
        if core.guard.guesses.exceeded(core.now, per_minute, (identity, source), known) {
            core.stats.auth_limited += 1;
            return Err(Reason::TooManyFailures { identity: identity.clone() });
        }
        Ok(())
    }

    /// A peer that ends without having proved itself, whatever way it ends.
    pub(crate) fn count_failed_proof(&self, core: &mut Core, reason: &Reason) {
        let Phase::AuthR(auth) = &self.phase else { return };
        let user = match reason {
            Reason::EapFailed { identity, .. } => Some(identity.as_str()),
            Reason::PskMismatch { .. }
            | Reason::NoSharedKey { .. }
            | Reason::BadSignature { .. }
            | Reason::EapAuthMismatch
            | Reason::EapIdentityMismatch { .. } => None,
            _ => return,
        };
        if !auth.counted {
            self.count_guess(core, user);
        }
    }

    fn count_guess(&self, core: &mut Core, user: Option<&str>) {
        core.stats.auth_failures += 1;
        let source = Source::of(self.path.remote.ip());
        let (now, per_minute) = (core.now, core.settings.auth_failures);
        let user = user.map(guessed).filter(|user| *user != self.remote_id);
        for identity in [Some(&self.remote_id), user.as_ref()].into_iter().flatten() {
            core.guard.guesses.failed(now, per_minute, identity, source);
        }
    }

    /// `unique` and INITIAL_CONTACT (RFC 7296 §2.4).
    fn check_uniqueness(&mut self, core: &mut Core, initial_contact: bool) -> Fatal<()> {
        let policy = self.conn.unique;
        if policy == Unique::Never || (policy == Unique::No && !initial_contact) {
            return Ok(());
        }
        let key = crate::core::peer_digest(&self.local_id, self.peer_identity());
        let ids: Vec<u32> = core.by_peer.range((key, 0)..=(key, u32::MAX)).map(|(_, id)| *id).collect();
        for id in ids {
            let same = core.sas.get(&id).is_some_and(|other| {
                other.is_established()
                    && other.local_id == self.local_id
                    && other.peer_identity() == self.peer_identity()
            });
            if !same {
                continue;
            }
            let remote = self.peer_identity().clone();
            if initial_contact {
                // The peer has no other IKE_SA any more: nobody would answer a delete.
                log!(
                    core,
                    Ike,
                    1,
                    self,
                    "destroying duplicate IKE_SA for peer '{remote}', received INITIAL_CONTACT"
                );
                core.with(id, |other, core| other.close(core, Some(Reason::ReplacedByNew { remote })));
            } else if policy == Unique::Keep {
                return Err(Reason::Duplicate { remote });
            } else {
                log!(
                    core,
                    Ike,
                    1,
                    self,
                    "deleting duplicate IKE_SA for peer '{remote}' due to uniqueness policy"
                );
                // It may be a reauthentication, whose children are still on their way here.
                let at = core.now + REAUTH_GRACE;
                core.with(id, |other, _| other.yield_at = Some(at));
            }
        }
        Ok(())
    }
}

/// The identity that a user name is.
fn eap_identity(name: &[u8]) -> Identity {
    std::str::from_utf8(name)
        .ok()
        .and_then(|text| Identity::parse(text).ok())
        .filter(|id| !id.is_any())
        .unwrap_or_else(|| Identity::KeyId(name.to_vec()))
}

/// The identity under which guesses at the password of a user are counted.
fn guessed(shown: &str) -> Identity {
    eap_identity(shown.as_bytes())
}

/// A peer's bytes for a log line or a sentence.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(64).flat_map(char::escape_debug).collect()
}
