//! Addresses, links, routes and rules over rtnetlink, synchronously.
//!
//! Adding what is there already and removing what is gone succeed: the caller states what should be so. Every
//! error's text names what was tried.

mod detours;
mod links;
mod lookup;
mod routes;
mod rules;
mod watch;
mod xfrm_links;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub use detours::{Detour, Traffic};
pub use links::{Address, Interfaces, LinkState};
pub use lookup::Without;
pub use routes::{ADIT_PROTOCOL, Route, RouteKind, STATIC, Way};
pub use rules::{Fwmark, Rule};
pub use watch::{News, Own, Watch};
pub use xfrm_links::XfrmLink;

use crate::sys::{bound_receive, tried};

/// An rtnetlink socket of the network namespace it was made in.
pub struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    /// Firewall mark of the packets whose ways are asked for.
    mark: Option<u32>,
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink").finish_non_exhaustive()
    }
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace; it stays with that namespace.
    ///
    /// # Errors
    /// When netlink is not available.
    pub fn new() -> io::Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            let port = socket.bind_auto()?.port_number();
            socket.connect(&SocketAddr::new(0, 0))?;
            bound_receive(socket.as_raw_fd())?;
            // With strict checking, dumps are filtered by the kernel and not by us. Old kernels lack it.
            let _ = socket.set_netlink_get_strict_chk(true);
            Ok((socket, port))
        };
        open()
            .map(|(socket, port)| Self { socket, port, sequence: 0, mark: None })
            .map_err(|e| tried("opening a netlink socket", &e))
    }

    /// The same, asking for the ways of packets with a firewall mark.
    #[must_use]
    pub fn marked(self, mark: Option<u32>) -> Self {
        Self { mark, ..self }
    }

    /// The port that the kernel knows this socket by: it names it to everybody when it announces what was changed here.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Receives the answers to the last request until it is acknowledged, done or (unless `more`) answered.
    fn answers(&mut self, mut each: impl FnMut(RouteNetlinkMessage), more: bool) -> io::Result<()> {
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            // Each message begins with its length (4 bytes), kind (2), flags (2) and sequence number (4).
            while let (Some(length), Some(sequence)) = (word(rest, 0), word(rest, 8)) {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let (this, next) = rest.split_at(length.clamp(16, rest.len().max(16)).min(rest.len()));
                rest = next.get(length.next_multiple_of(4).saturating_sub(length)..).unwrap_or_default();
                if sequence != self.sequence {
                    continue; // The rest of an answer that was given up.
                }
                let message = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(this) {
                    Ok(message) => message,
                    // One object of a kind that is newer than the decoder must not hide all others of a listing.
                    Err(_) if more => continue,
                    Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e.to_string())),
                };
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(e) if e.code.is_none() => return Ok(()),
                    NetlinkPayload::Error(e) => return Err(e.to_io()),
                    NetlinkPayload::InnerMessage(inner) => {
                        each(inner);
                        if !more {
                            return Ok(());
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// A request that changes something and is acknowledged.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_ACK | flags)?;
        self.answers(|_| (), true)
    }

    /// A request for one object.
    fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        self.send(message, 0)?;
        let mut answer = None;
        self.answers(|m| answer = Some(m), false)?;
        answer.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "netlink gave no answer"))
    }

    /// A request for all objects of a kind.
    fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.send(message, NLM_F_DUMP)?;
        self.answers(each, true)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// The netlink family of an address.
fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Full prefix length of an address's family.
const fn full_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Turns one errno into success.
fn allow(result: io::Result<()>, errnos: &[i32]) -> io::Result<()> {
    match result {
        Err(e) if e.raw_os_error().is_some_and(|code| errnos.contains(&code)) => Ok(()),
        other => other,
    }
}
