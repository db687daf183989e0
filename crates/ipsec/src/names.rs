//! The names of algorithms as logs, VICI and `list-sas` print them. All of the IANA registries that a peer is likely to
//! offer are known by name, served or not, because "received proposals" is read by people.

/// What the `*_name` functions return for a number that has no name here.
pub const UNKNOWN: &str = "UNKNOWN";

/// AES in CBC mode.
pub const ENCR_AES_CBC: u16 = 12;
/// AES in Galois/Counter Mode with a 16 byte ICV.
pub const ENCR_AES_GCM_16: u16 = 20;
/// ChaCha20-Poly1305 (RFC 7634).
pub const ENCR_CHACHA20_POLY1305: u16 = 28;
/// HMAC-SHA-256 truncated to 128 bits.
pub const AUTH_HMAC_SHA2_256_128: u16 = 12;
/// HMAC-SHA-384 truncated to 192 bits.
pub const AUTH_HMAC_SHA2_384_192: u16 = 13;
/// HMAC-SHA-512 truncated to 256 bits.
pub const AUTH_HMAC_SHA2_512_256: u16 = 14;
/// HMAC-SHA-256 as PRF.
pub const PRF_HMAC_SHA2_256: u16 = 5;
/// HMAC-SHA-384 as PRF.
pub const PRF_HMAC_SHA2_384: u16 = 6;
/// HMAC-SHA-512 as PRF.
pub const PRF_HMAC_SHA2_512: u16 = 7;
/// No key exchange: no PFS for a CHILD_SA.
pub const KE_NONE: u16 = 0;

/// Name of an encryption algorithm, without key length: `AES_GCM_16`.
pub fn encryption_name(id: u16) -> &'static str {
    match id {
        1 => "DES_IV64",
        2 => "DES_CBC",
        3 => "3DES_CBC",
        4 => "RC5_CBC",
        5 => "IDEA_CBC",
        6 => "CAST_CBC",
        7 => "BLOWFISH_CBC",
        8 => "3IDEA",
        9 => "DES_IV32",
        11 => "NULL",
        12 => "AES_CBC",
        13 => "AES_CTR",
        14 => "AES_CCM_8",
        15 => "AES_CCM_12",
        16 => "AES_CCM_16",
        18 => "AES_GCM_8",
        19 => "AES_GCM_12",
        20 => "AES_GCM_16",
        21 => "NULL_AES_GMAC",
        23 => "CAMELLIA_CBC",
        24 => "CAMELLIA_CTR",
        25 => "CAMELLIA_CCM_8",
        26 => "CAMELLIA_CCM_12",
        27 => "CAMELLIA_CCM_16",
        28 => "CHACHA20_POLY1305",
        _ => UNKNOWN,
    }
}

/// Name of an integrity algorithm: `HMAC_SHA2_256_128`.
pub fn integrity_name(id: u16) -> &'static str {
    match id {
        0 => "NONE",
        1 => "HMAC_MD5_96",
        2 => "HMAC_SHA1_96",
        3 => "DES_MAC",
        4 => "KPDK_MD5",
        5 => "AES_XCBC_96",
        6 => "HMAC_MD5_128",
        7 => "HMAC_SHA1_160",
        8 => "AES_CMAC_96",
        9 => "AES_128_GMAC",
        10 => "AES_192_GMAC",
        11 => "AES_256_GMAC",
        12 => "HMAC_SHA2_256_128",
        13 => "HMAC_SHA2_384_192",
        14 => "HMAC_SHA2_512_256",
        _ => UNKNOWN,
    }
}

/// Name of a pseudorandom function: `PRF_HMAC_SHA2_256`.
pub fn prf_name(id: u16) -> &'static str {
    match id {
        1 => "PRF_HMAC_MD5",
        2 => "PRF_HMAC_SHA1",
        3 => "PRF_HMAC_TIGER",
        4 => "PRF_AES128_XCBC",
        5 => "PRF_HMAC_SHA2_256",
        6 => "PRF_HMAC_SHA2_384",
        7 => "PRF_HMAC_SHA2_512",
        8 => "PRF_AES128_CMAC",
        _ => UNKNOWN,
    }
}

/// Name of a key exchange method: `CURVE_25519`, `MODP_2048`.
pub fn ke_name(id: u16) -> &'static str {
    match id {
        0 => "NONE",
        1 => "MODP_768",
        2 => "MODP_1024",
        5 => "MODP_1536",
        14 => "MODP_2048",
        15 => "MODP_3072",
        16 => "MODP_4096",
        17 => "MODP_6144",
        18 => "MODP_8192",
        19 => "ECP_256",
        20 => "ECP_384",
        21 => "ECP_521",
        22 => "MODP_1024_160",
        23 => "MODP_2048_224",
        24 => "MODP_2048_256",
        25 => "ECP_192",
        26 => "ECP_224",
        27 => "ECP_224_BP",
        28 => "ECP_256_BP",
        29 => "ECP_384_BP",
        30 => "ECP_512_BP",
        31 => "CURVE_25519",
        32 => "CURVE_448",
        33 => "GOST3410_256",
        34 => "GOST3410_512",
        35 => "ML_KEM_512",
        36 => "ML_KEM_768",
        37 => "ML_KEM_1024",
        _ => UNKNOWN,
    }
}

/// Name of a sequence number choice: `NO_EXT_SEQ` or `EXT_SEQ`.
pub fn esn_name(id: u16) -> &'static str {
    match id {
        0 => "NO_EXT_SEQ",
        1 => "EXT_SEQ",
        _ => UNKNOWN,
    }
}

/// Encryption algorithms that protect integrity by themselves: CCM, GCM, GMAC, Camellia-CCM, ChaCha20-Poly1305.
pub fn is_aead(encryption: u16) -> bool {
    matches!(encryption, 14..=16 | 18..=21 | 25..=28)
}
