//! An attacker: sends IKE messages at a rate, from a /16 of addresses that all are its own.
//!
//! Its messages are written octet by octet here, since the judge shares no code with the judged.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, recvmsg, sendmsg};

use crate::net::{GW, Namespace};

/// What it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// IKE_SA_INIT requests, each with an SPI, nonce, key exchange and address of its own.
    Spoofed,
    /// One request with the cookie that was got for it, over and over with another key exchange value.
    ReplayedCookie,
    /// Messages that look protected, of IKE_SAs that do not exist.
    UnknownSpi,
    /// Octets.
    Garbage,
    /// From 200 addresses: whole IKE_SA_INIT exchanges, cookies and all, that nothing follows.
    Deviation,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Spoofed, Self::ReplayedCookie, Self::UnknownSpi, Self::Garbage, Self::Deviation];
}

/// What it did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Datagrams that left.
    pub packets: u64,
    /// For so long.
    pub time: Duration,
    /// IKE_SA_INIT exchanges that were answered in full.
    pub answered: u64,
}

const ADDRESSES: u32 = 65_536;
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Real ones of the deviation attack.
const REAL: u32 = 200;
const COOKIE: [u8; 2] = 16390u16.to_be_bytes();
const X25519: u8 = 31;

/// Gives `attacker` its addresses, and `victim` the way back to them by `via`.
pub fn prepare(attacker: &Namespace, victim: &Namespace, via: &str) {
    attacker.sh("ip route add local 198.18.0.0/16 dev lo");
    victim.sh(&format!("ip route add 198.18.0.0/16 via {via}"));
}

/// Attacks the gateway from `attacker` for `time`, with `rate` packets per second if the machine can.
pub fn run(attacker: &Namespace, attack: Attack, rate: u32, time: Duration) -> Sent {
    let namespace = File::open(format!("/run/netns/{}", attacker.name())).expect("the namespace");
    // Only this thread moves; it ends with its work.
    let work = move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
        let pace = Pace { start: Instant::now(), time, rate };
        match attack {
            Attack::Deviation => deviate(&pace),
            Attack::ReplayedCookie => replay(&pace),
            Attack::Spoofed => spoof(&pace, |dice, out| init(dice, &[], out)),
            Attack::UnknownSpi => spoof(&pace, protected),
            Attack::Garbage => spoof(&pace, |dice, out| {
                out.resize(28 + dice.below(400) as usize, 0);
                dice.fill(out);
            }),
        }
    };
    std::thread::scope(|scope| scope.spawn(work).join().expect("the attacker"))
}

/// Packets in small portions, a millisecond's worth at a time.
struct Pace {
    start: Instant,
    time: Duration,
    rate: u32,
}

impl Pace {
    fn go(&self, mut portion: impl FnMut(u32)) -> Duration {
        let mut due = 0;
        while self.start.elapsed() < self.time {
            let until = (self.start.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
            // What a busy machine held up for long is not made good in one burst.
            let count = until.saturating_sub(due).min(u64::from(self.rate / 100).max(1));
            due = until;
            portion(u32::try_from(count).unwrap_or(0));
            std::thread::sleep(Duration::from_micros(500));
        }
        self.start.elapsed()
    }
}

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound)) as u32
    }

    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.iter_mut().zip(self.next().to_be_bytes()).for_each(|(to, from)| *to = from);
        }
    }
}

fn gateway() -> SocketAddrV4 {
    SocketAddrV4::new(GW.parse().expect("an address"), 500)
}

fn spoof(pace: &Pace, make: impl Fn(&mut Dice, &mut Vec<u8>)) -> Sent {
    let socket = UdpSocket::bind("0.0.0.0:500").expect("the attacker's socket");
    let to = SockaddrIn::from(gateway());
    let (mut dice, mut bytes, mut packets) = (Dice(0x9e37_79b9_7f4a_7c15), Vec::new(), 0);
    let time = pace.go(|count| {
        for _ in 0..count {
            bytes.clear();
            make(&mut dice, &mut bytes);
            let from = Ipv4Addr::from(u32::from(FIRST) + dice.below(ADDRESSES - 1) + 1);
            let info = nix::libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: nix::libc::in_addr { s_addr: u32::from(from).to_be() },
                ipi_addr: nix::libc::in_addr { s_addr: 0 },
            };
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            let slices = [IoSlice::new(&bytes)];
            let flags = MsgFlags::MSG_DONTWAIT;
            packets += u64::from(sendmsg(socket.as_raw_fd(), &slices, &control, flags, Some(&to)).is_ok());
        }
    });
    Sent { packets, time, answered: 0 }
}

fn at(n: u32) -> UdpSocket {
    let address = SocketAddr::new(Ipv4Addr::from(u32::from(FIRST) + n).into(), 500);
    let socket = UdpSocket::bind(address).unwrap_or_else(|e| panic!("binding {address}: {e}"));
    socket.connect(gateway()).expect("a route to the gateway");
    socket.set_nonblocking(true).expect("a socket");
    socket
}

fn replay(pace: &Pace) -> Sent {
    let (socket, mut dice) = (at(1), Dice(7));
    let (mut request, mut sent, mut buffer) = (Vec::new(), Sent::default(), [0; 2048]);
    // Cookies are demanded once enough is half-open.
    let mut cookie = Vec::new();
    let time = pace.go(|count| {
        if cookie.is_empty() {
            request.clear();
            init(&mut dice, &[], &mut request);
            sent.packets += u64::from(socket.send(&request).is_ok());
            while let Some(answer) = receive(&socket, &mut buffer) {
                match cookie_in(answer) {
                    Some(got) if answer.get(..8) == request.get(..8) => cookie = got.to_vec(),
                    _ => sent.answered += 1,
                }
            }
            if !cookie.is_empty() {
                request = with_cookie(&request, &cookie);
            }
            return;
        }
        for _ in 0..count {
            // The last octets of all are the nonce, which the cookie is bound to; before it is the key exchange.
            let length = request.len();
            dice.fill(&mut request[length - 36 - 16..length - 36]);
            sent.packets += u64::from(socket.send(&request).is_ok());
        }
        while let Some(answer) = receive(&socket, &mut buffer) {
            sent.answered += u64::from(cookie_in(answer).is_none());
        }
    });
    Sent { time, ..sent }
}

fn deviate(pace: &Pace) -> Sent {
    let sockets: Vec<UdpSocket> = (1..=REAL).map(at).collect();
    let (mut dice, mut buffer, mut sent, mut turn) = (Dice(11), [0; 2048], Sent::default(), 0);
    let mut requests = vec![Vec::new(); sockets.len()];
    let time = pace.go(|count| {
        for _ in 0..count {
            turn = (turn + 1) % sockets.len();
            let (socket, request) = (&sockets[turn], &mut requests[turn]);
            while let Some(answer) = receive(socket, &mut buffer) {
                match cookie_in(answer) {
                    Some(cookie) if answer.get(..8) == request.get(..8) => {
                        let again = with_cookie(request, cookie);
                        sent.packets += u64::from(socket.send(&again).is_ok());
                    }
                    Some(_) => {}
                    None => sent.answered += 1,
                }
            }
            request.clear();
            init(&mut dice, &[], request);
            sent.packets += u64::from(socket.send(request).is_ok());
        }
    });
    Sent { time, ..sent }
}

fn receive<'a>(socket: &UdpSocket, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = {
        let mut slices = [IoSliceMut::new(buffer)];
        recvmsg::<()>(socket.as_raw_fd(), &mut slices, None, MsgFlags::MSG_DONTWAIT).ok()?.bytes
    };
    buffer.get(..length)
}

/// The cookie in an answer that demands one: a Notify payload right behind the header.
fn cookie_in(answer: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*answer.get(30)?, *answer.get(31)?]));
    (answer.get(16) == Some(&41) && answer.get(34..36) == Some(&COOKIE))
        .then(|| answer.get(36..28 + length))?
}

fn header(spi_i: u64, spi_r: u64, next: u8, exchange: u8, out: &mut Vec<u8>) {
    out.extend(spi_i.to_be_bytes());
    out.extend(spi_r.to_be_bytes());
    out.extend([next, 0x20, exchange, 0x08]);
    out.extend([0; 8]);
}

fn finish(out: &mut [u8]) {
    let length = u32::try_from(out.len()).unwrap_or(0).to_be_bytes();
    out[24..28].copy_from_slice(&length);
}

/// An IKE_SA_INIT request: AES-CBC-128, HMAC-SHA-256, x25519; the nonce last.
fn init(dice: &mut Dice, cookie: &[u8], out: &mut Vec<u8>) {
    header(dice.next() | 1, 0, if cookie.is_empty() { 33 } else { 41 }, 34, out);
    payload(
        34,
        &[
            &[0, 0, 0, 44, 1, 1, 0, 4][..],
            &[3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 0, 128],
            &[3, 0, 0, 8, 2, 0, 0, 5],
            &[3, 0, 0, 8, 3, 0, 0, 12],
            &[0, 0, 0, 8, 4, 0, 0, X25519],
        ]
        .concat(),
        out,
    );
    let mut random = [0; 64];
    dice.fill(&mut random);
    payload(40, &[&[0, X25519, 0, 0], &random[..32]].concat(), out);
    payload(0, &random[32..], out);
    finish(out);
}

fn payload(next: u8, body: &[u8], out: &mut Vec<u8>) {
    out.extend([next, 0]);
    out.extend(u16::try_from(4 + body.len()).unwrap_or(0).to_be_bytes());
    out.extend(body);
}

fn with_cookie(request: &[u8], cookie: &[u8]) -> Vec<u8> {
    let mut out = request[..28].to_vec();
    out[16] = 41;
    payload(33, &[&[0, 0], &COOKIE[..], cookie].concat(), &mut out);
    out.extend(&request[28..]);
    finish(&mut out);
    out
}

/// An INFORMATIONAL request whose Encrypted payload nobody can open.
fn protected(dice: &mut Dice, out: &mut Vec<u8>) {
    header(dice.next() | 1, dice.next() | 1, 46, 37, out);
    let mut random = [0; 72];
    dice.fill(&mut random);
    payload(0, &random, out);
    finish(out);
}
