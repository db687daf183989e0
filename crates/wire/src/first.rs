//! A first look at a stranger's request, before it is worth taking apart.

use crate::reader::Reader;
use crate::{HEADER_LEN, Header, NotifyType, PayloadType, WireError, payload};

/// What an answer with a cookie needs of an IKE_SA_INIT request (RFC 7296 §2.6). Nothing is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstLook<'a> {
    /// Data of the COOKIE notification, if it is the first payload, where it has to be.
    pub cookie: Option<&'a [u8]>,
    /// The nonce.
    pub nonce: &'a [u8],
}

impl<'a> FirstLook<'a> {
    /// Walks over the payloads of a message without reading into them.
    ///
    /// # Errors
    /// A chain of payloads that is broken or too long, or that has no nonce of 16 to 256 octets (§2.10).
    pub fn at(message: &'a [u8]) -> Result<Self, WireError> {
        const NONCE: WireError = WireError::BadLength { what: "nonce" };
        let mut kind = Header::parse(message)?.next;
        let mut r = Reader::new(message.get(HEADER_LEN..).unwrap_or_default(), "payload");
        let (mut cookie, mut nonce) = (None, None);
        for number in 0..payload::MAX_PAYLOADS {
            if kind == PayloadType::NONE {
                break;
            }
            let one = payload::raw(kind, &mut r)?;
            match kind {
                PayloadType::NOTIFY if number == 0 => cookie = cookie_of(one.body),
                PayloadType::NONCE => nonce = nonce.or(Some(one.body)),
                _ => {}
            }
            kind = one.next;
        }
        let nonce = nonce.filter(|nonce| (16..=256).contains(&nonce.len())).ok_or(NONCE)?;
        if kind == PayloadType::NONE { Ok(Self { cookie, nonce }) } else { Err(WireError::TooManyPayloads) }
    }
}

/// Protocol, SPI size, type, SPI, data (§3.10).
fn cookie_of(body: &[u8]) -> Option<&[u8]> {
    let mut r = Reader::new(body, "Notify payload");
    let (_, spi_len, kind) = (r.u8().ok()?, r.u8().ok()?, r.u16().ok()?);
    r.take(usize::from(spi_len)).ok()?;
    (kind == NotifyType::COOKIE.0).then(|| r.rest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExchangeType, Flags, Payload, emit_clear};

    fn message(payloads: &[Payload]) -> Vec<u8> {
        let header = Header {
            spi_i: 1,
            spi_r: 0,
            next: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange: ExchangeType::IKE_SA_INIT,
            flags: Flags { initiator: true, ..Flags::default() },
            message_id: 0,
            length: 0,
        };
        emit_clear(&header, payloads).unwrap()
    }

    #[test]
    fn a_cookie_comes_first_and_a_nonce_somewhere() {
        let cookie = Payload::notify(NotifyType::COOKIE, vec![7; 20]);
        let nonce = Payload::Nonce(vec![9; 32]);
        let other = Payload::notify(NotifyType::COOKIE2, vec![1]);
        let whole = message(&[cookie.clone(), other.clone(), nonce.clone()]);
        assert_eq!(FirstLook::at(&whole), Ok(FirstLook { cookie: Some(&[7; 20]), nonce: &[9; 32] }));
        let late = message(&[nonce.clone(), cookie]);
        assert_eq!(FirstLook::at(&late), Ok(FirstLook { cookie: None, nonce: &[9; 32] }));
        assert_eq!(FirstLook::at(&message(&[other.clone(), nonce])).unwrap().cookie, None);
        for bad in
            [message(&[]), message(std::slice::from_ref(&other)), message(&[Payload::Nonce(vec![9; 15])])]
        {
            assert!(FirstLook::at(&bad).is_err());
        }
        assert!(FirstLook::at(&message(&vec![other; 65])).is_err());
        for length in 0..whole.len() {
            assert!(FirstLook::at(&whole[..length]).is_err(), "{length}");
        }
    }
}
