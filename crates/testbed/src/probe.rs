//! Numbered datagrams through a tunnel, both ways at a steady rate: what was lost, doubled or overtaken, and when.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};

use crate::net::Namespace;

const PORT: u16 = 7077;
/// Of a datagram: a number and filling, so that it is neither the smallest nor a full packet.
const SIZE: usize = 200;
/// How long a datagram may be on its way when the senders have stopped.
const GRACE: Duration = Duration::from_secs(2);

/// What became of the datagrams of one direction.
#[derive(Debug, Default)]
pub struct Flow {
    /// When each was sent, by its number.
    pub sent: Vec<Instant>,
    /// How often each arrived.
    arrived: Vec<u32>,
    /// How many arrived after one with a higher number.
    pub overtaken: u32,
}

impl Flow {
    /// When the lost ones were sent.
    pub fn lost(&self) -> Vec<Instant> {
        let counts = self.arrived.iter().copied().chain(std::iter::repeat(0));
        self.sent.iter().zip(counts).filter(|(_, count)| *count == 0).map(|(at, _)| *at).collect()
    }

    /// How many arrived more than once.
    pub fn doubled(&self) -> usize {
        self.arrived.iter().filter(|count| **count > 1).count()
    }
}

/// Both directions.
pub struct Probe {
    stop: Arc<AtomicBool>,
    ends: [End; 2],
}

struct End {
    sender: JoinHandle<Vec<Instant>>,
    receiver: JoinHandle<(Vec<u32>, u32)>,
}

impl Probe {
    /// Starts both: from `a` (a namespace and an address in it) to `b` and back, `rate` datagrams a second each way.
    pub fn start(a: (&Namespace, &str), b: (&Namespace, &str), rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sockets = [a, b].map(|(namespace, address)| {
            (socket_in(namespace, address), SocketAddrV4::new(address.parse().expect("IPv4"), PORT))
        });
        let [(one, at_one), (other, at_other)] = sockets;
        let ends = [(one, at_other), (other, at_one)].map(|(socket, to)| {
            let (receiving, stopped, done) =
                (socket.try_clone().expect("a second handle"), stop.clone(), stop.clone());
            End {
                sender: std::thread::spawn(move || send(&socket, to, rate, &stopped)),
                receiver: std::thread::spawn(move || receive(&receiving, &done)),
            }
        });
        Self { stop, ends }
    }

    /// Stops the senders, waits for what is on its way: the direction from `a` to `b`, then the other.
    pub fn stop(self) -> [Flow; 2] {
        self.stop.store(true, Ordering::Relaxed);
        let [one, other] = self
            .ends
            .map(|end| (end.sender.join().expect("a sender"), end.receiver.join().expect("a receiver")));
        let flow = |sent, (arrived, overtaken)| Flow { sent, arrived, overtaken };
        [flow(one.0, other.1), flow(other.0, one.1)]
    }
}

/// A socket bound in another namespace, made by a thread that goes there and ends.
fn socket_in(namespace: &Namespace, address: &str) -> UdpSocket {
    let place = std::fs::File::open(namespace.path()).expect("the namespace");
    let address = SocketAddrV4::new(address.parse().expect("IPv4"), PORT);
    let bind = move || {
        setns(place, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
        let socket = UdpSocket::bind(address).expect("the probe's socket");
        // so that a receiver that is not scheduled for a while loses nothing
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &(8 << 20)))
            .expect("a large buffer");
        socket
    };
    std::thread::spawn(bind).join().expect("a socket")
}

fn send(socket: &UdpSocket, to: SocketAddrV4, rate: u32, stop: &AtomicBool) -> Vec<Instant> {
    let (start, step) = (Instant::now(), Duration::from_secs(1) / rate);
    let mut sent = Vec::new();
    let mut datagram = [0u8; SIZE];
    while !stop.load(Ordering::Relaxed) {
        let number = u32::try_from(sent.len()).expect("a number");
        let due = start + step * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        sent.push(Instant::now());
        // one that the kernel refuses (no route for a moment) is a lost one
        let _ = socket.send_to(&datagram, to);
    }
    sent
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> (Vec<u32>, u32) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time limit");
    let (mut arrived, mut overtaken, mut highest) = (Vec::new(), 0, 0);
    let (mut buffer, mut end) = ([0u8; SIZE + 1], None::<Instant>);
    loop {
        if stop.load(Ordering::Relaxed) {
            let end = *end.get_or_insert_with(|| Instant::now() + GRACE);
            if Instant::now() >= end {
                return (arrived, overtaken);
            }
        }
        let Ok(SIZE) = socket.recv(&mut buffer) else { continue };
        let number = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
        if arrived.len() <= number {
            arrived.resize(number + 1, 0);
        }
        arrived[number] += 1;
        if number < highest {
            overtaken += 1;
        }
        highest = highest.max(number);
    }
}
