//! The client: one command at a time, events in between.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::message::{DecodeError, EncodeError, Message};
use crate::packet::{Packet, Reader, encode_request};

/// A connection to a daemon.
pub struct Client {
    stream: UnixStream,
    reader: Reader,
}

/// Why a daemon did not answer.
#[derive(Debug)]
pub enum ClientError {
    /// The stream failed or ended.
    Io(io::Error),
    /// The daemon sent what is no VICI.
    Decode(DecodeError),
    /// The request has no encoding.
    Encode(EncodeError),
    /// The daemon does not know the command.
    UnknownCommand(String),
    /// The daemon does not know the event.
    UnknownEvent(String),
    /// The daemon sent a packet where none or another was due.
    Unexpected,
    /// The command answered `success = no`.
    Failed(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the daemon closed the connection")
            }
            Self::Io(error) => write!(f, "the connection to the daemon failed: {error}"),
            Self::Decode(error) => write!(f, "the daemon's answer is not VICI: {error}"),
            Self::Encode(error) => write!(f, "the request cannot be sent: {error}"),
            Self::UnknownCommand(name) => write!(f, "the daemon does not know the command '{name}'"),
            Self::UnknownEvent(name) => write!(f, "the daemon does not know the event '{name}'"),
            Self::Unexpected => f.write_str("the daemon answered something that was not asked"),
            Self::Failed(errmsg) => f.write_str(errmsg),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(path)?, reader: Reader::default() })
    }

    /// Waits at most so long for each packet; `None` = for ever.
    ///
    /// # Errors
    /// If the duration is zero.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// Runs a command and gives its answer, whatever it says.
    ///
    /// # Errors
    /// If the daemon is gone or does not know the command.
    pub fn request(&mut self, command: &str, message: &Message) -> Result<Message, ClientError> {
        self.run(command, message, &mut |_, _| {})
    }

    /// Runs a command whose answer is `success`, and `errmsg` if that is not yes.
    ///
    /// # Errors
    /// As [`Client::request`], and [`ClientError::Failed`] with the daemon's sentence.
    pub fn call(&mut self, command: &str, message: &Message) -> Result<Message, ClientError> {
        succeeded(self.request(command, message)?)
    }

    /// Registers for an event, runs a command that streams it, and unregisters.
    ///
    /// # Errors
    /// If the daemon is gone or knows the event or the command not.
    pub fn stream(
        &mut self,
        command: &str,
        event: &str,
        message: &Message,
        mut each: impl FnMut(&Message),
    ) -> Result<Message, ClientError> {
        self.register(event)?;
        let answer = self.run(command, message, &mut |name, message| {
            if name == event {
                each(message);
            }
        })?;
        self.control(Packet::EventUnregister(event.to_owned()), event)?;
        Ok(answer)
    }

    /// Registers for an event.
    ///
    /// # Errors
    /// If the daemon is gone or does not know it.
    pub fn register(&mut self, event: &str) -> Result<(), ClientError> {
        self.control(Packet::EventRegister(event.to_owned()), event)
    }

    /// Waits for the next event one registered for.
    ///
    /// # Errors
    /// If the daemon is gone, or the time of [`Client::set_timeout`] is over.
    pub fn next_event(&mut self) -> Result<(String, Message), ClientError> {
        match self.receive()? {
            Packet::Event { name, message } => Ok((name, message)),
            _ => Err(ClientError::Unexpected),
        }
    }

    fn run(
        &mut self,
        command: &str,
        message: &Message,
        each: &mut dyn FnMut(&str, &Message),
    ) -> Result<Message, ClientError> {
        self.stream.write_all(&encode_request(command, message).map_err(ClientError::Encode)?)?;
        loop {
            match self.receive()? {
                Packet::Event { name, message } => each(&name, &message),
                Packet::CmdResponse(answer) => return Ok(answer),
                Packet::CmdUnknown => return Err(ClientError::UnknownCommand(command.to_owned())),
                _ => return Err(ClientError::Unexpected),
            }
        }
    }

    fn control(&mut self, packet: Packet, event: &str) -> Result<(), ClientError> {
        self.stream.write_all(&packet.encode().map_err(ClientError::Encode)?)?;
        loop {
            match self.receive()? {
                // Events interleave; one that comes before its registration is confirmed is a straggler.
                Packet::Event { .. } => {}
                Packet::EventConfirm => return Ok(()),
                Packet::EventUnknown => return Err(ClientError::UnknownEvent(event.to_owned())),
                _ => return Err(ClientError::Unexpected),
            }
        }
    }

    fn receive(&mut self) -> Result<Packet, ClientError> {
        let mut chunk = [0u8; 16 * 1024];
        loop {
            if let Some(packet) = self.reader.next_packet().map_err(ClientError::Decode)? {
                return Ok(packet);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(length) => self.reader.push(chunk.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The answer of a command, or its `errmsg` as an error.
///
/// # Errors
/// [`ClientError::Failed`] if it does not say `success = yes`.
pub fn succeeded(answer: Message) -> Result<Message, ClientError> {
    if answer.get_bool("success") == Some(true) {
        return Ok(answer);
    }
    let errmsg = answer.get("errmsg").map(|e| String::from_utf8_lossy(e).into_owned());
    Err(ClientError::Failed(errmsg.unwrap_or_else(|| "the daemon gave no reason".to_owned())))
}
