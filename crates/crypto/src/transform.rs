//! Encryption and integrity transforms and their sizes.

/// An encryption transform (Transform Type 1) with its key size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    /// ENCR_AES_GCM_16 with a 128-bit key (RFC 4106, RFC 5282).
    AesGcm16_128,
    /// ENCR_AES_GCM_16 with a 192-bit key.
    AesGcm16_192,
    /// ENCR_AES_GCM_16 with a 256-bit key.
    AesGcm16_256,
    /// ENCR_CHACHA20_POLY1305 (RFC 7634).
    ChaCha20Poly1305,
    /// ENCR_AES_CBC with a 128-bit key (RFC 3602).
    AesCbc128,
    /// ENCR_AES_CBC with a 192-bit key.
    AesCbc192,
    /// ENCR_AES_CBC with a 256-bit key.
    AesCbc256,
    /// ENCR_NULL (RFC 2410): integrity only, for ESP.
    Null,
}

impl Encryption {
    /// Every transform served.
    pub const ALL: [Self; 8] = [
        Self::AesGcm16_128,
        Self::AesGcm16_192,
        Self::AesGcm16_256,
        Self::ChaCha20Poly1305,
        Self::AesCbc128,
        Self::AesCbc192,
        Self::AesCbc256,
        Self::Null,
    ];

    /// By transform ID and Key Length attribute (0 when the attribute is absent).
    #[must_use]
    pub fn from_id(id: u16, key_bits: u16) -> Option<Self> {
        match (id, key_bits) {
            (20, 128) => Some(Self::AesGcm16_128),
            (20, 192) => Some(Self::AesGcm16_192),
            (20, 256) => Some(Self::AesGcm16_256),
            // RFC 7634 §2: the Key Length attribute is not used with this transform.
            (28, 0) => Some(Self::ChaCha20Poly1305),
            (12, 128) => Some(Self::AesCbc128),
            (12, 192) => Some(Self::AesCbc192),
            (12, 256) => Some(Self::AesCbc256),
            (11, 0) => Some(Self::Null),
            _ => None,
        }
    }

    /// Transform ID.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::AesGcm16_128 | Self::AesGcm16_192 | Self::AesGcm16_256 => 20,
            Self::ChaCha20Poly1305 => 28,
            Self::AesCbc128 | Self::AesCbc192 | Self::AesCbc256 => 12,
            Self::Null => 11,
        }
    }

    /// The Key Length attribute; 0 when the transform has none.
    #[must_use]
    pub fn key_bits(self) -> u16 {
        match self {
            Self::AesGcm16_128 | Self::AesCbc128 => 128,
            Self::AesGcm16_192 | Self::AesCbc192 => 192,
            Self::AesGcm16_256 | Self::AesCbc256 => 256,
            Self::ChaCha20Poly1305 | Self::Null => 0,
        }
    }

    /// Octets of KEYMAT one direction takes, the salt of an AEAD included.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::AesGcm16_128 => 16 + Self::SALT_LEN,
            Self::AesGcm16_192 => 24 + Self::SALT_LEN,
            Self::AesGcm16_256 | Self::ChaCha20Poly1305 => 32 + Self::SALT_LEN,
            Self::AesCbc128 => 16,
            Self::AesCbc192 => 24,
            Self::AesCbc256 => 32,
            Self::Null => 0,
        }
    }

    /// Octets of salt at the end of an AEAD's key (RFC 4106 §8.1, RFC 7634 §2).
    pub(crate) const SALT_LEN: usize = 4;

    /// Octets of IV in each message.
    #[must_use]
    pub fn iv_len(self) -> usize {
        match self {
            Self::AesCbc128 | Self::AesCbc192 | Self::AesCbc256 => 16,
            Self::Null => 0,
            _ => 8,
        }
    }

    /// The plaintext must be padded to a multiple of this many octets.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            Self::AesCbc128 | Self::AesCbc192 | Self::AesCbc256 => 16,
            _ => 1,
        }
    }

    /// Whether it brings its own integrity protection.
    #[must_use]
    pub fn is_aead(self) -> bool {
        matches!(self, Self::AesGcm16_128 | Self::AesGcm16_192 | Self::AesGcm16_256 | Self::ChaCha20Poly1305)
    }

    /// Octets of an AEAD's integrity check value; 0 when an [`Integrity`] provides it.
    #[must_use]
    pub fn icv_len(self) -> usize {
        if self.is_aead() { 16 } else { 0 }
    }
}

/// An integrity transform (Transform Type 3; RFC 4868).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Integrity {
    /// AUTH_HMAC_SHA2_256_128.
    HmacSha256_128,
    /// AUTH_HMAC_SHA2_384_192.
    HmacSha384_192,
    /// AUTH_HMAC_SHA2_512_256.
    HmacSha512_256,
}

impl Integrity {
    /// Every transform served.
    pub const ALL: [Self; 3] = [Self::HmacSha256_128, Self::HmacSha384_192, Self::HmacSha512_256];

    /// By transform ID.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|integ| integ.id() == id)
    }

    /// Transform ID.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::HmacSha256_128 => 12,
            Self::HmacSha384_192 => 13,
            Self::HmacSha512_256 => 14,
        }
    }

    /// Octets of key.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    /// Octets of integrity check value: half the hash (RFC 4868 §2.3).
    #[must_use]
    pub fn icv_len(self) -> usize {
        self.key_len() / 2
    }
}
