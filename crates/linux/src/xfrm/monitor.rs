//! A socket that hears what the kernel tells.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::channel::Channel;
use super::event::{Event, events};
use super::number;
use crate::sys::tried;

/// Datagrams read in one go; what is left wakes the caller's poll again.
const BUDGET: usize = 256;

/// Listens to the XFRM of one network namespace. Never blocks.
pub struct Monitor {
    channel: Channel,
    waiting: VecDeque<Event>,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

impl Monitor {
    /// Starts listening in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel has no XFRM, or without CAP_NET_ADMIN.
    pub fn new() -> io::Result<Self> {
        let groups = [
            number::GROUP_ACQUIRE,
            number::GROUP_EXPIRE,
            number::GROUP_SA,
            number::GROUP_POLICY,
            number::GROUP_MIGRATE,
            number::GROUP_MAPPING,
        ];
        Channel::open(&groups).map(Self::on).map_err(|e| tried("listening to IPsec in the kernel", &e))
    }

    pub(super) const fn on(channel: Channel) -> Self {
        Self { channel, waiting: VecDeque::new() }
    }

    /// Lets the socket hold about so many octets of events; 8 MiB unless set, where that is permitted.
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn limit_buffer(&self, bytes: usize) -> io::Result<()> {
        socket2::SockRef::from(&self.channel).set_recv_buffer_size(bytes)
    }

    /// The next event; `None` when there is none at the moment.
    ///
    /// # Errors
    /// When the socket is broken; having lost something is [`Event::Missed`].
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        for _ in 0..BUDGET {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match self.channel.receive(false) {
                Ok(datagram) => self.waiting.extend(events(datagram)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Some(Event::Missed)),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(Some(Event::Missed)),
                Err(e) => return Err(tried("listening to IPsec in the kernel", &e)),
            }
        }
        Ok(None)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
