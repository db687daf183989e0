//! Messages by exchange and direction, under the names of `get-counters`.

use adit_wire::{ExchangeType, Header};

use crate::control::COUNTERS;

/// Counters of the whole daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    values: [u64; COUNTERS.len()],
}

impl Counters {
    /// An IKE message arrived.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        match Header::parse(bytes) {
            Ok(header) => self.exchange(&header, "in"),
            Err(_) => self.add("invalid"),
        }
    }

    /// An IKE message was sent.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        if let Ok(header) = Header::parse(bytes) {
            self.exchange(&header, "out");
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

    fn exchange(&mut self, header: &Header, direction: &str) {
        let exchange = match header.exchange {
            ExchangeType::IKE_SA_INIT => "ike-init",
            ExchangeType::IKE_AUTH => "ike-auth",
            ExchangeType::CREATE_CHILD_SA => "create-child",
            ExchangeType::INFORMATIONAL => "info",
            _ => return,
        };
        let kind = if header.flags.response { "resp" } else { "req" };
        self.add(&format!("{exchange}-{direction}-{kind}"));
    }

    fn add(&mut self, name: &str) {
        let slot = COUNTERS.iter().position(|n| *n == name).and_then(|i| self.values.get_mut(i));
        if let Some(value) = slot {
            *value += 1;
        }
    }
}
