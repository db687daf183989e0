//! Private keys from files: PEM or DER; PKCS#8, plain or encrypted; PKCS#1; SEC1.

use std::fmt;

use adit_crypto::{CryptoError, PrivateKey};
use der::asn1::AnyRef;
use der::{Decode, Header, SliceReader, Tag, Tagged};
use pkcs8::EncryptedPrivateKeyInfoRef;
use zeroize::Zeroizing;

use crate::pem;

/// Why a file gives no private key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Neither PEM with a private key nor DER of one.
    NoKey,
    /// The file is larger than any key.
    TooLarge,
    /// The PEM block is damaged.
    Damaged,
    /// The key is encrypted and no passphrase was given.
    PassphraseNeeded,
    /// The passphrase is wrong, or the file uses an encryption we do not serve.
    Decrypt(String),
    /// OpenSSL's encryption inside PEM (`Proc-Type: 4,ENCRYPTED`), which has no integrity and an MD5 key derivation.
    LegacyEncryption,
    /// The key itself is refused: too weak, unknown kind, inconsistent.
    Key(CryptoError),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("the file contains no private key in PKCS#8, PKCS#1 or SEC1 form"),
            Self::TooLarge => f.write_str("the file is too large for a private key"),
            Self::Damaged => f.write_str("the PEM text of the private key is damaged"),
            Self::PassphraseNeeded => f.write_str("the private key is encrypted and no passphrase is configured for it"),
            Self::Decrypt(why) => write!(f, "the private key cannot be decrypted (wrong passphrase?): {why}"),
            Self::LegacyEncryption => f.write_str(
                "the private key is encrypted in OpenSSL's old format; convert it with `openssl pkcs8 -topk8`",
            ),
            Self::Key(error) => write!(f, "the private key is refused: {error}"),
        }
    }
}

impl std::error::Error for KeyFileError {}

impl From<CryptoError> for KeyFileError {
    fn from(error: CryptoError) -> Self {
        Self::Key(error)
    }
}

const MAX_FILE: usize = 256 * 1024;

/// Reads the first private key of a file. `passphrase` is used if the key is encrypted.
pub fn load_private_key(data: &[u8], passphrase: Option<&str>) -> Result<PrivateKey, KeyFileError> {
    if data.len() > MAX_FILE {
        return Err(KeyFileError::TooLarge);
    }
    if !pem::is_pem(data) {
        return from_der(data, passphrase);
    }
    // Text around the blocks may be in any encoding; the blocks are ASCII.
    let text = Zeroizing::new(String::from_utf8_lossy(data).into_owned());
    let block = pem::blocks(&text)
        .into_iter()
        .find(|block| block.label.ends_with("PRIVATE KEY"))
        .ok_or(KeyFileError::NoKey)?;
    if block.has_headers {
        return Err(KeyFileError::LegacyEncryption);
    }
    let der = block.der.ok_or(KeyFileError::Damaged)?;
    match block.label {
        "PRIVATE KEY" => Ok(PrivateKey::from_pkcs8(&der)?),
        "ENCRYPTED PRIVATE KEY" => decrypt(&der, passphrase),
        "RSA PRIVATE KEY" => Ok(PrivateKey::from_pkcs1(&der)?),
        "EC PRIVATE KEY" => Ok(PrivateKey::from_sec1(&der)?),
        _ => Err(KeyFileError::NoKey),
    }
}

/// DER does not say what it is; the first two elements tell the forms apart.
fn from_der(data: &[u8], passphrase: Option<&str>) -> Result<PrivateKey, KeyFileError> {
    match shape(data).map_err(|_| KeyFileError::NoKey)? {
        // OneAsymmetricKey: version, algorithm, …
        (Tag::Integer, Tag::Sequence) => Ok(PrivateKey::from_pkcs8(data)?),
        // RSAPrivateKey: version, modulus, …
        (Tag::Integer, Tag::Integer) => Ok(PrivateKey::from_pkcs1(data)?),
        // ECPrivateKey: version, key, …
        (Tag::Integer, Tag::OctetString) => Ok(PrivateKey::from_sec1(data)?),
        // EncryptedPrivateKeyInfo: algorithm, data
        (Tag::Sequence, Tag::OctetString) => decrypt(data, passphrase),
        _ => Err(KeyFileError::NoKey),
    }
}

fn shape(data: &[u8]) -> Result<(Tag, Tag), der::Error> {
    let outer = AnyRef::from_der(data)?;
    if outer.tag() != Tag::Sequence {
        return Err(outer.tag().unexpected_error(Some(Tag::Sequence)).into());
    }
    let mut reader = SliceReader::new(outer.value())?;
    let first = AnyRef::decode(&mut reader)?.tag();
    let second = Header::peek(&reader)?.tag();
    Ok((first, second))
}

fn decrypt(der: &[u8], passphrase: Option<&str>) -> Result<PrivateKey, KeyFileError> {
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(der)
        .map_err(|error| KeyFileError::Decrypt(error.to_string()))?;
    let passphrase = passphrase.ok_or(KeyFileError::PassphraseNeeded)?;
    let plain =
        encrypted.decrypt(passphrase.as_bytes()).map_err(|error| KeyFileError::Decrypt(error.to_string()))?;
    Ok(PrivateKey::from_pkcs8(plain.as_bytes())?)
}
