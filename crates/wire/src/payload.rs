//! Payloads and chains of them (RFC 7296 §3.2).

use adit_ipsec::Selector;

use crate::reader::Reader;
use crate::{
    ConfigKind, EmitError, IdPayload, NotifyType, PayloadType, ProposalPayload, WireError, config, sa, ts,
};

/// Payloads of one message that are looked at; more is an attack, not a message.
pub const MAX_PAYLOADS: usize = 64;

/// SPIs of one Delete payload that are looked at.
const MAX_SPIS: usize = 1024;

/// One payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Security Association (§3.3).
    Sa(Vec<ProposalPayload>),
    /// Key Exchange (§3.4).
    KeyExchange {
        /// Key exchange method.
        group: u16,
        /// Public value.
        data: Vec<u8>,
    },
    /// Identification of the initiator (§3.5).
    IdI(IdPayload),
    /// Identification of the responder (§3.5).
    IdR(IdPayload),
    /// Certificate (§3.6).
    Cert {
        /// Certificate encoding; 4 = X.509 signature.
        encoding: u8,
        /// The certificate.
        data: Vec<u8>,
    },
    /// Certificate Request (§3.7).
    CertRequest {
        /// Certificate encoding.
        encoding: u8,
        /// SHA-1 hashes of the public keys of acceptable authorities.
        authorities: Vec<[u8; 20]>,
    },
    /// Authentication (§3.8).
    Auth {
        /// Authentication method.
        method: u8,
        /// Authentication data.
        data: Vec<u8>,
    },
    /// Nonce (§3.9).
    Nonce(Vec<u8>),
    /// Notify (§3.10).
    Notify {
        /// Protocol of the SPI; 0 = none.
        protocol: u8,
        /// SPI, if the notification concerns one.
        spi: Vec<u8>,
        /// Type.
        kind: NotifyType,
        /// Data.
        data: Vec<u8>,
    },
    /// Delete (§3.11).
    Delete {
        /// 1 = the IKE_SA itself, 2 = AH, 3 = ESP.
        protocol: u8,
        /// SPIs of the sender's inbound SAs; none for the IKE_SA.
        spis: Vec<Vec<u8>>,
    },
    /// Vendor ID (§3.12).
    Vendor(Vec<u8>),
    /// Traffic selectors of the initiator (§3.13).
    TsI(Vec<Selector>),
    /// Traffic selectors of the responder (§3.13).
    TsR(Vec<Selector>),
    /// Configuration (§3.15).
    Config {
        /// Request, reply, set or ack.
        kind: ConfigKind,
        /// Attributes in order.
        attributes: Vec<(u16, Vec<u8>)>,
    },
    /// An EAP packet (§3.16).
    Eap(Vec<u8>),
    /// A type that is not known, passed over (§2.5).
    Unknown {
        /// Payload type.
        kind: u8,
        /// Its critical bit; a received one is always `false`, since `true` is an error.
        critical: bool,
    },
}

impl Payload {
    /// Its type on the wire.
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::KeyExchange { .. } => PayloadType::KE,
            Self::IdI(_) => PayloadType::IDI,
            Self::IdR(_) => PayloadType::IDR,
            Self::Cert { .. } => PayloadType::CERT,
            Self::CertRequest { .. } => PayloadType::CERTREQ,
            Self::Auth { .. } => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify { .. } => PayloadType::NOTIFY,
            Self::Delete { .. } => PayloadType::DELETE,
            Self::Vendor(_) => PayloadType::VENDOR,
            Self::TsI(_) => PayloadType::TSI,
            Self::TsR(_) => PayloadType::TSR,
            Self::Config { .. } => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Unknown { kind, .. } => PayloadType(*kind),
        }
    }

    /// A status or error notification without SPI.
    pub const fn notify(kind: NotifyType, data: Vec<u8>) -> Self {
        Self::Notify { protocol: 0, spi: Vec::new(), kind, data }
    }
}

/// One raw payload of a chain.
pub(crate) struct Raw<'a> {
    pub(crate) kind: PayloadType,
    pub(crate) critical: bool,
    pub(crate) next: PayloadType,
    pub(crate) body: &'a [u8],
}

/// Reads one generic payload header and its body.
pub(crate) fn raw<'a>(kind: PayloadType, r: &mut Reader<'a>) -> Result<Raw<'a>, WireError> {
    const WHAT: &str = "payload";
    let (next, critical, length) = (r.u8()?, r.u8()?, r.u16()?);
    let length = usize::from(length).checked_sub(4).ok_or(WireError::BadLength { what: WHAT })?;
    Ok(Raw { kind, critical: critical & 0x80 != 0, next: PayloadType(next), body: r.take(length)? })
}

/// Reads a chain of payloads that fills `body` exactly.
///
/// # Errors
/// The first thing that is wrong; an unknown payload is one only if it is critical.
pub fn parse_payloads(first: PayloadType, body: &[u8]) -> Result<Vec<Payload>, WireError> {
    let mut r = Reader::new(body, "payload");
    let mut kind = first;
    let mut payloads = Vec::new();
    while kind != PayloadType::NONE {
        let one = raw(kind, &mut r)?;
        payloads.push(parse(&one)?);
        if payloads.len() > MAX_PAYLOADS {
            return Err(WireError::TooManyPayloads);
        }
        kind = one.next;
    }
    if r.is_empty() { Ok(payloads) } else { Err(WireError::BadLength { what: "message" }) }
}

pub(crate) fn parse(raw: &Raw<'_>) -> Result<Payload, WireError> {
    let body = raw.body;
    Ok(match raw.kind {
        PayloadType::SA => Payload::Sa(sa::parse(body)?),
        PayloadType::KE => {
            let mut r = Reader::new(body, "KE payload");
            let group = r.u16()?;
            r.take(2)?;
            Payload::KeyExchange { group, data: r.rest().to_vec() }
        }
        PayloadType::IDI => Payload::IdI(IdPayload::parse(body)?),
        PayloadType::IDR => Payload::IdR(IdPayload::parse(body)?),
        PayloadType::CERT => {
            let mut r = Reader::new(body, "CERT payload");
            Payload::Cert { encoding: r.u8()?, data: r.rest().to_vec() }
        }
        PayloadType::CERTREQ => cert_request(body)?,
        PayloadType::AUTH => {
            let mut r = Reader::new(body, "AUTH payload");
            let method = r.u8()?;
            r.take(3)?;
            Payload::Auth { method, data: r.rest().to_vec() }
        }
        // RFC 7296 §3.9
        PayloadType::NONCE if (16..=256).contains(&body.len()) => Payload::Nonce(body.to_vec()),
        PayloadType::NONCE => return Err(WireError::BadLength { what: "nonce" }),
        PayloadType::NOTIFY => notify(body)?,
        PayloadType::DELETE => delete(body)?,
        PayloadType::VENDOR => Payload::Vendor(body.to_vec()),
        PayloadType::TSI => Payload::TsI(ts::parse(body)?),
        PayloadType::TSR => Payload::TsR(ts::parse(body)?),
        PayloadType::CP => {
            let (kind, attributes) = config::parse(body)?;
            Payload::Config { kind, attributes }
        }
        // code, identifier and length at least (RFC 3748 §4); the rest is the business of EAP
        PayloadType::EAP if body.len() >= 4 => Payload::Eap(body.to_vec()),
        PayloadType::EAP => return Err(WireError::BadLength { what: "EAP payload" }),
        // inside another one, or behind one: only the last payload of a message is encrypted (RFC 7296 §3.14)
        PayloadType::SK | PayloadType::SKF => return Err(WireError::EncryptedNotLast),
        PayloadType(kind) if raw.critical => return Err(WireError::UnsupportedCritical(kind)),
        PayloadType(kind) => Payload::Unknown { kind, critical: false },
    })
}

fn cert_request(body: &[u8]) -> Result<Payload, WireError> {
    let mut r = Reader::new(body, "CERTREQ payload");
    let encoding = r.u8()?;
    // other encodings than X.509 have other contents, which nobody here reads
    let mut authorities = Vec::new();
    while encoding == 4 && !r.is_empty() {
        authorities.push(r.array()?);
    }
    Ok(Payload::CertRequest { encoding, authorities })
}

fn notify(body: &[u8]) -> Result<Payload, WireError> {
    let mut r = Reader::new(body, "notify payload");
    let (protocol, spi_len, kind) = (r.u8()?, r.u8()?, r.u16()?);
    let spi = r.take(usize::from(spi_len))?.to_vec();
    Ok(Payload::Notify { protocol, spi, kind: NotifyType(kind), data: r.rest().to_vec() })
}

fn delete(body: &[u8]) -> Result<Payload, WireError> {
    const WHAT: &str = "delete payload";
    let mut r = Reader::new(body, WHAT);
    let (protocol, size, count) = (r.u8()?, usize::from(r.u8()?), usize::from(r.u16()?));
    let size_fits = match protocol {
        1 => size == 0 && count == 0,
        _ => size == 4,
    };
    if !size_fits || count > MAX_SPIS || r.rest().len() != size * count {
        return Err(WireError::BadLength { what: WHAT });
    }
    let spis = if size == 0 { Vec::new() } else { r.rest().chunks_exact(size).map(<[u8]>::to_vec).collect() };
    Ok(Payload::Delete { protocol, spis })
}

/// Writes a chain; answers the type of the first payload and the bytes.
///
/// # Errors
/// A payload that is too long or has no form.
pub fn emit_payloads(payloads: &[Payload]) -> Result<(PayloadType, Vec<u8>), EmitError> {
    let mut out = Vec::with_capacity(512);
    for (index, payload) in payloads.iter().enumerate() {
        let next = payloads.get(index + 1).map_or(PayloadType::NONE, Payload::kind);
        let start = out.len();
        let critical = matches!(payload, Payload::Unknown { critical: true, .. });
        out.extend([next.0, if critical { 0x80 } else { 0 }, 0, 0]);
        emit_body(payload, &mut out)?;
        let length = u16::try_from(out.len() - start).map_err(|_| EmitError::TooLong { what: "payload" })?;
        if let Some(field) = out.get_mut(start + 2..start + 4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok((payloads.first().map_or(PayloadType::NONE, Payload::kind), out))
}

fn emit_body(payload: &Payload, out: &mut Vec<u8>) -> Result<(), EmitError> {
    match payload {
        Payload::Sa(proposals) => sa::emit(proposals, out)?,
        Payload::KeyExchange { group, data } => {
            out.extend(group.to_be_bytes());
            out.extend([0, 0]);
            out.extend_from_slice(data);
        }
        Payload::IdI(id) | Payload::IdR(id) => id.emit(out),
        Payload::Cert { encoding, data } => {
            out.push(*encoding);
            out.extend_from_slice(data);
        }
        Payload::CertRequest { encoding, authorities } => {
            out.push(*encoding);
            out.extend(authorities.iter().flatten());
        }
        Payload::Auth { method, data } => {
            out.extend([*method, 0, 0, 0]);
            out.extend_from_slice(data);
        }
        Payload::Nonce(data) | Payload::Vendor(data) | Payload::Eap(data) => out.extend_from_slice(data),
        Payload::Notify { protocol, spi, kind, data } => {
            out.push(*protocol);
            out.push(u8::try_from(spi.len()).map_err(|_| EmitError::TooLong { what: "notify payload" })?);
            out.extend(kind.0.to_be_bytes());
            out.extend_from_slice(spi);
            out.extend_from_slice(data);
        }
        Payload::Delete { protocol, spis } => {
            // The size is that of the protocol's SPIs even where there are none (RFC 7296 §3.11).
            let size = spis.first().map_or(if *protocol == 1 { 0 } else { 4 }, Vec::len);
            if spis.iter().any(|s| s.len() != size) {
                return Err(EmitError::Unrepresentable { what: "delete payload" });
            }
            out.push(*protocol);
            out.push(u8::try_from(size).map_err(|_| EmitError::TooLong { what: "delete payload" })?);
            let count =
                u16::try_from(spis.len()).map_err(|_| EmitError::TooLong { what: "delete payload" })?;
            out.extend(count.to_be_bytes());
            out.extend(spis.iter().flatten());
        }
        Payload::TsI(selectors) | Payload::TsR(selectors) => ts::emit(selectors, out)?,
        Payload::Config { kind, attributes } => config::emit(*kind, attributes, out)?,
        Payload::Unknown { .. } => {}
    }
    Ok(())
}
