//! IKE_SA_INIT as initiator (RFC 7296 §1.2, §2.6, §2.7).

use adit_crypto::{HashAlg, KeGroup, KeSecret, kdf};
use adit_ipsec::TransformType;
use adit_wire::{Envelope, NotifyType, Payload, PayloadType, emit_clear};

use crate::action::Path;
use crate::config::Fragmentation;
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::message::{offer, wanted_group};
use crate::sa::resume::{Held, exchange_of};
use crate::sa::seal::crypto;
use crate::sa::{Active, AuthI, Fatal, IkeSa, Message, Phase, Suite};

/// Restarts (cookies, other groups) before we lose patience.
const MAX_RESTARTS: u8 = 6;

/// IKE_SA_INIT of the initiator, until it is answered.
pub(crate) struct Init {
    pub secret: KeSecret,
    pub nonce: Vec<u8>,
    pub cookie: Option<Vec<u8>>,
    /// The request as sent last: it is part of what AUTH covers.
    pub request: Vec<u8>,
    pub restarts: u8,
    /// The ticket that is presented instead of a key exchange (RFC 5723); `secret` waits for its refusal.
    pub resume: Option<Box<Held>>,
}

/// What both ends need of IKE_SA_INIT to make and check AUTH.
pub(crate) struct Transcript {
    pub init_request: Vec<u8>,
    pub init_response: Vec<u8>,
    pub ni: Vec<u8>,
    pub nr: Vec<u8>,
    pub sk_pi: adit_crypto::Secret,
    pub sk_pr: adit_crypto::Secret,
    /// The peer's SIGNATURE_HASH_ALGORITHMS; `None` if it does not do RFC 7427.
    pub peer_hashes: Option<Vec<u16>>,
    /// The peer's CERTREQ, in whichever message.
    pub cert_request: Option<Vec<[u8; 20]>>,
}

/// RFC 7383, where it is wanted.
pub(crate) fn fragmentation(wanted: Fragmentation) -> Option<Payload> {
    let notify = || Payload::notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, Vec::new());
    (wanted != Fragmentation::No).then(notify)
}

/// Notifies that both ends put into IKE_SA_INIT.
pub(crate) fn announcements(wanted: Fragmentation) -> Vec<Payload> {
    let mut payloads: Vec<Payload> = fragmentation(wanted).into_iter().collect();
    // RFC 7427 §4; Identity (5) is for Ed25519 (RFC 8420 §2).
    let hashes = [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512, HashAlg::Identity];
    let data = hashes.iter().flat_map(|hash| hash.id().to_be_bytes()).collect();
    payloads.push(Payload::notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, data));
    payloads
}

/// The hashes in a SIGNATURE_HASH_ALGORITHMS notify.
pub(crate) fn peer_hashes(message: &Message) -> Option<Vec<u16>> {
    let data = message.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)?;
    let (pairs, _) = data.as_chunks::<2>();
    Some(pairs.iter().take(16).map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// RFC 7296 §2.10: 16 to 256 octets, and at least half the size of the PRF's key.
pub(crate) fn nonce_fits(nonce: &[u8], prf_key_len: usize) -> bool {
    (16..=256).contains(&nonce.len()) && nonce.len() * 2 >= prf_key_len
}

impl IkeSa {
    /// Sends the first request; addresses are known.
    pub(crate) fn start_init(&mut self, core: &mut Core) {
        if core.settings.log_levels.wants(crate::event::Group::Ike, 0) {
            let text = format!("initiating IKE_SA {} to {}", self.label(), self.path.remote.ip());
            core.log(crate::event::Group::Ike, 0, Some(self.log_name()), text);
        }
        let group = self
            .conn
            .proposals
            .iter()
            .find_map(|proposal| proposal.first(TransformType::KeyExchange))
            .map(|transform| transform.id)
            .and_then(KeGroup::from_id);
        let Some(group) = group else {
            return self.fail(core, crypto("no key exchange method in the proposals"));
        };
        match KeSecret::generate(group, &mut *core.rng) {
            Ok(secret) => {
                let nonce = core.random::<32>().to_vec();
                let resume = self.take_ticket(core);
                let init = Init { secret, nonce, cookie: None, request: Vec::new(), restarts: 0, resume };
                self.send_init(core, init);
            }
            Err(error) => self.fail(core, crypto(error)),
        }
    }

    fn send_init(&mut self, core: &mut Core, mut init: Init) {
        let mut payloads = Vec::new();
        // RFC 7296 §2.6: the cookie comes first, and the rest stays as it was.
        if let Some(cookie) = &init.cookie {
            payloads.push(Payload::notify(NotifyType::COOKIE, cookie.clone()));
        }
        let exchange = exchange_of(init.resume.as_deref());
        if let Some(held) = &init.resume {
            payloads.extend(self.resume_request(core, held, &init.nonce));
        } else {
            payloads.push(offer(&self.conn.proposals, &[]));
            payloads.push(Payload::KeyExchange {
                group: init.secret.group().id(),
                data: init.secret.public().to_vec(),
            });
            payloads.push(Payload::Nonce(init.nonce.clone()));
            payloads.extend(self.nat_notifies(core, 0, self.path));
            payloads.extend(announcements(self.conn.fragmentation));
        }
        payloads.extend(self.redirect_announcement(core));
        log!(core, Enc, 1, self, "generating {}", adit_wire::describe(exchange, false, 0, &payloads));
        let mut header = self.header(exchange, false, 0);
        header.spi_r = 0;
        header.next = PayloadType::NONE;
        match emit_clear(&header, &payloads) {
            Ok(bytes) => {
                init.request = bytes.clone();
                self.phase = Phase::Init(Box::new(init));
                self.active = Active::Handshake;
                self.launch(core, 0, exchange, vec![bytes]);
            }
            Err(error) => self.fail(core, crypto(error)),
        }
    }

    /// An answer to IKE_SA_INIT. Nothing in it is authenticated yet.
    pub(crate) fn on_init_response(&mut self, core: &mut Core, path: Path, bytes: &[u8]) {
        let envelope = match Envelope::parse(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                core.stats.malformed += 1;
                log!(core, Enc, 1, self, "parsing IKE_SA_INIT response failed, ignored: {error}");
                return;
            }
        };
        let header = envelope.header;
        let awaited =
            self.window.request.as_ref().is_some_and(|request| {
                (request.mid, request.exchange) == (header.message_id, header.exchange)
            });
        // RFC 7296 §2.11: an answer comes from where the question went. One that someone repeats from elsewhere would have
        // us see a NAT that is none.
        if !awaited || envelope.encrypted.is_some() || path.remote != self.path.remote {
            core.stats.wrong_state += 1;
            return;
        }
        log!(
            core,
            Enc,
            1,
            self,
            "parsed {}",
            adit_wire::describe(header.exchange, true, header.message_id, &envelope.clear)
        );
        let mut message = Message(envelope.clear);
        if self.on_init_redirect(core, &message) {
            return;
        }
        let Phase::Init(mut init) = std::mem::replace(&mut self.phase, Phase::Closed) else { return };

        let cookie = message.notify(NotifyType::COOKIE).map(<[u8]>::to_vec);
        let group = message.notify(NotifyType::INVALID_KE_PAYLOAD).and_then(wanted_group);
        if cookie.is_some() || group.is_some() {
            self.window.request = None;
            init.restarts += 1;
            if init.restarts > MAX_RESTARTS {
                return self.fail(core, Reason::TooManyRestarts);
            }
            if let Some(cookie) = cookie {
                if !(1..=64).contains(&cookie.len()) {
                    return self.fail(core, syntax("a cookie has 1 to 64 octets"));
                }
                init.cookie = Some(cookie);
            }
            if let Some(wanted) = group {
                match self.other_group(core, init.secret.group().id(), wanted) {
                    Ok(secret) => init.secret = secret,
                    Err(reason) => return self.fail(core, reason),
                }
            }
            return self.send_init(core, *init);
        }
        let refused = message.error().is_some() || message.has_notify(NotifyType::TICKET_NACK);
        if init.resume.is_some() && refused {
            return self.begin_without_ticket(core);
        }
        if let Some((kind, _)) = message.error() {
            self.window.request = None;
            let name = crate::reason::notify_name(kind);
            log!(core, Ike, 1, self, "received {name} notify error");
            let reason = match kind {
                NotifyType::NO_PROPOSAL_CHOSEN => Reason::NoProposal {
                    protocol: "IKE",
                    ours: self.conn.proposals.clone(),
                    theirs: Vec::new(),
                },
                NotifyType::INVALID_MAJOR_VERSION => Reason::VersionRefused { major: header.major },
                kind => Reason::PeerNotify { notify: kind, exchange: "IKE_SA_INIT" },
            };
            return self.fail(core, reason);
        }
        self.window.request = None;
        self.window.send_next = 1;
        let answer = (header.spi_r, path, bytes);
        let done = match init.resume.take() {
            Some(held) => self.complete_resume(core, &init, held, &mut message, answer),
            None => self.complete_init(core, &init, &mut message, answer).map(AuthI::new),
        };
        match done {
            Ok(auth) => {
                self.float(core);
                self.phase = Phase::AuthI(Box::new(auth));
                self.send_first_auth(core);
            }
            Err(reason) => self.fail(core, reason),
        }
    }

    /// A secret of the group that the peer asks for, if it is one of ours and another one than we sent.
    pub(crate) fn other_group(&self, core: &mut Core, sent: u16, wanted: u16) -> Fatal<KeSecret> {
        let name = |id| adit_ipsec::names::ke_name(id);
        log!(
            core,
            Ike,
            1,
            self,
            "peer didn't accept key exchange method {}, it requested {}",
            name(sent),
            name(wanted)
        );
        let ours = self
            .conn
            .proposals
            .iter()
            .any(|proposal| proposal.of_kind(TransformType::KeyExchange).any(|it| it.id == wanted));
        let group = KeGroup::from_id(wanted).filter(|_| ours && wanted != sent);
        let group = group.ok_or(Reason::InvalidKe { wanted })?;
        KeSecret::generate(group, &mut *core.rng).map_err(crypto)
    }

    fn complete_init(
        &mut self,
        core: &mut Core,
        init: &Init,
        message: &mut Message,
        (spi_r, path, bytes): (u64, Path, &[u8]),
    ) -> Fatal<Transcript> {
        if spi_r == 0 {
            return Err(syntax("IKE_SA_INIT response without a responder SPI"));
        }
        let missing = |what: &str| syntax(&format!("IKE_SA_INIT response without {what}"));
        let answer = message.sa().ok_or_else(|| missing("SA"))?;
        let (group, public) = message.ke().ok_or_else(|| missing("KE"))?;
        let nr = message.nonce().ok_or_else(|| missing("nonce"))?;
        let proposals = self.conn.proposals.clone();
        let proposal = self.accept_answer(core, "IKE", &proposals, &answer)?;
        let suite = Suite::of(&proposal).ok_or_else(|| syntax("the chosen proposal is incomplete"))?;
        if group != init.secret.group().id() || group != suite.ke.id {
            return Err(syntax("the key exchange method is not the chosen one"));
        }
        let (prf, encr, integ) = suite.primitives()?;
        if !nonce_fits(&nr, prf.key_len()) {
            return Err(syntax("the nonce has a wrong length"));
        }
        let shared = init
            .secret
            .agree(&public)
            .map_err(|error| Reason::BadKeyExchange { detail: error.to_string() })?;
        self.spi_r = spi_r;
        // The local address as the driver saw it: before, it was what the route promised.
        self.path.local.set_ip(path.local.ip());
        self.detect_nat(core, message, spi_r, Path { local: self.path.local, remote: path.remote });
        let skeyseed = kdf::skeyseed(prf, &init.nonce, &nr, &shared);
        let keys = kdf::ike_keys(prf, &skeyseed, &init.nonce, &nr, self.spi_i, spi_r, encr, integ)
            .map_err(crypto)?;
        let auth_keys = self.use_keys(core, suite, keys)?;
        self.peer_fragments = message.has_notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
        self.peer_childless = self.conn.childless != crate::config::Childless::Never
            && message.has_notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED);
        Ok(Transcript {
            init_request: init.request.clone(),
            init_response: bytes.to_vec(),
            ni: init.nonce.clone(),
            nr,
            sk_pi: auth_keys.sk_pi,
            sk_pr: auth_keys.sk_pr,
            peer_hashes: peer_hashes(message),
            cert_request: message.cert_requests(),
        })
    }
}

pub(crate) fn syntax(detail: &str) -> Reason {
    Reason::Syntax { detail: detail.to_owned() }
}
