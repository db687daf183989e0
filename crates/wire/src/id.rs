//! Identification payloads (RFC 7296 §3.5).

use crate::WireError;
use crate::reader::Reader;

/// Type and data as sent: exactly what the AUTH payload covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdPayload {
    /// ID type.
    pub kind: u8,
    /// Identification data.
    pub data: Vec<u8>,
}

/// Longest identity that is looked at; a long distinguished name has some hundred bytes.
const MAX_ID: usize = 4096;

impl IdPayload {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body, "ID payload");
        let kind = r.u8()?;
        r.take(3)?;
        if r.rest().is_empty() || r.rest().len() > MAX_ID {
            return Err(WireError::BadLength { what: "ID payload" });
        }
        Ok(Self { kind, data: r.rest().to_vec() })
    }

    pub(crate) fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.body());
    }

    /// The payload's body: type, three reserved bytes, data (the `RestOfInitIDPayload` of RFC 7296 §2.15).
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![self.kind, 0, 0, 0];
        body.extend_from_slice(&self.data);
        body
    }
}
