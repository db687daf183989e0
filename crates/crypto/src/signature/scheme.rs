//! Signature schemes and their DER AlgorithmIdentifiers (RFC 7427 appendix A, RFC 8420, RFC 4055).

use crate::HashAlg;
use crate::der::{self, Reader};

/// How a signature is made: what the AlgorithmIdentifier in an AUTH payload of method 14 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(HashAlg),
    /// RSASSA-PSS, MGF1 with the same hash, salt as long as the hash.
    RsaPss(HashAlg),
    /// ECDSA with a DER signature; the curve is the key's.
    Ecdsa(HashAlg),
    /// Ed25519, over the message itself.
    Ed25519,
}

const SHA2: [HashAlg; 3] = [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];

impl SignatureScheme {
    /// The hash; [`HashAlg::Identity`] for Ed25519.
    #[must_use]
    pub fn hash(&self) -> HashAlg {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) => *hash,
            Self::Ed25519 => HashAlg::Identity,
        }
    }

    /// Every scheme served.
    pub fn all() -> impl Iterator<Item = Self> {
        let hashed =
            SHA2.into_iter().flat_map(|hash| [Self::Ecdsa(hash), Self::RsaPss(hash), Self::RsaPkcs1(hash)]);
        hashed.chain([Self::Ed25519])
    }

    /// The AlgorithmIdentifier in DER; empty for combinations that are not served (SHA-1, no hash).
    #[must_use]
    pub fn algorithm_identifier(&self) -> &'static [u8] {
        match self {
            Self::RsaPkcs1(HashAlg::Sha256) => PKCS1_SHA256,
            Self::RsaPkcs1(HashAlg::Sha384) => PKCS1_SHA384,
            Self::RsaPkcs1(HashAlg::Sha512) => PKCS1_SHA512,
            Self::RsaPss(HashAlg::Sha256) => PSS_SHA256,
            Self::RsaPss(HashAlg::Sha384) => PSS_SHA384,
            Self::RsaPss(HashAlg::Sha512) => PSS_SHA512,
            Self::Ecdsa(HashAlg::Sha256) => ECDSA_SHA256,
            Self::Ecdsa(HashAlg::Sha384) => ECDSA_SHA384,
            Self::Ecdsa(HashAlg::Sha512) => ECDSA_SHA512,
            Self::Ed25519 => ED25519,
            _ => &[],
        }
    }

    /// The scheme a peer's AlgorithmIdentifier names; `None` for one that is unknown, weak or not well formed.
    ///
    /// Variants that RFC 4055 tells receivers to accept are accepted: absent instead of NULL hash parameters, and an
    /// explicit default trailer field.
    #[must_use]
    pub fn from_algorithm_identifier(der: &[u8]) -> Option<Self> {
        if let Some(exact) = Self::all().find(|scheme| scheme.algorithm_identifier() == der) {
            return Some(exact);
        }
        let mut outer = Reader::new(der);
        let mut inner = outer.nested(der::SEQUENCE)?;
        outer.end()?;
        let oid = inner.take(der::OID)?;
        let scheme = match oid {
            [prefix @ .., last] if prefix == OID_PKCS1 => match last {
                10 => Self::RsaPss(pss_hash(&mut inner)?),
                // RFC 4055 §5: NULL must be there, its absence must be accepted.
                11 => Self::RsaPkcs1(null_or_absent(&mut inner).map(|()| HashAlg::Sha256)?),
                12 => Self::RsaPkcs1(null_or_absent(&mut inner).map(|()| HashAlg::Sha384)?),
                13 => Self::RsaPkcs1(null_or_absent(&mut inner).map(|()| HashAlg::Sha512)?),
                _ => return None,
            },
            _ => return None,
        };
        inner.end()?;
        Some(scheme)
    }

    /// The name logs and status views use.
    #[must_use]
    pub fn display_name(&self) -> &'static str {
        match self {
            Self::RsaPkcs1(HashAlg::Sha256) => "RSA_EMSA_PKCS1_SHA2_256",
            Self::RsaPkcs1(HashAlg::Sha384) => "RSA_EMSA_PKCS1_SHA2_384",
            Self::RsaPkcs1(HashAlg::Sha512) => "RSA_EMSA_PKCS1_SHA2_512",
            Self::RsaPss(HashAlg::Sha256) => "RSA_EMSA_PSS_SHA2_256_SALT_32",
            Self::RsaPss(HashAlg::Sha384) => "RSA_EMSA_PSS_SHA2_384_SALT_48",
            Self::RsaPss(HashAlg::Sha512) => "RSA_EMSA_PSS_SHA2_512_SALT_64",
            Self::Ecdsa(HashAlg::Sha256) => "ECDSA_WITH_SHA256_DER",
            Self::Ecdsa(HashAlg::Sha384) => "ECDSA_WITH_SHA384_DER",
            Self::Ecdsa(HashAlg::Sha512) => "ECDSA_WITH_SHA512_DER",
            Self::Ed25519 => "ED25519",
            _ => "UNSUPPORTED",
        }
    }
}

/// RSASSA-PSS-params (RFC 4055 §3.1) where hash, MGF1 hash and salt length agree on one SHA-2.
fn pss_hash(reader: &mut Reader<'_>) -> Option<HashAlg> {
    let mut params = reader.nested(der::SEQUENCE)?;
    let mut field = params.nested(der::CONTEXT_0)?;
    let hash = hash_algorithm(&mut field)?;
    field.end()?;

    let mut field = params.nested(der::CONTEXT_1)?;
    let mut mgf = field.nested(der::SEQUENCE)?;
    let mgf1 = mgf.take(der::OID)?.split_last().is_some_and(|(last, head)| head == OID_PKCS1 && *last == 8);
    if !mgf1 || hash_algorithm(&mut mgf)? != hash {
        return None;
    }
    mgf.end()?;
    field.end()?;

    let mut field = params.nested(der::CONTEXT_2)?;
    let salt = field.unsigned()?;
    field.end()?;
    let expected = match hash {
        HashAlg::Sha256 => 32,
        HashAlg::Sha384 => 48,
        _ => 64,
    };
    if salt != [expected] {
        return None;
    }
    if !params.is_empty() {
        let mut field = params.nested(der::CONTEXT_3)?;
        if field.unsigned()? != [1] {
            return None;
        }
        field.end()?;
    }
    params.end()?;
    Some(hash)
}

fn hash_algorithm(reader: &mut Reader<'_>) -> Option<HashAlg> {
    let mut algorithm = reader.nested(der::SEQUENCE)?;
    let (last, prefix) = algorithm.take(der::OID)?.split_last()?;
    null_or_absent(&mut algorithm)?;
    if prefix != OID_SHA2 {
        return None;
    }
    match last {
        1 => Some(HashAlg::Sha256),
        2 => Some(HashAlg::Sha384),
        3 => Some(HashAlg::Sha512),
        _ => None,
    }
}

fn null_or_absent(reader: &mut Reader<'_>) -> Option<()> {
    if reader.is_empty() {
        return Some(());
    }
    reader.take(der::NULL)?.is_empty().then_some(())?;
    reader.end()
}

/// 1.2.840.113549.1.1
const OID_PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 2.16.840.1.101.3.4.2
const OID_SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

const PKCS1_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const PKCS1_SHA384: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00";
const PKCS1_SHA512: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const ECDSA_SHA512: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";
const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
// The trailer field has its default value, which DER leaves out.
const PSS_SHA256: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\
    \xa2\x03\x02\x01\x20";
const PSS_SHA384: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa2\x03\x02\x01\x30";
const PSS_SHA512: &[u8] = b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\
    \xa2\x03\x02\x01\x40";
