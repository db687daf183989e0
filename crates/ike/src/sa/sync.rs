//! Message IDs and replay counters after a failover (RFC 6311): as the peer of a cluster, and as the member that takes
//! over.
//!
//! A member that takes over knows the IKE_SA as it was some time ago. It says so in an INFORMATIONAL with Message ID 0,
//! and both go on with the higher of what each knows. Such a request stands outside of the window; what protects it from
//! being replayed is that what it says has to be news.

use std::time::Duration;

use adit_crypto::sha1;
use adit_wire::{Encrypted, ExchangeType, Header, NotifyType, Payload, parse_payloads};

use crate::action::{Action, Path};
use crate::core::{Core, log};
use crate::reason::Reason;
use crate::sa::{Active, IkeSa, Message, Phase, Task};
use crate::time::Instant;

/// So many synchronizations are carried out within [`PERIOD`]; failovers are rarer, retransmissions do not count.
const MAX_SYNCS: u32 = 5;
const PERIOD: Duration = Duration::from_secs(10);

/// No synchronization leads so far that Message IDs could come round again (RFC 7296 §2.2).
const MAX_ID: u32 = 0x7fff_ffff;

/// A replay counter of 32 bits that skips so many numbers will soon be at its end (RFC 6311 §5.2).
const MANY: u64 = 1 << 30;

/// RFC 6311 on one IKE_SA.
#[derive(Default)]
pub(crate) struct Sync {
    /// Both ends announced that they synchronize Message IDs, replay counters.
    pub message_ids: bool,
    pub replay: bool,
    state: Option<Box<State>>,
}

/// What only an IKE_SA has that was ever synchronized.
#[derive(Default)]
struct State {
    /// The last M1 of the peer.
    seen: Option<u32>,
    /// What we answered to it.
    answered: Option<Answered>,
    /// When the period began, and how many there were in it.
    since: Option<(Instant, u32)>,
    /// Our own request is out.
    pending: Option<Pending>,
}

struct Answered {
    /// Of the datagram that asked.
    digest: [u8; 20],
    packets: Vec<Vec<u8>>,
    /// The peer's next request; when that has come, it has our answer.
    until: u32,
}

struct Pending {
    nonce: [u8; 4],
    /// M1.
    send: u32,
    /// A request that was in flight: it goes out again under its new Message ID.
    shelved: Option<(ExchangeType, Box<[Payload]>)>,
    tag: u64,
}

/// The content of an IKEV2_MESSAGE_ID_SYNC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ids {
    nonce: [u8; 4],
    /// The next request that its sender will send.
    send: u32,
    /// The next one that it expects.
    receive: u32,
}

impl Ids {
    fn parse(data: &[u8]) -> Option<Self> {
        let (words, rest) = data.as_chunks::<4>();
        let [nonce, send, receive] = *words else { return None };
        let ids = Self { nonce, send: u32::from_be_bytes(send), receive: u32::from_be_bytes(receive) };
        (rest.is_empty() && ids.send <= MAX_ID && ids.receive <= MAX_ID).then_some(ids)
    }

    fn notify(self) -> Payload {
        let data = [self.nonce, self.send.to_be_bytes(), self.receive.to_be_bytes()].concat();
        Payload::notify(NotifyType::IKEV2_MESSAGE_ID_SYNC, data)
    }
}

/// The delta of an IPSEC_REPLAY_COUNTER_SYNC: four octets, or eight with ESN.
fn delta(data: &[u8]) -> Option<u64> {
    match *data {
        [a, b, c, d] => Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        _ => None,
    }
}

/// What the initiator announces in IKE_AUTH.
pub(crate) fn announcement(core: &Core) -> Vec<Payload> {
    let both = [NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED, NotifyType::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED];
    let wanted = both.into_iter().filter(|_| core.settings.message_id_sync);
    wanted.map(|kind| Payload::notify(kind, Vec::new())).collect()
}

impl Sync {
    /// What the other end announces counts if we announce it, too.
    pub(crate) fn hear(&mut self, core: &Core, message: &Message) {
        let has = |kind| core.settings.message_id_sync && message.has_notify(kind);
        self.message_ids |= has(NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED);
        self.replay |= has(NotifyType::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED);
    }

    /// RFC 6311 §5: the responder says nothing that the initiator has not said.
    pub(crate) fn answer(&self) -> impl Iterator<Item = Payload> + use<> {
        let ids = self.message_ids.then_some(NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED);
        let replay = self.replay.then_some(NotifyType::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED);
        ids.into_iter().chain(replay).map(|kind| Payload::notify(kind, Vec::new()))
    }

    /// What an IKE_SA that replaces this one inherits: its Message IDs begin anew.
    pub(crate) fn successor(&self) -> Self {
        Self { message_ids: self.message_ids, replay: self.replay, state: None }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.pending.is_some())
    }

    /// The command that waits for our own synchronization, which has come to nothing.
    pub(crate) fn give_up(&mut self) -> Option<u64> {
        self.state.as_mut()?.pending.take().map(|pending| pending.tag)
    }

    fn state(&mut self) -> &mut State {
        self.state.get_or_insert_default()
    }
}

impl IkeSa {
    // -- the peer of a cluster -----------------------------------------------------------------------------------

    /// An INFORMATIONAL request with Message ID 0 on an established IKE_SA may be a synchronization, which stands
    /// outside of the window. True if it was one, whatever became of it.
    pub(crate) fn on_possible_sync(
        &mut self,
        core: &mut Core,
        path: Path,
        header: &Header,
        bytes: &[u8],
        encrypted: &Encrypted<'_>,
    ) -> bool {
        let possible = header.message_id == 0
            && !header.flags.response
            && header.exchange == ExchangeType::INFORMATIONAL
            && encrypted.fragment.is_none()
            && self.sync.message_ids
            && matches!(self.phase, Phase::Established | Phase::Rekeyed | Phase::Deleting);
        if !possible {
            return false;
        }
        let Ok(plaintext) = self.open(bytes, encrypted) else { return false };
        let Ok(payloads) = parse_payloads(encrypted.first_inner, &plaintext) else { return false };
        let message = Message(payloads);
        if !message.has_notify(NotifyType::IKEV2_MESSAGE_ID_SYNC) {
            return false;
        }
        log!(core, Enc, 1, self, "parsed {}", adit_wire::describe(header.exchange, false, 0, &message.0));
        let digest = sha1(&[bytes]);
        if !self.answer_sync_again(core, path, &digest) && !self.on_sync(core, path, digest, &message) {
            core.stats.out_of_window += 1;
        }
        true
    }

    /// The very request that was answered last, as long as the peer may be without our answer.
    fn answer_sync_again(&mut self, core: &mut Core, path: Path, digest: &[u8; 20]) -> bool {
        let expected = self.window.recv_next;
        let answered = self.sync.state.as_ref().and_then(|state| state.answered.as_ref());
        let Some(answered) = answered.filter(|it| it.digest == *digest && it.until == expected) else {
            return false;
        };
        let packets = answered.packets.clone();
        core.stats.peer_retransmits += 1;
        log!(
            core,
            Ike,
            1,
            self,
            "received retransmit of a Message ID synchronization, retransmitting response"
        );
        for packet in packets {
            core.transmit(path, packet);
        }
        self.last_out = core.now;
        true
    }

    /// False if it is dropped, in silence (RFC 6311 §5.1).
    fn on_sync(&mut self, core: &mut Core, path: Path, digest: [u8; 20], message: &Message) -> bool {
        let kinds = message.0.iter().map(|payload| match payload {
            Payload::Notify { kind, .. } => Some(*kind),
            _ => None,
        });
        let kinds: Vec<_> = kinds.collect();
        let alone = match kinds.as_slice() {
            [Some(_)] => true,
            [Some(a), Some(b)] => a != b && [*a, *b].contains(&NotifyType::IPSEC_REPLAY_COUNTER_SYNC),
            _ => false,
        };
        let ids = message.notify(NotifyType::IKEV2_MESSAGE_ID_SYNC).and_then(Ids::parse);
        let Some(ids) = ids.filter(|_| alone) else {
            log!(core, Ike, 1, self, "received malformed Message ID synchronization, ignored");
            return false;
        };
        // One that tells nothing new is a replay, or of a member that lags too far behind.
        let expected = self.window.recv_next;
        let state = self.sync.state();
        if ids.send < expected || state.seen.is_some_and(|seen| ids.send <= seen) {
            log!(
                core,
                Ike,
                1,
                self,
                "received Message ID synchronization to {}, have {expected}, ignored",
                ids.send
            );
            return false;
        }
        let (since, count) =
            state.since.filter(|(since, _)| core.now - *since < PERIOD).unwrap_or((core.now, 0));
        if count >= MAX_SYNCS {
            log!(core, Ike, 1, self, "too many Message ID synchronizations, ignored");
            return false;
        }
        state.since = Some((since, count + 1));
        state.seen = Some(ids.send);
        self.last_in = core.now;
        self.on_authentic(core, path);
        let ours = Ids { send: self.next_unused().max(ids.receive), receive: ids.send.max(expected), ..ids };
        log!(
            core,
            Ike,
            1,
            self,
            "synchronizing Message IDs: we go on with {}, the peer with {}",
            ours.send,
            ours.receive
        );
        self.window.recv_next = ours.receive;
        // RFC 6311 §9: neither requests nor answers of before are waited for.
        self.window.answered = None;
        self.reassembly = None;
        match self.seal(core, ExchangeType::INFORMATIONAL, true, 0, &[ours.notify()]) {
            Ok(packets) => {
                for packet in &packets {
                    core.transmit(self.path, packet.clone());
                }
                self.last_out = core.now;
                self.sync.state().answered = Some(Answered { digest, packets, until: ours.receive });
            }
            Err(reason) => {
                self.fail(core, reason);
                return true;
            }
        }
        core.stats.synchronized += 1;
        self.go_on_with(core, ours.send);
        if let Some(data) = message.notify(NotifyType::IPSEC_REPLAY_COUNTER_SYNC) {
            self.on_replay_sync(core, data);
        }
        self.pump(core);
        true
    }

    /// One more than the highest Message ID that we used.
    fn next_unused(&self) -> u32 {
        let flying = self.window.request.as_ref().filter(|_| !self.sync.is_pending());
        flying.map_or(self.window.send_next, |request| request.mid.saturating_add(1))
    }

    /// Our next request has that Message ID; one that is in flight is it.
    fn go_on_with(&mut self, core: &mut Core, mid: u32) {
        self.window.send_next = mid;
        if self.sync.is_pending() {
            return;
        }
        if let Some(request) = self.window.request.take_if(|request| request.payloads.is_some())
            && let Some(payloads) = request.payloads
        {
            log!(core, Ike, 1, self, "sending request {} again as {mid}", request.mid);
            let active = std::mem::replace(&mut self.active, Active::None);
            self.request(core, request.exchange, &payloads, active);
        }
    }

    /// The peer lost count of our packets: ours skip so many numbers (RFC 6311 §5.2).
    pub(crate) fn on_replay_sync(&mut self, core: &mut Core, data: &[u8]) {
        match delta(data).filter(|_| self.sync.replay) {
            Some(by) => self.skip_sequence(core, by),
            None => log!(
                core,
                Ike,
                1,
                self,
                "received replay counter synchronization that is not to be followed, ignored"
            ),
        }
    }

    fn skip_sequence(&mut self, core: &mut Core, by: u64) {
        log!(core, Ike, 1, self, "skipping {by} sequence numbers of each CHILD_SA");
        for child in &self.children {
            core.order(Action::SkipSequence { id: child.id, by });
            let queued =
                self.queue.iter().any(|task| matches!(task, Task::RekeyChild { id, .. } if *id == child.id));
            if by >= MANY && !child.suite.esn && !queued && child.is_up() {
                self.queue.push_back(Task::RekeyChild { id: child.id, group: None });
            }
        }
    }

    // -- the member that takes over ------------------------------------------------------------------------------

    /// This copy of the IKE_SA takes over from another one that may have gone on without it.
    pub(crate) fn take_over(&mut self, core: &mut Core, message_ids: Option<u32>, replay: u64, tag: u64) {
        let result = self.start_sync(core, message_ids, replay, tag);
        match result {
            // The outcome comes with the answer.
            Ok(()) if message_ids.is_some() => {}
            result => core.outcome(&[tag], result),
        }
        self.pump(core);
    }

    fn start_sync(
        &mut self,
        core: &mut Core,
        message_ids: Option<u32>,
        replay: u64,
        tag: u64,
    ) -> Result<(), Reason> {
        if !self.is_established() {
            return Err(Reason::NoSuchSa { id: self.id });
        }
        // RFC 6311 §3.4, RFC 5282 §3.1: no initial vector twice. Which ones the other copy used nobody knows: from here
        // on they are in a part of their space of this copy's own.
        let part: [u8; 4] = core.random();
        if let Some(keys) = &mut self.keys {
            keys.sealed = u64::from(u32::from_be_bytes(part) | 0x8000_0000) << 32;
        }
        let mut notify = None;
        if replay > 0 {
            // Ours whether or not the peer knows of this: it drops what it has seen.
            self.skip_sequence(core, replay);
            let esn = self.children.iter().filter(|child| child.suite.esn).count();
            notify = match (self.sync.replay, esn) {
                (false, _) => None,
                (true, 0) => Some(u32::try_from(replay).unwrap_or(u32::MAX).to_be_bytes().to_vec()),
                (true, n) if n == self.children.len() => Some(replay.to_be_bytes().to_vec()),
                // RFC 6311 §6.4: there is no delta for some of each kind.
                _ => None,
            }
            .map(|data| Payload::notify(NotifyType::IPSEC_REPLAY_COUNTER_SYNC, data));
        }
        let Some(lag) = message_ids else {
            if let Some(payload) = notify {
                self.queue.push_back(Task::SyncReplay { payload });
            }
            return Ok(());
        };
        if !self.sync.message_ids {
            return Err(Reason::SyncUnsupported { id: self.id });
        }
        // RFC 6311 §5.1: higher than whatever may have been used; the peer may have been one window ahead of what we know.
        let send = self.next_unused().saturating_add(lag.max(1)).min(MAX_ID);
        let ids = Ids { nonce: core.random(), send, receive: self.window.recv_next };
        log!(core, Ike, 1, self, "synchronizing Message IDs: proposing {} and {}", ids.send, ids.receive);
        let before = self.sync.state().pending.take();
        let flying = self.window.request.take();
        let shelved = match before {
            // A failover after a failover: the one before is settled by this one.
            Some(before) => {
                core.outcome(&[before.tag], Err(Reason::TemporaryFailure));
                before.shelved
            }
            None => flying.and_then(|request| Some((request.exchange, request.payloads?))),
        };
        self.window.send_next = send;
        self.window.answered = None;
        self.sync.state().pending = Some(Pending { nonce: ids.nonce, send, shelved, tag });
        let payloads: Vec<Payload> = std::iter::once(ids.notify()).chain(notify).collect();
        match self.seal(core, ExchangeType::INFORMATIONAL, false, 0, &payloads) {
            Ok(packets) => self.launch(core, 0, ExchangeType::INFORMATIONAL, packets),
            Err(reason) => self.fail(core, reason),
        }
        Ok(())
    }

    /// An answer with Message ID 0 while ours is awaited.
    pub(crate) fn on_sync_response(&mut self, core: &mut Core, message: &Message) {
        let ids = message.notify(NotifyType::IKEV2_MESSAGE_ID_SYNC).and_then(Ids::parse);
        let fits = |pending: &mut Pending| {
            ids.is_some_and(|ids| ids.nonce == pending.nonce && ids.receive >= pending.send)
        };
        let pending = self.sync.state().pending.take_if(fits);
        let (Some(pending), Some(ids)) = (pending, ids) else {
            // RFC 6311 §5.1: dropped in silence; ours is still awaited.
            core.stats.out_of_window += 1;
            log!(core, Ike, 1, self, "received answer that does not belong to our synchronization, ignored");
            return;
        };
        self.window.request = None;
        self.window.recv_next = self.window.recv_next.max(ids.send);
        self.window.send_next = self.window.send_next.max(ids.receive);
        log!(
            core,
            Ike,
            1,
            self,
            "synchronized Message IDs: we go on with {}, the peer with {}",
            self.window.send_next,
            self.window.recv_next
        );
        core.stats.synchronized += 1;
        core.outcome(&[pending.tag], Ok(()));
        if let Some((exchange, payloads)) = pending.shelved {
            let active = std::mem::replace(&mut self.active, Active::None);
            self.request(core, exchange, &payloads, active);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents() {
        let ids = Ids { nonce: *b"nonc", send: 5, receive: 0x0102_0304 };
        let Payload::Notify { data, protocol: 0, spi, .. } = ids.notify() else { panic!() };
        assert_eq!((data.as_slice(), spi.len()), (&b"nonc\0\0\0\x05\x01\x02\x03\x04"[..], 0));
        assert_eq!(Ids::parse(&data), Some(ids));
        for bad in [
            &data[..11],
            &[&data[..], &[0]].concat(),
            &[],
            b"nonc\x80\0\0\0\0\0\0\0",
            b"nonc\0\0\0\0\xff\0\0\0",
        ] {
            assert_eq!(Ids::parse(bad), None, "{bad:?}");
        }
        assert_eq!(delta(&[0, 0, 1, 0]), Some(256));
        assert_eq!(delta(&[0, 0, 0, 1, 0, 0, 0, 0]), Some(1 << 32));
        assert_eq!((delta(&[]), delta(&[0; 5])), (None, None));
    }
}
