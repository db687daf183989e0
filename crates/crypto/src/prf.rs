//! Pseudo-random functions and `prf+` (RFC 7296 §2.13, RFC 4868).

use aws_lc_rs::hmac;

use crate::{CryptoError, Secret};

/// A pseudo-random function of IKEv2 (Transform Type 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prf {
    /// PRF_HMAC_SHA2_256.
    HmacSha256,
    /// PRF_HMAC_SHA2_384.
    HmacSha384,
    /// PRF_HMAC_SHA2_512.
    HmacSha512,
}

impl Prf {
    /// Every function served.
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// By transform ID.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|prf| prf.id() == id)
    }

    /// Transform ID.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }

    /// Preferred key length in octets: that of SK_d, SK_pi and SK_pr.
    #[must_use]
    pub fn key_len(self) -> usize {
        self.output_len()
    }

    /// Output length in octets.
    #[must_use]
    pub fn output_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    fn key(self, key: &[u8]) -> hmac::Key {
        let algorithm = match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        };
        hmac::Key::new(algorithm, key)
    }

    /// `prf(key, parts[0] | parts[1] | …)`.
    #[must_use]
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        tag(&self.key(key), parts).as_ref().to_vec()
    }

    /// The function with a key that is used often.
    #[must_use]
    pub fn keyed(self, key: &[u8]) -> PrfKey {
        PrfKey(self.key(key))
    }

    /// `prf+(key, seed[0] | seed[1] | …)`, the first `len` octets.
    ///
    /// # Errors
    /// When more than the 255 blocks of RFC 7296 §2.13 would be needed.
    pub fn plus(self, key: &[u8], seed: &[&[u8]], len: usize) -> Result<Secret, CryptoError> {
        if len.div_ceil(self.output_len()) > 255 {
            return Err(CryptoError::TooMuchKeyMaterial);
        }
        let key = self.key(key);
        // Exactly sized, so that no reallocation leaves key material behind.
        let mut stream = Vec::with_capacity(len);
        let mut previous: Option<hmac::Tag> = None;
        for number in 1..=255u8 {
            if stream.len() == len {
                break;
            }
            let mut context = hmac::Context::with_key(&key);
            if let Some(tag) = &previous {
                context.update(tag.as_ref());
            }
            for part in seed {
                context.update(part);
            }
            context.update(&[number]);
            let block = context.sign();
            stream.extend(block.as_ref().iter().take(len - stream.len()));
            previous = Some(block);
        }
        Ok(Secret::from(stream))
    }
}

/// A [`Prf`] with its key, prepared.
#[derive(Debug, Clone)]
pub struct PrfKey(hmac::Key);

impl PrfKey {
    /// `prf(key, parts[0] | parts[1] | …)`.
    #[must_use]
    pub fn compute(&self, parts: &[&[u8]]) -> impl AsRef<[u8]> + use<> {
        tag(&self.0, parts)
    }
}

fn tag(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}
