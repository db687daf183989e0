//! Packets and their framing: a 32-bit big-endian length, then one type byte, a name where the type has one, and the
//! message.

use crate::message::{DecodeError, EncodeError, Input, MAX_MESSAGE, Message, put_name};

const CMD_REQUEST: u8 = 0;
const CMD_RESPONSE: u8 = 1;
const CMD_UNKNOWN: u8 = 2;
const EVENT_REGISTER: u8 = 3;
const EVENT_UNREGISTER: u8 = 4;
const EVENT_CONFIRM: u8 = 5;
const EVENT_UNKNOWN: u8 = 6;
const EVENT: u8 = 7;

/// One packet of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Client: run a command.
    CmdRequest {
        /// The command.
        name: String,
        /// Its arguments.
        message: Message,
    },
    /// Server: what the command answered.
    CmdResponse(Message),
    /// Server: no such command.
    CmdUnknown,
    /// Client: send me these events.
    EventRegister(String),
    /// Client: no more of these.
    EventUnregister(String),
    /// Server: (un)registered.
    EventConfirm,
    /// Server: no such event, or not registered.
    EventUnknown,
    /// Server: an event.
    Event {
        /// Which.
        name: String,
        /// What happened.
        message: Message,
    },
}

impl Packet {
    /// Reads the data of one packet (without its length).
    ///
    /// # Errors
    /// If it is not exactly one packet.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        if data.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLarge);
        }
        let mut input = Input::new(data);
        let kind = input.next_type().ok_or(DecodeError::Truncated)?;
        match kind {
            CMD_REQUEST => {
                Ok(Self::CmdRequest { name: input.name()?, message: Message::decode(input.rest)? })
            }
            CMD_RESPONSE => Ok(Self::CmdResponse(Message::decode(input.rest)?)),
            EVENT => Ok(Self::Event { name: input.name()?, message: Message::decode(input.rest)? }),
            // What follows in a packet without message is ignored: libvici does so too.
            CMD_UNKNOWN => Ok(Self::CmdUnknown),
            EVENT_CONFIRM => Ok(Self::EventConfirm),
            EVENT_UNKNOWN => Ok(Self::EventUnknown),
            EVENT_REGISTER => Ok(Self::EventRegister(input.name()?)),
            EVENT_UNREGISTER => Ok(Self::EventUnregister(input.name()?)),
            other => Err(DecodeError::UnexpectedType(other)),
        }
    }

    /// The packet with its length in front, ready to be sent.
    ///
    /// # Errors
    /// If the message has no encoding.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::CmdRequest { name, message } => frame(CMD_REQUEST, Some(name), Some(message)),
            Self::CmdResponse(message) => frame(CMD_RESPONSE, None, Some(message)),
            Self::CmdUnknown => frame(CMD_UNKNOWN, None, None),
            Self::EventRegister(name) => frame(EVENT_REGISTER, Some(name), None),
            Self::EventUnregister(name) => frame(EVENT_UNREGISTER, Some(name), None),
            Self::EventConfirm => frame(EVENT_CONFIRM, None, None),
            Self::EventUnknown => frame(EVENT_UNKNOWN, None, None),
            Self::Event { name, message } => frame(EVENT, Some(name), Some(message)),
        }
    }
}

/// A framed event, without taking the message apart first.
pub(crate) fn encode_event(name: &str, message: &Message) -> Result<Vec<u8>, EncodeError> {
    frame(EVENT, Some(name), Some(message))
}

/// A framed request.
pub(crate) fn encode_request(name: &str, message: &Message) -> Result<Vec<u8>, EncodeError> {
    frame(CMD_REQUEST, Some(name), Some(message))
}

fn frame(kind: u8, name: Option<&str>, message: Option<&Message>) -> Result<Vec<u8>, EncodeError> {
    let mut out = vec![0, 0, 0, 0, kind];
    if let Some(name) = name {
        put_name(&mut out, name)?;
    }
    if let Some(message) = message {
        message.encode_into(&mut out)?;
    }
    let length = out.len() - 4;
    if length > MAX_MESSAGE {
        return Err(EncodeError::TooLarge);
    }
    let prefix = u32::try_from(length).map_err(|_| EncodeError::TooLarge)?.to_be_bytes();
    out.splice(..4, prefix);
    Ok(out)
}

/// Cuts a byte stream into packets.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// Takes what was read from the stream. Call [`Reader::next_packet`] until it gives nothing before pushing more:
    /// that is what bounds the buffer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet, if there is one.
    ///
    /// # Errors
    /// If a length is out of bounds or a packet is malformed; the stream cannot be used after the former.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, DecodeError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| DecodeError::TooLarge)?;
        if length > MAX_MESSAGE {
            return Err(DecodeError::TooLarge);
        }
        let Some(data) = rest.get(..length) else { return Ok(None) };
        let packet = Packet::decode(data);
        self.buffer.drain(..4 + length);
        if self.buffer.is_empty() {
            // A large load-conn should not leave its size behind for the life of the client.
            self.buffer.shrink_to(16 * 1024);
        }
        packet.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Packet> {
        let message = Message::new().kv("a", "b");
        vec![
            Packet::CmdRequest { name: "version".into(), message: Message::new() },
            Packet::CmdResponse(message.clone()),
            Packet::CmdUnknown,
            Packet::EventRegister("log".into()),
            Packet::EventUnregister("log".into()),
            Packet::EventConfirm,
            Packet::EventUnknown,
            Packet::Event { name: "log".into(), message },
        ]
    }

    #[test]
    fn round_trips_byte_by_byte() {
        let stream: Vec<u8> = all().iter().flat_map(|p| p.encode().unwrap()).collect();
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for byte in stream {
            reader.push(&[byte]);
            seen.extend(reader.next_packet().unwrap());
        }
        assert_eq!(seen, all());
    }

    #[test]
    fn known_bytes() {
        let request = Packet::CmdRequest { name: "version".into(), message: Message::new() };
        assert_eq!(request.encode().unwrap(), b"\x00\x00\x00\x09\x00\x07version");
        assert_eq!(Packet::EventConfirm.encode().unwrap(), b"\x00\x00\x00\x01\x05");
    }

    #[test]
    fn lengths_out_of_bounds_end_the_stream() {
        let mut reader = Reader::default();
        reader.push(&(MAX_MESSAGE as u32 + 1).to_be_bytes());
        assert_eq!(reader.next_packet(), Err(DecodeError::TooLarge));
        let mut reader = Reader::default();
        reader.push(&[0, 0, 0, 0]);
        assert_eq!(reader.next_packet(), Err(DecodeError::Truncated));
        assert_eq!(Packet::decode(&[8]), Err(DecodeError::UnexpectedType(8)));
        assert_eq!(Packet::decode(b"\x03\x05lo"), Err(DecodeError::Truncated));
    }
}
