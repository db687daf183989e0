//! Messages by exchange and direction, under the names of `get-counters`.

use adit_wire::{ExchangeType, Header};

use crate::control::COUNTERS;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// Counters of the whole daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    values: [u64; COUNTERS.len()],
}

impl Counters {
    /// An IKE message arrived.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        match Header::parse(bytes) {
            Ok(header) => self.exchange(&header, Direction::In),
            Err(_) => self.add("invalid"),
        }
    }

    /// An IKE message was sent.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        if let Ok(header) = Header::parse(bytes) {
            self.exchange(&header, Direction::Out);
        }
    }

    /// An IKE_SA was rekeyed.
    pub(crate) fn ike_rekeyed(&mut self, by_us: bool) {
        self.add(if by_us { "ike-rekey-init" } else { "ike-rekey-resp" });
    }

    /// A CHILD_SA was rekeyed.
    pub(crate) fn child_rekeyed(&mut self) {
        self.add("child-rekey");
    }

    /// In the order of [`COUNTERS`].
    pub(crate) const fn values(&self) -> [u64; COUNTERS.len()] {
        self.values
    }

    /// All back to zero.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    fn exchange(&mut self, header: &Header, direction: Direction) {
        // Their four counters stand side by side in `COUNTERS`.
        let name = match header.exchange {
            ExchangeType::IKE_SA_INIT => "ike-init-in-req",
            ExchangeType::IKE_AUTH => "ike-auth-in-req",
            ExchangeType::CREATE_CHILD_SA => "create-child-in-req",
            ExchangeType::INFORMATIONAL => "info-in-req",
            _ => return,
        };
        let offset = 2 * usize::from(direction == Direction::Out) + usize::from(header.flags.response);
        let slot = COUNTERS.iter().position(|n| *n == name).and_then(|i| self.values.get_mut(i + offset));
        if let Some(value) = slot {
            *value += 1;
        }
    }

    fn add(&mut self, name: &str) {
        let slot = COUNTERS.iter().position(|n| *n == name).and_then(|i| self.values.get_mut(i));
        if let Some(value) = slot {
            *value += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use adit_wire::{Flags, PayloadType};

    use super::*;

    #[test]
    fn every_exchange_has_its_four_names() {
        let exchanges = [
            (ExchangeType::IKE_SA_INIT, "ike-init"),
            (ExchangeType::IKE_AUTH, "ike-auth"),
            (ExchangeType::CREATE_CHILD_SA, "create-child"),
            (ExchangeType::INFORMATIONAL, "info"),
        ];
        for (exchange, name) in exchanges {
            for (out, response) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut bytes = Vec::new();
                let flags = Flags { initiator: true, response, version: false };
                let next = PayloadType::NONE;
                let (major, minor, message_id, length) = (2, 0, 0, 28);
                Header { spi_i: 1, spi_r: 0, next, major, minor, exchange, flags, message_id, length }
                    .emit(&mut bytes);
                let mut counters = Counters::default();
                if out {
                    counters.sent(&bytes)
                } else {
                    counters.received(&bytes)
                }
                let (way, kind) = (if out { "out" } else { "in" }, if response { "resp" } else { "req" });
                let counted = counters.values().iter().position(|value| *value == 1).map(|i| COUNTERS[i]);
                assert_eq!(counted, Some(&*format!("{name}-{way}-{kind}")));
            }
        }
    }
}
