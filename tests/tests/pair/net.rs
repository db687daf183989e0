//! The network between the two ends: links that lose, delay and duplicate, and perhaps a NAT box before the client.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use adit_crypto::SeededRandom;

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The one that usually initiates; the one behind the NAT, if there is one.
    Client,
    /// The other.
    Gateway,
}

impl End {
    pub const BOTH: [Self; 2] = [Self::Client, Self::Gateway];

    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Gateway,
            Self::Gateway => Self::Client,
        }
    }
}

/// What one direction does to datagrams. Probabilities in percent, times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub loss: u32,
    pub duplicates: u32,
    pub delay: u64,
    /// Up to so much is added to the delay of each datagram: beyond the gap between two, they overtake each other.
    pub jitter: u64,
}

impl Link {
    pub const CLEAN: Self = Self { loss: 0, duplicates: 0, delay: 10_000, jitter: 0 };
}

/// Who replays and has no business here.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66));

/// A datagram as it was seen between NAT box and gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    pub at: u64,
    pub from: End,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    /// UDP payload, with the non-ESP marker if any.
    pub bytes: Vec<u8>,
}

/// Endpoint-independent mapping, address- and port-dependent filtering (RFC 4787): the usual home router, but with
/// random ports. Behind it are the client's private addresses; its others are on the net itself.
pub struct Nat {
    pub public: IpAddr,
    /// Inside address → port outside.
    mappings: BTreeMap<SocketAddr, u16>,
    /// Port outside and remote that was sent to.
    opened: Vec<(u16, SocketAddr)>,
}

impl Nat {
    pub fn new(public: IpAddr) -> Self {
        Self { public, mappings: BTreeMap::new(), opened: Vec::new() }
    }

    /// Whether an address is behind it.
    pub fn covers(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.is_private())
    }

    fn outbound(&mut self, rng: &mut SeededRandom, src: SocketAddr, dst: SocketAddr) -> SocketAddr {
        let port = *self.mappings.entry(src).or_insert_with(|| 20_000 + (rng.next_u64() % 40_000) as u16);
        if !self.opened.contains(&(port, dst)) {
            self.opened.push((port, dst));
        }
        SocketAddr::new(self.public, port)
    }

    fn inbound(&self, src: SocketAddr, dst: SocketAddr) -> Option<SocketAddr> {
        if dst.ip() != self.public || !self.opened.contains(&(dst.port(), src)) {
            return None;
        }
        self.mappings.iter().find(|(_, port)| **port == dst.port()).map(|(inside, _)| *inside)
    }

    /// Where a socket inside is seen outside, if it sent something.
    pub fn seen_as(&self, inside: SocketAddr) -> Option<SocketAddr> {
        self.mappings.get(&inside).map(|port| SocketAddr::new(self.public, *port))
    }

    /// Forgets everything: the next datagram from inside leaves from another port.
    pub fn rebind(&mut self) {
        self.mappings.clear();
        self.opened.clear();
    }
}

/// What is done to one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddle {
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives, and again so many microseconds later.
    Replay(u64),
    /// It arrives so many microseconds late; a few milliseconds let the next one overtake it.
    Delay(u64),
    /// A bit of the octet at so many percent of its length is another.
    Corrupt(usize),
}

/// A datagram under way.
pub struct Flight {
    to: End,
    src: SocketAddr,
    dst: SocketAddr,
    bytes: Vec<u8>,
}

pub struct Net {
    rng: SeededRandom,
    /// Towards the gateway, towards the client.
    pub links: [Link; 2],
    pub nat: Option<Nat>,
    /// Nothing gets through at all.
    pub cut: bool,
    /// Addresses that nothing gets to or from.
    pub dead: BTreeSet<IpAddr>,
    /// With this probability in percent, something captured before arrives again after a datagram, half of the times
    /// from an address that is not its sender's.
    pub replays: u32,
    /// With this probability in percent, a datagram arrives with a bit flipped.
    pub bends: u32,
    /// What is done to a datagram of an end: the one after so many others.
    pub meddle: Option<(End, usize, Meddle)>,
    flights: BTreeMap<(u64, u64), Flight>,
    sent: u64,
    pub capture: Vec<Captured>,
    /// What is held back in each direction, oldest first, while a test delivers by hand.
    pub held: Option<[VecDeque<Flight>; 2]>,
}

impl Net {
    pub fn new(seed: u64, links: [Link; 2], nat: Option<Nat>) -> Self {
        Self {
            rng: SeededRandom::new(seed),
            links,
            nat,
            cut: false,
            dead: BTreeSet::new(),
            replays: 0,
            bends: 0,
            meddle: None,
            flights: BTreeMap::new(),
            sent: 0,
            capture: Vec::new(),
            held: None,
        }
    }

    fn percent(&mut self, probability: u32) -> bool {
        probability > 0 && self.rng.next_u64() % 100 < u64::from(probability)
    }

    pub fn send(&mut self, now: u64, from: End, src: SocketAddr, dst: SocketAddr, bytes: Vec<u8>) {
        let src = match (&mut self.nat, from) {
            (Some(nat), End::Client) if nat.covers(src.ip()) => nat.outbound(&mut self.rng, src, dst),
            _ => src,
        };
        self.capture.push(Captured { at: now, from, src, dst, bytes: bytes.clone() });
        if self.cut || self.dead.contains(&src.ip()) || self.dead.contains(&dst.ip()) {
            return;
        }
        if let Some(held) = &mut self.held {
            held[usize::from(from == End::Gateway)].push_back(Flight { to: from.other(), src, dst, bytes });
            return;
        }
        let link = self.links[usize::from(from == End::Gateway)];
        if let Some(meddle) = self.meddled(from) {
            return self.mistreat(now + link.delay, from, src, dst, bytes, meddle);
        }
        let copies = 1 + u32::from(self.percent(link.duplicates));
        for _ in 0..copies {
            if self.percent(link.loss) {
                continue;
            }
            let jitter = if link.jitter == 0 { 0 } else { self.rng.next_u64() % link.jitter };
            let mut bytes = bytes.clone();
            if self.percent(self.bends) {
                let at = self.rng.next_u64() as usize % bytes.len();
                bytes[at] ^= 1 << (self.rng.next_u64() % 8);
            }
            self.fly(now + link.delay + jitter, from.other(), src, dst, bytes);
        }
        if self.percent(self.replays) {
            let old = self.capture[self.rng.next_u64() as usize % self.capture.len()].clone();
            let src = if self.percent(50) { old.src } else { SocketAddr::new(STRANGER, old.src.port()) };
            self.fly(now + link.delay, old.from.other(), src, old.dst, old.bytes);
        }
    }

    /// Whether this datagram is the one, and what is to be done to it.
    fn meddled(&mut self, from: End) -> Option<Meddle> {
        let (whose, left, _) = self.meddle.as_mut()?;
        if *whose != from {
            return None;
        }
        if let Some(less) = left.checked_sub(1) {
            *left = less;
            return None;
        }
        self.meddle.take().map(|(_, _, meddle)| meddle)
    }

    fn mistreat(
        &mut self,
        at: u64,
        from: End,
        src: SocketAddr,
        dst: SocketAddr,
        mut bytes: Vec<u8>,
        meddle: Meddle,
    ) {
        let to = from.other();
        match meddle {
            Meddle::Drop => {}
            Meddle::Duplicate | Meddle::Replay(_) => {
                let later = if let Meddle::Replay(later) = meddle { later } else { 0 };
                self.fly(at, to, src, dst, bytes.clone());
                self.fly(at + later, to, src, dst, bytes);
            }
            Meddle::Delay(late) => self.fly(at + late, to, src, dst, bytes),
            Meddle::Corrupt(percent) => {
                let octet = (bytes.len() - 1) * percent / 100;
                bytes[octet] ^= 0x10;
                self.fly(at, to, src, dst, bytes);
            }
        }
    }

    /// Where a packet of the client's that is not an IKE message seems to come from.
    pub fn seen_of(&mut self, src: SocketAddr, dst: SocketAddr) -> SocketAddr {
        match &mut self.nat {
            Some(nat) => nat.outbound(&mut self.rng, src, dst),
            None => src,
        }
    }

    /// Puts a datagram on the gateway's side of the NAT box, whoever sent it.
    pub fn fly(&mut self, at: u64, to: End, src: SocketAddr, dst: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        self.flights.insert((at, self.sent), Flight { to, src, dst, bytes });
    }

    /// Takes one of an end's held datagrams, the oldest being 0.
    pub fn pick(&mut self, from: End, at: usize) -> Option<Flight> {
        self.held.as_mut()?[usize::from(from == End::Gateway)].remove(at)
    }

    /// Has a datagram arrive at once.
    pub fn deliver(&mut self, now: u64, flight: Flight) {
        self.fly(now, flight.to, flight.src, flight.dst, flight.bytes);
    }

    /// Nothing is held any more; what was comes in the order in which it was sent.
    pub fn release(&mut self, now: u64) {
        for flight in self.held.take().into_iter().flatten().flatten() {
            self.deliver(now, flight);
        }
    }

    /// When the next datagram arrives.
    pub fn next(&self) -> Option<u64> {
        self.flights.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// A datagram that has arrived by `now`: at whom, from, to, bytes.
    pub fn arrived(&mut self, now: u64) -> Option<(End, SocketAddr, SocketAddr, Vec<u8>)> {
        while let Some(entry) = self.flights.first_entry() {
            if entry.key().0 > now {
                return None;
            }
            let Flight { to, src, dst, bytes } = entry.remove();
            if self.cut || self.dead.contains(&src.ip()) || self.dead.contains(&dst.ip()) {
                continue;
            }
            let dst = match (&self.nat, to) {
                (Some(nat), End::Client) if dst.ip() == nat.public => match nat.inbound(src, dst) {
                    Some(inside) => inside,
                    None => continue,
                },
                // Nobody outside knows a way there.
                (Some(nat), End::Client) if nat.covers(dst.ip()) => continue,
                _ => dst,
            };
            return Some((to, src, dst, bytes));
        }
        None
    }
}
