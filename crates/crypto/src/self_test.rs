//! A start-up check that everything offered can really be instantiated.

use crate::{Cipher, CryptoError, Encryption, HashAlg, Integrity, KeGroup, KeSecret, Prf, Random, hash, kdf};

/// Instantiates every algorithm of this crate once: key schedule and one message for each cipher, one agreement for
/// each group, one derivation for each PRF.
///
/// A daemon runs it before it offers anything, so that a library without an algorithm shows at start-up and not when a
/// peer has chosen it.
///
/// # Errors
/// The first algorithm that does not work.
pub fn self_test(rng: &mut dyn Random) -> Result<(), CryptoError> {
    for encr in Encryption::ALL {
        if encr.is_aead() {
            cipher(encr, None)?;
        } else {
            for integ in Integrity::ALL {
                cipher(encr, Some(integ))?;
            }
        }
    }
    for group in KeGroup::ALL {
        let (ours, theirs) = (KeSecret::generate(group, rng)?, KeSecret::generate(group, rng)?);
        let shared = ours.agree(theirs.public())?;
        if shared != theirs.agree(ours.public())? {
            return Err(CryptoError::Provider("the two ends of a key exchange disagree"));
        }
        for prf in Prf::ALL {
            let seed = kdf::skeyseed(prf, b"initiator nonce", b"responder nonce", &shared);
            kdf::ike_keys(prf, &seed, b"i", b"r", 1, 2, Encryption::AesGcm16_256, None)?;
        }
    }
    for alg in HashAlg::SUPPORTED {
        if hash(alg, &[b"a", b"b"]) != hash(alg, &[b"ab"]) {
            return Err(CryptoError::Provider("hash"));
        }
    }
    Ok(())
}

fn cipher(encr: Encryption, integ: Option<Integrity>) -> Result<(), CryptoError> {
    let (encr_key, integ_key) = (vec![1; encr.key_len()], vec![2; integ.map_or(0, Integrity::key_len)]);
    let cipher = Cipher::new(encr, integ, &encr_key, &integ_key)?;
    let (iv, mut icv) = (vec![3; cipher.iv_len()], vec![0; cipher.icv_len()]);
    let plain = [4; 32];
    let mut data = plain;
    cipher.seal(&iv, b"aad", &mut data, &[], &mut icv)?;
    cipher.open(&iv, b"aad", &mut data, &[], &icv)?;
    if data == plain { Ok(()) } else { Err(CryptoError::Provider("cipher does not invert itself")) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn passes() {
        super::self_test(&mut crate::SeededRandom::new(1)).unwrap();
    }
}
