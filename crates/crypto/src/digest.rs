//! Hash functions.

use aws_lc_rs::digest;
use md4::{Digest as _, Md4};

/// A hash algorithm of the IKEv2 registry of RFC 7427.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlg {
    /// SHA-1: known so that a peer's list can be read, never used in a signature.
    Sha1,
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
    /// No hash before the signature (RFC 8420, for Ed25519).
    Identity,
}

impl HashAlg {
    /// What a SIGNATURE_HASH_ALGORITHMS notify of ours lists.
    pub const SUPPORTED: [Self; 4] = [Self::Sha256, Self::Sha384, Self::Sha512, Self::Identity];

    /// By registry number.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        match id {
            1 => Some(Self::Sha1),
            2 => Some(Self::Sha256),
            3 => Some(Self::Sha384),
            4 => Some(Self::Sha512),
            5 => Some(Self::Identity),
            _ => None,
        }
    }

    /// Registry number.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
            Self::Identity => 5,
        }
    }

    pub(crate) fn algorithm(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::Sha1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256 => Some(&digest::SHA256),
            Self::Sha384 => Some(&digest::SHA384),
            Self::Sha512 => Some(&digest::SHA512),
            Self::Identity => None,
        }
    }
}

/// The hash of the concatenated parts; the concatenation itself for [`HashAlg::Identity`].
#[must_use]
pub fn hash(alg: HashAlg, parts: &[&[u8]]) -> Vec<u8> {
    let Some(algorithm) = alg.algorithm() else { return parts.concat() };
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// SHA-1, for what the protocols fix it for: NAT detection (RFC 7296 §2.23), key identifiers, MSCHAPv2.
#[must_use]
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 20];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// MD4, for MSCHAPv2's NtPasswordHash (RFC 2759 §8.3) and nothing else.
#[must_use]
pub fn md4(data: &[u8]) -> [u8; 16] {
    Md4::digest(data).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        // RFC 2759 §9.2: the password "clientPass" in UTF-16 and its NtPasswordHash.
        let password: Vec<u8> = "clientPass".bytes().flat_map(|c| [c, 0]).collect();
        assert_eq!(md4(&password), 0x44EB_BA8D_5312_B8D6_1147_4411_F569_89AE_u128.to_be_bytes());
        let abc = sha1(&[b"a", b"bc"]);
        assert_eq!(abc[..8], 0xa999_3e36_4706_816a_u64.to_be_bytes());
        for (alg, head, len) in [
            (HashAlg::Sha1, 0xa999_3e36_4706_816a_u64, 20),
            (HashAlg::Sha256, 0xba78_16bf_8f01_cfea, 32),
            (HashAlg::Sha384, 0xcb00_753f_45a3_5e8b, 48),
            (HashAlg::Sha512, 0xddaf_35a1_9361_7aba, 64),
        ] {
            let out = hash(alg, &[b"abc"]);
            assert_eq!((out.len(), &out[..8]), (len, &head.to_be_bytes()[..]));
            assert_eq!(HashAlg::from_id(alg.id()), Some(alg));
        }
        assert_eq!(hash(HashAlg::Identity, &[b"a", b"bc"]), b"abc");
        assert_eq!(HashAlg::from_id(0), None);
    }
}
