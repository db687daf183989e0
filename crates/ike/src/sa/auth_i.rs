//! IKE_AUTH as initiator (RFC 7296 §1.2, §2.15, §2.16).

use std::net::IpAddr;

use adit_crypto::{Secret, ct_eq};
use adit_eap::{ClientStep, EapClient, EapSecrets};
use adit_ipsec::{GatewayId, Identity, MatchQuality};
use adit_wire::{ConfigKind, ExchangeType, IdPayload, NotifyType, Payload};

use crate::action::Action;
use crate::config::{AuthMethod, Unique};
use crate::core::{Core, Wait, log};
use crate::event::Event;
use crate::reason::{Reason, notify_name};
use crate::sa::auth_method::{METHOD_PSK, Passwords, Whose, id_payload, identity};
use crate::sa::config_payload;
use crate::sa::init_i::{Transcript, syntax};
use crate::sa::resume::Held;
use crate::sa::sync;
use crate::sa::{Active, ChildOffer, Fatal, IkeSa, Message, Phase, Task};

enum Step {
    /// The first request is out.
    First,
    /// EAP is going on; the server has proved itself.
    Eap(EapClient),
    /// Our AUTH after EAP is out.
    Final,
}

/// IKE_AUTH of the initiator.
pub(crate) struct AuthI {
    pub transcript: Transcript,
    step: Step,
    offer: Option<ChildOffer>,
    msk: Option<Secret>,
    /// IDr as it came, for the second AUTH of EAP.
    id_r: Option<IdPayload>,
    /// Our further addresses, as the first request told them.
    told: Box<[IpAddr]>,
    /// The ticket that it began with (RFC 5723).
    resumed: Option<Box<Held>>,
}

impl AuthI {
    /// After IKE_SESSION_RESUME.
    pub(crate) fn resumed(transcript: Transcript, held: Box<Held>) -> Self {
        Self { resumed: Some(held), ..Self::new(transcript) }
    }

    pub(crate) fn new(transcript: Transcript) -> Self {
        let (step, told) = (Step::First, Box::default());
        Self { transcript, step, offer: None, msk: None, id_r: None, told, resumed: None }
    }

    /// The wish for the child that is offered along.
    pub(crate) fn wish_mut(&mut self) -> Option<&mut crate::sa::Wish> {
        self.offer.as_mut().map(|offer| &mut offer.wish)
    }

    /// The child that is offered along.
    pub(crate) fn take_offer(&mut self) -> Option<ChildOffer> {
        self.offer.take()
    }
}

impl IkeSa {
    /// The first IKE_AUTH request, or the end.
    pub(crate) fn send_first_auth(&mut self, core: &mut Core) {
        let Phase::AuthI(mut auth) = std::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let built = self.first_auth(core, &mut auth);
        self.phase = Phase::AuthI(auth);
        match built {
            Ok(payloads) => self.request(core, ExchangeType::IKE_AUTH, &payloads, Active::Handshake),
            Err(reason) => self.fail(core, reason),
        }
    }

    fn first_auth(&mut self, core: &mut Core, auth: &mut AuthI) -> Fatal<Vec<Payload>> {
        let mut payloads = match &auth.resumed {
            Some(held) => self.prove_resumed(&auth.transcript, held)?,
            None => self.identify(core, auth)?,
        };
        payloads.extend(self.own_token(core));
        payloads.extend(self.ticket_request(core));
        payloads.extend(sync::announcement(core));
        let vips = if self.wanted_vips.is_empty() { &self.conn.vips } else { &self.wanted_vips };
        payloads.extend(config_payload::request(vips));
        let childless = self.goes_childless()?;
        let wanted = |task: &Task| !childless && matches!(task, Task::Child(_));
        let next = self.queue.iter().position(wanted);
        if let Some(Task::Child(wish)) = next.and_then(|at| self.queue.remove(at)) {
            log!(core, Ike, 0, self, "establishing CHILD_SA {}", wish.config.name);
            let offer = self.make_offer(core, wish, None, true)?;
            self.offer_payloads(&offer, true, &mut payloads);
            auth.offer = Some(offer);
        }
        auth.told = self.announce_mobike(core, &mut payloads);
        Ok(payloads)
    }

    /// Who we are, whom we want, and our proof as far as it can be given now.
    fn identify(&mut self, core: &mut Core, auth: &AuthI) -> Fatal<Vec<Payload>> {
        let asked = auth.transcript.cert_request.clone();
        let mut certificate = None;
        self.local_id = match &self.conn.local.id {
            Some(id) if !id.is_any() => id.clone(),
            _ => match self.conn.local.certs.first() {
                Some(cert) => cert.subject(),
                None => Identity::from_ip(self.path.local.ip()),
            },
        };
        let local = self.local_id.clone();
        if self.conn.local.method == AuthMethod::Pubkey {
            certificate = self.own_certificate(core, &local, asked.as_deref());
            if certificate.is_none() {
                return Err(Reason::NoPrivateKey { id: local });
            }
        }
        let mut payloads = vec![Payload::IdI(id_payload(&local))];
        if let Some((cert, _)) = &certificate {
            payloads.extend(self.cert_payloads(core, cert, asked.as_deref()));
        }
        let alone = self.is_alone(core);
        self.remember_expected_peer(core);
        if alone && self.reauth_of.is_none() && self.conn.unique != Unique::Never {
            payloads.push(Payload::notify(NotifyType::INITIAL_CONTACT, Vec::new()));
        }
        if self.conn.remote.method == AuthMethod::Pubkey {
            payloads.extend(self.cert_request(core));
        }
        // A pattern is no identity that one can ask for.
        let wanted = &self.conn.remote.id;
        if is_concrete(wanted) {
            payloads.push(Payload::IdR(id_payload(wanted)));
        }
        let t = &auth.transcript;
        match self.conn.local.method {
            AuthMethod::Psk => {
                let remote = self.conn.remote.id.clone();
                payloads.push(self.make_psk(core, t, Whose::Initiator, &local, &remote)?);
            }
            AuthMethod::Pubkey => {
                if let Some((_, key)) = &certificate {
                    payloads.push(self.make_signature(core, t, Whose::Initiator, &local, key)?);
                }
            }
            // RFC 7296 §2.16: leaving AUTH out asks for EAP.
            AuthMethod::Eap => {}
        }
        Ok(payloads)
    }

    /// Whether no other IKE_SA of ours is with the peer that this one is to be with (RFC 7296 §2.4, INITIAL_CONTACT).
    fn is_alone(&self, core: &Core) -> bool {
        let same_name = core.by_conn.get(&self.conn.name);
        if same_name.is_some_and(|ids| ids.iter().any(|id| *id != self.id)) {
            return false;
        }
        // Another connection may be with the same peer, or be about to be.
        let expected = &self.conn.remote.id;
        let is_other = |sa: &Self| {
            sa.id != self.id
                && sa.local_id == self.local_id
                && (expected.matches(&sa.remote_id) != MatchQuality::None
                    || (sa.is_connecting() && sa.conn.remote.id == *expected))
        };
        if !is_concrete(expected) {
            return !core.sas.values().any(|sa| is_other(sa));
        }
        let key = crate::core::peer_digest(&self.local_id, expected);
        let mut ids = core.by_peer.range((key, 0)..=(key, u32::MAX)).map(|(_, id)| id);
        !ids.any(|id| core.sas.get(id).is_some_and(|sa| is_other(sa)))
    }

    /// Enters the peer that is expected into the index: two initiations at once must not both claim to be the first.
    fn remember_expected_peer(&mut self, core: &mut Core) {
        if is_concrete(&self.conn.remote.id) {
            self.forget_peer(core);
            let key = crate::core::peer_digest(&self.local_id, &self.conn.remote.id);
            self.peer_key = Some(key);
            core.by_peer.insert((key, self.id));
        }
    }

    pub(crate) fn on_auth_response(&mut self, core: &mut Core, message: Message) {
        let Phase::AuthI(mut auth) = std::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let step = std::mem::replace(&mut auth.step, Step::First);
        self.sync.hear(core, &message);
        let result = match step {
            Step::First => self.first_response(core, &mut auth, message),
            Step::Eap(client) => self.eap_response(core, &mut auth, client, message),
            Step::Final => self.final_response(core, &mut auth, message),
        };
        match result {
            Ok(Next::Request(payloads)) => {
                self.phase = Phase::AuthI(auth);
                self.request(core, ExchangeType::IKE_AUTH, &payloads, Active::Handshake);
            }
            Ok(Next::Established(message)) => self.initiator_established(core, *auth, message),
            Ok(Next::Redirected { gateway, stands }) => self.redirected_in_auth(core, auth, gateway, stands),
            Err(Failed { reason, tell }) => {
                self.phase = Phase::AuthI(auth);
                if tell {
                    self.fail_telling(core, reason);
                } else {
                    self.fail(core, reason);
                }
            }
        }
    }

    fn first_response(
        &mut self,
        core: &mut Core,
        auth: &mut AuthI,
        mut message: Message,
    ) -> Result<Next, Failed> {
        let (Some(id), Some((method, data))) = (message.id_r(), message.auth()) else {
            return Err(self.refused_by_peer(core, &message));
        };
        if let Some(held) = &auth.resumed {
            let verified = self.check_resumed_gateway(&auth.transcript, held, &id, (method, data));
            verified.map_err(|reason| Failed { reason, tell: true })?;
            return Ok(match self.auth_redirect(&message) {
                Some(gateway) => Next::Redirected { gateway, stands: true },
                None => Next::Established(message),
            });
        }
        // The responder believes that it is done, unless EAP follows: then it must be told.
        let eap = self.conn.local.method == AuthMethod::Eap;
        let verified = self.check_responder(core, auth, &message, &id, (method, &data));
        verified.map_err(|reason| Failed { reason, tell: !eap })?;
        auth.id_r = Some(id);
        // RFC 5685 §6: with EAP this is the first answer, and our own proof is not out yet.
        if let Some(gateway) = self.auth_redirect(&message) {
            return Ok(Next::Redirected { gateway, stands: !eap });
        }
        if !eap {
            return Ok(Next::Established(message));
        }
        // RFC 7296 §2.16, CVE-2015-4171: only now that the server is known does our EAP identity leave.
        let packet = message.eap().ok_or_else(|| Failed::silent(syntax("the server does not start EAP")))?;
        let who = self.conn.local.eap_id.clone().unwrap_or_else(|| self.local_id.clone());
        let name = eap_name(&who);
        let password = Passwords(&core.config.credentials).password(&name);
        let password = password.ok_or_else(|| Failed::silent(Reason::NoEapSecret { identity: who }))?;
        let client = EapClient::new(name, password, None);
        self.eap_step(core, auth, client, &packet)
    }

    /// The server's identity and its proof.
    fn check_responder(
        &mut self,
        core: &mut Core,
        auth: &AuthI,
        message: &Message,
        id: &IdPayload,
        (method, data): (u8, &[u8]),
    ) -> Fatal<()> {
        let remote = identity(id)?;
        if self.conn.remote.id.matches(&remote) == MatchQuality::None {
            log!(core, Cfg, 1, self, "constraint check failed: identity '{}' required", self.conn.remote.id);
            return Err(Reason::IdentityMismatch { expected: self.conn.remote.id.clone(), got: remote });
        }
        let (t, local) = (&auth.transcript, self.local_id.clone());
        match self.conn.remote.method {
            AuthMethod::Psk if method == METHOD_PSK => {
                // Secrets are looked up as for our own AUTH: by what is configured, and by what came.
                self.check_psk(core, t, Whose::Responder, (&remote, id), &local, data)?;
            }
            AuthMethod::Pubkey if method != METHOD_PSK => {
                let key = self.peer_key(core, &remote, &message.certificates())?;
                self.check_signature(core, t, Whose::Responder, (&remote, id), &key, (method, data))?;
            }
            expected => {
                let got = if method == METHOD_PSK { "pre-shared key" } else { "public key" }.to_owned();
                return Err(Reason::MethodMismatch { expected, got });
            }
        }
        self.remote_id = remote;
        Ok(())
    }

    fn eap_response(
        &mut self,
        core: &mut Core,
        auth: &mut AuthI,
        client: EapClient,
        mut message: Message,
    ) -> Result<Next, Failed> {
        match message.eap() {
            Some(packet) => self.eap_step(core, auth, client, &packet),
            None => Err(self.refused_by_peer(core, &message)),
        }
    }

    fn eap_step(
        &mut self,
        core: &mut Core,
        auth: &mut AuthI,
        mut client: EapClient,
        packet: &[u8],
    ) -> Result<Next, Failed> {
        match client.receive(packet, &mut *core.rng) {
            ClientStep::Response(response) => {
                if let Some(id) =
                    packet.get(1).filter(|_| packet.get(4) == Some(&26) && packet.get(5) == Some(&1))
                {
                    log!(core, Ike, 1, self, "server requested EAP_MSCHAPV2 authentication (id 0x{id:02X})");
                }
                auth.step = Step::Eap(client);
                Ok(Next::Request(vec![Payload::Eap(response)]))
            }
            ClientStep::Success { msk } => {
                log!(
                    core,
                    Ike,
                    1,
                    self,
                    "EAP method EAP_MSCHAPV2 succeeded, {}MSK established",
                    if msk.is_some() { "" } else { "no " }
                );
                let id = id_payload(&self.local_id);
                let data = self
                    .auth_by_secret(&auth.transcript, Whose::Initiator, &id, msk.as_ref())
                    .map_err(Failed::silent)?;
                log!(core, Ike, 1, self, "authentication of '{}' (myself) with EAP", self.local_id);
                auth.msk = msk;
                auth.step = Step::Final;
                Ok(Next::Request(vec![Payload::Auth { method: METHOD_PSK, data }]))
            }
            ClientStep::Failure(error) => {
                log!(core, Ike, 1, self, "received EAP_FAILURE, EAP authentication failed");
                let who = self.conn.local.eap_id.as_ref().unwrap_or(&self.local_id);
                Err(Failed::silent(Reason::EapFailed {
                    identity: who.to_string(),
                    detail: error.to_string(),
                }))
            }
        }
    }

    fn final_response(
        &mut self,
        core: &mut Core,
        auth: &mut AuthI,
        mut message: Message,
    ) -> Result<Next, Failed> {
        let Some((_, data)) = message.auth() else { return Err(self.refused_by_peer(core, &message)) };
        let id = auth.id_r.clone().unwrap_or_else(|| id_payload(&self.remote_id));
        let expected = self
            .auth_by_secret(&auth.transcript, Whose::Responder, &id, auth.msk.as_ref())
            .map_err(Failed::silent)?;
        if !ct_eq(&expected, &data) {
            return Err(Failed { reason: Reason::EapAuthMismatch, tell: true });
        }
        log!(core, Ike, 1, self, "authentication of '{}' with EAP successful", self.remote_id);
        if let Some(gateway) = self.auth_redirect(&message) {
            return Ok(Next::Redirected { gateway, stands: true });
        }
        Ok(Next::Established(message))
    }

    /// The peer did not go on.
    fn refused_by_peer(&self, core: &mut Core, message: &Message) -> Failed {
        let reason = match message.error() {
            Some((kind, _)) => {
                log!(core, Ike, 1, self, "received {} notify error", notify_name(kind));
                if kind == NotifyType::AUTHENTICATION_FAILED {
                    Reason::AuthFailedByPeer { method: self.conn.local.method, local: self.local_id.clone() }
                } else {
                    Reason::PeerNotify { notify: kind, exchange: "IKE_AUTH" }
                }
            }
            None => syntax("IKE_AUTH response without IDr or AUTH"),
        };
        Failed::silent(reason)
    }

    /// Both ends are known. What is left of the message is about addresses and the first child.
    fn initiator_established(&mut self, core: &mut Core, auth: AuthI, mut message: Message) {
        self.phase = Phase::Established;
        let peer = self.mobike_of(core, &message);
        self.agree_on_mobike(peer, auth.told);
        self.on_established(core);
        self.remember_peer(core);
        self.on_auth_lifetime(core, &message);
        self.take_token(&message);
        self.keep_ticket(core, &message);
        if let Some(attributes) = message.config(ConfigKind::Reply) {
            self.take_addresses(core, &attributes);
        }
        let Some(offer) = auth.offer else {
            self.childless_is_up(core, &message);
            self.pump(core);
            return;
        };
        let error = message.error().map(|(kind, _)| kind);
        let has_child = message.0.iter().any(|payload| matches!(payload, Payload::Sa(_)));
        let result = if !self.conn.vips.is_empty() && self.local_vips.is_empty() && error.is_none() {
            // Whatever the peer narrowed the selectors to: it is not for the address that is to be had.
            Err(Reason::NoVirtualIp)
        } else {
            match error.filter(|_| !has_child) {
                Some(kind) => {
                    let name = notify_name(kind);
                    log!(core, Ike, 1, self, "received {name} notify, no CHILD_SA built");
                    Err(self.refusal(kind, &offer))
                }
                None => {
                    let (ni, nr) = (&auth.transcript.ni, &auth.transcript.nr);
                    self.accept_child(core, &offer, &mut message, (ni, nr))
                }
            }
        };
        if let Err(reason) = result {
            if has_child {
                self.queue.push_front(Task::DeleteSpi { spi: offer.spi_in });
            }
            if error == Some(NotifyType::SINGLE_PAIR_REQUIRED) && self.ask_for_single_pair(&offer.wish) {
                core.release_esp_spi(offer.spi_in);
            } else {
                self.child_failed(core, offer, reason);
            }
        }
        self.pump(core);
    }

    /// Virtual addresses and DNS servers out of a CFG_REPLY.
    fn take_addresses(&mut self, core: &mut Core, attributes: &[(u16, Vec<u8>)]) {
        if self.conn.vips.is_empty() {
            return;
        }
        let (addresses, dns) = config_payload::given(attributes);
        if addresses.is_empty() {
            return;
        }
        for address in &addresses {
            log!(core, Ike, 1, self, "installing new virtual IP {address}");
        }
        self.local_vips.clone_from(&addresses);
        self.local_dns.clone_from(&dns);
        self.vips_of = self.id;
        self.vips_pending = true;
        let local = self.path.local.ip();
        let install = Action::InstallVirtualIps { ike: self.id, local, addresses, dns };
        core.ask(self.id, Wait::VirtualIps, install);
    }

    pub(crate) fn on_vips_installed(&mut self, core: &mut Core, result: Result<(), String>) {
        self.vips_pending = false;
        let Err(detail) = result else {
            for child in self.children.iter_mut().filter(|child| child.is_up()) {
                let tags = std::mem::take(&mut child.tags);
                core.outcome(&tags, Ok(()));
            }
            return;
        };
        // What was not put into use is not taken out of it: by then it may be another IKE_SA's.
        self.local_vips.clear();
        self.local_dns.clear();
        let reason = Reason::VirtualIpFailed { detail };
        core.event(Event::Failure {
            conn: Some(std::sync::Arc::clone(&self.conn.name)),
            child: None,
            peer: self.peer_addr(),
            reason: reason.clone(),
        });
        self.delete_with(core, Some(reason));
    }
}

/// How IKE_AUTH goes on.
enum Next {
    Request(Vec<Payload>),
    Established(Message),
    /// To another gateway; `stands` = there is an IKE_SA to delete.
    Redirected {
        gateway: GatewayId,
        stands: bool,
    },
}

struct Failed {
    reason: Reason,
    /// The peer takes the IKE_SA as established and must hear of the failure (RFC 7296 §2.21.2).
    tell: bool,
}

impl Failed {
    fn silent(reason: Reason) -> Self {
        Self { reason, tell: false }
    }
}

fn is_concrete(id: &Identity) -> bool {
    !id.is_any() && id.matches(id) == MatchQuality::Exact && !has_wildcard(id)
}

fn has_wildcard(id: &Identity) -> bool {
    match id {
        Identity::Fqdn(text) | Identity::Rfc822(text) => text.contains('*'),
        Identity::Dn(_) => id.to_string().contains('*'),
        _ => false,
    }
}

/// The user name that an identity is for EAP.
pub(crate) fn eap_name(id: &Identity) -> Vec<u8> {
    match id {
        Identity::Fqdn(text) | Identity::Rfc822(text) => text.as_bytes().to_vec(),
        Identity::KeyId(data) => data.clone(),
        other => other.to_string().into_bytes(),
    }
}
