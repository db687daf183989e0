//! Signatures of the AUTH payload: RFC 7427 with its AlgorithmIdentifiers, RFC 8420, and the older RFC 4754.

mod private;
mod public;
mod scheme;

pub use private::PrivateKey;
pub use public::PublicKey;
pub use scheme::SignatureScheme;

use std::fmt;

use crate::CryptoError;
use crate::der::{self, Reader};

/// What sort of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// RSA of 2048 to 8192 bits.
    Rsa,
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
}

impl KeyKind {
    /// The AUTH method of RFC 4754 that goes with the key (9, 10, 11); `None` when it has none.
    #[must_use]
    pub fn legacy_method(self) -> Option<u8> {
        match self {
            Self::EcdsaP256 => Some(9),
            Self::EcdsaP384 => Some(10),
            Self::EcdsaP521 => Some(11),
            Self::Rsa | Self::Ed25519 => None,
        }
    }

    /// Octets of a coordinate or scalar of an ECDSA key.
    fn field_len(self) -> Option<usize> {
        match self {
            Self::EcdsaP256 => Some(32),
            Self::EcdsaP384 => Some(48),
            Self::EcdsaP521 => Some(66),
            Self::Rsa | Self::Ed25519 => None,
        }
    }

    fn curve_oid(self) -> Option<&'static [u8]> {
        match self {
            Self::EcdsaP256 => Some(OID_P256),
            Self::EcdsaP384 => Some(OID_P384),
            Self::EcdsaP521 => Some(OID_P521),
            Self::Rsa | Self::Ed25519 => None,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::EcdsaP521 => "ECDSA P-521",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// 1.2.840.113549.1.1.1
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
const OID_P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// 1.3.101.112
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The kind of key an AlgorithmIdentifier's content (OID and parameters) names.
fn key_kind(mut algorithm: Reader<'_>) -> Result<KeyKind, CryptoError> {
    let malformed = CryptoError::Malformed("key algorithm identifier");
    let oid = algorithm.take(der::OID).ok_or(malformed.clone())?;
    let kind = if oid == OID_RSA {
        // RFC 3279 §2.3.1: the parameters are NULL.
        if !algorithm.take(der::NULL).ok_or(malformed.clone())?.is_empty() {
            return Err(malformed);
        }
        KeyKind::Rsa
    } else if oid == OID_EC {
        let curve =
            algorithm.take(der::OID).ok_or(CryptoError::Unsupported("an EC key without a named curve"))?;
        curve_kind(curve)?
    } else if oid == OID_ED25519 {
        KeyKind::Ed25519
    } else {
        return Err(CryptoError::Unsupported("this kind of key"));
    };
    algorithm.end().ok_or(malformed)?;
    Ok(kind)
}

fn curve_kind(oid: &[u8]) -> Result<KeyKind, CryptoError> {
    [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521]
        .into_iter()
        .find(|kind| kind.curve_oid() == Some(oid))
        .ok_or(CryptoError::Unsupported("this elliptic curve"))
}
