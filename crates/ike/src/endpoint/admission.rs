//! Messages of strangers: repetition, limits, cookies, rates; then a half-open IKE_SA or a notify.
//!
//! What is cheap comes first. A request that has to show a cookie and does not is looked at, never taken apart.

use std::time::Duration;

use adit_wire::{
    Envelope, ExchangeType, FirstLook, Flags, Header, NotifyType, Payload, PayloadType, WireError, emit_clear,
};

use crate::action::Path;
use crate::core::{Core, log};
use crate::endpoint::Stats;
use crate::endpoint::cookie::Bound;
use crate::event::Event;
use crate::guard::{Rated, Source};
use crate::reason::Reason;
use crate::sa::init_r::Answer;
use crate::sa::quick_crash::tokens_of_the_past;
use crate::sa::{IkeSa, InitRequest};
use crate::select;

/// Established IKE_SAs whose first message is remembered.
const MAX_DONE: usize = 16_384;

impl Core {
    /// An answer outside of any IKE_SA: unprotected, minimal, rate-limited (RFC 7296 §2.21.1, §2.21.4).
    fn answer_unprotected(&mut self, path: Path, to: &Header, payload: Payload) {
        if !self.guard.may_answer_unprotected(self.now) {
            self.stats.unanswered += 1;
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
        if !self.guard.may_answer_unprotected(self.now) {
            self.stats.unanswered += 1;
            return;
        }
        let mut payloads = vec![Payload::notify(NotifyType::INVALID_IKE_SPI, Vec::new())];
        payloads.extend(tokens_of_the_past(self, header.spi_i, header.spi_r));
        self.send_unprotected(path, header, &payloads);
    }

    pub(crate) fn on_init_request(&mut self, path: Path, header: &Header, bytes: &[u8]) {
        if self.settings.initiator_only || self.shutdown.is_some() {
            return self.ignore(|stats| &mut stats.not_responding);
        }
        // RFC 7296 §2.2: the first message of an IKE_SA is number 0.
        if header.message_id != 0 {
            self.stats.malformed += 1;
            return;
        }
        if self.repeated(path, header.spi_i, bytes) || self.over_limit(path) {
            return;
        }
        let source = Source::of(path.remote.ip());
        let proven = if self.guard.wants_cookie(self.now, &self.settings, source) {
            if !self.shows_cookie(path, header, bytes) {
                return;
            }
            self.stats.cookies_accepted += 1;
            true
        } else {
            false
        };
        // Whoever is blocked draws nothing from what everybody shares.
        let Some(stalled) = self.not_blocked(path, source, proven) else { return };
        if proven && !self.within_rates(path, source) {
            return;
        }
        if let Some(id) = stalled {
            self.stats.half_open_evicted += 1;
            self.with(id, |sa, core| sa.give_up(core, Reason::HalfOpenTimeout));
        }
        // From here on it costs something. What is told of it has a limit of its own, that a flood does not use up.
        self.hush(|guard| &mut guard.quiet_admitted);
        self.work_on_init(path, header, bytes, proven);
    }

    /// Takes an admitted request apart and answers it.
    fn work_on_init(&mut self, path: Path, header: &Header, bytes: &[u8], proven: bool) {
        let envelope = match Envelope::parse(bytes) {
            Ok(envelope) if envelope.encrypted.is_none() => envelope,
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
        if header.exchange == ExchangeType::IKE_SESSION_RESUME {
            match self.answer_resume(path, header, bytes, envelope.clear) {
                Some(sa) => self.admit(path, header, bytes, sa),
                None => {
                    let notify = Payload::notify(NotifyType::TICKET_NACK, Vec::new());
                    self.refuse(path, header, proven, notify, None);
                }
            }
            return;
        }
        let request = match InitRequest::parse(*header, path, bytes, envelope.clear) {
            Ok(request) => request,
            Err(reason) => {
                let notify = Payload::notify(NotifyType::INVALID_SYNTAX, Vec::new());
                return self.refuse(path, header, proven, notify, Some(reason));
            }
        };
        if self.redirect_init(path, header, &request) {
            return;
        }
        let candidates = select::by_address(self, path);
        if candidates.is_empty() {
            let (local, remote) = (path.local.ip(), path.remote.ip());
            log!(
                self,
                Ike,
                1,
                none,
                "no IKE config found for {local}...{remote}, sending NO_PROPOSAL_CHOSEN"
            );
            let notify = Payload::notify(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
            return self.refuse(path, header, proven, notify, Some(Reason::NoIkeConfig { local, remote }));
        }
        match request.answer(self, &candidates) {
            Answer::Made(sa) => self.admit(path, header, bytes, sa),
            Answer::Notify(payload, reason) => self.refuse(path, header, proven, payload, reason),
        }
    }

    /// A half-open IKE_SA more, which this request has made.
    fn admit(&mut self, path: Path, header: &Header, bytes: &[u8], mut sa: Box<IkeSa>) {
        self.wait_for_peer(&mut sa, false);
        let key = (header.spi_i, InitRequest::digest(path, bytes));
        sa.init_key = Some(key);
        self.init_requests.insert(key, sa.id);
        self.adopt(sa);
        self.make_room(false);
    }

    /// Counts a request that is not answered.
    fn ignore(&mut self, counter: impl FnOnce(&mut Stats) -> &mut u64) {
        self.stats.refused += 1;
        *counter(&mut self.stats) += 1;
    }

    /// Whether it is the very same request again: then it has had, or gets again, the same answer (RFC 7296 §2.1).
    fn repeated(&mut self, path: Path, spi: u64, bytes: &[u8]) -> bool {
        self.forget_done();
        // A digest is dear; an SPI that nobody has used needs none.
        if self.init_requests.range((spi, [0; 20])..=(spi, [0xff; 20])).next().is_none() {
            return false;
        }
        match self.init_requests.get(&(spi, InitRequest::digest(path, bytes))) {
            None => return false,
            Some(0) => {}
            Some(id) => {
                let id = *id;
                self.with(id, |sa, core| sa.repeat_init_response(core));
            }
        }
        true
    }

    /// Gives up IKE_SAs of a crowd that has outgrown its limit, of those who have most in it.
    pub(crate) fn make_room(&mut self, pending: bool) {
        let limit = if pending { self.settings.pending_auth_limit } else { self.settings.half_open_limit };
        while let Some(id) = self.guard.crowd(pending).surplus(limit) {
            // One that is not in the table is being worked on: it is the one that came, and the next makes room.
            if self.with(id, |sa, core| sa.give_up(core, Reason::Crowded)).is_none() {
                return;
            }
            let stats = &mut self.stats;
            *(if pending { &mut stats.pending_evicted } else { &mut stats.half_open_evicted }) += 1;
        }
    }

    /// strongSwan's limits, which ignore a request whatever it shows.
    fn over_limit(&mut self, path: Path) -> bool {
        let (half_open, sas) = (self.guard.half_open.len(), self.sas.len());
        let over = |limit: u32, count: usize| limit > 0 && count >= limit as usize;
        let (what, limit) = if over(self.settings.init_limit_half_open, half_open) {
            self.ignore(|stats| &mut stats.half_open_limited);
            ("half-open IKE_SA", self.settings.init_limit_half_open)
        } else if over(self.settings.max_sas, sas) {
            self.ignore(|stats| &mut stats.sas_limited);
            ("IKE_SA", self.settings.max_sas)
        } else {
            return false;
        };
        log!(
            self,
            Net,
            1,
            none,
            "ignoring IKE_SA setup from {}, {what} limit of {limit} reached",
            path.remote.ip()
        );
        true
    }

    /// `block_threshold`: too many half-open ones of that address. What was shown to be its own may take the place of
    /// one that stalls, or one attacker behind a NAT would lock out everybody else behind it.
    fn not_blocked(&mut self, path: Path, source: Source, proven: bool) -> Option<Option<u32>> {
        let block = self.settings.block_threshold;
        if block == 0 || self.guard.half_open.of(source) < block as usize {
            return Some(None);
        }
        if let Some(stalled) = self.guard.stalled(self.now, source).filter(|_| proven) {
            return Some(Some(stalled));
        }
        self.ignore(|stats| &mut stats.blocked);
        log!(
            self,
            Net,
            1,
            none,
            "ignoring IKE_SA setup from {}, per-IP half-open IKE_SA limit of {block} reached",
            path.remote.ip()
        );
        None
    }

    fn within_rates(&mut self, path: Path, source: Source) -> bool {
        let who = match self.guard.rate(self.now, &self.settings, source) {
            Rated::Admitted => return true,
            Rated::Source => {
                self.ignore(|stats| &mut stats.rate_limited_ip);
                "that address"
            }
            Rated::Everyone => {
                self.ignore(|stats| &mut stats.rate_limited);
                "all peers"
            }
        };
        log!(
            self,
            Net,
            1,
            none,
            "ignoring IKE_SA setup from {}, rate limit of {who} reached",
            path.remote.ip()
        );
        false
    }

    /// An answer to an admitted request. A cookie has shown that it goes where it was asked for; others are limited.
    fn refuse(
        &mut self,
        path: Path,
        header: &Header,
        proven: bool,
        payload: Payload,
        reason: Option<Reason>,
    ) {
        if let Some(reason) = reason {
            log!(self, Ike, 1, none, "refusing IKE_SA_INIT from {}: {reason}", path.remote.ip());
            self.event(Event::Failure { conn: None, child: None, peer: Some(path.remote), reason });
        }
        if proven {
            self.send_unprotected(path, header, &[payload]);
        } else {
            self.answer_unprotected(path, header, payload);
        }
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

    /// RFC 7296 §2.6. False if it does not, and then one is demanded of it. Nothing has been taken apart by now.
    fn shows_cookie(&mut self, path: Path, header: &Header, bytes: &[u8]) -> bool {
        let Ok(look) = FirstLook::at(bytes) else {
            self.stats.malformed += 1;
            return false;
        };
        let bound = Bound { nonce: look.nonce, peer: path.remote, spi: header.spi_i };
        if let Some(cookie) = look.cookie {
            if self.cookies.check(self.now, &mut *self.rng, cookie, bound) {
                return true;
            }
            self.stats.cookies_wrong += 1;
        }
        let cookie = self.cookies.make(self.now, &mut *self.rng, bound);
        self.stats.cookies_sent += 1;
        log!(self, Net, 1, none, "received IKE_SA_INIT from {}, sending COOKIE", path.remote.ip());
        // Not rate-limited: a flood would use up what is allowed, and no honest client would get its cookie. It is smaller
        // than any request that it answers, and costs one MAC.
        self.send_unprotected(path, header, &[Payload::notify(NotifyType::COOKIE, cookie.to_vec())]);
        false
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
