//! Addresses, links, routes and rules over rtnetlink, synchronously.
//!
//! Adding what is there already and removing what is gone succeed: the caller states what should be so. Every
//! error's text names what was tried.

mod links;
mod routes;
mod rules;

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub use links::Address;
pub use routes::{ADIT_PROTOCOL, Route, RouteKind, Way};
pub use rules::{Fwmark, Rule};

use crate::sys::tried;

/// An rtnetlink socket of the network namespace it was made in.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
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
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // With strict checking, dumps are filtered by the kernel and not by us. Old kernels lack it.
            let _ = socket.set_netlink_get_strict_chk(true);
            Ok(socket)
        };
        open().map(|socket| Self { socket, sequence: 0 }).map_err(|e| tried("opening a netlink socket", &e))
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
            while rest.len() >= 16 {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4).max(16)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue; // The rest of an answer that was given up.
                }
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
