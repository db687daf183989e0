//! Configuration payloads (RFC 7296 §3.15).

use crate::reader::Reader;
use crate::{ConfigKind, EmitError, WireError};

/// Attributes of one payload that are looked at.
const MAX_ATTRIBUTES: usize = 256;

pub(crate) type Attributes = Vec<(u16, Vec<u8>)>;

pub(crate) fn parse(body: &[u8]) -> Result<(ConfigKind, Attributes), WireError> {
    const WHAT: &str = "CP payload";
    let mut r = Reader::new(body, WHAT);
    let kind = ConfigKind::from_id(r.u8()?).ok_or(WireError::BadValue { what: WHAT })?;
    r.take(3)?;
    let mut attributes = Vec::new();
    while !r.is_empty() {
        let (number, length) = (r.u16()? & 0x7fff, r.u16()?);
        attributes.push((number, r.take(usize::from(length))?.to_vec()));
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(WireError::BadLength { what: WHAT });
        }
    }
    Ok((kind, attributes))
}

pub(crate) fn emit(
    kind: ConfigKind,
    attributes: &[(u16, Vec<u8>)],
    out: &mut Vec<u8>,
) -> Result<(), EmitError> {
    out.extend([kind as u8, 0, 0, 0]);
    for (number, value) in attributes {
        let length =
            u16::try_from(value.len()).map_err(|_| EmitError::TooLong { what: "configuration attribute" })?;
        out.extend((number & 0x7fff).to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend_from_slice(value);
    }
    Ok(())
}
