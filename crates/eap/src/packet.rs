//! EAP framing: RFC 3748 §4 and the MSCHAPv2 header (draft-kamath-pppext-eap-mschapv2 §2).

use crate::error::EapError;

/// Largest EAP packet accepted or sent, in bytes.
pub const MAX_PACKET: usize = 4096;

pub(crate) const REQUEST: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const SUCCESS: u8 = 3;
pub(crate) const FAILURE: u8 = 4;

pub(crate) const TYPE_IDENTITY: u8 = 1;
pub(crate) const TYPE_NOTIFICATION: u8 = 2;
pub(crate) const TYPE_NAK: u8 = 3;
pub(crate) const TYPE_MSCHAPV2: u8 = 26;
pub(crate) const TYPE_EXPANDED: u8 = 254;

/// A parsed EAP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Request { id: u8, kind: u8, data: &'a [u8] },
    Response { id: u8, kind: u8, data: &'a [u8] },
    Success { id: u8 },
    Failure { id: u8 },
}

impl<'a> Packet<'a> {
    /// RFC 3748 §4: code, identifier, length, and for requests and responses a type.
    ///
    /// The RFC lets a link layer pad; an EAP payload of IKE has no padding, so the length must be exact.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, EapError> {
        if bytes.len() > MAX_PACKET {
            return Err(EapError::Malformed("packet is longer than 4096 bytes"));
        }
        let [code, id, high, low, rest @ ..] = bytes else {
            return Err(EapError::Malformed("packet is shorter than its header"));
        };
        if usize::from(u16::from_be_bytes([*high, *low])) != bytes.len() {
            return Err(EapError::Malformed("length field does not agree with the packet"));
        }
        match (*code, rest) {
            (SUCCESS, []) => Ok(Self::Success { id: *id }),
            (FAILURE, []) => Ok(Self::Failure { id: *id }),
            (SUCCESS | FAILURE, _) => Err(EapError::Malformed("success or failure with data")),
            (REQUEST, [kind, data @ ..]) => Ok(Self::Request { id: *id, kind: *kind, data }),
            (RESPONSE, [kind, data @ ..]) => Ok(Self::Response { id: *id, kind: *kind, data }),
            (REQUEST | RESPONSE, []) => Err(EapError::Malformed("request or response without a type")),
            _ => Err(EapError::Malformed("unknown code")),
        }
    }
}

/// A request or response. The callers bound `data`, so the length fits; should it not, the length field saturates and
/// the other end refuses the packet.
pub(crate) fn build(code: u8, id: u8, kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len().saturating_add(5)).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(usize::from(length));
    out.extend_from_slice(&[code, id]);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(data);
    out
}

/// A success or failure packet; RFC 3748 §4.2: with the identifier of the response it answers.
pub(crate) fn build_end(code: u8, id: u8) -> Vec<u8> {
    vec![code, id, 0, 4]
}

pub(crate) const OP_CHALLENGE: u8 = 1;
pub(crate) const OP_RESPONSE: u8 = 2;
pub(crate) const OP_SUCCESS: u8 = 3;
pub(crate) const OP_FAILURE: u8 = 4;

/// An MSCHAPv2 message inside EAP type 26.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MsChap<'a> {
    pub op: u8,
    /// MS-CHAPv2-ID.
    pub id: u8,
    pub body: &'a [u8],
}

impl<'a> MsChap<'a> {
    /// The full header: op code, MS-CHAPv2-ID, and MS-Length, which counts from the op code to the end.
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, EapError> {
        let [op, id, high, low, body @ ..] = data else {
            return Err(EapError::Malformed("MSCHAPv2 message is shorter than its header"));
        };
        if usize::from(u16::from_be_bytes([*high, *low])) != data.len() {
            return Err(EapError::Malformed("MS-Length does not agree with the EAP length"));
        }
        Ok(Self { op: *op, id: *id, body })
    }

    pub(crate) fn build(code: u8, id: u8, op: u8, ms_id: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len().saturating_add(4)).unwrap_or(u16::MAX);
        let mut data = Vec::with_capacity(usize::from(length));
        data.extend_from_slice(&[op, ms_id]);
        data.extend_from_slice(&length.to_be_bytes());
        data.extend_from_slice(body);
        build(code, id, TYPE_MSCHAPV2, &data)
    }
}

/// Splits `size || value || name` of a challenge or response, where `size` must be `N`.
pub(crate) fn value_and_name<const N: usize>(body: &[u8]) -> Result<(&[u8; N], &[u8]), EapError> {
    let [size, rest @ ..] = body else {
        return Err(EapError::Malformed("MSCHAPv2 message without a value"));
    };
    if usize::from(*size) != N {
        return Err(EapError::Malformed("MSCHAPv2 value has the wrong size"));
    }
    rest.split_first_chunk::<N>().ok_or(EapError::Malformed("MSCHAPv2 value is cut short"))
}

pub(crate) fn type_name(kind: u8) -> String {
    let name = match kind {
        TYPE_IDENTITY => "ID",
        TYPE_NOTIFICATION => "NTF",
        TYPE_NAK => "NAK",
        4 => "MD5",
        5 => "OTP",
        6 => "GTC",
        13 => "TLS",
        18 => "SIM",
        21 => "TTLS",
        23 => "AKA",
        25 => "PEAP",
        TYPE_MSCHAPV2 => "MSCHAPV2",
        TYPE_EXPANDED => "EXP",
        _ => return format!("({kind})"),
    };
    name.to_owned()
}

/// How log lines show an EAP payload: `EAP/REQ/ID`, `EAP/RES/MSCHAPV2`, `EAP/SUCC`, `EAP/FAIL`; `EAP` alone when it
/// cannot be read.
pub fn describe(packet: &[u8]) -> String {
    match Packet::parse(packet) {
        Ok(Packet::Request { kind, .. }) => format!("EAP/REQ/{}", type_name(kind)),
        Ok(Packet::Response { kind, .. }) => format!("EAP/RES/{}", type_name(kind)),
        Ok(Packet::Success { .. }) => "EAP/SUCC".to_owned(),
        Ok(Packet::Failure { .. }) => "EAP/FAIL".to_owned(),
        Err(_) => "EAP".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_as_the_log_wants_it() {
        assert_eq!(describe(&build(REQUEST, 0, TYPE_IDENTITY, &[])), "EAP/REQ/ID");
        assert_eq!(describe(&build(RESPONSE, 0, TYPE_MSCHAPV2, &[3])), "EAP/RES/MSCHAPV2");
        assert_eq!(describe(&build(RESPONSE, 0, TYPE_NAK, &[26])), "EAP/RES/NAK");
        assert_eq!(describe(&build(REQUEST, 0, 200, &[])), "EAP/REQ/(200)");
        assert_eq!(describe(&build_end(SUCCESS, 9)), "EAP/SUCC");
        assert_eq!(describe(&build_end(FAILURE, 9)), "EAP/FAIL");
        assert_eq!(describe(&[]), "EAP");
        assert_eq!(describe(&[9, 0, 0, 4]), "EAP");
    }

    #[test]
    fn the_length_field_is_exact() {
        for bytes in [
            &[][..],
            &[1],
            &[1, 0, 0],
            &[1, 0, 0, 0],
            &[1, 0, 0, 4],
            &[1, 0, 0, 3, 1],
            &[1, 0, 0, 6, 1],
            &[3, 0, 0, 5, 0],
            &[4, 0, 0, 0],
            &[0, 0, 0, 4],
            &[5, 0, 0, 5, 1],
        ] {
            assert!(Packet::parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(Packet::parse(&build(REQUEST, 1, 26, &[0; MAX_PACKET - 5])).is_ok());
        assert!(Packet::parse(&build(REQUEST, 1, 26, &[0; MAX_PACKET - 4])).is_err());
        assert_eq!(Packet::parse(&[1, 7, 0, 5, 1]), Ok(Packet::Request { id: 7, kind: 1, data: &[] }));
    }

    #[test]
    fn ms_length_is_exact() {
        assert!(MsChap::parse(&[]).is_err());
        assert!(MsChap::parse(&[4, 0, 0]).is_err());
        assert!(MsChap::parse(&[4, 0, 0, 3]).is_err());
        assert!(MsChap::parse(&[4, 0, 0, 5]).is_err());
        assert_eq!(MsChap::parse(&[4, 1, 0, 5, 9]), Ok(MsChap { op: 4, id: 1, body: &[9] }));
    }
}
