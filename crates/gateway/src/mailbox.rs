//! How other threads reach the protocol thread: a bounded queue and a wake-up.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_dataplane::DataplaneEvent;
use adit_ike::{ActionId, Completion, Path};
use adit_linux::poll::Waker;

use crate::driver::Driver;

/// What the protocol thread is told.
pub(crate) enum Mail {
    /// An IKE message that arrived on a NAT-T socket, marker taken off.
    Datagram(Path, Vec<u8>),
    /// Something the data plane saw.
    Dataplane(DataplaneEvent),
    /// The answer to an action that another thread worked on.
    Complete(ActionId, Completion),
    /// A question or order; runs on the protocol thread.
    Call(Box<dyn FnOnce(&mut Driver) + Send>),
    /// SIGTERM.
    Shutdown,
}

/// Mails that may wait. Beyond it network input is dropped, as a full socket buffer would.
const CAPACITY: usize = 4096;

/// The sending end; any number of threads hold one.
#[derive(Clone)]
pub(crate) struct Mailbox {
    queue: SyncSender<Mail>,
    waker: Arc<Waker>,
    dropped: Arc<AtomicU64>,
    /// CHILD_SAs at a limit that found the queue full.
    expired: Arc<Mutex<BTreeSet<(u32, bool)>>>,
}

impl Mailbox {
    /// A mailbox and its reading end.
    pub(crate) fn new() -> io::Result<(Self, Receiver<Mail>)> {
        let (queue, receiver) = sync_channel(CAPACITY);
        let waker = Arc::new(Waker::new()?);
        Ok((Self { queue, waker, dropped: Arc::default(), expired: Arc::default() }, receiver))
    }

    /// What the protocol thread polls.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// For network input and data plane events: never waits; a full queue drops and counts.
    pub(crate) fn offer(&self, mail: Mail) {
        match self.queue.try_send(mail) {
            Ok(()) => self.waker.wake(),
            Err(TrySendError::Full(Mail::Dataplane(DataplaneEvent::Expired { id, hard }))) => {
                // Told once: it must not be lost. There are no more of them than SAs.
                self.expired().insert((id, hard));
                self.waker.wake();
            }
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                self.waker.wake();
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    fn expired(&self) -> MutexGuard<'_, BTreeSet<(u32, bool)>> {
        self.expired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// CHILD_SAs that reached a limit while the queue was full, and whether it was the hard one.
    pub(crate) fn take_expired(&self) -> BTreeSet<(u32, bool)> {
        std::mem::take(&mut self.expired())
    }

    /// For orders of the operator: waits while the queue is full. `false` when the protocol thread is gone.
    pub(crate) fn send(&self, mail: Mail) -> bool {
        let sent = self.queue.send(mail).is_ok();
        self.waker.wake();
        sent
    }

    /// Runs `work` on the protocol thread and waits for its answer; `None` when that thread is gone.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, receiver) = sync_channel(1);
        let call = Box::new(move |driver: &mut Driver| {
            // a caller that gave up needs no answer
            let _ = answer.send(work(driver));
        });
        if !self.send(Mail::Call(call)) {
            return None;
        }
        receiver.recv().ok()
    }

    /// Datagrams and events lost to a full queue since this was last asked.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_loses_datagrams_but_no_expiry() {
        let (mailbox, _receiver) = Mailbox::new().unwrap();
        for _ in 0..CAPACITY {
            mailbox.offer(Mail::Shutdown);
        }
        assert_eq!(mailbox.take_dropped(), 0);
        mailbox.offer(Mail::Shutdown);
        mailbox.offer(Mail::Dataplane(DataplaneEvent::Expired { id: 7, hard: true }));
        assert_eq!(mailbox.take_dropped(), 1);
        assert_eq!(mailbox.take_expired(), BTreeSet::from([(7, true)]));
        assert!(mailbox.take_expired().is_empty());
    }
}
