//! Whole messages: the header, what is in the clear, and the Encrypted payload (RFC 7296 §3.14, RFC 7383 §2.5).

use crate::payload::{self, Payload, Raw};
use crate::reader::Reader;
use crate::{EmitError, HEADER_LEN, Header, PayloadType, WireError, emit_payloads};

/// Bytes of a generic payload header.
const GENERIC: usize = 4;
/// Bytes of fragment number and total.
const FRAGMENT: usize = 4;

/// An Encrypted (Fragment) payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted<'a> {
    /// Type of the first payload inside; 0 in all fragments but the first.
    pub first_inner: PayloadType,
    /// Fragment number and total, for SKF.
    pub fragment: Option<(u16, u16)>,
    /// Bytes of the message before the IV: the associated data of RFC 5282 §5.1.
    pub aad_len: usize,
    /// IV, ciphertext and ICV.
    pub body: &'a [u8],
}

/// A message taken apart as far as is possible without keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The header.
    pub header: Header,
    /// Payloads outside the Encrypted payload.
    pub clear: Vec<Payload>,
    /// The Encrypted payload, the last one of the message.
    pub encrypted: Option<Encrypted<'a>>,
}

impl<'a> Envelope<'a> {
    /// Reads a message that fills `message` exactly.
    ///
    /// # Errors
    /// A version other than 2.x first, then whatever is wrong first.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        let header = Header::parse(message)?;
        if header.major != 2 {
            return Err(WireError::UnsupportedVersion { major: header.major, minor: header.minor });
        }
        if usize::try_from(header.length) != Ok(message.len()) {
            return Err(WireError::BadLength { what: "message" });
        }
        let mut r = Reader::new(message.get(HEADER_LEN..).unwrap_or_default(), "payload");
        let (mut clear, mut encrypted, mut kind) = (Vec::new(), None, header.next);
        while kind != PayloadType::NONE {
            let one = payload::raw(kind, &mut r)?;
            if matches!(kind, PayloadType::SK | PayloadType::SKF) {
                if !r.is_empty() {
                    return Err(WireError::EncryptedNotLast);
                }
                encrypted = Some(encrypted_payload(&one, message.len())?);
                break;
            }
            clear.push(payload::parse(&one)?);
            if clear.len() > payload::MAX_PAYLOADS {
                return Err(WireError::TooManyPayloads);
            }
            kind = one.next;
        }
        if r.is_empty() {
            Ok(Self { header, clear, encrypted })
        } else {
            Err(WireError::BadLength { what: "message" })
        }
    }
}

fn encrypted_payload<'a>(raw: &Raw<'a>, message_len: usize) -> Result<Encrypted<'a>, WireError> {
    let mut r = Reader::new(raw.body, "Encrypted payload");
    let fragment = if raw.kind == PayloadType::SKF {
        let (number, total) = (r.u16()?, r.u16()?);
        // RFC 7383 §2.5: numbers count from 1; 0 of anything, or more than there are, cannot be
        if number == 0 || number > total {
            return Err(WireError::BadValue { what: "fragment number" });
        }
        Some((number, total))
    } else {
        None
    };
    let body = r.rest();
    Ok(Encrypted { first_inner: raw.next, fragment, aad_len: message_len - body.len(), body })
}

/// A message without encryption; next payload and length of the header are filled in.
///
/// # Errors
/// A payload that does not fit.
pub fn emit_clear(header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, EmitError> {
    let (next, body) = emit_payloads(payloads)?;
    let length =
        u32::try_from(HEADER_LEN + body.len()).map_err(|_| EmitError::TooLong { what: "message" })?;
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    Header { next, length, ..*header }.emit(&mut out);
    out.extend(body);
    Ok(out)
}

/// A message up to where the IV goes, lengths filled in for the `enc_len` bytes (IV, ciphertext, ICV) to follow.
///
/// # Errors
/// When the payload would be longer than its length field can say.
pub fn emit_encrypted_prefix(
    header: &Header,
    first_inner: PayloadType,
    fragment: Option<(u16, u16)>,
    enc_len: usize,
) -> Result<Vec<u8>, EmitError> {
    const TOO_LONG: EmitError = EmitError::TooLong { what: "Encrypted payload" };
    let payload_len = GENERIC + fragment.map_or(0, |_| FRAGMENT) + enc_len;
    let length = u32::try_from(HEADER_LEN + payload_len).map_err(|_| TOO_LONG)?;
    let payload_len = u16::try_from(payload_len).map_err(|_| TOO_LONG)?;
    let next = if fragment.is_some() { PayloadType::SKF } else { PayloadType::SK };
    let mut out = Vec::with_capacity(HEADER_LEN + usize::from(payload_len));
    Header { next, length, ..*header }.emit(&mut out);
    out.extend([first_inner.0, 0]);
    out.extend(payload_len.to_be_bytes());
    if let Some((number, total)) = fragment {
        out.extend(number.to_be_bytes());
        out.extend(total.to_be_bytes());
    }
    Ok(out)
}
