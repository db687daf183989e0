//! A peer's public key and the verification of its signatures.

use aws_lc_rs::signature as lib;

use super::{KeyKind, SignatureScheme, key_kind};
use crate::der::{self, Reader};
use crate::{CryptoError, HashAlg};

/// A public key that passed every check: known algorithm, sane parameters, enough strength.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    bits: u32,
    /// RSAPublicKey (RFC 8017), uncompressed point, or Ed25519 key: what the library takes.
    material: Box<[u8]>,
}

/// RSA moduli below are breakable within reach; above they only serve to keep us busy.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

impl PublicKey {
    /// From a DER SubjectPublicKeyInfo, strictly.
    ///
    /// # Errors
    /// For anything but a well-formed RSA key of 2048 to 8192 bits with an odd exponent of at least 3, a point on
    /// P-256, P-384 or P-521, or an Ed25519 key; and for trailing octets.
    pub fn from_spki(spki: &[u8]) -> Result<Self, CryptoError> {
        let malformed = || CryptoError::Malformed("SubjectPublicKeyInfo");
        let mut outer = Reader::new(spki);
        let mut info = outer.nested(der::SEQUENCE).ok_or_else(malformed)?;
        outer.end().ok_or_else(malformed)?;
        let kind = key_kind(info.nested(der::SEQUENCE).ok_or_else(malformed)?)?;
        let material = info.octet_bits().ok_or_else(malformed)?;
        info.end().ok_or_else(malformed)?;
        Self::from_material(kind, material)
    }

    pub(super) fn from_material(kind: KeyKind, material: &[u8]) -> Result<Self, CryptoError> {
        let bits = match kind {
            KeyKind::Rsa => check_rsa(material)?,
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => check_point(kind, material)?,
            KeyKind::Ed25519 if material.len() == 32 => 256,
            KeyKind::Ed25519 => return Err(CryptoError::Malformed("Ed25519 public key")),
        };
        let key = Self { kind, bits, material: material.into() };
        // The library has the last word: RSA structure, point on the curve.
        let algorithm = key.algorithm(key.native_scheme())?;
        lib::UnparsedPublicKey::new(algorithm, &key.material)
            .parse()
            .map_err(|_| CryptoError::Refused("the public key is not valid"))?;
        Ok(key)
    }

    /// The kind of key.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Modulus or field size in bits.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Verifies an RFC 7427 signature over `msg`.
    ///
    /// # Errors
    /// [`CryptoError::SchemeMismatch`] when the scheme is not one for this key, [`CryptoError::BadSignature`] when the
    /// signature is wrong, empty or all zero.
    pub fn verify(&self, scheme: SignatureScheme, msg: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.verify_with(self.algorithm(scheme)?, msg, signature)
    }

    /// Verifies a signature of an AUTH method older than RFC 7427: 9, 10 and 11 are ECDSA with r | s (RFC 4754).
    ///
    /// # Errors
    /// As [`PublicKey::verify`]; method 1 (RSA with SHA-1) is refused always.
    pub fn verify_legacy(&self, method: u8, msg: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let algorithm: &'static dyn lib::VerificationAlgorithm = match (method, self.kind) {
            (9, KeyKind::EcdsaP256) => &lib::ECDSA_P256_SHA256_FIXED,
            (10, KeyKind::EcdsaP384) => &lib::ECDSA_P384_SHA384_FIXED,
            (11, KeyKind::EcdsaP521) => &lib::ECDSA_P521_SHA512_FIXED,
            (1, _) => return Err(RSA_SHA1),
            _ => return Err(CryptoError::SchemeMismatch),
        };
        self.verify_with(algorithm, msg, signature)
    }

    fn verify_with(
        &self,
        algorithm: &'static dyn lib::VerificationAlgorithm,
        msg: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        // Empty and all-zero signatures were accepted by others before (CVE-2013-2944); never rely on the library.
        if signature.iter().all(|octet| *octet == 0) {
            return Err(CryptoError::BadSignature);
        }
        lib::UnparsedPublicKey::new(algorithm, &self.material)
            .verify(msg, signature)
            .map_err(|_| CryptoError::BadSignature)
    }

    fn native_scheme(&self) -> SignatureScheme {
        match self.kind {
            KeyKind::Rsa => SignatureScheme::RsaPkcs1(HashAlg::Sha256),
            KeyKind::Ed25519 => SignatureScheme::Ed25519,
            _ => SignatureScheme::Ecdsa(HashAlg::Sha256),
        }
    }

    fn algorithm(
        &self,
        scheme: SignatureScheme,
    ) -> Result<&'static dyn lib::VerificationAlgorithm, CryptoError> {
        use HashAlg::{Sha256, Sha384, Sha512};
        use KeyKind::{EcdsaP256, EcdsaP384, EcdsaP521, Rsa};
        use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
        Ok(match (self.kind, scheme) {
            (Rsa, RsaPkcs1(Sha256)) => &lib::RSA_PKCS1_2048_8192_SHA256,
            (Rsa, RsaPkcs1(Sha384)) => &lib::RSA_PKCS1_2048_8192_SHA384,
            (Rsa, RsaPkcs1(Sha512)) => &lib::RSA_PKCS1_2048_8192_SHA512,
            (Rsa, RsaPss(Sha256)) => &lib::RSA_PSS_2048_8192_SHA256,
            (Rsa, RsaPss(Sha384)) => &lib::RSA_PSS_2048_8192_SHA384,
            (Rsa, RsaPss(Sha512)) => &lib::RSA_PSS_2048_8192_SHA512,
            (EcdsaP256, Ecdsa(Sha256)) => &lib::ECDSA_P256_SHA256_ASN1,
            (EcdsaP256, Ecdsa(Sha384)) => &lib::ECDSA_P256_SHA384_ASN1,
            (EcdsaP256, Ecdsa(Sha512)) => &lib::ECDSA_P256_SHA512_ASN1,
            (EcdsaP384, Ecdsa(Sha256)) => &lib::ECDSA_P384_SHA256_ASN1,
            (EcdsaP384, Ecdsa(Sha384)) => &lib::ECDSA_P384_SHA384_ASN1,
            (EcdsaP384, Ecdsa(Sha512)) => &lib::ECDSA_P384_SHA512_ASN1,
            (EcdsaP521, Ecdsa(Sha256)) => &lib::ECDSA_P521_SHA256_ASN1,
            (EcdsaP521, Ecdsa(Sha384)) => &lib::ECDSA_P521_SHA384_ASN1,
            (EcdsaP521, Ecdsa(Sha512)) => &lib::ECDSA_P521_SHA512_ASN1,
            (KeyKind::Ed25519, Ed25519) => &lib::ED25519,
            _ => return Err(CryptoError::SchemeMismatch),
        })
    }
}

pub(super) const RSA_SHA1: CryptoError = CryptoError::Refused(
    "RSA signatures with SHA-1 (AUTH method 1) are not used; the peer must support RFC 7427 signatures",
);

/// RSAPublicKey ::= SEQUENCE { modulus, publicExponent }; gives the modulus' bits.
fn check_rsa(material: &[u8]) -> Result<u32, CryptoError> {
    let malformed = || CryptoError::Malformed("RSA public key");
    let mut outer = Reader::new(material);
    let mut key = outer.nested(der::SEQUENCE).ok_or_else(malformed)?;
    outer.end().ok_or_else(malformed)?;
    let modulus = key.unsigned().ok_or_else(malformed)?;
    let exponent = key.unsigned().ok_or_else(malformed)?;
    key.end().ok_or_else(malformed)?;

    let bits = modulus.first().map_or(0, |top| modulus.len() as u32 * 8 - top.leading_zeros());
    if bits < *RSA_BITS.start() {
        return Err(CryptoError::Refused("RSA keys must have at least 2048 bits"));
    }
    if bits > *RSA_BITS.end() {
        return Err(CryptoError::Refused("RSA keys must have at most 8192 bits"));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|octet| octet & 1 == 1);
    if !odd(modulus) || !odd(exponent) || exponent == [1] {
        return Err(CryptoError::Refused("the RSA key has an even or too small modulus or exponent"));
    }
    Ok(bits)
}

/// RFC 5480 §2.2: uncompressed points only.
fn check_point(kind: KeyKind, material: &[u8]) -> Result<u32, CryptoError> {
    let len = kind.field_len().ok_or(CryptoError::SchemeMismatch)?;
    if material.len() != 1 + 2 * len || material.first() != Some(&4) {
        return Err(CryptoError::Malformed("EC public key"));
    }
    Ok(match kind {
        KeyKind::EcdsaP256 => 256,
        KeyKind::EcdsaP384 => 384,
        _ => 521,
    })
}
