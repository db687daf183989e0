//! Sealing: from a payload to an ESP packet.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_crypto::{Cipher, Random};
use adit_ipsec::SaKeys;

use crate::{EspError, HEADER_LEN, TRAILER_LEN, alignment, cipher_for};

/// The sending half of an SA.
#[derive(Debug)]
pub struct Outbound {
    spi: u32,
    esn: bool,
    cipher: Cipher,
    /// Last number used.
    sequence: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// What an [`Outbound`] has sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboundStats {
    /// Packets sealed.
    pub packets: u64,
    /// Octets of their payloads.
    pub bytes: u64,
}

impl Outbound {
    /// The sending half for `spi`, with extended sequence numbers if `esn`.
    ///
    /// # Errors
    /// When the algorithms are unknown or a key has the wrong length.
    pub fn new(spi: u32, keys: &SaKeys, esn: bool) -> Result<Self, EspError> {
        Ok(Self::with_cipher(spi, cipher_for(keys)?, esn))
    }

    /// The same around a cipher that exists already.
    #[must_use]
    pub fn with_cipher(spi: u32, cipher: Cipher, esn: bool) -> Self {
        let zero = || AtomicU64::new(0);
        Self { spi, esn, cipher, sequence: zero(), packets: zero(), bytes: zero() }
    }

    /// Continues after `last`: for an SA taken over from elsewhere, whose numbers must never be used twice.
    #[must_use]
    pub fn resume_after(mut self, last: u64) -> Self {
        *self.sequence.get_mut() = last;
        self
    }

    /// Leaves out the next `by` numbers, or all that are left.
    pub fn skip(&self, by: u64) {
        let last = self.last_sequence();
        // Never `Err`: the closure always has a number.
        let _ = self.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            Some(used.saturating_add(by).min(last))
        });
    }

    /// The SPI.
    #[must_use]
    pub fn spi(&self) -> u32 {
        self.spi
    }

    /// The number the next packet gets; beyond [`Outbound::last_sequence`] when all are used.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed).saturating_add(1)
    }

    /// The highest number this SA may use (RFC 4303 §2.2, §2.2.1).
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        if self.esn { u64::MAX } else { u64::from(u32::MAX) }
    }

    /// What has been sent.
    #[must_use]
    pub fn stats(&self) -> OutboundStats {
        OutboundStats {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Octets that sealing adds to a payload of `payload_len`.
    #[must_use]
    pub fn overhead(&self, payload_len: usize) -> usize {
        HEADER_LEN + self.cipher.iv_len() + self.padding(payload_len) + TRAILER_LEN + self.cipher.icv_len()
    }

    /// Appends the ESP packet for `payload` to `out`, from SPI to integrity check value, and tells its number.
    ///
    /// `iv_rng` is drawn from only by ciphers with unpredictable IVs (CBC).
    ///
    /// # Errors
    /// [`EspError::SequenceExhausted`] once every number is used, [`EspError::TooLong`] for a payload no IP packet could
    /// carry; `out` is then as it was.
    pub fn seal(
        &self,
        next_header: u8,
        payload: &[u8],
        iv_rng: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<u64, EspError> {
        self.seal_padded(next_header, payload, 0, iv_rng, out)
    }

    /// As [`Outbound::seal`], with so many octets of traffic-flow padding behind the payload (RFC 4303 §2.7), which has
    /// to say its own length.
    ///
    /// # Errors
    /// As [`Outbound::seal`].
    pub fn seal_padded(
        &self,
        next_header: u8,
        payload: &[u8],
        tfc: usize,
        iv_rng: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<u64, EspError> {
        let padded = payload.len().saturating_add(tfc);
        let total = padded.saturating_add(self.overhead(padded));
        if total > usize::from(u16::MAX) {
            return Err(EspError::TooLong);
        }
        let sequence = self.take_sequence()?;
        let start = out.len();
        out.reserve(total);
        if let Err(e) = self.write(sequence, next_header, (payload, tfc), iv_rng, out) {
            out.truncate(start);
            return Err(e);
        }
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        Ok(sequence)
    }

    fn write(
        &self,
        sequence: u64,
        next_header: u8,
        (payload, tfc): (&[u8], usize),
        iv_rng: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<(), EspError> {
        let start = out.len();
        let [high @ .., _, _, _, _] = sequence.to_be_bytes();
        out.extend_from_slice(&self.spi.to_be_bytes());
        out.extend_from_slice(&(sequence as u32).to_be_bytes());

        let iv_len = self.cipher.iv_len();
        if self.cipher.needs_random_iv() {
            let at = out.len();
            out.resize(at + iv_len, 0);
            iv_rng.fill(out.get_mut(at..).unwrap_or_default());
        } else if iv_len > 0 {
            // RFC 4106 §3.1, RFC 7634 §2: unique is enough, and the sequence number is.
            out.extend_from_slice(&sequence.to_be_bytes());
        }

        out.extend_from_slice(payload);
        let padded = payload.len() + tfc;
        if tfc > 0 {
            out.resize(out.len() + tfc, 0);
        }
        // RFC 4303 §2.4: the padding octets are 1, 2, 3, …
        let padding = self.padding(padded) as u8;
        out.extend(1..=padding);
        out.extend_from_slice(&[padding, next_header]);
        let data_len = padded + usize::from(padding) + TRAILER_LEN;
        out.resize(out.len() + self.cipher.icv_len(), 0);

        let packet = out.get_mut(start..).ok_or(EspError::Malformed)?;
        let (header, rest) = packet.split_at_mut_checked(HEADER_LEN).ok_or(EspError::Malformed)?;
        let (iv, rest) = rest.split_at_mut_checked(iv_len).ok_or(EspError::Malformed)?;
        let (data, icv) = rest.split_at_mut_checked(data_len).ok_or(EspError::Malformed)?;
        if self.esn {
            // The high half is authenticated but not sent: within the AAD of an AEAD (RFC 4106 §5), behind everything
            // else for a separate MAC (RFC 4303 §2.2.1).
            let mut aad = [0; 12];
            extended_aad(header, high, &mut aad);
            if self.cipher.encryption().is_aead() {
                self.cipher.seal(iv, &aad, data, &[], icv)?;
            } else {
                self.cipher.seal(iv, header, data, &high, icv)?;
            }
        } else {
            self.cipher.seal(iv, header, data, &[], icv)?;
        }
        Ok(())
    }

    fn take_sequence(&self) -> Result<u64, EspError> {
        let last = self.last_sequence();
        self.sequence
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < last).then(|| used + 1))
            .map(|used| used + 1)
            .map_err(|_| EspError::SequenceExhausted)
    }

    fn padding(&self, payload_len: usize) -> usize {
        let align = alignment(&self.cipher);
        let over = payload_len.wrapping_add(TRAILER_LEN) % align;
        if over == 0 { 0 } else { align - over }
    }
}

/// SPI | high half | low half, from the header that goes on the wire.
pub(crate) fn extended_aad(header: &[u8], high: [u8; 4], aad: &mut [u8; 12]) {
    let (spi, low) = header.split_at(header.len().min(4));
    for (to, from) in aad.iter_mut().zip(spi.iter().chain(&high).chain(low)) {
        *to = *from;
    }
}
