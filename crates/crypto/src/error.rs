//! What can go wrong, as values.

use std::fmt;

use crate::KeGroup;

/// Why a cryptographic operation was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoError {
    /// The named algorithm is unknown or not served.
    Unsupported(&'static str),
    /// Key, IV or tag material has the wrong size.
    Length {
        /// What was measured.
        what: &'static str,
        /// Octets needed.
        expected: usize,
        /// Octets given.
        got: usize,
    },
    /// A DER or key structure is not well formed.
    Malformed(&'static str),
    /// Well formed, but too weak or dangerous to use.
    Refused(&'static str),
    /// The integrity check value does not match: forged, damaged, or the wrong key.
    Authentication,
    /// The signature does not verify.
    BadSignature,
    /// Key and signature scheme do not belong together.
    SchemeMismatch,
    /// More output was asked of `prf+` than its 255 blocks can give.
    TooMuchKeyMaterial,
    /// The key exchange was refused.
    KeyExchange(KeError),
    /// The cryptographic library refused an operation it should have been able to do.
    Provider(&'static str),
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::Length { what, expected, got } => {
                write!(f, "{what} must have {expected} octets, not {got}")
            }
            Self::Malformed(what) => write!(f, "malformed {what}"),
            Self::Refused(why) => f.write_str(why),
            Self::Authentication => f.write_str("integrity check failed"),
            Self::BadSignature => f.write_str("signature does not verify"),
            Self::SchemeMismatch => f.write_str("the key cannot be used with this signature scheme"),
            Self::TooMuchKeyMaterial => f.write_str("more key material requested than prf+ can give"),
            Self::KeyExchange(e) => e.fmt(f),
            Self::Provider(what) => write!(f, "cryptographic library failed: {what}"),
        }
    }
}

impl std::error::Error for CryptoError {}

impl From<KeError> for CryptoError {
    fn from(e: KeError) -> Self {
        Self::KeyExchange(e)
    }
}

/// Why a peer's public value was refused (RFC 6989, RFC 8031 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeError {
    /// The public value has not the length of its group: INVALID_SYNTAX towards the peer.
    WrongLength {
        /// The group in use.
        group: KeGroup,
        /// Octets the group's public values have.
        expected: usize,
        /// Octets received.
        got: usize,
    },
    /// The public value is no usable element of the group: off the curve, out of range, or of small order.
    InvalidPublic {
        /// The group in use.
        group: KeGroup,
    },
}

impl fmt::Display for KeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongLength { group, expected, got } => {
                write!(f, "a public value of {group} has {expected} octets, the peer sent {got}")
            }
            Self::InvalidPublic { group } => {
                write!(f, "the peer's {group} public value is not a valid element of the group")
            }
        }
    }
}

impl std::error::Error for KeError {}
