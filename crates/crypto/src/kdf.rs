//! The key hierarchy of RFC 7296 §2.14–2.18 and the shared-key AUTH value of §2.15.

use crate::{CryptoError, Encryption, Integrity, Prf, Secret};

/// `SKEYSEED = prf(Ni | Nr, g^ir)` of the first exchange (RFC 7296 §2.14).
#[must_use]
pub fn skeyseed(prf: Prf, ni: &[u8], nr: &[u8], shared: &Secret) -> Secret {
    let nonces = [ni, nr].concat();
    Secret::from(prf.compute(&nonces, &[shared.as_bytes()]))
}

/// `SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)` of an IKE SA rekey (RFC 7296 §2.18).
///
/// `prf_old` is the function of the SA that is being replaced; what follows uses the new one.
#[must_use]
pub fn skeyseed_rekey(prf_old: Prf, sk_d_old: &Secret, shared: &Secret, ni: &[u8], nr: &[u8]) -> Secret {
    Secret::from(prf_old.compute(sk_d_old.as_bytes(), &[shared.as_bytes(), ni, nr]))
}

/// The seven keys of an IKE SA.
#[derive(Debug, Clone)]
pub struct IkeKeys {
    /// Derives the keys of CHILD SAs and of the next IKE SA.
    pub sk_d: Secret,
    /// Integrity, initiator to responder; empty with an AEAD.
    pub sk_ai: Secret,
    /// Integrity, responder to initiator; empty with an AEAD.
    pub sk_ar: Secret,
    /// Encryption with salt, initiator to responder.
    pub sk_ei: Secret,
    /// Encryption with salt, responder to initiator.
    pub sk_er: Secret,
    /// For the initiator's AUTH.
    pub sk_pi: Secret,
    /// For the responder's AUTH.
    pub sk_pr: Secret,
}

/// `{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)`.
///
/// # Errors
/// When encryption and integrity do not fit together (an AEAD with, a plain cipher without integrity), or there is no
/// encryption at all (ENCR_NULL is for ESP only, RFC 7296 §5).
#[expect(clippy::too_many_arguments, reason = "these are the inputs RFC 7296 §2.14 names")]
pub fn ike_keys(
    prf: Prf,
    skeyseed: &Secret,
    ni: &[u8],
    nr: &[u8],
    spi_i: u64,
    spi_r: u64,
    encr: Encryption,
    integ: Option<Integrity>,
) -> Result<IkeKeys, CryptoError> {
    if encr == Encryption::Null {
        return Err(CryptoError::Unsupported("an IKE SA without encryption"));
    }
    let integ_len = integrity_len(encr, integ)?;
    let (encr_len, prf_len) = (encr.key_len(), prf.key_len());
    let len = 3 * prf_len + 2 * integ_len + 2 * encr_len;
    let seed: [&[u8]; 4] = [ni, nr, &spi_i.to_be_bytes(), &spi_r.to_be_bytes()];
    let stream = prf.plus(skeyseed.as_bytes(), &seed, len)?;
    let mut cut = Cutter(stream.as_bytes());
    Ok(IkeKeys {
        sk_d: cut.take(prf_len)?,
        sk_ai: cut.take(integ_len)?,
        sk_ar: cut.take(integ_len)?,
        sk_ei: cut.take(encr_len)?,
        sk_er: cut.take(encr_len)?,
        sk_pi: cut.take(prf_len)?,
        sk_pr: cut.take(prf_len)?,
    })
}

/// The keys of a CHILD SA: `_i` protects what the exchange's initiator sends, `_r` what its responder sends.
#[derive(Debug, Clone)]
pub struct ChildKeys {
    /// Encryption with salt, initiator to responder.
    pub encr_i: Secret,
    /// Integrity, initiator to responder; empty with an AEAD.
    pub integ_i: Secret,
    /// Encryption with salt, responder to initiator.
    pub encr_r: Secret,
    /// Integrity, responder to initiator; empty with an AEAD.
    pub integ_r: Secret,
}

/// `KEYMAT = prf+(SK_d, [g^ir (new)] | Ni | Nr)`, cut as RFC 7296 §2.17 says.
///
/// # Errors
/// When encryption and integrity do not fit together.
pub fn child_keys(
    prf: Prf,
    sk_d: &Secret,
    shared: Option<&Secret>,
    ni: &[u8],
    nr: &[u8],
    encr: Encryption,
    integ: Option<Integrity>,
) -> Result<ChildKeys, CryptoError> {
    let integ_len = integrity_len(encr, integ)?;
    let encr_len = encr.key_len();
    let shared = shared.map_or(&[][..], Secret::as_bytes);
    let stream = prf.plus(sk_d.as_bytes(), &[shared, ni, nr], 2 * (encr_len + integ_len))?;
    let mut cut = Cutter(stream.as_bytes());
    Ok(ChildKeys {
        encr_i: cut.take(encr_len)?,
        integ_i: cut.take(integ_len)?,
        encr_r: cut.take(encr_len)?,
        integ_r: cut.take(integ_len)?,
    })
}

/// `AUTH = prf(prf(secret, "Key Pad for IKEv2"), signed octets)` (RFC 7296 §2.15); also with an EAP method's MSK.
#[must_use]
pub fn auth_psk(prf: Prf, secret: impl AsRef<[u8]>, octets: &[&[u8]]) -> Vec<u8> {
    let padded = Secret::from(prf.compute(secret.as_ref(), &[b"Key Pad for IKEv2"]));
    prf.compute(padded.as_bytes(), octets)
}

fn integrity_len(encr: Encryption, integ: Option<Integrity>) -> Result<usize, CryptoError> {
    match (encr.is_aead(), integ) {
        (true, None) => Ok(0),
        (false, Some(integ)) => Ok(integ.key_len()),
        (true, Some(_)) => Err(CryptoError::Unsupported("an AEAD together with an integrity algorithm")),
        (false, None) => Err(CryptoError::Unsupported("encryption without integrity protection")),
    }
}

struct Cutter<'a>(&'a [u8]);

impl Cutter<'_> {
    fn take(&mut self, len: usize) -> Result<Secret, CryptoError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(CryptoError::TooMuchKeyMaterial)?;
        self.0 = rest;
        Ok(Secret::from(head))
    }
}
