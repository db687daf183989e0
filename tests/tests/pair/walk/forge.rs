//! Datagrams without authority: old ones, bent ones, forged ones, unprotected ones. None may change anything.
//!
//! The whole state of the end that gets one is compared before and after, with the digest that `adit-ike` makes for tests.
//! A few things are allowed to a stranger: a well-formed IKE_SA_INIT or IKE_SESSION_RESUME request makes a half-open
//! IKE_SA, and an answer to one can spoil an initiation that waits for it (RFC 7296 §2.21.1); an unprotected
//! INVALID_IKE_SPI can have the peer asked whether it is there (§2.4); and a token that the peer has shown itself proves
//! what it proves, whoever repeats it (RFC 6290 §3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use adit_crypto::{Random, SeededRandom};
use adit_ike::{Digest, IkeState};
use adit_wire::{Envelope, ExchangeType, Flags, Header, NotifyType, Payload, PayloadType, emit_clear};

use super::wire::message;
use crate::net::{Captured, End};
use crate::pair::Pair;
use crate::storm::Dice;

pub struct Forger {
    dice: Dice,
    /// How many were thrown in.
    pub thrown: u64,
    /// Datagrams that an end has taken in, so that they are old now.
    used: BTreeSet<(End, Vec<u8>)>,
    /// Where the capture was seen up to: the datagrams of each direction, and the IKE_SAs and their last Message IDs.
    seen: usize,
    sas: BTreeMap<(u64, u64), Known>,
    digests: [Option<Digest>; 2],
}

/// What anyone on the path knows of an IKE_SA.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Who has made the first SPI.
    initiator: End,
    /// Last Message IDs of requests by client and gateway.
    mids: [u32; 2],
    src: [SocketAddr; 2],
}

fn at(end: End) -> usize {
    usize::from(end == End::Gateway)
}

impl Forger {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice(SeededRandom::new(seed ^ 0x666f_7267_6572)),
            thrown: 0,
            used: BTreeSet::new(),
            seen: 0,
            sas: BTreeMap::new(),
            digests: [None, None],
        }
    }

    /// Something happened that was not watched.
    pub fn blink(&mut self) {
        self.digests = [None, None];
    }

    /// A datagram may have arrived in this step.
    pub fn delivered(&mut self, pair: &mut Pair) {
        let before = std::mem::take(&mut self.digests);
        if let Some((end, bytes)) = pair.arrived.take()
            && let Some(before) = before[at(end)].as_ref()
        {
            let after = pair.host(end).endpoint.digest();
            if *before != after {
                self.used.insert((end, bytes));
            }
            self.digests[at(end)] = Some(after);
        }
    }

    fn learn(&mut self, capture: &[Captured]) {
        for captured in &capture[self.seen..] {
            let Some(Ok(header)) = message(captured).map(Header::parse) else { continue };
            if header.spi_r == 0 {
                continue;
            }
            let from = captured.from;
            let initiator = if header.flags.initiator { from } else { from.other() };
            let mut src = [captured.dst; 2];
            src[at(from)] = captured.src;
            let known = self.sas.entry((header.spi_i, header.spi_r)).or_insert(Known {
                initiator,
                mids: [0; 2],
                src,
            });
            known.src = src;
            if !header.flags.response {
                known.mids[at(from)] = known.mids[at(from)].max(header.message_id);
            }
        }
        self.seen = capture.len();
    }

    /// Throws one in, at either end, and looks whether it changed anything.
    pub fn throw(&mut self, pair: &mut Pair) -> Result<(), String> {
        self.learn(&pair.net.capture);
        let Some((end, src, dst, bytes, what)) = self.make(pair) else { return Ok(()) };
        if pair.host(end).next_timeout().is_some_and(|(at, _)| at <= pair.now) {
            return Ok(()); // whatever comes, it does first what is due
        }
        let host = pair.host_mut(end);
        let before = self.digests[at(end)].take().unwrap_or_else(|| host.endpoint.digest());
        let now = pair.now;
        pair.host_mut(end).receive(now, src, dst, &bytes);
        self.thrown += 1;
        let after = pair.host(end).endpoint.digest();
        let header = Header::parse(if dst.port() == 4500 { bytes.get(4..).unwrap_or(&[]) } else { &bytes });
        let first = header.as_ref().is_ok_and(begins);
        let changed = if first {
            // A stranger may open half of an IKE_SA, or spoil one that is waiting for any answer.
            let kept = |sa: &adit_ike::SaDigest| after.sas.contains(sa);
            !before.sas.iter().filter(|sa| !sa.open).all(kept)
        } else {
            before != after
        };
        self.digests[at(end)] = Some(after);
        let hint = header.as_ref().is_ok_and(|it| it.flags.response && it.next == PayloadType::NOTIFY);
        if changed && !(hint && (only_asks(pair, end) || repeats_token(pair, end, &bytes))) {
            return Err(format!("{what:?} datagram changed the {end:?}: {header:?}, {bytes:02x?}"));
        }
        Ok(())
    }

    fn make(&mut self, pair: &Pair) -> Option<(End, SocketAddr, SocketAddr, Vec<u8>, Kind)> {
        let capture = &pair.net.capture;
        let kind = match self.dice.below(10) {
            0..=2 => Kind::Replayed,
            3..=4 => Kind::Bent,
            5 => Kind::Readdressed,
            6 => Kind::Unprotected,
            7 => Kind::Hint,
            8 => Kind::Sealed,
            _ => Kind::Cut,
        };
        if matches!(kind, Kind::Unprotected | Kind::Hint | Kind::Sealed) {
            return self.forge(kind);
        }
        // Rather a young one than an old one.
        let reach = if self.dice.chance(70) { 12 } else { capture.len() as u64 };
        let back = self.dice.below(reach.max(1)) as usize + 1;
        let captured = capture.get(capture.len().checked_sub(back)?)?;
        let end = captured.from.other();
        let mut bytes = captured.bytes.clone();
        let first = message(captured)
            .and_then(|bytes| Header::parse(bytes).ok())
            .is_some_and(|header| begins(&header));
        // Half-open IKE_SAs of strangers get in the way of the honest, as they should; not at every step.
        if first && !self.dice.chance(5) {
            return None;
        }
        match kind {
            // A piece of a message is not old before all of it has been taken in.
            Kind::Replayed
                if !first && (is_piece(captured) || !self.used.contains(&(end, bytes.clone()))) =>
            {
                return None;
            }
            Kind::Replayed => {}
            Kind::Bent => {
                for _ in 0..=self.dice.below(3) {
                    let place = self.dice.below(bytes.len() as u64) as usize;
                    bytes[place] ^= 1 << self.dice.below(8);
                }
                if bytes == captured.bytes {
                    return None;
                }
            }
            Kind::Readdressed => {
                // Exchange type, flags, Message ID; SPIs of another.
                let header = if captured.src.port() == 4500 || captured.dst.port() == 4500 { 4 } else { 0 };
                let place = header + [0, 8, 18, 19, 23][self.dice.below(5) as usize];
                let octet = bytes.get_mut(place)?;
                *octet = octet.wrapping_add(1 + self.dice.below(255) as u8);
            }
            _ => {
                let length = self.dice.below(bytes.len() as u64) as usize;
                bytes.truncate(length);
            }
        }
        let src = if self.dice.chance(30) {
            SocketAddr::new("198.51.100.66".parse().ok()?, captured.src.port())
        } else {
            captured.src
        };
        Some((end, src, inside(pair, end, captured.dst), bytes, kind))
    }

    /// A message that nobody has sent, for an IKE_SA that is there or was.
    fn forge(&mut self, kind: Kind) -> Option<(End, SocketAddr, SocketAddr, Vec<u8>, Kind)> {
        let back = self.dice.below(self.sas.len().clamp(1, 4) as u64) as usize;
        let ((spi_i, spi_r), known) = self.sas.iter().rev().nth(back).map(|(spis, known)| (*spis, *known))?;
        let end = self.dice.end();
        let from = end.other();
        let response = self.dice.chance(50) || kind == Kind::Hint;
        let mids = known.mids[at(if response { end } else { from })];
        let exchange = [ExchangeType::IKE_AUTH, ExchangeType::CREATE_CHILD_SA, ExchangeType::INFORMATIONAL]
            [self.dice.below(3) as usize];
        let header = Header {
            flags: Flags { initiator: known.initiator == from, response, version: false },
            ..Header {
                spi_i,
                spi_r,
                next: PayloadType::NONE,
                major: 2,
                minor: 0,
                exchange,
                flags: Flags { initiator: false, response, version: false },
                message_id: mids + if response { 0 } else { self.dice.below(2) as u32 },
                length: 0,
            }
        };
        let payload = match (kind, self.dice.below(4)) {
            (Kind::Hint, _) => Payload::notify(NotifyType::INVALID_IKE_SPI, Vec::new()),
            (_, 0) => Payload::Delete { protocol: 1, spis: Vec::new() },
            (_, 1) => Payload::notify(NotifyType::AUTHENTICATION_FAILED, Vec::new()),
            (_, 2) => Payload::notify(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new()),
            _ => Payload::notify(NotifyType::CHILD_SA_NOT_FOUND, Vec::new()),
        };
        let mut bytes = emit_clear(&header, &[payload]).ok()?;
        if kind == Kind::Sealed {
            // An Encrypted payload of noise, perhaps a fragment.
            bytes.truncate(16);
            let fragment = self.dice.chance(30);
            let mut body = vec![0; 16 + self.dice.below(120) as usize];
            self.dice.0.fill(&mut body);
            if fragment {
                body[..4].copy_from_slice(&[0, 1, 0, 2]);
            }
            let length = (28 + 4 + body.len()) as u32;
            bytes.extend([if fragment { 53 } else { 46 }, 0x20, exchange.0]);
            let flags = if known.initiator == from { 0x08 } else { 0 } | if response { 0x20 } else { 0 };
            bytes.push(flags);
            bytes.extend(header.message_id.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend([41, 0]);
            bytes.extend(((length - 28) as u16).to_be_bytes());
            bytes.extend(body);
        }
        let (src, dst) = (known.src[at(from)], known.src[at(end)]);
        if src.port() == 4500 || dst.port() == 4500 {
            bytes.splice(0..0, [0; 4]);
        }
        Some((end, src, dst, bytes, kind))
    }
}

/// Where the NAT box sends it.
fn inside(pair: &Pair, end: End, dst: SocketAddr) -> SocketAddr {
    match (&pair.net.nat, end) {
        (Some(_), End::Client) => {
            let address = pair.client.outside.addresses[0];
            let port = if dst.port() == 500 || dst.port() == 4500 { dst.port() } else { 4500 };
            SocketAddr::new(address, port)
        }
        _ => dst,
    }
}

fn is_piece(captured: &Captured) -> bool {
    message(captured)
        .and_then(|bytes| Header::parse(bytes).ok())
        .is_some_and(|header| header.next == PayloadType::SKF)
}

/// All that has happened is that the peer is asked whether it is there.
fn only_asks(pair: &Pair, end: End) -> bool {
    pair.host(end)
        .endpoint
        .ike_sas()
        .any(|sa| sa.state == IkeState::Established && sa.tasks_active == ["IKE_DPD"])
}

/// Where a datagram comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It was taken in before.
    Replayed,
    /// Bits are flipped.
    Bent,
    /// Its header says something else.
    Readdressed,
    /// Forged without protection.
    Unprotected,
    /// Forged: an INVALID_IKE_SPI.
    Hint,
    /// Forged, with noise for an Encrypted payload.
    Sealed,
    /// Only its beginning.
    Cut,
}

/// Whether an IKE_SA begins with that message, or with the question to it.
fn begins(header: &Header) -> bool {
    matches!(header.exchange, ExchangeType::IKE_SA_INIT | ExchangeType::IKE_SESSION_RESUME)
}

/// Tokens in the clear of a datagram (RFC 6290).
fn tokens(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_prefix(&[0; 4]).unwrap_or(bytes);
    let clear = Envelope::parse(bytes).map(|envelope| envelope.clear).unwrap_or_default();
    let token = |payload: Payload| match payload {
        Payload::Notify { kind: NotifyType::QUICK_CRASH_DETECTION, data, .. } => Some(data),
        _ => None,
    };
    clear.into_iter().filter_map(token).collect()
}

/// Whether it has a token that the other end has shown before, to the bit.
fn repeats_token(pair: &Pair, end: End, bytes: &[u8]) -> bool {
    let shown = tokens(bytes);
    let theirs = pair.net.capture.iter().filter(|it| it.from == end.other());
    !shown.is_empty() && theirs.flat_map(|it| tokens(&it.bytes)).any(|token| shown.contains(&token))
}
