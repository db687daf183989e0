//! Server and client over a real socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adit_vici::server::MAX_CLIENTS;
use adit_vici::{Client, ClientError, EventSink, Handler, Message, Server};

struct Fake {
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Handler for Fake {
    fn command(&self, name: &str, message: &Message, stream: &mut dyn EventSink) -> Option<Message> {
        match name {
            "echo" => Some(message.clone()),
            "fail" => Some(Message::failure("no such thing")),
            "wait" => {
                self.gate.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
                Some(Message::success())
            }
            "count" => {
                let n: u32 = message.get_number("n")?;
                for i in 0..n {
                    if stream.event("number", &Message::new().text("i", i)).is_err() {
                        break;
                    }
                }
                Some(Message::new())
            }
            "huge" => Some((0..9).fold(Message::new(), |m, _| m.kv("x", vec![b'x'; 65_000]))),
            "panic" => panic!("on purpose"),
            _ => None,
        }
    }

    fn knows_event(&self, name: &str) -> bool {
        matches!(name, "number" | "log")
    }
}

struct House {
    _folder: tempfile::TempDir,
    path: PathBuf,
    server: Server,
    open: mpsc::Sender<()>,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v");
    let (open, gate) = mpsc::channel();
    let server = Server::bind(&path, Arc::new(Fake { gate: Mutex::new(gate) })).unwrap();
    House { _folder: folder, path, server, open }
}

impl House {
    fn client(&self) -> Client {
        let mut client = Client::connect(&self.path).unwrap();
        client.set_timeout(Some(Duration::from_secs(20))).unwrap();
        client
    }
}

#[test]
fn commands_are_answered() {
    let house = house();
    let mut client = house.client();
    let message =
        Message::new().kv("a", "b").list("l", ["1", "2"]).section("s", Message::new().kv("c", [0u8, 255]));
    assert_eq!(client.request("echo", &message).unwrap(), message);
    assert!(matches!(client.request("nope", &message), Err(ClientError::UnknownCommand(_))));
    assert_eq!(client.call("fail", &message).unwrap_err().to_string(), "no such thing");
    assert!(client.call("huge", &message).unwrap_err().to_string().contains("larger than"));
    assert_eq!(std::fs::metadata(&house.path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn streams_go_to_those_who_registered() {
    let house = house();
    let mut client = house.client();
    let mut seen = 0u32;
    // Far more than the queue holds: the command waits for its reader and nothing is lost.
    let n = Message::new().text("n", 20_000);
    client
        .stream("count", "number", &n, |m| {
            assert_eq!(m.get_number::<u32>("i"), Some(seen));
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, 20_000);
    // unregistered again: the stream is empty
    client.request("count", &n).unwrap();
    assert!(matches!(client.register("nonsense"), Err(ClientError::UnknownEvent(_))));
}

#[test]
fn a_slow_command_blocks_only_its_client() {
    let house = house();
    let mut slow = house.client();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || slow.call("wait", &Message::new()).unwrap());
        let mut quick = house.client();
        assert!(quick.request("echo", &Message::new()).unwrap().is_empty());
        assert!(!waiting.is_finished());
        house.open.send(()).unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn broadcasts_reach_listeners_and_never_wait_for_one_that_does_not_read() {
    let house = house();
    let mut deaf = house.client();
    let mut listener = house.client();
    deaf.register("log").unwrap();
    listener.register("log").unwrap();
    assert!(house.server.broadcaster().listens("log"));
    assert!(!house.server.broadcaster().listens("number"));
    house.server.broadcast("log", &Message::new().kv("msg", "hello"));
    let (name, message) = listener.next_event().unwrap();
    assert_eq!((name.as_str(), message.get_str("msg")), ("log", Some("hello")));
    drop(listener);
    let long = Message::new().kv("msg", vec![b'x'; 60_000]);
    let start = Instant::now();
    for _ in 0..1000 {
        house.server.broadcast("log", &long);
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(house.server.broadcaster().dropped() > 0);
    let mut other = house.client();
    other.request("echo", &Message::new()).unwrap();
}

#[test]
fn rubbish_and_panics_cost_only_their_connection() {
    let house = house();
    for bytes in
        [&b"\xff\xff\xff\xff"[..], b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\x09", b"\x00\x00\x00\x01\x01"]
    {
        let mut raw = UnixStream::connect(&house.path).unwrap();
        raw.write_all(bytes).unwrap();
        assert_eq!(raw.read(&mut [0; 8]).unwrap(), 0);
    }
    assert!(house.client().request("panic", &Message::new()).is_err());
    house.client().request("echo", &Message::new()).unwrap();
}

#[test]
fn there_is_a_cap_on_clients() {
    let house = house();
    let mut clients: Vec<_> = (0..MAX_CLIENTS).map(|_| house.client()).collect();
    for client in &mut clients {
        client.request("echo", &Message::new()).unwrap();
    }
    assert!(house.client().request("echo", &Message::new()).is_err());
    drop(clients);
    // Hanging up is noticed by other threads; the place is free soon after.
    let deadline = Instant::now() + Duration::from_secs(10);
    while house.client().request("echo", &Message::new()).is_err() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn a_stale_socket_is_replaced_a_living_one_is_not() {
    let house = house();
    let handler = || Arc::new(Fake { gate: Mutex::new(mpsc::channel().1) });
    let error = Server::bind(&house.path, handler()).err().unwrap();
    assert!(error.to_string().contains("another daemon answers"), "{error}");
    let path = house.path.clone();
    drop(house.server);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::bind(&path, handler()).unwrap();
    Client::connect(&path).unwrap().request("echo", &Message::new()).unwrap();
    drop(server);
    std::fs::write(&path, "precious").unwrap();
    assert!(Server::bind(&path, handler()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}
