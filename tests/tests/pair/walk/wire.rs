//! Message IDs on the wire (RFC 7296 §2.1, §2.2): each is used once, none is left out, and what is sent again is the
//! same to the octet.

use std::collections::BTreeMap;

use adit_wire::{ExchangeType, Header, PayloadType};

use crate::net::{Captured, End};

/// Who sends, on which IKE_SA.
type Stream = (End, u64, u64);

#[derive(Default)]
pub struct Wire {
    seen: usize,
    /// Requests and responses by Message ID, each by number of the fragment.
    sent: BTreeMap<(Stream, bool, u32), BTreeMap<u16, Vec<u8>>>,
    /// Message ID of the last request.
    last: BTreeMap<Stream, u32>,
    /// IKE_SA_INIT requests by SPI, and whether an answer has gone out since.
    first: BTreeMap<(End, u64), (Vec<u8>, bool)>,
}

/// The IKE message in a datagram.
pub fn message(captured: &Captured) -> Option<&[u8]> {
    if captured.src.port() == 4500 || captured.dst.port() == 4500 {
        captured.bytes.strip_prefix(&[0; 4])
    } else {
        Some(&captured.bytes)
    }
}

impl Wire {
    pub fn look(&mut self, capture: &[Captured]) -> Result<(), String> {
        for captured in &capture[self.seen..] {
            if let Some(bytes) = message(captured)
                && let Ok(header) = Header::parse(bytes)
            {
                self.message(captured.from, &header, bytes).map_err(|error| {
                    let Header { exchange, message_id, flags, spi_i, spi_r, .. } = header;
                    let what = if flags.response { "response" } else { "request" };
                    format!(
                        "{:?}'s {what} {exchange:?} {message_id} on {spi_i:016x}_{spi_r:016x}: {error}",
                        captured.from
                    )
                })?;
            }
        }
        self.seen = capture.len();
        Ok(())
    }

    fn message(&mut self, from: End, header: &Header, bytes: &[u8]) -> Result<(), String> {
        if matches!(header.exchange, ExchangeType::IKE_SA_INIT | ExchangeType::IKE_SESSION_RESUME) {
            return self.init(from, header, bytes);
        }
        let fragment = match header.next {
            PayloadType::SK => 0,
            PayloadType::SKF => u16::from_be_bytes([bytes[32], bytes[33]]),
            // An answer outside of any IKE_SA.
            _ if header.flags.response => return Ok(()),
            _ => return Err("a request without protection".to_owned()),
        };
        let (stream, mid) = ((from, header.spi_i, header.spi_r), header.message_id);
        let asked = |end| (end, header.spi_i, header.spi_r);
        if header.flags.response && !self.sent.contains_key(&(asked(from.other()), false, mid)) {
            return Err("nobody has asked".to_owned());
        }
        let parts = self.sent.entry((stream, header.flags.response, mid)).or_default();
        let fresh = parts.is_empty();
        match parts.get(&fragment) {
            Some(before) if before != bytes => return Err("the Message ID is used again".to_owned()),
            Some(_) => return Ok(()),
            None if !fresh && (fragment == 0 || parts.contains_key(&0)) => {
                return Err("sent in fragments and whole".to_owned());
            }
            None => drop(parts.insert(fragment, bytes.to_vec())),
        }
        if header.flags.response || !fresh {
            return Ok(());
        }
        let next = match self.last.get(&stream) {
            Some(last) => last + 1,
            // That of IKE_SA_INIT was 0.
            None => u32::from(header.exchange == ExchangeType::IKE_AUTH),
        };
        if mid != next {
            return Err(format!("{next} would have been next"));
        }
        self.last.insert(stream, mid);
        Ok(())
    }

    fn init(&mut self, from: End, header: &Header, bytes: &[u8]) -> Result<(), String> {
        if header.flags.response {
            if let Some((_, answered)) = self.first.get_mut(&(from.other(), header.spi_i)) {
                *answered = true;
            }
            if header.spi_r == 0 {
                return Ok(()); // without state, to whatever was asked
            }
        }
        if header.message_id != 0 {
            return Err("the Message ID is not 0".to_owned());
        }
        if header.flags.response {
            let key = ((from, header.spi_i, header.spi_r), true, 0);
            let before = self.sent.entry(key).or_default().entry(0).or_insert_with(|| bytes.to_vec());
            return if before == bytes { Ok(()) } else { Err("answered otherwise than before".to_owned()) };
        }
        // RFC 7296 §2.6: only COOKIE and INVALID_KE_PAYLOAD make another request with the same SPI; an answer may have
        // been a stranger's, so there may be more of them.
        let (before, answered) = self.first.entry((from, header.spi_i)).or_insert((bytes.to_vec(), false));
        if before != bytes && !*answered {
            return Err("changed, and nobody has answered".to_owned());
        }
        before.clear();
        before.extend_from_slice(bytes);
        Ok(())
    }
}
