//! The server: a Unix stream socket, one thread per client that reads and runs commands, one that writes.
//!
//! A slow command holds up only its own client; a slow reader only itself. What a command streams waits for its reader
//! (and ends if the reader is gone); what is broadcast never waits: a full queue drops the event and counts it.

mod outbox;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::message::Message;
use crate::packet::{Packet, Reader, encode_event};
use outbox::Outbox;

/// Most clients at a time; further ones are hung up on.
pub const MAX_CLIENTS: usize = 64;
/// A client that takes no byte for so long is hung up on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What answers the commands.
pub trait Handler: Send + Sync + 'static {
    /// Runs a command on the thread of the client that asked. `None` = there is no such command.
    fn command(&self, name: &str, message: &Message, stream: &mut dyn EventSink) -> Option<Message>;
    /// May a client register for this event?
    fn knows_event(&self, name: &str) -> bool;
    /// A client has hung up, or was hung up on; its number is that of [`EventSink::client`].
    fn hung_up(&self, _client: u64) {}
}

/// The client that runs a command has hung up; nothing more can be told to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkClosed;

/// Where a running command streams its events: to the client that runs it, if that registered for them.
pub trait EventSink {
    /// Sends an event; waits while the client's queue is full.
    ///
    /// # Errors
    /// If the client is gone; the command should stop streaming then.
    fn event(&mut self, name: &str, message: &Message) -> Result<(), SinkClosed>;
    /// Would [`EventSink::event`] of this name reach anybody?
    fn wants(&self, name: &str) -> bool;
    /// The number of the client that runs the command; none is given twice.
    fn client(&self) -> u64;
}

#[derive(Default)]
struct Shared {
    clients: Mutex<BTreeMap<u64, Arc<Peer>>>,
    dropped: AtomicU64,
    stopping: AtomicBool,
}

struct Peer {
    id: u64,
    stream: UnixStream,
    outbox: Outbox,
    events: Mutex<BTreeSet<String>>,
}

impl Peer {
    fn registered(&self, event: &str) -> bool {
        lock(&self.events).contains(event)
    }

    fn hang_up(&self) {
        self.outbox.close();
        // An error means that the peer was faster.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Sends events to all who registered for them. Cheap to clone; exists before the server, so that the daemon's parts
/// can be given one first.
#[derive(Clone, Default)]
pub struct Broadcaster {
    shared: Arc<Shared>,
}

impl Broadcaster {
    /// Sends an event to every client that registered for it. Never waits.
    pub fn broadcast(&self, event: &str, message: &Message) {
        let peers: Vec<Arc<Peer>> =
            lock(&self.shared.clients).values().filter(|p| p.registered(event)).cloned().collect();
        if peers.is_empty() {
            return;
        }
        let Ok(bytes) = encode_event(event, message) else {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let bytes: Arc<[u8]> = bytes.into();
        for peer in peers {
            if !peer.outbox.offer(Arc::clone(&bytes)) {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Is anybody registered for this event? Lets the daemon skip building what nobody reads.
    pub fn listens(&self, event: &str) -> bool {
        lock(&self.shared.clients).values().any(|p| p.registered(event))
    }

    /// Events that were dropped because a client read too slowly.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Clients connected now.
    pub fn clients(&self) -> usize {
        lock(&self.shared.clients).len()
    }
}

/// A listening control socket. Dropping it hangs up on everybody and removes the socket file.
pub struct Server {
    path: PathBuf,
    inode: Option<(u64, u64)>,
    listener: Arc<UnixListener>,
    broadcaster: Broadcaster,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `path` and answers with `handler`.
    ///
    /// # Errors
    /// As [`Server::bind_with`].
    pub fn bind(path: &Path, handler: Arc<dyn Handler>) -> io::Result<Self> {
        Self::bind_with(path, handler, Broadcaster::default())
    }

    /// Listens on `path`, answers with `handler`, and takes the events of `broadcaster`. The file gets mode 0660. A
    /// socket file on which nobody answers is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if somebody answers there, `AlreadyExists` if something else than a socket is there, or what the
    /// system says.
    pub fn bind_with(path: &Path, handler: Arc<dyn Handler>, broadcaster: Broadcaster) -> io::Result<Self> {
        make_room(path)?;
        // Bound under a second name and moved over: at no moment does the path lead to a socket with other permissions.
        let mut temporary = path.as_os_str().to_owned();
        temporary.push("~");
        let temporary = PathBuf::from(temporary);
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&temporary)?;
        let moved = std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o660))
            .and_then(|()| std::fs::rename(&temporary, path));
        if let Err(error) = moved {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
        let listener = Arc::new(listener);
        let acceptor = {
            let listener = Arc::clone(&listener);
            let broadcaster = broadcaster.clone();
            std::thread::Builder::new()
                .name("vici-accept".into())
                .spawn(move || accept(&listener, &broadcaster, &handler))?
        };
        let inode = std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
        Ok(Self { path: path.to_owned(), inode, listener, broadcaster, acceptor: Some(acceptor) })
    }

    /// Sends an event to all who registered for it; see [`Broadcaster::broadcast`].
    pub fn broadcast(&self, event: &str, message: &Message) {
        self.broadcaster.broadcast(event, message);
    }

    /// The handle by which events are sent.
    pub fn broadcaster(&self) -> Broadcaster {
        self.broadcaster.clone()
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.broadcaster.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor with an error. A command that still runs ends on its own thread.
        let _ = socket2::SockRef::from(&*self.listener).shutdown(std::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            // Its panic would already have been reported.
            let _ = acceptor.join();
        }
        for peer in lock(&self.broadcaster.shared.clients).values() {
            peer.hang_up();
        }
        // Only if the file is still ours: a successor may have put its own there.
        let now = std::fs::metadata(&self.path).ok().map(|m| (m.dev(), m.ino()));
        if now.is_some() && now == self.inode {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn make_room(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        let text = format!("{} exists and is not a socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            let text = format!("another daemon answers on {}", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
        // A leftover: the rename replaces it.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn accept(listener: &UnixListener, broadcaster: &Broadcaster, handler: &Arc<dyn Handler>) {
    let mut next = 0u64;
    loop {
        let stream = listener.accept();
        if broadcaster.shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        match stream {
            Ok((stream, _)) => {
                next += 1;
                // Too many clients or no thread to be had: dropping the stream hangs up.
                let _ = start_client(stream, next, &broadcaster.shared, handler);
            }
            // The client was gone again, or file descriptors are short; the latter passes only with time.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn start_client(
    stream: UnixStream,
    id: u64,
    shared: &Arc<Shared>,
    handler: &Arc<dyn Handler>,
) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut reading = stream.try_clone()?;
    let peer = Arc::new(Peer { id, stream, outbox: Outbox::default(), events: Mutex::new(BTreeSet::new()) });
    {
        let mut clients = lock(&shared.clients);
        if clients.len() >= MAX_CLIENTS {
            return Err(io::Error::other("too many clients"));
        }
        clients.insert(id, Arc::clone(&peer));
    }
    let handler = Arc::clone(handler);
    let guard = Guard { shared: Arc::clone(shared), peer: Arc::clone(&peer), handler: Arc::clone(&handler) };
    let writer = Arc::clone(&peer);
    std::thread::Builder::new().name("vici-write".into()).spawn(move || {
        writer.outbox.drain(&mut &writer.stream);
        writer.hang_up();
    })?;
    std::thread::Builder::new().name("vici-client".into()).spawn(move || {
        let guard = guard;
        serve(&mut reading, &guard.peer, &*handler);
    })?;
    Ok(())
}

/// Forgets the client however its thread ends.
struct Guard {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    handler: Arc<dyn Handler>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.shared.clients).remove(&self.peer.id);
        self.peer.hang_up();
        self.handler.hung_up(self.peer.id);
    }
}

struct Stream<'a>(&'a Peer);

impl EventSink for Stream<'_> {
    fn event(&mut self, name: &str, message: &Message) -> Result<(), SinkClosed> {
        if !self.0.registered(name) {
            return if self.0.outbox.is_closed() { Err(SinkClosed) } else { Ok(()) };
        }
        // One entry that has no encoding (half a megabyte of selectors) is left out, the rest goes on.
        let Ok(bytes) = encode_event(name, message) else { return Ok(()) };
        if self.0.outbox.put(bytes.into()) { Ok(()) } else { Err(SinkClosed) }
    }

    fn wants(&self, name: &str) -> bool {
        self.0.registered(name)
    }

    fn client(&self) -> u64 {
        self.0.id
    }
}

fn serve(stream: &mut UnixStream, peer: &Peer, handler: &dyn Handler) {
    let mut reader = Reader::default();
    let mut chunk = [0u8; 16 * 1024];
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        reader.push(chunk.get(..length).unwrap_or_default());
        loop {
            match reader.next_packet() {
                Ok(Some(packet)) => {
                    let Some(answer) = answer(packet, peer, handler) else { return };
                    if !peer.outbox.put(answer.into()) {
                        return;
                    }
                }
                Ok(None) => break,
                // A client that sends what is no VICI is hung up on.
                Err(_) => return,
            }
        }
    }
}

/// The bytes of the answer, or nothing if the packet is one that no client sends.
fn answer(packet: Packet, peer: &Peer, handler: &dyn Handler) -> Option<Vec<u8>> {
    let answer = match packet {
        Packet::CmdRequest { name, message } => match handler.command(&name, &message, &mut Stream(peer)) {
            Some(response) => Packet::CmdResponse(response),
            None => Packet::CmdUnknown,
        },
        Packet::EventRegister(name) if handler.knows_event(&name) => {
            lock(&peer.events).insert(name);
            Packet::EventConfirm
        }
        Packet::EventUnregister(name) if lock(&peer.events).remove(&name) => Packet::EventConfirm,
        Packet::EventRegister(_) | Packet::EventUnregister(_) => Packet::EventUnknown,
        _ => return None,
    };
    match answer.encode() {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            Packet::CmdResponse(Message::failure(format_args!("the answer cannot be sent: {error}")))
                .encode()
                .ok()
        }
    }
}

/// A poisoned lock here means that a command panicked; the sets it guards are never half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
