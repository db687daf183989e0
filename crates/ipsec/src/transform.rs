//! One algorithm of a proposal: the transform of RFC 7296 §3.3.2, as numbers of the IANA registries.

use std::fmt;

use crate::names;

/// The security protocol a proposal, SPI or notify is about (RFC 7296 §3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The IKE_SA itself.
    Ike = 1,
    /// Authentication Header; known by name, not served.
    Ah = 2,
    /// Encapsulating Security Payload.
    Esp = 3,
}

impl Protocol {
    /// The protocol of a wire number; `None` for any that IKEv2 does not define here.
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Ike),
            2 => Some(Self::Ah),
            3 => Some(Self::Esp),
            _ => None,
        }
    }

    /// The wire number.
    pub fn id(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ike => "IKE",
            Self::Ah => "AH",
            Self::Esp => "ESP",
        })
    }
}

/// What an algorithm is for (RFC 7296 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransformType {
    /// Encryption algorithm (ENCR).
    Encryption = 1,
    /// Pseudorandom function (PRF), IKE only.
    Prf = 2,
    /// Integrity algorithm (INTEG); absent with an AEAD.
    Integrity = 3,
    /// Key exchange method (formerly Diffie-Hellman group, D-H).
    KeyExchange = 4,
    /// Extended sequence numbers (ESN), ESP only.
    Esn = 5,
}

impl TransformType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Encryption, Self::Prf, Self::Integrity, Self::KeyExchange, Self::Esn];

    /// The type of a wire number; `None` for types not known here (RFC 9370's additional key exchanges among them).
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The wire number.
    pub fn id(self) -> u8 {
        self as u8
    }
}

/// One algorithm: its type, its number in that type's IANA registry and, for ciphers of variable key, the key length.
///
/// `id` may be any number when it came from a peer; what is configured has only served ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transform {
    /// What it is for.
    pub kind: TransformType,
    /// Number in the IANA registry of that type.
    pub id: u16,
    /// The Key Length attribute in bits, 0 if there is none.
    pub key_bits: u16,
}

impl Transform {
    /// An encryption algorithm; `key_bits` 0 for one of fixed key length.
    pub const fn encryption(id: u16, key_bits: u16) -> Self {
        Self { kind: TransformType::Encryption, id, key_bits }
    }

    /// A pseudorandom function.
    pub const fn prf(id: u16) -> Self {
        Self { kind: TransformType::Prf, id, key_bits: 0 }
    }

    /// An integrity algorithm.
    pub const fn integrity(id: u16) -> Self {
        Self { kind: TransformType::Integrity, id, key_bits: 0 }
    }

    /// A key exchange method.
    pub const fn key_exchange(id: u16) -> Self {
        Self { kind: TransformType::KeyExchange, id, key_bits: 0 }
    }

    /// With (`true`) or without extended sequence numbers.
    pub const fn esn(extended: bool) -> Self {
        Self { kind: TransformType::Esn, id: extended as u16, key_bits: 0 }
    }

    /// An encryption algorithm that protects integrity by itself (RFC 5282), so that no INTEG transform goes with it.
    pub fn is_aead(self) -> bool {
        self.kind == TransformType::Encryption && names::is_aead(self.id)
    }
}

impl fmt::Display for Transform {
    /// `AES_GCM_16_256`, `PRF_HMAC_SHA2_384`, `NO_EXT_SEQ`: the form used inside proposals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, prefix) = match self.kind {
            TransformType::Encryption => (names::encryption_name(self.id), "ENCR"),
            TransformType::Prf => (names::prf_name(self.id), "PRF"),
            TransformType::Integrity => (names::integrity_name(self.id), "AUTH"),
            TransformType::KeyExchange => (names::ke_name(self.id), "KE"),
            TransformType::Esn => (names::esn_name(self.id), "ESN"),
        };
        match name {
            names::UNKNOWN => write!(f, "{prefix}_{}", self.id)?,
            name => f.write_str(name)?,
        }
        match self.key_bits {
            0 => Ok(()),
            bits => write!(f, "_{bits}"),
        }
    }
}
