//! VICI, the control protocol that swanctl and its relatives speak: codec, server and client.
//!
//! What flows in and out: length-prefixed packets on a Unix stream socket; inside, ordered trees of keys, lists and
//! sections ([`Message`]). The [`server`] answers commands through a [`server::Handler`] and sends events to those who
//! registered for them; the [`client`] asks and listens.
//!
//! What it never does: interpret a command (that is the gateway's), wait on a slow reader with anything but that
//! reader's own thread, or hold more than a fixed amount of memory for one peer. Limits are in [`message`] and
//! [`server`].

pub mod client;
pub mod message;
pub mod packet;
pub mod server;

pub use client::{Client, ClientError};
pub use message::{DecodeError, Element, EncodeError, Message};
pub use packet::Packet;
pub use server::{Broadcaster, EventSink, Handler, Server, SinkClosed};

/// Where clients and daemons meet unless told otherwise.
pub const DEFAULT_URI: &str = "unix:///var/run/charon.vici";

/// The file system path that a `unix://…` URI names.
///
/// # Errors
/// A sentence, if the URI is of another kind.
pub fn socket_path(uri: &str) -> Result<std::path::PathBuf, String> {
    match uri.strip_prefix("unix://") {
        Some("") => Err(format!("'{uri}' names no path; write it as unix:///path/to/socket")),
        Some(path) => Ok(path.into()),
        None if uri.starts_with('/') => Ok(uri.into()),
        None => Err(format!("'{uri}' is not served as control socket; only unix:///path/to/socket is")),
    }
}

#[cfg(test)]
mod tests {
    use super::socket_path;

    #[test]
    fn uris() {
        assert_eq!(socket_path("unix:///run/x.vici").unwrap().to_str(), Some("/run/x.vici"));
        assert_eq!(socket_path("/run/x.vici").unwrap().to_str(), Some("/run/x.vici"));
        assert!(socket_path("tcp://127.0.0.1:4502").unwrap_err().contains("only unix"));
        assert!(socket_path("unix://").is_err());
    }
}
