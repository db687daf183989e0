//! Algorithms by keyword (configuration), number (IANA) and display name.

use crate::proposal::TransformType;

/// ENCR_AES_CBC.
pub const AES_CBC: u16 = 12;
/// ENCR_AES_GCM_16.
pub const AES_GCM_16: u16 = 20;
/// ENCR_CHACHA20_POLY1305.
pub const CHACHA20_POLY1305: u16 = 28;

/// Display name of a number without one.
pub const UNKNOWN: &str = "UNKNOWN";

/// What a proposal keyword means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// A transform that is served: kind, number, key bits.
    Transform(TransformType, u16, u16),
    /// No transform of that kind (`none`, `modpnone`).
    NoKeyExchange,
    /// Known, and not served because …
    Refused(&'static str),
}

const WEAK: &str = "it is too weak";
const LATER: &str = "it is not served yet";
const RARE: &str = "it is not served";

use TransformType::{Encryption as Encr, Esn, Integrity as Integ, KeyExchange as Ke, Prf};

const SERVED: [(&str, TransformType, u16, u16); 43] = [
    ("aes128gcm16", Encr, AES_GCM_16, 128),
    ("aes128gcm128", Encr, AES_GCM_16, 128),
    ("aes128gcm", Encr, AES_GCM_16, 128),
    ("aes192gcm16", Encr, AES_GCM_16, 192),
    ("aes192gcm128", Encr, AES_GCM_16, 192),
    ("aes192gcm", Encr, AES_GCM_16, 192),
    ("aes256gcm16", Encr, AES_GCM_16, 256),
    ("aes256gcm128", Encr, AES_GCM_16, 256),
    ("aes256gcm", Encr, AES_GCM_16, 256),
    ("aesgcm16", Encr, AES_GCM_16, 128),
    ("chacha20poly1305", Encr, CHACHA20_POLY1305, 0),
    ("aes", Encr, AES_CBC, 128),
    ("aes128", Encr, AES_CBC, 128),
    ("aes192", Encr, AES_CBC, 192),
    ("aes256", Encr, AES_CBC, 256),
    ("aes128cbc", Encr, AES_CBC, 128),
    ("aes192cbc", Encr, AES_CBC, 192),
    ("aes256cbc", Encr, AES_CBC, 256),
    ("sha256", Integ, 12, 0),
    ("sha2_256", Integ, 12, 0),
    ("sha384", Integ, 13, 0),
    ("sha2_384", Integ, 13, 0),
    ("sha512", Integ, 14, 0),
    ("sha2_512", Integ, 14, 0),
    ("prfsha256", Prf, 5, 0),
    ("prfsha2_256", Prf, 5, 0),
    ("prfsha384", Prf, 6, 0),
    ("prfsha2_384", Prf, 6, 0),
    ("prfsha512", Prf, 7, 0),
    ("prfsha2_512", Prf, 7, 0),
    ("modp2048", Ke, 14, 0),
    ("modp3072", Ke, 15, 0),
    ("modp4096", Ke, 16, 0),
    ("ecp256", Ke, 19, 0),
    ("ecp384", Ke, 20, 0),
    ("ecp521", Ke, 21, 0),
    ("x25519", Ke, 31, 0),
    ("curve25519", Ke, 31, 0),
    ("esn", Esn, 1, 0),
    ("noesn", Esn, 0, 0),
    ("ecp256r1", Ke, 19, 0),
    ("ecp384r1", Ke, 20, 0),
    ("ecp521r1", Ke, 21, 0),
];

/// Keywords that are known and refused. One that ends in `*` stands for all that begin so: families of key and tag sizes.
const REFUSED: [(&str, &str); 51] = [
    ("3des", WEAK),
    ("des", WEAK),
    ("null", WEAK),
    ("md5", WEAK),
    ("md5_128", WEAK),
    ("prfmd5", WEAK),
    ("sha1", WEAK),
    ("sha", WEAK),
    ("sha1_160", WEAK),
    ("prfsha1", WEAK),
    ("modp768", WEAK),
    ("modp1024", WEAK),
    ("modp1024s160", WEAK),
    ("modp1536", WEAK),
    ("modp2048s224", RARE),
    ("modp2048s256", RARE),
    ("modp6144", LATER),
    ("modp8192", LATER),
    ("modpnull", WEAK),
    ("ecp192", WEAK),
    ("ecp224", WEAK),
    ("ecp224bp", WEAK),
    ("ecp256bp", RARE),
    ("ecp384bp", RARE),
    ("ecp512bp", RARE),
    ("curve448", LATER),
    ("x448", LATER),
    ("mlkem512", LATER),
    ("mlkem768", LATER),
    ("mlkem1024", LATER),
    ("gost256", RARE),
    ("gost512", RARE),
    ("newhope*", RARE),
    ("ntru*", RARE),
    ("sha256_96", RARE),
    ("sha2_256_96", RARE),
    ("aesxcbc", LATER),
    ("aescmac", LATER),
    ("prfaesxcbc", LATER),
    ("prfaescmac", LATER),
    ("prfcamelliaxcbc", RARE),
    ("camellia*", RARE),
    ("chacha20poly1305compat", RARE),
    ("blowfish*", WEAK),
    ("cast128", WEAK),
    ("serpent*", RARE),
    ("twofish*", RARE),
    ("aesctr", LATER),
    ("aes128ctr", LATER),
    ("aes192ctr", LATER),
    ("aes256ctr", LATER),
];

/// Looks a keyword up; `None` if nobody knows it.
pub fn keyword(word: &str) -> Option<Keyword> {
    if matches!(word, "none" | "modpnone") {
        return Some(Keyword::NoKeyExchange);
    }
    if let Some((_, kind, id, bits)) = SERVED.iter().find(|(name, ..)| *name == word) {
        return Some(Keyword::Transform(*kind, *id, *bits));
    }
    if let Some(rest) = word.strip_prefix("ke") {
        let additional = rest
            .split_once('_')
            .is_some_and(|(n, m)| matches!(n, "1" | "2" | "3" | "4" | "5" | "6" | "7") && !m.is_empty());
        if additional {
            return Some(Keyword::Refused("additional key exchanges (RFC 9370) are not served yet"));
        }
    }
    if word.starts_with("aes") && (word.contains("ccm") || word.contains("gcm") || word.contains("gmac")) {
        return Some(Keyword::Refused("of the combined modes only AES-GCM with 16 octet ICV is served"));
    }
    let fits = |known: &str| known.strip_suffix('*').map_or(word == known, |family| word.starts_with(family));
    REFUSED.iter().find(|(known, _)| fits(known)).map(|(_, why)| Keyword::Refused(why))
}

/// Every keyword that is served, for "did you mean".
pub fn keywords() -> impl Iterator<Item = &'static str> {
    SERVED.iter().map(|(name, ..)| *name).chain(["none", "default"])
}

/// Display name of an encryption transform.
pub const fn encryption_name(id: u16) -> &'static str {
    match id {
        1 => "DES_IV64",
        2 => "DES_CBC",
        3 => "3DES_CBC",
        4 => "RC5_CBC",
        5 => "IDEA_CBC",
        6 => "CAST_CBC",
        7 => "BLOWFISH_CBC",
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
        28 => "CHACHA20_POLY1305",
        _ => UNKNOWN,
    }
}

/// Display name of an integrity transform.
pub const fn integrity_name(id: u16) -> &'static str {
    match id {
        1 => "HMAC_MD5_96",
        2 => "HMAC_SHA1_96",
        5 => "AES_XCBC_96",
        7 => "HMAC_SHA1_160",
        8 => "AES_CMAC_96",
        12 => "HMAC_SHA2_256_128",
        13 => "HMAC_SHA2_384_192",
        14 => "HMAC_SHA2_512_256",
        _ => UNKNOWN,
    }
}

/// Display name of a pseudo-random function.
pub const fn prf_name(id: u16) -> &'static str {
    match id {
        1 => "PRF_HMAC_MD5",
        2 => "PRF_HMAC_SHA1",
        4 => "PRF_AES128_XCBC",
        5 => "PRF_HMAC_SHA2_256",
        6 => "PRF_HMAC_SHA2_384",
        7 => "PRF_HMAC_SHA2_512",
        8 => "PRF_AES128_CMAC",
        _ => UNKNOWN,
    }
}

/// Display name of a key exchange method.
pub const fn ke_name(id: u16) -> &'static str {
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
        35 => "ML_KEM_512",
        36 => "ML_KEM_768",
        37 => "ML_KEM_1024",
        _ => UNKNOWN,
    }
}
