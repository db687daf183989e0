//! What can go wrong with a packet.

use std::fmt;

use adit_crypto::CryptoError;

/// Why a packet was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EspError {
    /// The last sequence number has been used: the SA must be replaced (RFC 4303 §2.2).
    SequenceExhausted,
    /// The payload does not fit an ESP packet of 65535 octets.
    TooLong,
    /// Shorter than any packet of this SA, or not aligned to its cipher.
    Malformed,
    /// The packet belongs to another SA.
    WrongSpi,
    /// The sequence number was seen before or is older than the window.
    Replayed,
    /// The integrity check failed: forged, damaged, or sealed with another key.
    Authentication,
    /// Genuine, but its padding is longer than the packet.
    BadPadding,
    /// The SA record names an algorithm that is not served.
    UnknownTransform,
    /// The cryptography refused, usually a key of the wrong length.
    Crypto(CryptoError),
}

impl fmt::Display for EspError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SequenceExhausted => "the sequence numbers of the SA are used up",
            Self::TooLong => "the packet is too long for ESP",
            Self::Malformed => "the ESP packet is too short or not aligned",
            Self::WrongSpi => "the ESP packet belongs to another SA",
            Self::Replayed => "the ESP packet was replayed or is older than the window",
            Self::Authentication => "the ESP packet failed its integrity check",
            Self::BadPadding => "the ESP packet has invalid padding",
            Self::UnknownTransform => "the SA uses an algorithm that is not supported",
            Self::Crypto(e) => return e.fmt(f),
        })
    }
}

impl std::error::Error for EspError {}

impl From<CryptoError> for EspError {
    fn from(e: CryptoError) -> Self {
        match e {
            CryptoError::Authentication => Self::Authentication,
            other => Self::Crypto(other),
        }
    }
}
