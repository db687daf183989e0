//! Our private keys and the signatures made with them.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature as lib;
use aws_lc_rs::signature::KeyPair as _;

use super::public::RSA_SHA1;
use super::{KeyKind, OID_EC, OID_ED25519, OID_RSA, PublicKey, SignatureScheme, curve_kind, key_kind};
use crate::der::{self, Reader};
use crate::{CryptoError, HashAlg, hash};

/// A private signing key.
pub struct PrivateKey {
    kind: KeyKind,
    key: Key,
}

enum Key {
    Rsa(lib::RsaKeyPair),
    Ecdsa(lib::EcdsaKeyPair),
    Ed25519(lib::Ed25519KeyPair),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// From a DER PKCS#8 PrivateKeyInfo or OneAsymmetricKey (RFC 5958), unencrypted.
    ///
    /// # Errors
    /// When it is malformed, weak, or of an unknown kind.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        let malformed = || CryptoError::Malformed("PKCS#8 private key");
        let mut outer = Reader::new(pkcs8);
        let mut info = outer.nested(der::SEQUENCE).ok_or_else(malformed)?;
        outer.end().ok_or_else(malformed)?;
        if !matches!(info.unsigned(), Some([] | [1])) {
            return Err(malformed());
        }
        let kind = key_kind(info.nested(der::SEQUENCE).ok_or_else(malformed)?)?;
        let inner = info.take(der::OCTET_STRING).ok_or_else(malformed)?;
        // What may follow (attributes, the public key) is not needed: the public key is computed.
        match kind {
            KeyKind::Rsa => Self::from_pkcs1(inner),
            KeyKind::Ed25519 => {
                let mut reader = Reader::new(inner);
                let seed = reader.take(der::OCTET_STRING).ok_or_else(malformed)?;
                reader.end().ok_or_else(malformed)?;
                let pair = lib::Ed25519KeyPair::from_seed_unchecked(seed)
                    .map_err(|_| CryptoError::Malformed("Ed25519 private key"))?;
                Ok(Self { kind, key: Key::Ed25519(pair) })
            }
            _ => Self::from_ec(kind, inner),
        }
    }

    /// From a DER RSAPrivateKey (PKCS#1, RFC 8017).
    ///
    /// # Errors
    /// When it is malformed, inconsistent or weak.
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, CryptoError> {
        let pair = lib::RsaKeyPair::from_der(der).map_err(|_| {
            CryptoError::Refused("the RSA private key is malformed, inconsistent or too small")
        })?;
        // The same demands as on a peer's key.
        PublicKey::from_material(KeyKind::Rsa, pair.public_key().as_ref())?;
        Ok(Self { kind: KeyKind::Rsa, key: Key::Rsa(pair) })
    }

    /// From a DER ECPrivateKey (SEC 1, RFC 5915).
    ///
    /// # Errors
    /// When it is malformed or on a curve that is not served.
    pub fn from_sec1(der: &[u8]) -> Result<Self, CryptoError> {
        let malformed = || CryptoError::Malformed("EC private key");
        let mut reader = Reader::new(der);
        let mut key = reader.nested(der::SEQUENCE).ok_or_else(malformed)?;
        reader.end().ok_or_else(malformed)?;
        if key.unsigned() != Some(&[1]) {
            return Err(malformed());
        }
        let scalar = key.take(der::OCTET_STRING).ok_or_else(malformed)?;
        let kind = match key.nested(der::CONTEXT_0) {
            Some(mut parameters) => {
                let oid = parameters
                    .take(der::OID)
                    .ok_or(CryptoError::Unsupported("an EC key without a named curve"))?;
                curve_kind(oid)?
            }
            // RFC 5915 wants the parameters; the scalar's length tells as much among the curves served.
            None => [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521]
                .into_iter()
                .find(|kind| kind.field_len() == Some(scalar.len()))
                .ok_or_else(malformed)?,
        };
        Self::from_ec(kind, der)
    }

    fn from_ec(kind: KeyKind, sec1: &[u8]) -> Result<Self, CryptoError> {
        let algorithm = match kind {
            KeyKind::EcdsaP256 => &lib::ECDSA_P256_SHA256_ASN1_SIGNING,
            KeyKind::EcdsaP384 => &lib::ECDSA_P384_SHA384_ASN1_SIGNING,
            KeyKind::EcdsaP521 => &lib::ECDSA_P521_SHA512_ASN1_SIGNING,
            KeyKind::Rsa | KeyKind::Ed25519 => return Err(CryptoError::SchemeMismatch),
        };
        let pair = lib::EcdsaKeyPair::from_private_key_der(algorithm, sec1)
            .map_err(|_| CryptoError::Malformed("EC private key"))?;
        Ok(Self { kind, key: Key::Ecdsa(pair) })
    }

    /// The kind of key.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public half as a DER SubjectPublicKeyInfo, as it stands in a certificate.
    #[must_use]
    pub fn public_spki(&self) -> Vec<u8> {
        let (algorithm, material) = match &self.key {
            Key::Rsa(pair) => {
                ([oid(OID_RSA), der::element(der::NULL, &[])].concat(), pair.public_key().as_ref())
            }
            Key::Ecdsa(pair) => {
                let curve = self.kind.curve_oid().unwrap_or_default();
                ([oid(OID_EC), oid(curve)].concat(), pair.public_key().as_ref())
            }
            Key::Ed25519(pair) => (oid(OID_ED25519), pair.public_key().as_ref()),
        };
        let algorithm = der::element(der::SEQUENCE, &[&algorithm]);
        let bits = der::element(der::BIT_STRING, &[&[0], material]);
        der::element(der::SEQUENCE, &[&algorithm, &bits])
    }

    /// The public half.
    ///
    /// # Errors
    /// Never for a key that could be loaded, short of a library failure.
    pub fn public_key(&self) -> Result<PublicKey, CryptoError> {
        PublicKey::from_spki(&self.public_spki())
    }

    /// The schemes this key can sign with, best first, among the hashes in the peer's SIGNATURE_HASH_ALGORITHMS.
    ///
    /// Empty when the peer announced none that fit: it then does not do RFC 7427 with this key, and
    /// [`PrivateKey::sign_legacy`] is what remains.
    #[must_use]
    pub fn schemes(&self, peer_hashes: &[HashAlg], prefer_pss: bool) -> Vec<SignatureScheme> {
        use HashAlg::{Sha256, Sha384, Sha512};
        let order = match self.kind {
            KeyKind::Ed25519 => {
                // RFC 8420 §3: only to peers that listed "Identity".
                let able = peer_hashes.contains(&HashAlg::Identity);
                return if able { vec![SignatureScheme::Ed25519] } else { Vec::new() };
            }
            KeyKind::Rsa | KeyKind::EcdsaP256 => [Sha256, Sha384, Sha512],
            KeyKind::EcdsaP384 => [Sha384, Sha512, Sha256],
            KeyKind::EcdsaP521 => [Sha512, Sha384, Sha256],
        };
        let hashes = order.into_iter().filter(|hash| peer_hashes.contains(hash));
        match self.kind {
            KeyKind::Rsa => hashes
                .flat_map(|hash| {
                    let (pss, pkcs1) = (SignatureScheme::RsaPss(hash), SignatureScheme::RsaPkcs1(hash));
                    if prefer_pss { [pss, pkcs1] } else { [pkcs1, pss] }
                })
                .collect(),
            _ => hashes.map(SignatureScheme::Ecdsa).collect(),
        }
    }

    /// Signs `msg` by RFC 7427.
    ///
    /// # Errors
    /// When the scheme does not belong to this kind of key.
    pub fn sign(&self, scheme: SignatureScheme, msg: &[u8]) -> Result<Vec<u8>, CryptoError> {
        use HashAlg::{Sha256, Sha384, Sha512};
        use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
        match (&self.key, scheme) {
            (Key::Rsa(pair), RsaPkcs1(_) | RsaPss(_)) => {
                let encoding: &'static dyn lib::RsaEncoding = match scheme {
                    RsaPkcs1(Sha256) => &lib::RSA_PKCS1_SHA256,
                    RsaPkcs1(Sha384) => &lib::RSA_PKCS1_SHA384,
                    RsaPkcs1(Sha512) => &lib::RSA_PKCS1_SHA512,
                    RsaPss(Sha256) => &lib::RSA_PSS_SHA256,
                    RsaPss(Sha384) => &lib::RSA_PSS_SHA384,
                    RsaPss(Sha512) => &lib::RSA_PSS_SHA512,
                    _ => return Err(CryptoError::SchemeMismatch),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), msg, &mut signature)
                    .map_err(|_| CryptoError::Provider("RSA signature"))?;
                Ok(signature)
            }
            (Key::Ecdsa(pair), Ecdsa(hash @ (Sha256 | Sha384 | Sha512))) => self.sign_ecdsa(pair, hash, msg),
            (Key::Ed25519(pair), Ed25519) => pair
                .try_sign(msg)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| CryptoError::Provider("Ed25519 signature")),
            _ => Err(CryptoError::SchemeMismatch),
        }
    }

    /// Signs for a peer without RFC 7427: ECDSA as r | s with the AUTH method of [`KeyKind::legacy_method`] (RFC 4754).
    ///
    /// # Errors
    /// When the method does not belong to this kind of key; method 1 (RSA with SHA-1) is refused always.
    pub fn sign_legacy(&self, method: u8, msg: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let hash = match method {
            1 => return Err(RSA_SHA1),
            9 => HashAlg::Sha256,
            10 => HashAlg::Sha384,
            11 => HashAlg::Sha512,
            _ => return Err(CryptoError::SchemeMismatch),
        };
        let Key::Ecdsa(pair) = &self.key else { return Err(CryptoError::SchemeMismatch) };
        if self.kind.legacy_method() != Some(method) {
            return Err(CryptoError::SchemeMismatch);
        }
        let len = self.kind.field_len().ok_or(CryptoError::SchemeMismatch)?;
        let signature = self.sign_ecdsa(pair, hash, msg)?;
        fixed_length(&signature, len).ok_or(CryptoError::Provider("ECDSA signature"))
    }

    /// The library signs with one hash per curve. ECDSA uses a hash as a number, cut to the leftmost bits of the order
    /// (FIPS 186-5 §6.4.1), so any other hash is handed over as the equal number in the size of the curve's own hash.
    fn sign_ecdsa(&self, pair: &lib::EcdsaKeyPair, alg: HashAlg, msg: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (native, len): (&'static digest::Algorithm, usize) = match self.kind {
            KeyKind::EcdsaP256 => (&digest::SHA256, 32),
            KeyKind::EcdsaP384 => (&digest::SHA384, 48),
            _ => (&digest::SHA512, 64),
        };
        let hashed = hash(alg, &[msg]);
        let mut number = vec![0; len.saturating_sub(hashed.len())];
        number.extend(hashed.iter().take(len));
        Digest::import_less_safe(&number, native)
            .and_then(|digest| pair.sign_digest(&digest))
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| CryptoError::Provider("ECDSA signature"))
    }
}

fn oid(content: &[u8]) -> Vec<u8> {
    der::element(der::OID, &[content])
}

/// Ecdsa-Sig-Value to r | s of `len` octets each.
fn fixed_length(signature: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut reader = Reader::new(signature).nested(der::SEQUENCE)?;
    let mut out = Vec::with_capacity(2 * len);
    for _ in 0..2 {
        let number = reader.unsigned()?;
        out.resize(out.len() + len.checked_sub(number.len())?, 0);
        out.extend_from_slice(number);
    }
    Some(out)
}
