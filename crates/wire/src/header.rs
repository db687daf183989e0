//! The IKE header (RFC 7296 §3.1).

use crate::reader::Reader;
use crate::{ExchangeType, PayloadType, WireError};

/// Bytes of the header.
pub const HEADER_LEN: usize = 28;

const INITIATOR: u8 = 0x08;
const VERSION: u8 = 0x10;
const RESPONSE: u8 = 0x20;

/// The flags that have a meaning; reserved ones are ignored when read and sent as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags {
    /// Sent by the original initiator of the IKE_SA.
    pub initiator: bool,
    /// Answers the request of the same Message ID.
    pub response: bool,
    /// The sender can speak a higher major version.
    pub version: bool,
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// SPI of the original initiator.
    pub spi_i: u64,
    /// SPI of the original responder; 0 in the first request.
    pub spi_r: u64,
    /// Type of the first payload.
    pub next: PayloadType,
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
    /// Exchange type.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: Flags,
    /// Message ID.
    pub message_id: u32,
    /// Length of the whole message in bytes; set by the emitters.
    pub length: u32,
}

impl Header {
    /// Reads a header. The version is not judged here, so that a higher one can be answered.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes, "IKE header");
        let (spi_i, spi_r, next, version) = (r.u64()?, r.u64()?, r.u8()?, r.u8()?);
        let (exchange, flags, message_id, length) = (r.u8()?, r.u8()?, r.u32()?, r.u32()?);
        Ok(Self {
            spi_i,
            spi_r,
            next: PayloadType(next),
            major: version >> 4,
            minor: version & 0x0f,
            exchange: ExchangeType(exchange),
            flags: Flags {
                initiator: flags & INITIATOR != 0,
                response: flags & RESPONSE != 0,
                version: flags & VERSION != 0,
            },
            message_id,
            length,
        })
    }

    /// Appends the header's 28 bytes.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.spi_i.to_be_bytes());
        out.extend(self.spi_r.to_be_bytes());
        out.push(self.next.0);
        out.push(self.major << 4 | (self.minor & 0x0f));
        out.push(self.exchange.0);
        let bit = |set, bit| if set { bit } else { 0 };
        let Flags { initiator, response, version } = self.flags;
        out.push(bit(initiator, INITIATOR) | bit(response, RESPONSE) | bit(version, VERSION));
        out.extend(self.message_id.to_be_bytes());
        out.extend(self.length.to_be_bytes());
    }
}
