//! The bounded queue of what is to be written to one client.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::lock;

/// Packets a client may lag behind.
const MAX_PACKETS: usize = 1024;
/// Bytes a client may lag behind; one packet more always fits, whatever its size.
const MAX_BYTES: usize = 1024 * 1024;

#[derive(Default)]
struct Queue {
    packets: VecDeque<Arc<[u8]>>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    fn full(&self) -> bool {
        self.packets.len() >= MAX_PACKETS || self.bytes >= MAX_BYTES
    }

    fn push(&mut self, packet: Arc<[u8]>) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }
}

/// Packets on their way to one client.
#[derive(Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Outbox {
    /// Adds a packet if there is room and somebody writes; never waits.
    pub(super) fn offer(&self, packet: Arc<[u8]>) -> bool {
        let mut queue = lock(&self.queue);
        if queue.closed || queue.full() {
            return false;
        }
        queue.push(packet);
        self.changed.notify_all();
        true
    }

    /// Adds a packet, waiting for room. False if the client is gone.
    pub(super) fn put(&self, packet: Arc<[u8]>) -> bool {
        let mut queue = lock(&self.queue);
        while queue.full() && !queue.closed {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            return false;
        }
        queue.push(packet);
        self.changed.notify_all();
        true
    }

    /// No more is taken; what is queued is still written if the stream lets it.
    pub(super) fn close(&self) {
        lock(&self.queue).closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.queue).closed
    }

    /// Writes packets until the outbox is closed and empty, or the stream fails.
    pub(super) fn drain(&self, to: &mut dyn Write) {
        loop {
            let packet = {
                let mut queue = lock(&self.queue);
                loop {
                    if let Some(packet) = queue.packets.pop_front() {
                        queue.bytes -= packet.len();
                        self.changed.notify_all();
                        break packet;
                    }
                    if queue.closed {
                        return;
                    }
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            };
            if to.write_all(&packet).is_err() {
                self.close();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(size: usize) -> Arc<[u8]> {
        vec![7; size].into()
    }

    #[test]
    fn offers_stop_at_either_limit() {
        let outbox = Outbox::default();
        for _ in 0..MAX_PACKETS {
            assert!(outbox.offer(packet(1)));
        }
        assert!(!outbox.offer(packet(1)));
        let outbox = Outbox::default();
        assert!(outbox.offer(packet(MAX_BYTES)));
        assert!(!outbox.offer(packet(1)));
    }

    #[test]
    fn put_waits_until_there_is_room_and_drain_ends_when_closed() {
        let outbox = Outbox::default();
        assert!(outbox.offer(packet(MAX_BYTES)));
        std::thread::scope(|scope| {
            let putting = scope.spawn(|| outbox.put(packet(3)));
            let mut written = Vec::new();
            scope.spawn(|| {
                assert!(putting.join().unwrap());
                outbox.close();
            });
            outbox.drain(&mut written);
            assert_eq!(written.len(), MAX_BYTES + 3);
        });
        assert!(!outbox.put(packet(1)) && !outbox.offer(packet(1)));
    }

    #[test]
    fn a_failing_stream_closes_it() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let outbox = Outbox::default();
        outbox.offer(packet(1));
        outbox.drain(&mut Broken);
        assert!(outbox.is_closed());
    }
}
