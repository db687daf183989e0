//! Traffic Selector payloads (RFC 7296 §3.13).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ipsec::Selector;

use crate::reader::Reader;
use crate::{EmitError, WireError};

const TS_IPV4_ADDR_RANGE: u8 = 7;
const TS_IPV6_ADDR_RANGE: u8 = 8;

/// Reads the selectors; types other than address ranges are left out (RFC 7296 §3.13.1 lets a responder narrow to the
/// ones it knows).
pub(crate) fn parse(body: &[u8]) -> Result<Vec<Selector>, WireError> {
    let mut r = Reader::new(body, "TS payload");
    let count = r.u8()?;
    r.take(3)?;
    if count == 0 {
        return Err(WireError::BadValue { what: "TS payload" });
    }
    let mut selectors = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        selectors.extend(selector(&mut r)?);
    }
    if r.is_empty() { Ok(selectors) } else { Err(WireError::BadLength { what: "TS payload" }) }
}

fn selector(r: &mut Reader<'_>) -> Result<Option<Selector>, WireError> {
    const WHAT: &str = "traffic selector";
    let (kind, protocol, length) = (r.u8()?, r.u8()?, r.u16()?);
    let body = r.take(usize::from(length).checked_sub(4).ok_or(WireError::BadLength { what: WHAT })?)?;
    let mut r = Reader::new(body, WHAT);
    let (start, end, ports) = match (kind, length) {
        (TS_IPV4_ADDR_RANGE, 16) => {
            let ports = (r.u16()?, r.u16()?);
            (IpAddr::V4(Ipv4Addr::from(r.array::<4>()?)), IpAddr::V4(Ipv4Addr::from(r.array::<4>()?)), ports)
        }
        (TS_IPV6_ADDR_RANGE, 40) => {
            let ports = (r.u16()?, r.u16()?);
            (
                IpAddr::V6(Ipv6Addr::from(r.array::<16>()?)),
                IpAddr::V6(Ipv6Addr::from(r.array::<16>()?)),
                ports,
            )
        }
        (TS_IPV4_ADDR_RANGE | TS_IPV6_ADDR_RANGE, _) => return Err(WireError::BadLength { what: WHAT }),
        _ => return Ok(None),
    };
    Selector::new(protocol, ports.0, ports.1, start, end).map(Some).ok_or(WireError::BadValue { what: WHAT })
}

pub(crate) fn emit(selectors: &[Selector], out: &mut Vec<u8>) -> Result<(), EmitError> {
    if selectors.is_empty() {
        return Err(EmitError::Unrepresentable { what: "TS payload without selectors" });
    }
    let count = u8::try_from(selectors.len()).map_err(|_| EmitError::TooLong { what: "TS payload" })?;
    out.extend([count, 0, 0, 0]);
    for s in selectors {
        let (kind, length): (u8, u16) =
            if s.is_v4() { (TS_IPV4_ADDR_RANGE, 16) } else { (TS_IPV6_ADDR_RANGE, 40) };
        out.extend([kind, s.protocol()]);
        out.extend(length.to_be_bytes());
        out.extend(s.start_port().to_be_bytes());
        out.extend(s.end_port().to_be_bytes());
        for address in [s.start(), s.end()] {
            match address {
                IpAddr::V4(a) => out.extend(a.octets()),
                IpAddr::V6(a) => out.extend(a.octets()),
            }
        }
    }
    Ok(())
}
