//! One socket and what is said on it: requests with sequence numbers, answers that are waited for so long and no longer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_XFRM};
use nix::sys::socket::{MsgFlags, recv, send};
use zeroize::Zeroizing;

use super::bytes::{Message, Reader, messages};
use super::error::{About, Cause, Failure};
use crate::sys::enlarge_buffers;

/// How long the kernel may take for one answer: far longer than it needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for one datagram. The kernel makes none larger than 32 KiB.
const ROOM: usize = 64 << 10;

/// What the kernel answers to one request.
pub(super) enum Reply<'a> {
    /// It is done.
    Done,
    /// An object.
    Object(Message<'a>),
}

/// An XFRM netlink socket.
pub(super) struct Channel {
    socket: OwnedFd,
    /// The netlink port, by which events tell who asked.
    pub(super) port: u32,
    /// Answers hold keys.
    room: Zeroizing<Vec<u8>>,
    sequence: u32,
    patience: Duration,
}

impl Channel {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM)?;
        let port = socket.bind_auto()?.port_number();
        // Nobody but the kernel is listened to.
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both since 4.x; without them errors are only numbers, and repeat the request.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        enlarge_buffers(socket.as_raw_fd());
        for group in groups {
            socket.add_membership(*group)?;
        }
        // SAFETY: the descriptor was just given up by its only owner.
        let socket = unsafe { OwnedFd::from_raw_fd(socket.into_raw_fd()) };
        Self::on(socket, port, PATIENCE)
    }

    /// On a socket that is there already.
    pub(super) fn on(socket: OwnedFd, port: u32, patience: Duration) -> io::Result<Self> {
        socket2::SockRef::from(&socket).set_read_timeout(Some(patience))?;
        Ok(Self { socket, port, room: Zeroizing::new(vec![0; ROOM]), sequence: 0, patience })
    }

    /// The first of `count` sequence numbers that were not used before.
    pub(super) fn sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        send(self.socket.as_raw_fd(), bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// Receives one datagram. One that does not fit is `InvalidData`.
    pub(super) fn receive(&mut self, wait: bool) -> io::Result<&[u8]> {
        let flags = if wait { MsgFlags::MSG_TRUNC } else { MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT };
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut self.room, flags) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other?,
            }
        };
        self.room.get(..length).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a netlink message was larger than any should be")
        })
    }

    /// Sends `count` requests, numbered from `first`, in one go, and gives `each` the answer to every one of them, once.
    pub(super) fn exchange(
        &mut self,
        bytes: &[u8],
        first: u32,
        count: usize,
        mut each: impl FnMut(usize, Result<Reply<'_>, Failure>),
    ) {
        let mut open = vec![true; count];
        let result = match self.send(bytes) {
            Ok(()) => self.answers(first, &mut open, &mut each),
            Err(e) => Err(Failure::io(&e, About::Other)),
        };
        if let Err(failure) = result {
            for (index, _) in open.iter().enumerate().filter(|(_, open)| **open) {
                each(index, Err(failure.clone()));
            }
        }
    }

    /// Receives until nothing is open any more.
    fn answers(
        &mut self,
        first: u32,
        open: &mut [bool],
        each: &mut impl FnMut(usize, Result<Reply<'_>, Failure>),
    ) -> Result<(), Failure> {
        let mut left = open.len();
        let mut deadline = Instant::now() + self.patience;
        // When answers were lost, those that were not are still taken in.
        let mut lost = false;
        while left > 0 {
            let datagram = match self.receive(!lost) {
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = true;
                    continue;
                }
                Err(e) if lost && e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Failure::of(Cause::Overrun));
                }
                other => other.map_err(|e| Failure::io(&e, About::Other))?,
            };
            let mut of_use = false;
            for message in messages(datagram) {
                let message = message.map_err(|()| Failure::of(Cause::Garbled))?;
                // Others are the rest of a conversation that was given up.
                let index = usize::try_from(message.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(still) = open.get_mut(index).filter(|open| **open) else { continue };
                let Some(reply) = reply(message) else { continue };
                *still = false;
                left -= 1;
                of_use = true;
                each(index, reply);
            }
            if of_use {
                deadline = Instant::now() + self.patience;
            } else if Instant::now() > deadline {
                return Err(Failure::of(Cause::Unanswered));
            }
        }
        Ok(())
    }

    /// Sends a request for a listing, numbered `sequence`, and gives `each` its objects.
    pub(super) fn listing(
        &mut self,
        bytes: &[u8],
        sequence: u32,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), Failure> {
        let failed = |e: &io::Error| Failure::io(e, About::Other);
        self.send(bytes).map_err(|e| failed(&e))?;
        // A listing goes on only when it is read, and there can be no other before it is done: what cannot be read is
        // told at its end.
        let mut result = Ok(());
        let mut deadline = Instant::now() + self.patience;
        loop {
            let datagram = match self.receive(true) {
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    result = Err(failed(&e));
                    continue;
                }
                other => other.map_err(|e| failed(&e))?,
            };
            let mut of_use = false;
            for message in messages(datagram) {
                let Ok(message) = message else {
                    result = Err(Failure::of(Cause::Garbled));
                    break;
                };
                if message.sequence != sequence {
                    continue;
                }
                of_use = true;
                match i32::from(message.kind) {
                    // The end of a listing has a number like an error has.
                    libc::NLMSG_DONE if Reader(message.body).u32().is_none() => return result,
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        return Failure::from_message(&message, About::Other).and(result);
                    }
                    libc::NLMSG_NOOP | libc::NLMSG_OVERRUN => {}
                    _ => each(message),
                }
            }
            if of_use {
                deadline = Instant::now() + self.patience;
            } else if Instant::now() > deadline {
                return Err(Failure::of(Cause::Unanswered));
            }
        }
    }
}

/// What a message answers; `None` when it answers nothing.
fn reply(message: Message<'_>) -> Option<Result<Reply<'_>, Failure>> {
    match i32::from(message.kind) {
        libc::NLMSG_ERROR => Some(Failure::from_message(&message, About::Other).map(|()| Reply::Done)),
        libc::NLMSG_NOOP | libc::NLMSG_DONE | libc::NLMSG_OVERRUN => None,
        _ => Some(Ok(Reply::Object(message))),
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
