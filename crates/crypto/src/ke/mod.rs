//! Key exchange (Transform Type 4): MODP, ECP and Curve25519 groups with the recipient tests of RFC 6989.

mod ecdh;
mod modp;

use std::fmt;

use crate::{CryptoError, KeError, Random, Secret};

/// A key exchange group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeGroup {
    /// 2048-bit MODP (RFC 3526).
    Modp2048,
    /// 3072-bit MODP (RFC 3526).
    Modp3072,
    /// 4096-bit MODP (RFC 3526).
    Modp4096,
    /// 256-bit random ECP, P-256 (RFC 5903).
    Ecp256,
    /// 384-bit random ECP, P-384 (RFC 5903).
    Ecp384,
    /// 521-bit random ECP, P-521 (RFC 5903).
    Ecp521,
    /// Curve25519 (RFC 8031).
    X25519,
}

impl KeGroup {
    /// Every group served.
    pub const ALL: [Self; 7] = [
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Ecp256,
        Self::Ecp384,
        Self::Ecp521,
        Self::X25519,
    ];

    /// By transform ID.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }

    /// Transform ID.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Ecp521 => 21,
            Self::X25519 => 31,
        }
    }

    /// Octets of a public value in a KE payload.
    #[must_use]
    pub fn public_len(self) -> usize {
        match self {
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
            Self::X25519 => 32,
        }
    }
}

impl fmt::Display for KeGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modp2048 => "MODP_2048",
            Self::Modp3072 => "MODP_3072",
            Self::Modp4096 => "MODP_4096",
            Self::Ecp256 => "ECP_256",
            Self::Ecp384 => "ECP_384",
            Self::Ecp521 => "ECP_521",
            Self::X25519 => "CURVE_25519",
        })
    }
}

/// Our private half of one key exchange with its public value.
pub struct KeSecret {
    group: KeGroup,
    public: Box<[u8]>,
    private: Private,
}

enum Private {
    Modp(Secret),
    Ecdh(aws_lc_rs::agreement::PrivateKey),
}

impl KeSecret {
    /// A fresh secret from `rng`.
    ///
    /// # Errors
    /// When `rng` gives nothing usable or the library fails.
    pub fn generate(group: KeGroup, rng: &mut dyn Random) -> Result<Self, CryptoError> {
        let (public, private) = match group {
            KeGroup::Modp2048 | KeGroup::Modp3072 | KeGroup::Modp4096 => {
                let (public, exponent) = modp::generate(group, rng)?;
                (public, Private::Modp(exponent))
            }
            KeGroup::Ecp256 | KeGroup::Ecp384 | KeGroup::Ecp521 | KeGroup::X25519 => {
                let (public, key) = ecdh::generate(group, rng)?;
                (public, Private::Ecdh(key))
            }
        };
        Ok(Self { group, public: public.into_boxed_slice(), private })
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> KeGroup {
        self.group
    }

    /// The public value as a KE payload carries it (ECP: X | Y without a leading 0x04, RFC 5903 §7).
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret with a peer's public value.
    ///
    /// # Errors
    /// When the value has the wrong length or fails the tests of RFC 6989 (MODP: 1 < y < p−1; ECP: on the curve) or
    /// RFC 8031 §2 (an all-zero result).
    pub fn agree(&self, peer: &[u8]) -> Result<Secret, KeError> {
        let expected = self.group.public_len();
        if peer.len() != expected {
            return Err(KeError::WrongLength { group: self.group, expected, got: peer.len() });
        }
        let shared = match &self.private {
            Private::Modp(exponent) => modp::agree(self.group, exponent, peer),
            Private::Ecdh(key) => ecdh::agree(self.group, key, peer),
        };
        shared.ok_or(KeError::InvalidPublic { group: self.group })
    }
}

impl fmt::Debug for KeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeSecret").field("group", &self.group).finish_non_exhaustive()
    }
}
