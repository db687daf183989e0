//! Opening: from an ESP packet to its payload.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use adit_crypto::Cipher;
use adit_ipsec::SaKeys;

use crate::outbound::extended_aad;
use crate::{EspError, HEADER_LEN, ReplayWindow, TRAILER_LEN, alignment, cipher_for, spi_of};

/// The receiving half of an SA.
#[derive(Debug)]
pub struct Inbound {
    spi: u32,
    esn: bool,
    cipher: Cipher,
    window: Mutex<ReplayWindow>,
    packets: AtomicU64,
    bytes: AtomicU64,
    auth_failures: AtomicU64,
    replays: AtomicU64,
    malformed: AtomicU64,
}

/// What an [`Inbound`] has received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboundStats {
    /// Genuine packets, dummies included.
    pub packets: u64,
    /// Octets of their payloads.
    pub bytes: u64,
    /// Packets whose integrity check failed.
    pub auth_failures: u64,
    /// Packets seen before or older than the window.
    pub replays: u64,
    /// Packets too short, not aligned, for another SPI, or with bad padding.
    pub malformed: u64,
}

/// A genuine packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Protocol of the payload: 4 or 41 in tunnel mode, [`crate::NEXT_HEADER_DUMMY`] for one to discard.
    pub next_header: u8,
    /// The payload, within the buffer the packet came in. May carry traffic-flow padding behind the inner packet
    /// (RFC 4303 §2.7).
    pub payload: &'a mut [u8],
    /// The full sequence number.
    pub sequence: u64,
}

impl Inbound {
    /// The receiving half for `spi`, with extended sequence numbers if `esn` and a window of `replay_window` packets
    /// (0 = no replay protection).
    ///
    /// # Errors
    /// When the algorithms are unknown or a key has the wrong length.
    pub fn new(spi: u32, keys: &SaKeys, esn: bool, replay_window: u32) -> Result<Self, EspError> {
        Ok(Self::with_cipher(spi, cipher_for(keys)?, ReplayWindow::new(replay_window, esn)))
    }

    /// The same around a cipher and a window that exist already.
    #[must_use]
    pub fn with_cipher(spi: u32, cipher: Cipher, window: ReplayWindow) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            spi,
            esn: window.is_extended(),
            cipher,
            window: Mutex::new(window),
            packets: zero(),
            bytes: zero(),
            auth_failures: zero(),
            replays: zero(),
            malformed: zero(),
        }
    }

    /// The SPI.
    #[must_use]
    pub fn spi(&self) -> u32 {
        self.spi
    }

    /// The highest sequence number received.
    #[must_use]
    pub fn highest_sequence(&self) -> u64 {
        self.window().top()
    }

    /// What has been received.
    #[must_use]
    pub fn stats(&self) -> InboundStats {
        InboundStats {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            auth_failures: self.auth_failures.load(Ordering::Relaxed),
            replays: self.replays.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
        }
    }

    /// Checks and decrypts `packet`, SPI to integrity check value, in place.
    ///
    /// The order is that of RFC 4303 §3.4.3: a replayed number is refused before any cryptography, the window moves
    /// only for a genuine packet.
    ///
    /// # Errors
    /// Why the packet must be dropped; its octets are then unspecified.
    pub fn open<'a>(&self, packet: &'a mut [u8]) -> Result<Opened<'a>, EspError> {
        let result = self.open_uncounted(packet);
        match &result {
            Ok(opened) => {
                self.packets.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(opened.payload.len() as u64, Ordering::Relaxed);
            }
            Err(EspError::Replayed) => _ = self.replays.fetch_add(1, Ordering::Relaxed),
            Err(EspError::Authentication) => _ = self.auth_failures.fetch_add(1, Ordering::Relaxed),
            Err(_) => _ = self.malformed.fetch_add(1, Ordering::Relaxed),
        }
        result
    }

    fn open_uncounted<'a>(&self, packet: &'a mut [u8]) -> Result<Opened<'a>, EspError> {
        if spi_of(packet).ok_or(EspError::Malformed)? != self.spi {
            return Err(EspError::WrongSpi);
        }
        let (header, rest) = packet.split_at_mut_checked(HEADER_LEN).ok_or(EspError::Malformed)?;
        let (iv, rest) = rest.split_at_mut_checked(self.cipher.iv_len()).ok_or(EspError::Malformed)?;
        let data_len = rest.len().checked_sub(self.cipher.icv_len()).ok_or(EspError::Malformed)?;
        let (data, icv) = rest.split_at_mut_checked(data_len).ok_or(EspError::Malformed)?;
        if data.is_empty() || !data.len().is_multiple_of(alignment(&self.cipher)) {
            return Err(EspError::Malformed);
        }

        let low = header.last_chunk().copied().map(u32::from_be_bytes).ok_or(EspError::Malformed)?;
        let sequence = self.window().check(low).ok_or(EspError::Replayed)?;
        let [high @ .., _, _, _, _] = sequence.to_be_bytes();
        if !self.esn {
            self.cipher.open(iv, header, data, &[], icv)?;
        } else if self.cipher.encryption().is_aead() {
            let mut aad = [0; 12];
            extended_aad(header, high, &mut aad);
            self.cipher.open(iv, &aad, data, &[], icv)?;
        } else {
            self.cipher.open(iv, header, data, &high, icv)?;
        }
        // Another thread may have accepted the same number meanwhile: whoever comes second loses.
        if !self.window().accept(sequence) {
            return Err(EspError::Replayed);
        }

        let (body, &mut [pad_len, next_header]) =
            data.split_last_chunk_mut::<TRAILER_LEN>().ok_or(EspError::Malformed)?;
        let payload_len = body.len().checked_sub(usize::from(pad_len)).ok_or(EspError::BadPadding)?;
        let payload = body.get_mut(..payload_len).ok_or(EspError::BadPadding)?;
        Ok(Opened { next_header, payload, sequence })
    }

    /// A thread that panicked while it held the lock cannot have left the window half changed in a way that matters.
    fn window(&self) -> MutexGuard<'_, ReplayWindow> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
