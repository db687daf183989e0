//! Messages of strangers: versions, limits, cookies, repetition; then a half-open IKE_SA or a notify.

use std::time::Duration;

use adit_wire::{
    Envelope, ExchangeType, Flags, Header, NotifyType, Payload, PayloadType, WireError, emit_clear,
};

use crate::action::Path;
use crate::core::{Core, log};
use crate::event::Event;
use crate::reason::Reason;
use crate::sa::InitRequest;
use crate::sa::init_r::Answer;
use crate::sa::quick_crash::tokens_of_the_past;
use crate::select;

/// Established IKE_SAs whose first message is remembered.
const MAX_DONE: usize = 16_384;

impl Core {
    /// An answer outside of any IKE_SA: unprotected, minimal, rate-limited (RFC 7296 §2.21.1, §2.21.4).
    fn answer_unprotected(&mut self, path: Path, to: &Header, payload: Payload) {
        if !self.may_answer_unprotected() {
            self.stats.refused += 1;
            return;
        }
        self.send_unprotected(path, to, &[payload]);
    }

    pub(crate) fn send_unprotected(&mut self, path: Path, to: &Header, payloads: &[Payload]) {
        let header = Header {
            next: PayloadType::NONE,
            major: 2,
            minor: 0,
            flags: Flags { initiator: !to.flags.initiator, response: true, version: false },
            length: 0,
            ..*to
        };
        log!(
            self,
            Enc,
            1,
            none,
            "generating {}",
            adit_wire::describe(to.exchange, true, to.message_id, payloads)
        );
        if let Ok(bytes) = emit_clear(&header, payloads) {
            self.transmit(path, bytes);
        }
    }

    /// RFC 7296 §2.5: a version that we do not speak.
    pub(crate) fn refuse_version(&mut self, path: Path, header: &Header) {
        self.stats.malformed += 1;
        if header.flags.response {
            return;
        }
        log!(
            self,
            Net,
            1,
            none,
            "received unsupported IKE version {}.{} from {}, sending INVALID_MAJOR_VERSION",
            header.major,
            header.minor,
            path.remote.ip()
        );
        // IKEv1 has no initiator flag; whoever writes first is the initiator.
        let header = Header { flags: Flags { initiator: true, ..header.flags }, ..*header };
        self.answer_unprotected(
            path,
            &header,
            Payload::notify(NotifyType::INVALID_MAJOR_VERSION, Vec::new()),
        );
    }

    /// A protected message for an IKE_SA that does not exist: perhaps we were restarted.
    pub(crate) fn unknown_spi(&mut self, path: Path, header: &Header) {
        self.stats.unknown_spi += 1;
        let protected =
            matches!(header.exchange, ExchangeType::INFORMATIONAL | ExchangeType::CREATE_CHILD_SA);
        if header.flags.response || !protected || self.shutdown.is_some() {
            return;
        }
        if !self.may_answer_unprotected() {
            self.stats.refused += 1;
            return;
        }
        let mut payloads = vec![Payload::notify(NotifyType::INVALID_IKE_SPI, Vec::new())];
        payloads.extend(tokens_of_the_past(self, header.spi_i, header.spi_r));
        self.send_unprotected(path, header, &payloads);
    }

    pub(crate) fn on_init_request(&mut self, path: Path, header: &Header, bytes: &[u8]) {
        if self.settings.initiator_only || self.shutdown.is_some() {
            self.stats.refused += 1;
            return;
        }
        self.forget_done();
        let digest = InitRequest::digest(path, bytes);
        match self.init_requests.get(&digest) {
            Some(0) => return,
            Some(id) => {
                let id = *id;
                self.with(id, |sa, core| sa.repeat_init_response(core));
                return;
            }
            None => {}
        }
        let ip = path.remote.ip();
        if self.over_limit(path) {
            self.stats.refused += 1;
            return;
        }
        let envelope = match Envelope::parse(bytes) {
            Ok(envelope) if envelope.encrypted.is_none() && header.message_id == 0 => envelope,
            Ok(_) => {
                self.stats.malformed += 1;
                return;
            }
            Err(error) => return self.refuse_unreadable(path, header, error),
        };
        log!(
            self,
            Enc,
            1,
            none,
            "parsed {}",
            adit_wire::describe(header.exchange, false, 0, &envelope.clear)
        );
        let request = match InitRequest::parse(*header, path, bytes, envelope.clear) {
            Ok(request) => request,
            Err(reason) => {
                self.refuse(
                    path,
                    header,
                    Payload::notify(NotifyType::INVALID_SYNTAX, Vec::new()),
                    Some(reason),
                );
                return;
            }
        };
        if self.demand_cookie(path, header, &request) || self.redirect_init(path, header, &request) {
            return;
        }
        let candidates = select::by_address(self, path);
        if candidates.is_empty() {
            log!(
                self,
                Ike,
                1,
                none,
                "no IKE config found for {}...{ip}, sending NO_PROPOSAL_CHOSEN",
                path.local.ip()
            );
            let reason = Reason::NoIkeConfig { local: path.local.ip(), remote: ip };
            let notify = Payload::notify(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
            self.refuse(path, header, notify, Some(reason));
            return;
        }
        match request.answer(self, &candidates) {
            Answer::Made(mut sa) => {
                self.half_open_up(ip);
                sa.half_open_ip = Some(ip);
                sa.init_digest = Some(digest);
                self.init_requests.insert(digest, sa.id);
                self.adopt(sa);
            }
            Answer::Notify(payload, reason) => self.refuse(path, header, payload, reason),
        }
    }

    fn refuse(&mut self, path: Path, header: &Header, payload: Payload, reason: Option<Reason>) {
        if let Some(reason) = reason {
            log!(self, Ike, 1, none, "refusing IKE_SA_INIT from {}: {reason}", path.remote.ip());
            self.event(Event::Failure { conn: None, child: None, peer: Some(path.remote), reason });
        }
        self.answer_unprotected(path, header, payload);
    }

    fn refuse_unreadable(&mut self, path: Path, header: &Header, error: WireError) {
        self.stats.malformed += 1;
        log!(self, Enc, 1, none, "parsing IKE_SA_INIT request from {} failed: {error}", path.remote.ip());
        let data = match error {
            WireError::UnsupportedCritical(kind) => vec![kind],
            _ => Vec::new(),
        };
        self.answer_unprotected(path, header, Payload::notify(error.notify(), data));
    }

    fn over_limit(&mut self, path: Path) -> bool {
        let ip = path.remote.ip();
        let from_here = self.half_open_by_ip.get(&ip).copied().unwrap_or(0);
        let block = self.settings.block_threshold;
        if block > 0 && from_here >= block {
            log!(
                self,
                Net,
                1,
                none,
                "ignoring IKE_SA setup from {ip}, per-IP half-open IKE_SA limit of {block} reached"
            );
            return true;
        }
        let limit = self.settings.init_limit_half_open;
        if limit > 0 && self.half_open >= limit {
            log!(
                self,
                Net,
                1,
                none,
                "ignoring IKE_SA setup from {ip}, half-open IKE_SA limit of {limit} reached"
            );
            return true;
        }
        let limit = self.settings.max_sas;
        limit > 0 && self.sas.len() >= limit as usize
    }

    /// RFC 7296 §2.6. True if a cookie is demanded instead of an answer.
    fn demand_cookie(&mut self, path: Path, header: &Header, request: &InitRequest<'_>) -> bool {
        let from_here = self.half_open_by_ip.get(&path.remote.ip()).copied().unwrap_or(0);
        let over = |threshold: u32, count: u32| threshold > 0 && count >= threshold;
        let needed = over(self.settings.cookie_threshold, self.half_open)
            || over(self.settings.cookie_threshold_ip, from_here);
        if !needed {
            return false;
        }
        let (now, nonce, peer, spi) = (self.now, &request.nonce, path.remote, header.spi_i);
        let shown = request.rest.notify(NotifyType::COOKIE);
        if shown.is_some_and(|it| self.cookies.check(now, &mut *self.rng, it, nonce, peer, spi)) {
            return false;
        }
        let cookie = self.cookies.make(now, &mut *self.rng, nonce, peer, spi);
        self.stats.cookies_sent += 1;
        log!(self, Net, 1, none, "received IKE_SA_INIT from {}, sending COOKIE", path.remote.ip());
        // Not rate-limited: a flood would use up what is allowed, and no honest client would get its cookie. It is smaller
        // than any request that it answers, and costs one MAC.
        self.send_unprotected(path, header, &[Payload::notify(NotifyType::COOKIE, cookie)]);
        true
    }

    fn forget_done(&mut self) {
        let keep = self.settings.half_open_timeout.max(Duration::from_secs(30));
        while let Some((at, digest)) = self.init_done.front().copied() {
            if self.now - at < keep && self.init_done.len() <= MAX_DONE {
                return;
            }
            self.init_done.pop_front();
            self.init_requests.remove(&digest);
        }
    }
}
