//! Algorithms by the kernel's names, and their keys.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use super::bytes::{Reader, Writer};
use super::number;

/// A name's room in `struct xfrm_algo` and its like, with the zero that ends it.
const NAME: usize = 64;

/// The longest key that is written; the longest in use is HMAC-SHA-512's.
const LONGEST: usize = 256;

/// A key. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Takes a copy.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} octets)", self.0.len())
    }
}

/// One algorithm with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithm {
    /// The kernel's name: `rfc4106(gcm(aes))`.
    pub name: Cow<'static, str>,
    /// The key, followed by the salt or nonce where there is one.
    pub key: Key,
    /// Bits of the integrity check value; 0 where it makes none.
    pub icv_bits: u32,
}

/// What protects an SA's packets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Algorithms {
    /// Nothing is known: an SPI that is only reserved, or an SA of another protocol.
    #[default]
    None,
    /// Both in one.
    Aead(Algorithm),
    /// Encryption, and integrity beside it.
    Separate {
        /// Encryption, `ecb(cipher_null)` included.
        encryption: Algorithm,
        /// Integrity.
        integrity: Option<Algorithm>,
    },
}

/// Name of an AEAD cipher and the bits of its integrity check value, by its IANA number.
const AEAD: [(u16, &str, u32); 8] = [
    (14, "rfc4309(ccm(aes))", 64),
    (15, "rfc4309(ccm(aes))", 96),
    (16, "rfc4309(ccm(aes))", 128),
    (18, "rfc4106(gcm(aes))", 64),
    (19, "rfc4106(gcm(aes))", 96),
    (20, "rfc4106(gcm(aes))", 128),
    (21, "rfc4543(gcm(aes))", 128),
    (28, "rfc7539esp(chacha20,poly1305)", 128),
];

const ENCRYPTION: [(u16, &str); 4] =
    [(11, "ecb(cipher_null)"), (12, "cbc(aes)"), (13, "rfc3686(ctr(aes))"), (23, "cbc(camellia)")];

/// Name of an integrity algorithm and the bits its value is cut to (RFC 4868 §2.6 and their like).
const INTEGRITY: [(u16, &str, u32); 6] = [
    (2, "hmac(sha1)", 96),
    (5, "xcbc(aes)", 96),
    (8, "cmac(aes)", 96),
    (12, "hmac(sha256)", 128),
    (13, "hmac(sha384)", 192),
    (14, "hmac(sha512)", 256),
];

impl Algorithms {
    /// What the kernel calls the transforms with these IANA numbers; `integ` is 0 with an AEAD cipher. `None` when one
    /// of them is not in the kernel's ESP, or they do not go together.
    #[must_use]
    pub fn from_iana(encr: u16, encr_key: &[u8], integ: u16, integ_key: &[u8]) -> Option<Self> {
        if let Some((_, name, icv_bits)) = AEAD.iter().find(|row| row.0 == encr) {
            let algorithm = Algorithm { name: (*name).into(), key: Key::new(encr_key), icv_bits: *icv_bits };
            return (integ == 0).then_some(Self::Aead(algorithm));
        }
        let (_, name) = ENCRYPTION.iter().find(|row| row.0 == encr)?;
        // RFC 4303 §3.2: encryption without integrity is not offered.
        let (_, integ_name, icv_bits) = INTEGRITY.iter().find(|row| row.0 == integ)?;
        Some(Self::Separate {
            encryption: Algorithm { name: (*name).into(), key: Key::new(encr_key), icv_bits: 0 },
            integrity: Some(Algorithm {
                name: (*integ_name).into(),
                key: Key::new(integ_key),
                icv_bits: *icv_bits,
            }),
        })
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let all = match self {
            Self::None => [None, None],
            Self::Aead(aead) => [Some(aead), None],
            Self::Separate { encryption, integrity } => [Some(encryption), integrity.as_ref()],
        };
        for algorithm in all.into_iter().flatten() {
            if algorithm.name.len() >= NAME || algorithm.name.contains('\0') {
                return Err("an algorithm's name does not fit");
            }
            if algorithm.key.as_bytes().len() > LONGEST {
                return Err("a key is too long");
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, w: &mut Writer) {
        match self {
            Self::None => {}
            Self::Aead(aead) => w.attribute(number::ALG_AEAD, |w| aead.write(w, true)),
            Self::Separate { encryption, integrity } => {
                if let Some(integrity) = integrity {
                    w.attribute(number::ALG_AUTH_TRUNC, |w| integrity.write(w, true));
                }
                w.attribute(number::ALG_CRYPT, |w| encryption.write(w, false));
            }
        }
    }

    /// Takes up what an attribute says; others are left alone.
    pub(super) fn read_attribute(&mut self, kind: u16, payload: &[u8]) -> Option<()> {
        match kind {
            number::ALG_AEAD => *self = Self::Aead(Algorithm::read(payload, true)?),
            number::ALG_CRYPT => {
                let encryption = Algorithm::read(payload, false)?;
                match self {
                    Self::Separate { encryption: it, .. } => *it = encryption,
                    _ => *self = Self::Separate { encryption, integrity: None },
                }
            }
            // The kernel tells the integrity algorithm twice; XFRMA_ALG_AUTH lacks the length of the value.
            number::ALG_AUTH_TRUNC => {
                let algorithm = Some(Algorithm::read(payload, true)?);
                match self {
                    Self::Separate { integrity, .. } => *integrity = algorithm,
                    _ => {
                        let encryption = Algorithm { name: "".into(), key: Key::default(), icv_bits: 0 };
                        *self = Self::Separate { encryption, integrity: algorithm };
                    }
                }
            }
            _ => {}
        }
        Some(())
    }
}

impl Algorithm {
    fn write(&self, w: &mut Writer, with_icv: bool) {
        w.bytes(self.name.as_bytes());
        w.zeros(NAME.saturating_sub(self.name.len()));
        w.u32(u32::try_from(self.key.as_bytes().len() * 8).unwrap_or(u32::MAX));
        if with_icv {
            w.u32(self.icv_bits);
        }
        w.bytes(self.key.as_bytes());
    }

    fn read(payload: &[u8], with_icv: bool) -> Option<Self> {
        let mut r = Reader(payload);
        let name = r.take(NAME)?.split(|byte| *byte == 0).next()?;
        let bits = usize::try_from(r.u32()?).ok()?;
        let icv_bits = if with_icv { r.u32()? } else { 0 };
        Some(Self {
            name: String::from_utf8_lossy(name).into_owned().into(),
            key: Key::new(r.take(bits.div_ceil(8))?),
            icv_bits,
        })
    }
}
