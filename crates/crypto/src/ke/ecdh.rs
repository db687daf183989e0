//! ECP groups and Curve25519 on AWS-LC, with private keys from the caller's [`Random`].

use aws_lc_rs::agreement::{
    self, Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, X25519,
};
use zeroize::Zeroizing;

use crate::{CryptoError, KeGroup, Random, Secret};

fn algorithm(group: KeGroup) -> Option<(&'static Algorithm, usize)> {
    match group {
        KeGroup::Ecp256 => Some((&ECDH_P256, 32)),
        KeGroup::Ecp384 => Some((&ECDH_P384, 48)),
        KeGroup::Ecp521 => Some((&ECDH_P521, 66)),
        KeGroup::X25519 => Some((&X25519, 32)),
        _ => None,
    }
}

/// Tries before the source of randomness is declared broken; a P-256 scalar is out of range once in 2³² draws.
const TRIES: usize = 32;

pub(super) fn generate(group: KeGroup, rng: &mut dyn Random) -> Result<(Vec<u8>, PrivateKey), CryptoError> {
    let (_, len) = algorithm(group).ok_or(CryptoError::Unsupported("this group on a curve"))?;
    let mut scalar = Zeroizing::new([0u8; 66]);
    let scalar = scalar.get_mut(..len).ok_or(CryptoError::Unsupported("this group on a curve"))?;
    for _ in 0..TRIES {
        rng.fill(scalar);
        if group == KeGroup::Ecp521
            && let Some(top) = scalar.first_mut()
        {
            *top &= 1;
        }
        // Zero and anything not below the order is refused here: draw again.
        if let Ok(pair) = from_scalar(group, scalar) {
            return Ok(pair);
        }
    }
    Err(CryptoError::Provider("no usable private key from the source of randomness"))
}

/// The key pair of a private scalar (big-endian; Curve25519: little-endian as RFC 7748 has it).
pub(super) fn from_scalar(group: KeGroup, scalar: &[u8]) -> Result<(Vec<u8>, PrivateKey), CryptoError> {
    let (algorithm, _) = algorithm(group).ok_or(CryptoError::Unsupported("this group on a curve"))?;
    let key = PrivateKey::from_private_key(algorithm, scalar)
        .map_err(|_| CryptoError::Provider("private key out of range"))?;
    let public = key.compute_public_key().map_err(|_| CryptoError::Provider("public key"))?;
    // RFC 5903 §7: the point is X | Y, without SEC1's leading octet.
    let public = public.as_ref();
    let wire = if group == KeGroup::X25519 { public } else { public.get(1..).unwrap_or_default() };
    if wire.len() != group.public_len() {
        return Err(CryptoError::Provider("public key"));
    }
    Ok((wire.to_vec(), key))
}

/// `None` for a point off the curve and for an all-zero Curve25519 result: AWS-LC checks both.
pub(super) fn agree(group: KeGroup, key: &PrivateKey, peer: &[u8]) -> Option<Secret> {
    let (algorithm, _) = algorithm(group)?;
    let mut point = [0; 133];
    let encoded = if group == KeGroup::X25519 {
        peer
    } else {
        let encoded = point.get_mut(..=peer.len())?;
        let (form, rest) = encoded.split_first_mut()?;
        *form = 4;
        rest.copy_from_slice(peer);
        encoded
    };
    let public = UnparsedPublicKey::new(algorithm, encoded);
    let shared = agreement::agree(key, public, (), |shared| Ok(Secret::from(shared))).ok()?;
    // RFC 8031 §2. Redundant with the library's own check, and cheap.
    let zero = Secret::from(vec![0; shared.len()]);
    (!shared.ct_eq(&zero)).then_some(shared)
}
