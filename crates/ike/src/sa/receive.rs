//! From a datagram to a handler: order, integrity, fragments, form, phase; in that order.

use adit_wire::{
    Envelope, ExchangeType, Header, NotifyType, Payload, PayloadType, WireError, parse_payloads,
};

use crate::action::Path;
use crate::core::{Core, log};
use crate::endpoint::dispatch::is_first;
use crate::reason::Reason;
use crate::sa::fragments::Added;
use crate::sa::{Active, IkeSa, Message, Phase, Reassembly, Task};

/// What a message is to the window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    NewRequest,
    /// The request that we answered last.
    OldRequest,
    Response,
}

impl IkeSa {
    /// A message for this IKE_SA that is not an IKE_SA_INIT request. `header` has been matched to our SPIs.
    pub(crate) fn on_message(&mut self, core: &mut Core, path: Path, header: &Header, bytes: &[u8]) {
        if is_first(header.exchange) {
            if header.flags.response && self.initiator && matches!(self.phase, Phase::Init(_)) {
                self.on_init_response(core, path, bytes);
            } else {
                core.stats.wrong_state += 1;
            }
            return;
        }
        let envelope = match Envelope::parse(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                core.stats.malformed += 1;
                log!(core, Enc, 1, self, "parsing message failed, ignored: {error}");
                return;
            }
        };
        let Some(encrypted) = &envelope.encrypted else {
            self.on_unprotected(core, &envelope);
            return;
        };
        if self.on_possible_sync(core, path, header, bytes, encrypted) {
            return;
        }
        let Some(place) = self.place(core, header) else {
            core.stats.out_of_window += 1;
            return;
        };
        if place == Place::NewRequest && !self.admits(header.exchange) {
            // Hostile rows 7 and 28: before ESTABLISHED nothing but IKE_AUTH reaches a handler.
            core.stats.wrong_state += 1;
            log!(core, Ike, 1, self, "request of exchange {} not allowed in this state", header.exchange.0);
            return;
        }
        let plaintext = match self.open(bytes, encrypted) {
            Ok(plaintext) => plaintext,
            Err(error) => {
                core.stats.bad_integrity += 1;
                log!(core, Enc, 1, self, "could not decrypt message, ignored: {error}");
                return;
            }
        };
        if place == Place::OldRequest {
            // RFC 7383 §2.6: only the first fragment of a repeated request has the response repeated.
            if encrypted.fragment.is_none_or(|(number, _)| number == 1) {
                self.answer_again(core, path, header.message_id);
            }
            return;
        }
        self.last_in = core.now;
        self.heard = true;
        let Some((first, plaintext)) = self.assemble(core, header, encrypted, plaintext) else { return };
        self.on_authentic(core, path);
        let payloads = parse_payloads(first, &plaintext);
        if place == Place::NewRequest {
            self.window.recv_next = header.message_id.wrapping_add(1);
            self.window.answered = None;
            self.came_from = (path != self.path).then(|| Box::new(path));
        }
        match payloads {
            Ok(payloads) => {
                log!(
                    core,
                    Enc,
                    1,
                    self,
                    "parsed {}",
                    adit_wire::describe(header.exchange, header.flags.response, header.message_id, &payloads)
                );
                self.dispatch(core, place, header, path, Message(payloads));
            }
            Err(error) => self.on_unreadable(core, place, header, error),
        }
        self.pump(core);
    }

    /// Where a message fits into the windows; `None` if it does not.
    fn place(&mut self, core: &mut Core, header: &Header) -> Option<Place> {
        let mid = header.message_id;
        if header.flags.response {
            let expected = self
                .window
                .request
                .as_ref()
                .is_some_and(|request| request.mid == mid && request.exchange == header.exchange);
            if !expected {
                log!(core, Ike, 2, self, "response with message ID {mid} is not awaited, ignored");
            }
            return expected.then_some(Place::Response);
        }
        if self.passive.as_ref().is_some_and(|passive| passive.mid == mid) {
            log!(core, Mgr, 1, self, "ignoring request with ID {mid}, already processing");
            return None;
        }
        let expected = self.window.recv_next;
        if mid == expected {
            return if self.passive.is_some() { None } else { Some(Place::NewRequest) };
        }
        if self.window.answered.as_ref().is_some_and(|answered| answered.mid == mid) {
            return Some(Place::OldRequest);
        }
        log!(core, Ike, 1, self, "received message ID {mid}, expected {expected}, ignored");
        None
    }

    /// Which requests the phase lets through.
    fn admits(&self, exchange: ExchangeType) -> bool {
        match self.phase {
            Phase::Preparing(_) | Phase::Init(_) | Phase::AuthI(_) | Phase::Closed => false,
            // INFORMATIONAL only to hear that the client gives up, see `on_client_gave_up`.
            Phase::AuthR(_) => exchange == ExchangeType::IKE_AUTH || exchange == ExchangeType::INFORMATIONAL,
            Phase::Established | Phase::Rekeyed | Phase::Deleting => {
                exchange == ExchangeType::INFORMATIONAL || exchange == ExchangeType::CREATE_CHILD_SA
            }
        }
    }

    /// The whole plaintext of a message, or `None` while fragments are missing.
    fn assemble(
        &mut self,
        core: &mut Core,
        header: &Header,
        encrypted: &adit_wire::Encrypted<'_>,
        plaintext: Vec<u8>,
    ) -> Option<(PayloadType, Vec<u8>)> {
        let (mid, response) = (header.message_id, header.flags.response);
        let fits = |it: &Reassembly| it.mid == mid && it.response == response;
        let Some((number, total)) = encrypted.fragment else {
            // The pieces of another message that is coming in stay.
            self.reassembly.take_if(|it| fits(it));
            return Some((encrypted.first_inner, plaintext));
        };
        if !self.reassembly.as_deref().is_some_and(fits) {
            self.reassembly = Some(Box::new(Reassembly::new(core.now, mid, response)));
        }
        let added = self.reassembly.as_mut()?.add(number, total, encrypted.first_inner, plaintext);
        match added {
            Added::Waiting => {
                log!(
                    core,
                    Enc,
                    1,
                    self,
                    "received fragment #{number} of {total}, waiting for complete IKE message"
                );
                None
            }
            Added::Complete(first, whole) => {
                self.reassembly = None;
                log!(
                    core,
                    Enc,
                    1,
                    self,
                    "received fragment #{number} of {total}, reassembled fragmented IKE message ({} bytes)",
                    whole.len()
                );
                Some((first, whole))
            }
            Added::Dropped => {
                core.stats.dropped_fragments += 1;
                log!(core, Enc, 1, self, "dropped fragment #{number} of {total}");
                None
            }
        }
    }

    fn dispatch(&mut self, core: &mut Core, place: Place, header: &Header, path: Path, message: Message) {
        let mid = header.message_id;
        if place == Place::Response && self.sync.is_pending() {
            return self.on_sync_response(core, &message);
        }
        if place == Place::Response {
            self.window.request = None;
            self.window.send_next = mid.wrapping_add(1);
            let active = std::mem::replace(&mut self.active, Active::None);
            self.on_answered_by(core, path);
            return match active {
                Active::Handshake => self.on_auth_response(core, message),
                Active::Child(offer) => self.on_child_response(core, *offer, message),
                Active::RekeyIke(offer) => self.on_ike_rekey_response(core, *offer, message),
                Active::DeleteChild { ids } => self.on_delete_child_response(core, &ids, &message),
                Active::DeleteIke => {
                    log!(core, Ike, 0, self, "IKE_SA deleted");
                    self.close(core, None);
                }
                Active::Redirect => self.was_redirected(core),
                Active::SyncReplay => {}
                Active::Dpd => self.on_dpd_response(core, &message),
                Active::Mobike(sent) => self.on_mobike_response(core, &sent, path, &message),
                Active::None => {}
            };
        }
        let delete = |payload: &Payload| matches!(payload, Payload::Delete { protocol: 1, .. });
        if let Some(old) = self.heir_of.take_if(|_| !message.0.iter().any(delete)) {
            // It is read again when this IKE_SA has its inheritance.
            core.inherit = Some(old);
            self.window.recv_next = mid;
            return;
        }
        match (&self.phase, header.exchange) {
            (Phase::AuthR(_), ExchangeType::IKE_AUTH) => self.on_auth_request(core, mid, message),
            (Phase::AuthR(_), ExchangeType::INFORMATIONAL) => {
                if !self.on_client_gave_up(core, mid, &message) {
                    core.stats.wrong_state += 1;
                    log!(
                        core,
                        Ike,
                        1,
                        self,
                        "request of exchange {} not allowed in this state",
                        header.exchange.0
                    );
                    self.window.recv_next = mid;
                }
            }
            (Phase::Established | Phase::Rekeyed | Phase::Deleting, ExchangeType::INFORMATIONAL) => {
                self.on_informational_request(core, mid, message)
            }
            (Phase::Established, ExchangeType::CREATE_CHILD_SA) => {
                self.on_create_child_request(core, mid, message);
            }
            // RFC 7296 §2.25.2: a new exchange on an SA that is on its way out.
            (Phase::Rekeyed | Phase::Deleting, ExchangeType::CREATE_CHILD_SA) => {
                self.respond_notify(core, ExchangeType::CREATE_CHILD_SA, mid, NotifyType::TEMPORARY_FAILURE);
            }
            _ => core.stats.wrong_state += 1,
        }
    }

    /// A message that is genuine but cannot be read (RFC 7296 §2.21.2, §2.21.3).
    fn on_unreadable(&mut self, core: &mut Core, place: Place, header: &Header, error: WireError) {
        log!(core, Enc, 1, self, "parsing message failed: {error}");
        if place == Place::Response && self.sync.is_pending() {
            // RFC 6311 §5.1: not the answer that is awaited.
            core.stats.out_of_window += 1;
            return;
        }
        let reason = match error {
            WireError::UnsupportedCritical(payload) => Reason::UnsupportedCritical { payload },
            error => Reason::Syntax { detail: error.to_string() },
        };
        if place == Place::Response {
            self.window.request = None;
            self.window.send_next = header.message_id.wrapping_add(1);
            self.active = Active::None;
            self.fail(core, reason);
            return;
        }
        let data = match error {
            // RFC 7296 §2.5: the notification data is the payload type.
            WireError::UnsupportedCritical(payload) => vec![payload],
            _ => Vec::new(),
        };
        let notify = Payload::notify(error.notify(), data);
        self.respond(core, header.exchange, header.message_id, vec![notify]);
        let critical = matches!(error, WireError::UnsupportedCritical(_));
        if !(critical && self.established_at.is_some()) {
            self.fail(core, reason);
        }
    }

    /// Unprotected messages never change anything; an error among them may be a hint that the peer lost its state.
    fn on_unprotected(&mut self, core: &mut Core, envelope: &Envelope<'_>) {
        if envelope.header.flags.response && self.on_shown_token(core, envelope) {
            return;
        }
        core.stats.wrong_state += 1;
        let hint = envelope.header.flags.response
            && envelope
                .clear
                .iter()
                .any(|payload| matches!(payload, Payload::Notify { kind: NotifyType::INVALID_IKE_SPI, .. }));
        // RFC 7296 §2.4: a hint to check liveness, and not too often.
        let quiet = core.now - self.last_in > std::time::Duration::from_secs(10);
        if hint && quiet && self.is_established() && self.queue.is_empty() && self.window.request.is_none() {
            log!(core, Ike, 1, self, "received unprotected INVALID_IKE_SPI, checking liveness");
            self.queue.push_back(Task::Dpd);
            self.pump(core);
        }
    }

    /// The path of the request that is being answered.
    pub(crate) fn came_by(&self) -> Path {
        self.came_from.as_deref().copied().unwrap_or(self.path)
    }

    /// Seals, sends and remembers a response.
    pub(crate) fn respond(
        &mut self,
        core: &mut Core,
        exchange: ExchangeType,
        mid: u32,
        payloads: Vec<Payload>,
    ) {
        match self.seal(core, exchange, true, mid, &payloads) {
            Ok(packets) => {
                // RFC 7296 §2.11: to where the request came from, whatever the path is.
                let path = self.came_by();
                for packet in &packets {
                    core.transmit(path, packet.clone());
                }
                self.last_out = core.now;
                self.window.answered = Some(Box::new(crate::sa::window::Answered {
                    mid,
                    packets,
                    forget_at: core.now + core.settings.retransmit_total().max(MIN_REMEMBER),
                }));
            }
            Err(reason) => self.fail(core, reason),
        }
    }

    pub(crate) fn respond_notify(
        &mut self,
        core: &mut Core,
        exchange: ExchangeType,
        mid: u32,
        kind: NotifyType,
    ) {
        self.respond(core, exchange, mid, vec![Payload::notify(kind, Vec::new())]);
    }

    /// Seals and sends a request.
    pub(crate) fn request(
        &mut self,
        core: &mut Core,
        exchange: ExchangeType,
        payloads: &[Payload],
        active: Active,
    ) {
        let mid = self.window.send_next;
        match self.seal(core, exchange, false, mid, payloads) {
            Ok(packets) => {
                self.active = active;
                self.launch(core, mid, exchange, packets);
                // A failover of the peer may have it sent again under another Message ID.
                if let Some(request) = self.window.request.as_mut().filter(|_| self.sync.message_ids) {
                    request.payloads = Some(payloads.into());
                }
            }
            Err(reason) => self.fail(core, reason),
        }
    }
}

/// A response is remembered for at least so long.
const MIN_REMEMBER: std::time::Duration = std::time::Duration::from_secs(60);
