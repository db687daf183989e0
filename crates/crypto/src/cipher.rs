//! One direction's packet protection, for SK payloads and ESP alike.
//!
//! AES-GCM and ChaCha20-Poly1305 keep their scheduled key (about 600 octets on AWS-LC's heap). AES-CBC with HMAC keeps
//! the raw keys and schedules them for each message: the expanded forms would take 1.2 kB, for a legacy suite. A cipher
//! that sees a message once in minutes (an IKE SA's) can be asked to do the same with [`Cipher::compact`].

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use crate::{CryptoError, Encryption, Integrity, Secret, ct_eq};

/// Seals or opens the messages of one direction.
pub struct Cipher {
    encr: Encryption,
    integ: Option<Integrity>,
    keys: Keys,
}

enum Keys {
    /// Key schedule of an AEAD, ready for every packet.
    Scheduled { key: LessSafeKey, salt: [u8; Encryption::SALT_LEN] },
    /// As they came out of KEYMAT; scheduled per message.
    Raw { encr: Secret, integ: Secret },
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").field("encr", &self.encr).field("integ", &self.integ).finish_non_exhaustive()
    }
}

impl Cipher {
    /// A cipher with its key schedule prepared: for the data path.
    ///
    /// `encr_key` carries the salt of an AEAD at its end; `integ_key` is empty with an AEAD.
    ///
    /// # Errors
    /// When the transforms do not fit together or a key has the wrong length.
    pub fn new(
        encr: Encryption,
        integ: Option<Integrity>,
        encr_key: &[u8],
        integ_key: &[u8],
    ) -> Result<Self, CryptoError> {
        check(encr, integ, encr_key, integ_key)?;
        let keys = if encr.is_aead() {
            let (key, salt) = schedule(encr, encr_key)?;
            Keys::Scheduled { key, salt }
        } else {
            Keys::Raw { encr: encr_key.into(), integ: integ_key.into() }
        };
        Ok(Self { encr, integ, keys })
    }

    /// A cipher that keeps only the key octets and schedules them anew for each message: for SAs that are mostly idle.
    ///
    /// # Errors
    /// As [`Cipher::new`].
    pub fn compact(
        encr: Encryption,
        integ: Option<Integrity>,
        encr_key: &[u8],
        integ_key: &[u8],
    ) -> Result<Self, CryptoError> {
        check(encr, integ, encr_key, integ_key)?;
        Ok(Self { encr, integ, keys: Keys::Raw { encr: encr_key.into(), integ: integ_key.into() } })
    }

    /// The encryption transform.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.encr
    }

    /// Octets of IV in each message.
    #[must_use]
    pub fn iv_len(&self) -> usize {
        self.encr.iv_len()
    }

    /// Octets of integrity check value at the end of each message.
    #[must_use]
    pub fn icv_len(&self) -> usize {
        self.integ.map_or_else(|| self.encr.icv_len(), Integrity::icv_len)
    }

    /// The plaintext must be padded to a multiple of this many octets.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.encr.block_len()
    }

    /// Whether IVs must be unpredictable (CBC, RFC 3602 §3) instead of merely unique (the AEADs' counters).
    #[must_use]
    pub fn needs_random_iv(&self) -> bool {
        self.block_len() > 1
    }

    /// Encrypts `data`, padded to the block length, in place and writes the integrity check value to `icv`.
    ///
    /// With an AEAD, `aad` is the associated data and `trailer` is ignored; otherwise the MAC is over
    /// `aad | iv | ciphertext | trailer` (the trailer being the high half of an extended sequence number).
    ///
    /// # Errors
    /// When `iv`, `icv` or `data` have a wrong length.
    pub fn seal(
        &self,
        iv: &[u8],
        aad: &[u8],
        data: &mut [u8],
        trailer: &[u8],
        icv: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.check_message(iv, data, icv)?;
        match &self.keys {
            Keys::Scheduled { key, salt } => aead_seal(key, *salt, iv, aad, data, icv),
            Keys::Raw { encr, .. } if self.encr.is_aead() => {
                let (key, salt) = schedule(self.encr, encr.as_bytes())?;
                aead_seal(&key, salt, iv, aad, data, icv)
            }
            Keys::Raw { encr, integ } => {
                self.cbc(encr, iv, data, Direction::Encrypt)?;
                let tag = self.mac(integ, &[aad, iv, data, trailer])?;
                icv.copy_from_slice(tag.as_ref().get(..icv.len()).ok_or(CryptoError::Authentication)?);
                Ok(())
            }
        }
    }

    /// Checks `icv` and decrypts `data` in place; the arguments are those of [`Cipher::seal`].
    ///
    /// The comparison takes constant time. CBC ciphertext is not touched before its MAC has been verified; what an
    /// AEAD leaves in `data` after a failure is unspecified and must not be used.
    ///
    /// # Errors
    /// [`CryptoError::Authentication`] when the message is not genuine, others when a length is wrong.
    pub fn open(
        &self,
        iv: &[u8],
        aad: &[u8],
        data: &mut [u8],
        trailer: &[u8],
        icv: &[u8],
    ) -> Result<(), CryptoError> {
        self.check_message(iv, data, icv)?;
        match &self.keys {
            Keys::Scheduled { key, salt } => aead_open(key, *salt, iv, aad, data, icv),
            Keys::Raw { encr, .. } if self.encr.is_aead() => {
                let (key, salt) = schedule(self.encr, encr.as_bytes())?;
                aead_open(&key, salt, iv, aad, data, icv)
            }
            Keys::Raw { encr, integ } => {
                let tag = self.mac(integ, &[aad, iv, data, trailer])?;
                if !tag.as_ref().get(..icv.len()).is_some_and(|tag| ct_eq(tag, icv)) {
                    return Err(CryptoError::Authentication);
                }
                self.cbc(encr, iv, data, Direction::Decrypt)
            }
        }
    }

    fn check_message(&self, iv: &[u8], data: &[u8], icv: &[u8]) -> Result<(), CryptoError> {
        expect_len("IV", self.iv_len(), iv.len())?;
        expect_len("integrity check value", self.icv_len(), icv.len())?;
        if !data.len().is_multiple_of(self.block_len()) {
            return Err(CryptoError::Malformed("message: not a multiple of the cipher block"));
        }
        Ok(())
    }

    fn mac(&self, key: &Secret, parts: &[&[u8]]) -> Result<hmac::Tag, CryptoError> {
        let algorithm = match self.integ {
            Some(Integrity::HmacSha256_128) => hmac::HMAC_SHA256,
            Some(Integrity::HmacSha384_192) => hmac::HMAC_SHA384,
            Some(Integrity::HmacSha512_256) => hmac::HMAC_SHA512,
            None => return Err(CryptoError::Unsupported("encryption without integrity protection")),
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key.as_bytes()));
        for part in parts {
            context.update(part);
        }
        Ok(context.sign())
    }

    fn cbc(&self, key: &Secret, iv: &[u8], data: &mut [u8], direction: Direction) -> Result<(), CryptoError> {
        let algorithm = match self.encr {
            Encryption::AesCbc128 => &AES_128,
            Encryption::AesCbc192 => &AES_192,
            Encryption::AesCbc256 => &AES_256,
            Encryption::Null => return Ok(()),
            _ => return Err(CryptoError::Unsupported("this cipher in CBC mode")),
        };
        if data.is_empty() {
            return Ok(());
        }
        let failed = |_| CryptoError::Provider("AES-CBC");
        let iv: [u8; 16] =
            iv.try_into().map_err(|_| CryptoError::Length { what: "IV", expected: 16, got: iv.len() })?;
        let iv = FixedLength::from(iv);
        let key = UnboundCipherKey::new(algorithm, key.as_bytes()).map_err(failed)?;
        match direction {
            Direction::Encrypt => EncryptingKey::cbc(key)
                .and_then(|key| key.less_safe_encrypt(data, EncryptionContext::Iv128(iv)))
                .map(drop)
                .map_err(failed),
            Direction::Decrypt => DecryptingKey::cbc(key)
                .and_then(|key| key.decrypt(data, DecryptionContext::Iv128(iv)).map(drop))
                .map_err(failed),
        }
    }
}

enum Direction {
    Encrypt,
    Decrypt,
}

fn check(
    encr: Encryption,
    integ: Option<Integrity>,
    encr_key: &[u8],
    integ_key: &[u8],
) -> Result<(), CryptoError> {
    match integ {
        Some(_) if encr.is_aead() => {
            return Err(CryptoError::Unsupported("an AEAD together with an integrity algorithm"));
        }
        None if !encr.is_aead() => {
            return Err(CryptoError::Unsupported("encryption without integrity protection"));
        }
        _ => {}
    }
    expect_len("encryption key", encr.key_len(), encr_key.len())?;
    expect_len("integrity key", integ.map_or(0, Integrity::key_len), integ_key.len())
}

fn expect_len(what: &'static str, expected: usize, got: usize) -> Result<(), CryptoError> {
    if expected == got { Ok(()) } else { Err(CryptoError::Length { what, expected, got }) }
}

fn schedule(encr: Encryption, key: &[u8]) -> Result<(LessSafeKey, [u8; 4]), CryptoError> {
    let algorithm = match encr {
        Encryption::AesGcm16_128 => &aead::AES_128_GCM,
        Encryption::AesGcm16_192 => &aead::AES_192_GCM,
        Encryption::AesGcm16_256 => &aead::AES_256_GCM,
        Encryption::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        _ => return Err(CryptoError::Unsupported("this cipher as an AEAD")),
    };
    let (key, salt) = key.split_last_chunk().ok_or(CryptoError::Malformed("AEAD key"))?;
    let key = UnboundKey::new(algorithm, key).map_err(|_| CryptoError::Provider("AEAD key"))?;
    Ok((LessSafeKey::new(key), *salt))
}

/// RFC 4106 §4, RFC 5282 §4, RFC 7634 §2: nonce = salt | IV.
fn nonce(salt: [u8; 4], iv: &[u8]) -> Result<Nonce, CryptoError> {
    let iv: &[u8; 8] =
        iv.try_into().map_err(|_| CryptoError::Length { what: "IV", expected: 8, got: iv.len() })?;
    let mut nonce = [0; 12];
    let (head, tail) = nonce.split_at_mut(4);
    head.copy_from_slice(&salt);
    tail.copy_from_slice(iv);
    Ok(Nonce::assume_unique_for_key(nonce))
}

fn aead_seal(
    key: &LessSafeKey,
    salt: [u8; 4],
    iv: &[u8],
    aad: &[u8],
    data: &mut [u8],
    icv: &mut [u8],
) -> Result<(), CryptoError> {
    key.seal_in_place_scatter(nonce(salt, iv)?, Aad::from(aad), data, &[], icv)
        .map_err(|_| CryptoError::Provider("AEAD seal"))
}

fn aead_open(
    key: &LessSafeKey,
    salt: [u8; 4],
    iv: &[u8],
    aad: &[u8],
    data: &mut [u8],
    icv: &[u8],
) -> Result<(), CryptoError> {
    key.open_in_place_separate_tag(nonce(salt, iv)?, Aad::from(aad), icv, data)
        .map(drop)
        .map_err(|_| CryptoError::Authentication)
}
