//! MODP groups of RFC 3526 with constant-time Montgomery arithmetic.
//!
//! Exponents are short: with a safe prime an exponent of twice the group's strength loses nothing (RFC 3526 §8, NIST
//! SP 800-56A §5.6.1.1), and an agreement costs a sixth of the full one.

use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U448, Uint};
use zeroize::Zeroize as _;

use crate::{CryptoError, KeGroup, Random, Secret};

const LIMBS_2048: usize = crypto_bigint::U2048::LIMBS;
const LIMBS_3072: usize = crypto_bigint::U3072::LIMBS;
const LIMBS_4096: usize = crypto_bigint::U4096::LIMBS;

static MODP_2048: LazyLock<Option<FixedMontyParams<LIMBS_2048>>> = LazyLock::new(|| parameters(P2048));
static MODP_3072: LazyLock<Option<FixedMontyParams<LIMBS_3072>>> = LazyLock::new(|| parameters(P3072));
static MODP_4096: LazyLock<Option<FixedMontyParams<LIMBS_4096>>> = LazyLock::new(|| parameters(P4096));

fn parameters<const LIMBS: usize>(prime: &str) -> Option<FixedMontyParams<LIMBS>> {
    let prime = Uint::<LIMBS>::from_be_hex(prime);
    Odd::new(prime).into_option().map(FixedMontyParams::new_vartime)
}

/// Octets of a private exponent: at least twice the 112, 128 and 152 bits of strength of the groups.
fn exponent_len(group: KeGroup) -> usize {
    match group {
        KeGroup::Modp2048 => 40,
        KeGroup::Modp3072 => 48,
        _ => 56,
    }
}

pub(super) fn generate(group: KeGroup, rng: &mut dyn Random) -> Result<(Vec<u8>, Secret), CryptoError> {
    let mut exponent = vec![0; exponent_len(group)];
    rng.fill(&mut exponent);
    // Always of full length, so that no draw gives a tiny exponent.
    if let Some(top) = exponent.first_mut() {
        *top |= 0x80;
    }
    let exponent = Secret::from(exponent);
    let public = power(group, None, &exponent).ok_or(CryptoError::Unsupported("this group as MODP"))?;
    Ok((public.as_bytes().to_vec(), exponent))
}

pub(super) fn agree(group: KeGroup, exponent: &Secret, peer: &[u8]) -> Option<Secret> {
    power(group, Some(peer), exponent)
}

/// `base ^ exponent mod p`, the base being the generator 2 or a peer's value (refused unless 1 < y < p − 1). The
/// result has the length of p (RFC 7296 §2.14).
fn power(group: KeGroup, base: Option<&[u8]>, exponent: &Secret) -> Option<Secret> {
    match group {
        KeGroup::Modp2048 => power_in(MODP_2048.as_ref()?, base, exponent),
        KeGroup::Modp3072 => power_in(MODP_3072.as_ref()?, base, exponent),
        KeGroup::Modp4096 => power_in(MODP_4096.as_ref()?, base, exponent),
        _ => None,
    }
}

fn power_in<const LIMBS: usize>(
    params: &FixedMontyParams<LIMBS>,
    base: Option<&[u8]>,
    exponent: &Secret,
) -> Option<Secret> {
    let base = match base {
        None => Uint::from_u8(2),
        Some(octets) if octets.len() == LIMBS * crypto_bigint::Limb::BYTES => {
            let base = Uint::<LIMBS>::from_be_slice(octets);
            // RFC 6989 §2.1. The value is public, so comparing it may take variable time.
            let last = params.modulus().as_ref().wrapping_sub(&Uint::ONE);
            if base.cmp_vartime(&Uint::ONE).is_le() || base.cmp_vartime(&last).is_ge() {
                return None;
            }
            base
        }
        Some(_) => return None,
    };
    let mut padded = [0u8; 56];
    let start = padded.len().checked_sub(exponent.len())?;
    padded.get_mut(start..)?.copy_from_slice(exponent.as_bytes());
    let mut number = U448::from_be_slice(&padded);
    padded.zeroize();
    let mut result =
        FixedMontyForm::new(&base, params).pow_bounded_exp(&number, exponent.len() as u32 * 8).retrieve();
    number.zeroize();
    let secret = Secret::from(result.to_be_bytes().as_ref());
    result.zeroize();
    Some(secret)
}

/// RFC 3526 §3.
#[rustfmt::skip]
const P2048: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
);
/// RFC 3526 §4.
#[rustfmt::skip]
const P3072: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7",
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C",
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
);
/// RFC 3526 §5.
#[rustfmt::skip]
const P4096: &str = concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7",
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C",
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7",
    "88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6",
    "287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9",
    "93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
);
