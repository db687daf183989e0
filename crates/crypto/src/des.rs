//! DES, one block, for MSCHAPv2's ChallengeResponse (RFC 2759 §8.5) and nothing else.
//!
//! Written out because the library at hand refuses DES's weak keys, and MSCHAPv2 uses one for every NT hash that ends
//! in two zero octets. Table lookups depend on the key; what is protected here is 56 bits strong at best.

/// Encrypts one block. `key` holds the 56 key bits without parity, as MSCHAPv2 cuts them.
#[must_use]
pub fn des_ecb_encrypt(key: &[u8; 7], block: [u8; 8]) -> [u8; 8] {
    let key = key.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut c = permute(&PC1_C, |position| key_bit(key, position)) as u32;
    let mut d = permute(&PC1_D, |position| key_bit(key, position)) as u32;

    let block = u64::from_be_bytes(block);
    let mixed = permute(&IP, |position| bit(block, position, 64));
    let (mut left, mut right) = ((mixed >> 32) as u32, mixed as u32);
    for shift in SHIFTS {
        c = rotate28(c, shift);
        d = rotate28(d, shift);
        let cd = u64::from(c) << 28 | u64::from(d);
        let round_key = permute(&PC2, |position| bit(cd, position, 56));
        (left, right) = (right, left ^ round(right, round_key));
    }
    // The last round does not swap the halves.
    let joined = u64::from(right) << 32 | u64::from(left);
    permute(&FP, |position| bit(joined, position, 64)).to_be_bytes()
}

fn round(half: u32, round_key: u64) -> u32 {
    let expanded = permute(&E, |position| bit(u64::from(half), position, 32)) ^ round_key;
    let mut substituted = 0u32;
    for (index, table) in S.iter().enumerate() {
        let six = (expanded >> (42 - 6 * index)) as u8 & 0x3f;
        let row = (six >> 4 & 2) | (six & 1);
        let column = six >> 1 & 0xf;
        let value = table.get(usize::from(row * 16 + column)).copied().unwrap_or_default();
        substituted = substituted << 4 | u32::from(value);
    }
    permute(&P, |position| bit(u64::from(substituted), position, 32)) as u32
}

/// Bit `position` (1 = most significant) of a number of `width` bits.
fn bit(value: u64, position: u8, width: u8) -> u64 {
    value >> (width - position) & 1
}

/// The bit that a key with parity octets has at `position`, found in the 56 bits without parity.
fn key_bit(key: u64, position: u8) -> u64 {
    let (byte, within) = ((position - 1) / 8, (position - 1) % 8);
    key >> (55 - (byte * 7 + within)) & 1
}

fn permute(table: &[u8], bit: impl Fn(u8) -> u64) -> u64 {
    table.iter().fold(0, |bits, position| bits << 1 | bit(*position))
}

fn rotate28(value: u32, by: u32) -> u32 {
    (value << by | value >> (28 - by)) & 0x0fff_ffff
}

const SHIFTS: [u32; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];

#[rustfmt::skip]
const IP: [u8; 64] = [
    58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
    57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
];
#[rustfmt::skip]
const FP: [u8; 64] = [
    40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31, 38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21, 61, 29,
    36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27, 34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9, 49, 17, 57, 25,
];
#[rustfmt::skip]
const E: [u8; 48] = [
    32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17,
    16, 17, 18, 19, 20, 21, 20, 21, 22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
];
#[rustfmt::skip]
const P: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
];
#[rustfmt::skip]
const PC1_C: [u8; 28] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
];
#[rustfmt::skip]
const PC1_D: [u8; 28] = [
    63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];
#[rustfmt::skip]
const PC2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
    41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];
#[rustfmt::skip]
const S: [[u8; 64]; 8] = [
    [14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
     4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13],
    [15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
     0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9],
    [10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
     13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12],
    [7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
     10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14],
    [2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
     4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3],
    [12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
     9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13],
    [4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
     1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12],
    [13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
     7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2759 §9.2: the three blocks of the NT-Response.
    #[test]
    fn mschapv2_challenge_response() {
        let hash = hex("44EBBA8D5312B8D611474411F56989AE");
        let challenge: [u8; 8] = hex("D02E4386BCE91226").try_into().unwrap();
        let mut padded = hash;
        padded.resize(21, 0);
        let response: Vec<u8> =
            padded.chunks(7).flat_map(|key| des_ecb_encrypt(key.try_into().unwrap(), challenge)).collect();
        assert_eq!(response, hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"));
    }

    /// All-zero key bits (with parity 01…01) are a weak key: encrypting twice gives the plaintext back.
    #[test]
    fn weak_keys_work() {
        let block = *b"8 octets";
        assert_eq!(des_ecb_encrypt(&[0; 7], des_ecb_encrypt(&[0; 7], block)), block);
    }

    /// The library's DES agrees on many keys.
    #[test]
    #[expect(deprecated, reason = "it is the reference here")]
    fn agrees_with_the_library() {
        use crate::{Random as _, SeededRandom};
        use aws_lc_rs::cipher::{
            DES_FOR_LEGACY_USE_ONLY, EncryptingKey, EncryptionContext, UnboundCipherKey,
        };
        let mut rng = SeededRandom::new(1);
        for _ in 0..200 {
            let (mut key, mut block) = ([0; 7], [0; 8]);
            rng.fill(&mut key);
            rng.fill(&mut block);
            let bits = key.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            let with_parity: Vec<u8> = (0..8)
                .map(|i| {
                    let seven = (bits >> (49 - 7 * i) & 0x7f) as u8;
                    seven << 1 | (seven.count_ones() as u8 & 1 ^ 1)
                })
                .collect();
            let reference =
                EncryptingKey::ecb(UnboundCipherKey::new(&DES_FOR_LEGACY_USE_ONLY, &with_parity).unwrap())
                    .unwrap();
            let mut expected = block;
            reference.less_safe_encrypt(&mut expected, EncryptionContext::None).unwrap();
            assert_eq!(des_ecb_encrypt(&key, block), expected);
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }
}
