//! Reassembly of fragmented messages (RFC 7383 §2.6).
//!
//! A fragment comes here after its own integrity check, so a stranger cannot fill this memory; a peer can fill one
//! message's worth of it.

use std::collections::BTreeMap;
use std::time::Duration;

use adit_wire::PayloadType;

use crate::time::Instant;

/// Most fragments of one message.
pub(crate) const MAX_FRAGMENTS: usize = 32;
/// Most bytes of one reassembled message.
const MAX_BYTES: usize = 64 * 1024;

/// How long the rest of a message is awaited. Its sender retransmits long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// One message that is coming in by pieces.
pub(crate) struct Reassembly {
    pub mid: u32,
    pub response: bool,
    /// When the pieces that came are thrown away (RFC 7383 §2.6).
    pub until: Instant,
    total: u16,
    first_inner: PayloadType,
    parts: BTreeMap<u16, Vec<u8>>,
    bytes: usize,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// More are needed.
    Waiting,
    /// The message is complete: type of its first payload, and its plaintext.
    Complete(PayloadType, Vec<u8>),
    /// A duplicate, or one that contradicts the others or a limit: dropped.
    Dropped,
}

impl Reassembly {
    pub(crate) fn new(now: Instant, mid: u32, response: bool) -> Self {
        Self {
            mid,
            response,
            until: now + PATIENCE,
            total: 0,
            first_inner: PayloadType::NONE,
            parts: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Fragments and octets that are here.
    #[cfg(feature = "digest")]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.parts.len(), self.bytes)
    }

    pub(crate) fn add(&mut self, number: u16, total: u16, first_inner: PayloadType, data: Vec<u8>) -> Added {
        if number == 0 || number > total || usize::from(total) > MAX_FRAGMENTS {
            return Added::Dropped;
        }
        // RFC 7383 §2.6: a larger total means that the peer split anew for a smaller path MTU; the old pieces go. A
        // smaller one is an old piece itself.
        match total.cmp(&self.total) {
            std::cmp::Ordering::Less => return Added::Dropped,
            std::cmp::Ordering::Greater => {
                self.parts.clear();
                self.bytes = 0;
                self.total = total;
            }
            std::cmp::Ordering::Equal => {}
        }
        if self.parts.contains_key(&number) || self.bytes + data.len() > MAX_BYTES {
            return Added::Dropped;
        }
        if number == 1 {
            self.first_inner = first_inner;
        }
        self.bytes += data.len();
        self.parts.insert(number, data);
        if self.parts.len() < usize::from(self.total) {
            return Added::Waiting;
        }
        let mut whole = Vec::with_capacity(self.bytes);
        for part in std::mem::take(&mut self.parts).into_values() {
            whole.extend(part);
        }
        Added::Complete(self.first_inner, whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_and_duplicates() {
        let mut message = Reassembly::new(Instant::ZERO, 1, false);
        assert_eq!(message.add(3, 3, PayloadType::NONE, vec![3]), Added::Waiting);
        assert_eq!(message.add(3, 3, PayloadType::NONE, vec![9]), Added::Dropped);
        assert_eq!(message.add(1, 3, PayloadType::IDI, vec![1]), Added::Waiting);
        assert_eq!(
            message.add(2, 3, PayloadType::NONE, vec![2]),
            Added::Complete(PayloadType::IDI, vec![1, 2, 3])
        );
    }

    #[test]
    fn totals_only_grow_and_limits_hold() {
        let mut message = Reassembly::new(Instant::ZERO, 1, false);
        assert_eq!(message.add(1, 2, PayloadType::IDI, vec![1]), Added::Waiting);
        assert_eq!(message.add(1, 3, PayloadType::IDI, vec![1]), Added::Waiting);
        assert_eq!(message.add(2, 2, PayloadType::NONE, vec![2]), Added::Dropped);
        assert_eq!(message.add(4, 3, PayloadType::NONE, vec![2]), Added::Dropped);
        assert_eq!(message.add(0, 3, PayloadType::NONE, vec![2]), Added::Dropped);
        assert_eq!(message.add(1, 33, PayloadType::IDI, vec![1]), Added::Dropped);
        assert_eq!(message.add(2, 3, PayloadType::NONE, vec![0; MAX_BYTES]), Added::Dropped);
    }
}
