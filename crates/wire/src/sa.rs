//! Security Association payloads (RFC 7296 §3.3).

use adit_ipsec::{Proposal, Protocol, Transform, TransformType};

use crate::reader::Reader;
use crate::{EmitError, WireError};

/// Proposals of one payload that are looked at.
pub const MAX_PROPOSALS: usize = 64;
/// Transforms of one proposal that are looked at.
pub const MAX_TRANSFORMS: usize = 128;

/// A proposal substructure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalPayload {
    /// Proposal number.
    pub num: u8,
    /// Sender's SPI: empty in IKE_SA_INIT, 8 bytes when an IKE_SA is rekeyed, 4 for ESP.
    pub spi: Vec<u8>,
    /// What is proposed, without what is not understood.
    pub proposal: Proposal,
    /// `false` if a protocol or a whole transform type is not understood, or the SPI has a wrong size: such a proposal
    /// must not be chosen (RFC 7296 §3.3.6).
    pub acceptable: bool,
}

pub(crate) fn parse(body: &[u8]) -> Result<Vec<ProposalPayload>, WireError> {
    const WHAT: &str = "proposal";
    let mut r = Reader::new(body, WHAT);
    let mut proposals = Vec::new();
    loop {
        let last = r.u8()?;
        r.take(1)?;
        let length = usize::from(r.u16()?);
        let body = r.take(length.checked_sub(4).ok_or(WireError::BadLength { what: WHAT })?)?;
        proposals.push(proposal(body)?);
        if proposals.len() > MAX_PROPOSALS {
            return Err(WireError::BadLength { what: "SA payload" });
        }
        match last {
            0 if r.is_empty() => return Ok(proposals),
            2 if !r.is_empty() => {}
            _ => return Err(WireError::BadValue { what: WHAT }),
        }
    }
}

fn proposal(body: &[u8]) -> Result<ProposalPayload, WireError> {
    let mut r = Reader::new(body, "proposal");
    let (num, protocol, spi_len, count) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
    let spi = r.take(usize::from(spi_len))?.to_vec();
    if usize::from(count) > MAX_TRANSFORMS {
        return Err(WireError::BadLength { what: "proposal" });
    }
    let protocol = Protocol::from_id(protocol);
    let mut acceptable = match protocol {
        // none at first, eight octets when an IKE_SA is rekeyed (RFC 7296 §3.3.1)
        Some(Protocol::Ike) => matches!(spi_len, 0 | 8),
        Some(Protocol::Ah | Protocol::Esp) => spi_len == 4,
        None => false,
    };
    let mut transforms: Vec<Transform> = Vec::with_capacity(usize::from(count));
    let mut ruled_out = Vec::new();
    for index in 1..=count {
        match transform(&mut r, index == count)? {
            Read::Known(transform) => transforms.push(transform),
            Read::UnknownType => acceptable = false,
            Read::UnknownAttribute(kind) => ruled_out.push(kind),
        }
    }
    // a type must be answered if it was offered: with all of its transforms ruled out it looks absent, but is not
    acceptable &= ruled_out.iter().all(|kind| transforms.iter().any(|t| t.kind == *kind));
    if !r.is_empty() {
        return Err(WireError::BadLength { what: "proposal" });
    }
    let proposal = Proposal { protocol: protocol.unwrap_or(Protocol::Ah), transforms };
    Ok(ProposalPayload { num, spi, proposal, acceptable })
}

enum Read {
    Known(Transform),
    /// The whole proposal is out (RFC 7296 §3.3.6).
    UnknownType,
    /// This transform alone is out.
    UnknownAttribute(TransformType),
}

fn transform(r: &mut Reader<'_>, is_last: bool) -> Result<Read, WireError> {
    const WHAT: &str = "transform";
    let last = r.u8()?;
    r.take(1)?;
    let length = usize::from(r.u16()?);
    let body = r.take(length.checked_sub(4).ok_or(WireError::BadLength { what: WHAT })?)?;
    if last != if is_last { 0 } else { 3 } {
        return Err(WireError::BadValue { what: WHAT });
    }
    let mut r = Reader::new(body, WHAT);
    let kind = TransformType::from_id(r.u8()?);
    r.take(1)?;
    let id = r.u16()?;
    let (mut key_bits, mut understood) = (0, true);
    while !r.is_empty() {
        let (kind, value) = (r.u16()?, r.u16()?);
        match kind {
            // Key Length, the one attribute there is, in the short form
            0x800e => key_bits = value,
            short if short & 0x8000 != 0 => understood = false,
            _ => {
                r.take(usize::from(value))?;
                understood = false;
            }
        }
    }
    Ok(match kind {
        None => Read::UnknownType,
        Some(kind) if understood => Read::Known(Transform { kind, id, key_bits }),
        Some(kind) => Read::UnknownAttribute(kind),
    })
}

pub(crate) fn emit(proposals: &[ProposalPayload], out: &mut Vec<u8>) -> Result<(), EmitError> {
    const TOO_LONG: EmitError = EmitError::TooLong { what: "SA payload" };
    if proposals.is_empty() {
        return Err(EmitError::Unrepresentable { what: "SA payload" });
    }
    for (index, p) in proposals.iter().enumerate() {
        let last = index + 1 == proposals.len();
        let mut body = vec![p.num, p.proposal.protocol as u8];
        body.push(u8::try_from(p.spi.len()).map_err(|_| TOO_LONG)?);
        body.push(u8::try_from(p.proposal.transforms.len()).map_err(|_| TOO_LONG)?);
        body.extend_from_slice(&p.spi);
        for (index, t) in p.proposal.transforms.iter().enumerate() {
            let last = index + 1 == p.proposal.transforms.len();
            let length: u16 = if t.key_bits == 0 { 8 } else { 12 };
            body.extend([if last { 0 } else { 3 }, 0]);
            body.extend(length.to_be_bytes());
            body.extend([t.kind as u8, 0]);
            body.extend(t.id.to_be_bytes());
            if t.key_bits != 0 {
                body.extend(0x800e_u16.to_be_bytes());
                body.extend(t.key_bits.to_be_bytes());
            }
        }
        out.extend([if last { 0 } else { 2 }, 0]);
        out.extend(u16::try_from(body.len() + 4).map_err(|_| TOO_LONG)?.to_be_bytes());
        out.extend(body);
    }
    Ok(())
}
