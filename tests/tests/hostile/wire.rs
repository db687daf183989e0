//! Messages taken apart and put together again without any of the checks that an honest sender makes.

use adit_crypto::{Cipher, Encryption, Integrity};
use adit_ike::IkeKeysExport;
use adit_wire::{Envelope, HEADER_LEN, Header, PayloadType, emit_encrypted_prefix};

/// A payload as octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub kind: u8,
    /// The octet of the critical bit.
    pub flags: u8,
    pub body: Vec<u8>,
    /// What the length field says, when that is a lie.
    pub length: Option<u16>,
}

impl Raw {
    pub fn new(kind: PayloadType, body: impl Into<Vec<u8>>) -> Self {
        Self { kind: kind.0, flags: 0, body: body.into(), length: None }
    }

    pub fn notify(kind: u16, data: &[u8]) -> Self {
        let mut body = vec![0, 0];
        body.extend(kind.to_be_bytes());
        body.extend(data);
        Self::new(PayloadType::NOTIFY, body)
    }
}

/// The payloads of a chain. Whoever made it made it well.
pub fn split(first: u8, bytes: &[u8]) -> Vec<Raw> {
    let (mut kind, mut rest, mut chain) = (first, bytes, Vec::new());
    while kind != 0 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        chain.push(Raw { kind, flags: rest[1], body: rest[4..length].to_vec(), length: None });
        (kind, rest) = (rest[0], &rest[length..]);
    }
    chain
}

/// A chain: type of its first payload, and octets.
pub fn join(chain: &[Raw]) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    for (n, raw) in chain.iter().enumerate() {
        out.extend([chain.get(n + 1).map_or(0, |next| next.kind), raw.flags]);
        let length = raw.length.unwrap_or((raw.body.len() + 4) as u16);
        out.extend(length.to_be_bytes());
        out.extend(&raw.body);
    }
    (chain.first().map_or(0, |raw| raw.kind), out)
}

fn cipher(keys: &IkeKeysExport, by_initiator: bool) -> Cipher {
    let encr = Encryption::from_id(keys.encr, keys.encr_key_bits).unwrap();
    let integ = Integrity::from_id(keys.integ);
    let (sk_e, sk_a) = if by_initiator { (&keys.sk_ei, &keys.sk_ai) } else { (&keys.sk_er, &keys.sk_ar) };
    Cipher::new(encr, integ, sk_e.as_bytes(), sk_a.as_bytes()).unwrap()
}

/// Type of the first payload inside, and the plaintext, of an unfragmented protected message.
pub fn open(keys: &IkeKeysExport, message: &[u8]) -> Option<(u8, Vec<u8>)> {
    let envelope = Envelope::parse(message).ok()?;
    let encrypted = envelope.encrypted?;
    let cipher = cipher(keys, envelope.header.flags.initiator);
    let (iv, rest) = encrypted.body.split_at_checked(cipher.iv_len())?;
    let (data, icv) = rest.split_at_checked(rest.len().checked_sub(cipher.icv_len())?)?;
    let mut data = data.to_vec();
    cipher.open(iv, &message[..encrypted.aad_len], &mut data, &[], icv).ok()?;
    let padding = usize::from(data.pop()?);
    data.truncate(data.len().checked_sub(padding)?);
    Some((encrypted.first_inner.0, data))
}

/// A protected message with this plaintext, whatever it is.
pub fn seal(
    keys: &IkeKeysExport,
    header: &Header,
    first: u8,
    fragment: Option<(u16, u16)>,
    plaintext: &[u8],
) -> Vec<u8> {
    let clear = (Vec::new(), 0);
    seal_behind(keys, header, &clear, first, fragment, plaintext)
}

/// The same behind payloads in the clear: their octets, and the type of the first.
pub fn seal_behind(
    keys: &IkeKeysExport,
    header: &Header,
    (clear, clear_first): &(Vec<u8>, u8),
    first: u8,
    fragment: Option<(u16, u16)>,
    plaintext: &[u8],
) -> Vec<u8> {
    let cipher = cipher(keys, header.flags.initiator);
    let (iv_len, icv_len, block) = (cipher.iv_len(), cipher.icv_len(), cipher.block_len().max(1));
    let mut data = plaintext.to_vec();
    let padding = (data.len() + 1).next_multiple_of(block) - data.len() - 1;
    data.extend(vec![0; padding]);
    data.push(padding as u8);
    let enc_len = iv_len + data.len() + icv_len;
    let mut out = emit_encrypted_prefix(header, PayloadType(first), fragment, enc_len).unwrap();
    if !clear.is_empty() {
        out[16] = *clear_first;
        out.splice(HEADER_LEN..HEADER_LEN, clear.iter().copied());
        let length = (out.len() + enc_len) as u32;
        out[24..28].copy_from_slice(&length.to_be_bytes());
    }
    let aad = out.len();
    // Any number that was not used yet will do, and these are never believed by anyone.
    let mut iv = vec![0xa5; iv_len];
    let unique = plaintext.iter().fold(u64::from(header.message_id) << 40, |sum, octet| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*octet))
    });
    iv[..8].copy_from_slice(&unique.to_be_bytes());
    let mut icv = vec![0; icv_len];
    cipher.seal(&iv, &out[..aad], &mut data, &[], &mut icv).unwrap();
    out.extend(iv);
    out.extend(data);
    out.extend(icv);
    out
}
