//! The computations of MSCHAPv2 (RFC 2759 §8) and of its keys (RFC 3079 §3).

use adit_crypto::{Secret, des_ecb_encrypt, md4, sha1};
use zeroize::{Zeroize, Zeroizing};

/// RFC 2759 §8.7.
const SIGN_1: &[u8] = b"Magic server to client signing constant";
const SIGN_2: &[u8] = b"Pad to make it do more than one iteration";

/// RFC 3079 §3.4, Magic1.
const MASTER: &[u8] = b"This is the MPPE Master Key";
/// RFC 3079 §3.4, Magic2: what the client sends with, the server receives with.
const CLIENT_TO_SERVER: &[u8] =
    b"On the client side, this is the send key; on the server side, it is the receive key.";
/// RFC 3079 §3.4, Magic3: the other way round.
const SERVER_TO_CLIENT: &[u8] =
    b"On the client side, this is the receive key; on the server side, it is the send key.";

/// NtPasswordHash, RFC 2759 §8.3: MD4 of the password in UTF-16LE. A password that is no UTF-8 (given as hexadecimal
/// in the configuration) counts each byte as one character.
pub(crate) fn nt_hash(password: &[u8]) -> Zeroizing<[u8; 16]> {
    let mut wide = Zeroizing::new(Vec::with_capacity(password.len().saturating_mul(2)));
    match std::str::from_utf8(password) {
        Ok(text) => text.encode_utf16().for_each(|unit| wide.extend_from_slice(&unit.to_le_bytes())),
        Err(_) => password.iter().for_each(|byte| wide.extend_from_slice(&[*byte, 0])),
    }
    Zeroizing::new(md4(&wide))
}

/// The user name without its `DOMAIN\`: RFC 2759 §4 hashes the name alone.
pub(crate) fn user_part(name: &[u8]) -> &[u8] {
    match name.iter().position(|byte| *byte == b'\\') {
        Some(at) => name.get(at.saturating_add(1)..).unwrap_or_default(),
        None => name,
    }
}

/// Both challenges and the user name as they went over the wire.
#[derive(Clone, Copy)]
pub(crate) struct Transcript<'a> {
    pub authenticator: &'a [u8; 16],
    pub peer: &'a [u8; 16],
    /// With or without domain.
    pub name: &'a [u8],
}

impl Transcript<'_> {
    /// ChallengeHash, RFC 2759 §8.2.
    fn challenge_hash(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = sha1(&[self.peer, self.authenticator, user_part(self.name)]);
        [a, b, c, d, e, f, g, h]
    }

    /// GenerateNTResponse, RFC 2759 §8.1 and §8.5.
    pub(crate) fn nt_response(&self, nt_hash: &[u8; 16]) -> [u8; 24] {
        let challenge = self.challenge_hash();
        let mut padded = Zeroizing::new([0u8; 21]);
        for (slot, byte) in padded.iter_mut().zip(nt_hash) {
            *slot = *byte;
        }
        let mut response = [0u8; 24];
        let (keys, _) = padded.as_chunks::<7>();
        let (blocks, _) = response.as_chunks_mut::<8>();
        for (block, key) in blocks.iter_mut().zip(keys) {
            *block = des_ecb_encrypt(key, challenge);
        }
        response
    }

    /// GenerateAuthenticatorResponse, RFC 2759 §8.7, before its conversion to hexadecimal.
    pub(crate) fn authenticator_response(&self, nt_hash: &[u8; 16], nt_response: &[u8; 24]) -> [u8; 20] {
        let hash_hash = Zeroizing::new(md4(nt_hash));
        let digest = Zeroizing::new(sha1(&[&*hash_hash, nt_response, SIGN_1]));
        sha1(&[&*digest, &self.challenge_hash(), SIGN_2])
    }
}

/// GetMasterKey, RFC 3079 §3.4.
fn master_key(nt_hash: &[u8; 16], nt_response: &[u8; 24]) -> Zeroizing<[u8; 16]> {
    let hash_hash = Zeroizing::new(md4(nt_hash));
    first_16(sha1(&[&*hash_hash, nt_response, MASTER]))
}

/// GetAsymmetricStartKey, RFC 3079 §3.4, for 128 bits.
fn start_key(master: &[u8; 16], magic: &[u8]) -> Zeroizing<[u8; 16]> {
    first_16(sha1(&[master, &[0; 40], magic, &[0xf2; 40]]))
}

fn first_16(mut digest: [u8; 20]) -> Zeroizing<[u8; 16]> {
    let mut key = Zeroizing::new([0; 16]);
    for (slot, byte) in key.iter_mut().zip(&digest) {
        *slot = *byte;
    }
    digest.zeroize();
    key
}

/// The MSK: the server's receive key, the server's send key, and zeros up to the 64 bytes that RFC 3748 §7.10 demands.
/// Both ends use the server's view.
///
/// A RADIUS server hands out the 32 bytes alone. HMAC pads its key with zeros, so the AUTH payloads agree either way;
/// they would not with a PRF that hashes or rejects short keys.
pub(crate) fn msk(nt_hash: &[u8; 16], nt_response: &[u8; 24]) -> Secret {
    let master = master_key(nt_hash, nt_response);
    let mut msk = Vec::with_capacity(64);
    msk.extend_from_slice(&*start_key(&master, CLIENT_TO_SERVER));
    msk.extend_from_slice(&*start_key(&master, SERVER_TO_CLIENT));
    msk.resize(64, 0);
    Secret::from(msk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let digits: Vec<u8> =
            text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    }

    const CHALLENGES: ([u8; 16], [u8; 16]) = (
        [0x5b, 0x5d, 0x7c, 0x7d, 0x7b, 0x3f, 0x2f, 0x3e, 0x3c, 0x2c, 0x60, 0x21, 0x32, 0x26, 0x26, 0x28],
        [0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x3a, 0x33, 0x7c, 0x7e],
    );

    #[test]
    fn rfc_2759_section_9_2() {
        let (authenticator, peer) = CHALLENGES;
        let hash = nt_hash(b"clientPass");
        assert_eq!(*hash, hex("44EBBA8D5312B8D611474411F56989AE"));
        assert_eq!(md4(&*hash), hex("41C00C584BD2D91C4017A2A12FA59F3F"));
        for name in [&b"User"[..], b"DOMAIN\\User"] {
            let transcript = Transcript { authenticator: &authenticator, peer: &peer, name };
            assert_eq!(transcript.challenge_hash(), hex("D02E4386BCE91226"));
            let response = transcript.nt_response(&hash);
            assert_eq!(response, hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"));
            assert_eq!(
                transcript.authenticator_response(&hash, &response),
                hex("407A5589115FD0D6209F510FE9C04566932CDA56")
            );
        }
    }

    #[test]
    fn rfc_3079_section_3_5_3() {
        let hash = nt_hash(b"clientPass");
        let response = hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        let master = master_key(&hash, &response);
        assert_eq!(*master, hex("FDECE3717A8C838CB388E527AE3CDD31"));
        // The document prints the server's send key.
        assert_eq!(*start_key(&master, SERVER_TO_CLIENT), hex("8B7CDC149B993A1BA118CB153F56DCCB"));
    }

    #[test]
    fn the_msk_is_receive_key_then_send_key_of_the_server() {
        let hash = nt_hash(b"clientPass");
        let response = hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        let msk = msk(&hash, &response);
        let bytes = msk.as_bytes();
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[..16], *start_key(&master_key(&hash, &response), CLIENT_TO_SERVER));
        assert_eq!(bytes[16..32], hex::<16>("8B7CDC149B993A1BA118CB153F56DCCB"));
        assert_eq!(bytes[32..], [0; 32]);
    }

    #[test]
    fn passwords_are_utf_16() {
        // U+00E9 is one unit, U+1F511 two.
        assert_eq!(*nt_hash("é".as_bytes()), md4(&[0xe9, 0]));
        assert_eq!(*nt_hash("🔑".as_bytes()), md4(&[0x3d, 0xd8, 0x11, 0xdd]));
        assert_eq!(*nt_hash(&[0xff, 0x41]), md4(&[0xff, 0, 0x41, 0]));
    }

    #[test]
    fn domains_are_cut_off() {
        assert_eq!(user_part(b"user"), b"user");
        assert_eq!(user_part(b"DOM\\user"), b"user");
        assert_eq!(user_part(b"DOM\\"), b"");
        assert_eq!(user_part(b"user@dom"), b"user@dom");
        assert_eq!(user_part(b""), b"");
    }
}
