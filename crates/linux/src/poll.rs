//! Waiting for several descriptors at once, and waking such a wait from another thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::sys::tried;

/// Most descriptors reported by one [`Poller::wait`]; the rest is reported by the next.
const EVENTS: usize = 32;

/// A set of descriptors to wait for, level triggered.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|e| tried("creating an epoll set", &e.into()))?;
        Ok(Self { epoll })
    }

    /// Adds a descriptor; readiness to read is reported as `token`.
    ///
    /// The descriptor leaves the set by itself when it is closed.
    ///
    /// # Errors
    /// When it is in the set already or cannot be polled.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        self.epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))
            .map_err(|e| tried("adding a descriptor to an epoll set", &e.into()))
    }

    /// Removes a descriptor.
    ///
    /// # Errors
    /// When it is not in the set.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        self.epoll.delete(fd).map_err(|e| tried("removing a descriptor from an epoll set", &e.into()))
    }

    /// Waits until something is readable (or has failed) or `timeout` is over; replaces `ready` by the tokens.
    ///
    /// `None` waits without limit. A signal ends the wait early with nothing ready.
    ///
    /// # Errors
    /// As `epoll_wait(2)`.
    pub fn wait(&self, ready: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            // Rounded up: waking a fraction of a millisecond early would make the caller spin.
            Some(t) => {
                EpollTimeout::try_from(i32::try_from(t.as_micros().div_ceil(1000)).unwrap_or(i32::MAX))
                    .unwrap_or(EpollTimeout::MAX)
            }
        };
        let mut events = [EpollEvent::empty(); EVENTS];
        match self.epoll.wait(&mut events, timeout) {
            Ok(n) => {
                ready.extend(events.iter().take(n).map(EpollEvent::data));
                Ok(())
            }
            Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(tried("waiting for descriptors", &e.into())),
        }
    }
}

/// Ends a [`Poller::wait`] from another thread (an eventfd).
#[derive(Debug)]
pub struct Waker {
    event: EventFd,
    /// Woken and not drained yet: a system call less for everybody who comes meanwhile.
    woken: AtomicBool,
}

impl Waker {
    /// A waker that has not been used yet; add it to the poller it is to wake.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|e| tried("creating an eventfd", &e.into()))?;
        Ok(Self { event, woken: AtomicBool::new(false) })
    }

    /// Makes the descriptor readable. Several wakes before a [`Waker::drain`] count as one.
    pub fn wake(&self) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        // Only fails when the counter is at its maximum, and then the descriptor is readable anyway.
        let _ = self.event.write(1);
    }

    /// Takes back all wakes so far.
    ///
    /// What was handed over before a wake that this takes back is to be looked for after it.
    pub fn drain(&self) {
        // WouldBlock when nobody woke us: nothing to take back.
        let _ = self.event.read();
        // Last: the other way round, a write in between would be taken back and none would ever follow. It reads what
        // those who wrote nothing have set, so that what they handed over is seen.
        self.woken.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Waits until one descriptor is writable or `timeout` is over.
///
/// # Errors
/// As `poll(2)`.
pub fn wait_writable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(n) => Ok(n > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(e) => Err(tried("waiting to write", &e.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let waker = std::sync::Arc::new(Waker::new().unwrap());
        let poller = Poller::new().unwrap();
        poller.add(&*waker, 7).unwrap();
        let mut ready = vec![1];
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty());
        let other = waker.clone();
        std::thread::spawn(move || other.wake());
        poller.wait(&mut ready, None).unwrap();
        assert_eq!(ready, [7]);
        waker.drain();
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty());
    }
}
