//! One X.509 certificate and what IKE wants to know of it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use adit_crypto::{CryptoError, PublicKey, sha1};
use adit_ipsec::Identity;
use der::asn1::AnyRef;
use der::oid::AssociatedOid;
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

use crate::{names, pem};

/// Largest certificate read, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 16 * 1024;
/// Largest file of certificates.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Why bytes are no certificate for us.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// Longer than [`MAX_CERTIFICATE`].
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not the DER of an X.509 certificate; the text says where it fails.
    Malformed(String),
    /// A PEM file without any `CERTIFICATE` block.
    NoneInFile,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { length } => {
                write!(f, "the certificate has {length} bytes, more than the {MAX_CERTIFICATE} we read")
            }
            Self::Malformed(what) => write!(f, "not a readable X.509 certificate: {what}"),
            Self::NoneInFile => f.write_str("the file contains no certificate"),
        }
    }
}

impl std::error::Error for CertificateError {}

impl From<der::Error> for CertificateError {
    fn from(error: der::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// An X.509 certificate; clones share it. Equality is that of the DER.
///
/// Having one says nothing about trust: see [`TrustAnchors::verify`](crate::TrustAnchors::verify).
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Box<[u8]>,
    serial: Range<usize>,
    spki: Range<usize>,
    issuer: Identity,
    subject: Identity,
    alt_names: Vec<Identity>,
    not_before: i64,
    not_after: i64,
    v3: bool,
    constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
}

impl Certificate {
    /// Reads one DER certificate, strictly: nothing may follow it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLarge { length: der.len() });
        }
        let parsed = x509_cert::Certificate::from_der(der)?;
        let tbs = parsed.tbs_certificate();
        let fields = Fields::locate(der)?;
        let mut inner = Inner {
            der: der.into(),
            serial: fields.serial,
            spki: fields.spki,
            issuer: Identity::Dn(fields.issuer.to_vec()),
            subject: Identity::Dn(fields.subject.to_vec()),
            alt_names: Vec::new(),
            not_before: unix(tbs.validity().not_before),
            not_after: unix(tbs.validity().not_after),
            v3: tbs.version() == Version::V3,
            constraints: None,
            key_usage: None,
        };
        for extension in tbs.extensions().into_iter().flatten() {
            let value = extension.extn_value.as_bytes();
            if extension.extn_id == SubjectAltName::OID {
                inner.alt_names = names::alt_names(value)?;
            } else if extension.extn_id == BasicConstraints::OID {
                inner.constraints = Some(BasicConstraints::from_der(value)?);
            } else if extension.extn_id == KeyUsage::OID {
                inner.key_usage = Some(KeyUsage::from_der(value)?);
            }
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Reads a file: one DER certificate, or PEM with any number of `CERTIFICATE` blocks among others. Fails at the
    /// first block that is no certificate.
    pub fn from_pem_or_der(data: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if !pem::is_pem(data) {
            return Ok(vec![Self::from_der(data)?]);
        }
        if data.len() > MAX_FILE {
            return Err(CertificateError::TooLarge { length: data.len() });
        }
        let text = String::from_utf8_lossy(data);
        let mut found = Vec::new();
        for block in pem::blocks(&text) {
            if matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
                let der = block.der.ok_or_else(|| CertificateError::Malformed("damaged PEM".to_owned()))?;
                found.push(Self::from_der(&der)?);
            }
        }
        if found.is_empty() { Err(CertificateError::NoneInFile) } else { Ok(found) }
    }

    /// The whole certificate, as the CERT payload carries it (RFC 7296 §3.6, encoding 4).
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The subject, always an [`Identity::Dn`]; an empty name if the certificate has none.
    pub fn subject(&self) -> Identity {
        self.0.subject.clone()
    }

    /// The issuer, always an [`Identity::Dn`].
    pub fn issuer(&self) -> Identity {
        self.0.issuer.clone()
    }

    /// Serial number, big endian, as encoded.
    pub fn serial(&self) -> &[u8] {
        self.0.der.get(self.0.serial.clone()).unwrap_or_default()
    }

    /// The DER of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        self.0.der.get(self.0.spki.clone()).unwrap_or_default()
    }

    /// SHA-1 of the whole SubjectPublicKeyInfo: how CERTREQ names an authority (RFC 7296 §3.7).
    pub fn spki_sha1(&self) -> [u8; 20] {
        sha1(&[self.spki()])
    }

    /// The subjectAltName entries that can be IKE identities: host names, mail addresses, IP addresses, names.
    pub fn alt_names(&self) -> &[Identity] {
        &self.0.alt_names
    }

    /// Start of validity, unix seconds.
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// Last second of validity, unix seconds.
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// Whether basicConstraints say it is an authority.
    pub fn is_ca(&self) -> bool {
        self.0.constraints.as_ref().is_some_and(|constraints| constraints.ca)
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.0.subject == self.0.issuer
    }

    /// The public key. Fails for keys too weak or of a kind we do not serve.
    pub fn public_key(&self) -> Result<PublicKey, CryptoError> {
        PublicKey::from_spki(self.spki())
    }

    /// Whether the certificate binds its key to `id`: `id` is the subject's name or one of the subjectAltName entries
    /// of the same type (RFC 4945 §3.1). Exact but for the ASCII case of host names, mail addresses and name parts;
    /// nothing in a certificate acts as a wildcard, and a common name counts for nothing.
    pub fn certifies(&self, id: &Identity) -> bool {
        if let (Identity::Dn(wanted), Identity::Dn(subject)) = (id, &self.0.subject) {
            // A certificate without subject has an empty SEQUENCE, which must not prove an empty identity.
            if subject.len() > 2 && names::same_dn(subject, wanted) {
                return true;
            }
        }
        self.0.alt_names.iter().any(|name| match (name, id) {
            (Identity::Fqdn(a), Identity::Fqdn(b)) | (Identity::Rfc822(a), Identity::Rfc822(b)) => {
                a.eq_ignore_ascii_case(b)
            }
            (Identity::Ipv4(a), Identity::Ipv4(b)) => a == b,
            (Identity::Ipv6(a), Identity::Ipv6(b)) => a == b,
            (Identity::Dn(a), Identity::Dn(b)) => a.len() > 2 && names::same_dn(a, b),
            _ => false,
        })
    }

    /// May sign certificates: basicConstraints and, if present, keyUsage say so (RFC 5280 §4.2.1.3, §4.2.1.9). A
    /// version 1 certificate cannot say; being configured as an anchor says it (RFC 5280 §6.1.4 k).
    pub(crate) fn may_issue(&self, as_anchor: bool) -> bool {
        let authority = if self.0.v3 { self.is_ca() } else { as_anchor };
        authority && self.0.key_usage.is_none_or(|usage| usage.key_cert_sign())
    }

    /// RFC 4945 §5.1.3.2: a keyUsage, if present, must allow signatures.
    pub(crate) fn may_sign(&self) -> bool {
        self.0.key_usage.is_none_or(|usage| usage.digital_signature() || usage.non_repudiation())
    }

    pub(crate) fn path_length(&self) -> Option<u8> {
        self.0.constraints.as_ref().and_then(|constraints| constraints.path_len_constraint)
    }

    pub(crate) fn issued_by_name_of(&self, issuer: &Self) -> bool {
        self.0.issuer == issuer.0.subject
    }
}

fn unix(time: x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

/// Raw parts of the TBSCertificate: names are compared and shown as they were encoded, never re-encoded.
struct Fields<'a> {
    serial: Range<usize>,
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: Range<usize>,
}

impl<'a> Fields<'a> {
    fn locate(der: &'a [u8]) -> Result<Self, der::Error> {
        let certificate = AnyRef::from_der(der)?;
        let tbs = AnyRef::decode(&mut SliceReader::new(certificate.value())?)?;
        let mut reader = SliceReader::new(tbs.value())?;
        let mut serial = AnyRef::decode(&mut reader)?;
        if serial.tag() != Tag::Integer {
            // That was the version.
            serial = AnyRef::decode(&mut reader)?;
        }
        reader.tlv_bytes()?; // signature algorithm
        let issuer = reader.tlv_bytes()?;
        reader.tlv_bytes()?; // validity
        let subject = reader.tlv_bytes()?;
        let spki = reader.tlv_bytes()?;
        Ok(Self { serial: range(der, serial.value()), issuer, subject, spki: range(der, spki) })
    }
}

/// Where `part`, a subslice, lies in `whole`.
fn range(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start.saturating_add(part.len())
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl PartialOrd for Certificate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Certificate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.der.cmp(&other.0.der)
    }
}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.der.hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?}, {} bytes)", self.0.subject, self.0.der.len())
    }
}
