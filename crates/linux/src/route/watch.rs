//! News of addresses, links and routes, as the kernel multicasts them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::word;
use crate::sys::tried;

/// Links, and addresses and routes of both families. An interface that goes down takes its IPv4 routes along without a
/// word about them, therefore the links.
const GROUPS: u32 =
    (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_IFADDR)
        as u32
        | libc::RTMGRP_IPV6_ROUTE as u32;

/// Datagrams read in one go; what is left wakes the caller's poll again.
const BUDGET: usize = 256;

/// `RT_TABLE_LOCAL`: it follows the addresses, which are told by themselves.
const LOCAL: u32 = 255;

/// A socket that becomes readable when addresses, links or routes of its network namespace change.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
}

/// What a listener has made itself, and need not hear of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// An interface with all that is on it.
    pub ifindex: Option<u32>,
    /// A routing table.
    pub table: u32,
}

impl Watch {
    /// Starts listening in the calling thread's network namespace.
    ///
    /// # Errors
    /// When netlink is not available.
    pub fn new() -> io::Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            Ok(socket)
        };
        open().map(|socket| Self { socket }).map_err(|e| tried("listening for changes of addresses", &e))
    }

    /// Reads what is there. Whether any of it is about something else than what is our own: true as well when more
    /// happened than the socket could hold.
    pub fn drain(&mut self, own: Own) -> bool {
        let mut changed = false;
        for _ in 0..BUDGET {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => changed = changed || concerns(&bytes, own),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(_) => break,
            }
        }
        changed
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn concerns(mut bytes: &[u8], own: Own) -> bool {
    while let Some(length) = word(bytes, 0).and_then(|length| usize::try_from(length).ok()) {
        let (this, rest) = bytes.split_at(length.clamp(16, bytes.len().max(16)).min(bytes.len()));
        bytes = rest.get(length.next_multiple_of(4).saturating_sub(length)..).unwrap_or_default();
        // What the decoder does not know is newer than it, and may be anything.
        let Ok(message) = NetlinkMessage::<Message>::deserialize(this) else { return true };
        let NetlinkPayload::InnerMessage(message) = message.payload else { continue };
        let other = |ifindex: u32| own.ifindex != Some(ifindex);
        let concerns = match message {
            Message::NewAddress(it) | Message::DelAddress(it) => other(it.header.index),
            // Statistics and the like come with nothing in the mask.
            Message::NewLink(it) => other(it.header.index) && !it.header.change_mask.is_empty(),
            Message::DelLink(it) => other(it.header.index),
            Message::NewRoute(it) | Message::DelRoute(it) => route_concerns(&it, own),
            _ => false,
        };
        if concerns {
            return true;
        }
    }
    false
}

fn route_concerns(route: &RouteMessage, own: Own) -> bool {
    let mut table = u32::from(route.header.table);
    let mut device = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(it) => table = *it,
            RouteAttribute::Oif(it) => device = Some(*it),
            _ => {}
        }
    }
    let ours = device.is_some() && device == own.ifindex;
    !ours && table != own.table && table != LOCAL && !route.header.flags.contains(RouteFlags::Cloned)
}
