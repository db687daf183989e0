//! Pings and a TCP stream, from inside a namespace, with nothing but sockets.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use adit_linux::netns::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

use super::Failure;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// Sends `count` echo requests one after the other; the round-trip times of those that came back.
pub(super) fn ping(
    from: &Namespace,
    to: IpAddr,
    count: u16,
    wait: Duration,
) -> Result<Vec<Duration>, Failure> {
    from.run(|| echo(to, count, wait)).and_then(|r| r).map_err(|e| format!("pinging {to}: {e}"))
}

fn echo(to: IpAddr, count: u16, wait: Duration) -> std::io::Result<Vec<Duration>> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    let id = (std::process::id() as u16).to_be_bytes();
    let mut times = Vec::new();
    for sequence in 1..=count {
        let request = request(id, sequence.to_be_bytes());
        let sent = Instant::now();
        if socket.send_to(&request, &SocketAddr::new(to, 0).into()).is_err() {
            continue; // no route is an answer too: none came back
        }
        if awaited(&socket, id, sequence.to_be_bytes(), sent, wait)? {
            times.push(sent.elapsed());
        }
    }
    Ok(times)
}

fn awaited(
    mut socket: &Socket,
    id: [u8; 2],
    sequence: [u8; 2],
    sent: Instant,
    wait: Duration,
) -> std::io::Result<bool> {
    let mut buffer = [0u8; 512];
    loop {
        let left = wait.saturating_sub(sent.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        // a raw socket delivers the IP header as well
        let header = buffer.first().map_or(0, |b| usize::from(b & 0x0f) * 4);
        if let Some([kind, _, _, _, i0, i1, s0, s1]) =
            buffer.get(header..length).and_then(|m| m.first_chunk())
            && (*kind, [*i0, *i1], [*s0, *s1]) == (ECHO_REPLY, id, sequence)
        {
            return Ok(true);
        }
    }
}

fn request(id: [u8; 2], sequence: [u8; 2]) -> [u8; 64] {
    let mut message = [0u8; 64];
    message[0] = ECHO_REQUEST;
    message[4..6].copy_from_slice(&id);
    message[6..8].copy_from_slice(&sequence);
    let mut sum: u32 = message.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    message
}

/// Bits per second of one TCP stream, as received.
pub(super) fn throughput(
    from: &Namespace,
    to: &Namespace,
    address: IpAddr,
    time: Duration,
) -> Result<f64, Failure> {
    let listener = to
        .run(|| TcpListener::bind((address, 0)))
        .and_then(|r| r)
        .map_err(|e| format!("listening on {address}: {e}"))?;
    let target = listener.local_addr().map_err(|e| e.to_string())?;
    let sender = from
        .run(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)))
        .and_then(|r| r)
        .map_err(|e| format!("connecting to {target}: {e}"))?;
    let (receiver, _) = listener.accept().map_err(|e| format!("accepting: {e}"))?;
    std::thread::scope(|scope| {
        scope.spawn(move || send(sender, time));
        receive(receiver, time)
    })
    .map_err(|e| format!("the stream broke: {e}"))
}

fn send(mut stream: TcpStream, time: Duration) {
    let block = vec![0x5a; 128 * 1024];
    let started = Instant::now();
    let _ = stream.set_write_timeout(Some(Duration::from_secs(3)));
    while started.elapsed() < time {
        if stream.write_all(&block).is_err() {
            return;
        }
    }
}

fn receive(mut stream: TcpStream, time: Duration) -> std::io::Result<f64> {
    let mut block = vec![0; 256 * 1024];
    let mut bytes = 0u64;
    let started = Instant::now();
    stream.set_read_timeout(Some(time + Duration::from_secs(3)))?;
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(bytes as f64 * 8.0 / started.elapsed().as_secs_f64()),
            n => bytes += n as u64,
        }
    }
}
