//! News of addresses, links and routes, as the kernel multicasts them.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::word;
use crate::sys::tried;

/// Links, and addresses, routes and rules of both families. An interface that goes down takes its IPv4 routes along
/// without a word about them, therefore the links.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
];

/// Datagrams read in one go; what is left wakes the caller's poll again.
const BUDGET: usize = 256;

/// `RT_TABLE_LOCAL`: it follows the addresses, which are told by themselves.
const LOCAL: u32 = 255;

/// A socket that becomes readable when addresses, links, routes or rules of its network namespace change.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
}

/// What a listener has made itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Interfaces, with all that is on them.
    pub interfaces: Vec<u32>,
    /// A routing table.
    pub table: Option<u32>,
    /// Addresses on interfaces of others.
    pub addresses: Vec<IpAddr>,
    /// The netlink ports ([`Netlink::port`](super::Netlink::port)) that it makes its changes by.
    pub ports: Vec<u32>,
}

/// What has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// Links or addresses of others.
    pub addresses: bool,
    /// Routes of others.
    pub routes: bool,
    /// Rules.
    pub rules: bool,
    /// Something of our own that we have not changed, or a rule went away.
    pub own: bool,
}

impl News {
    const ALL: Self = Self { addresses: true, routes: true, rules: true, own: true };

    const fn and(self, other: Self) -> Self {
        Self {
            addresses: self.addresses || other.addresses,
            routes: self.routes || other.routes,
            rules: self.rules || other.rules,
            own: self.own || other.own,
        }
    }
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
            let groups = GROUPS.iter().fold(0, |mask, group| mask | 1 << (group - 1));
            socket.bind(&SocketAddr::new(0, groups))?;
            Ok(socket)
        };
        open().map(|socket| Self { socket }).map_err(|e| tried("listening for changes of addresses", &e))
    }

    /// Reads what is there, and says what it is about. When more happened than the socket could hold, it is about
    /// everything.
    pub fn drain(&mut self, own: &Own) -> News {
        let mut news = News::default();
        for _ in 0..BUDGET {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => news = news.and(read(&bytes, own)),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => news = News::ALL,
                Err(_) => break,
            }
        }
        news
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn read(mut bytes: &[u8], own: &Own) -> News {
    let mut news = News::default();
    while let Some(length) = word(bytes, 0).and_then(|length| usize::try_from(length).ok()) {
        let (this, rest) = bytes.split_at(length.clamp(16, bytes.len().max(16)).min(bytes.len()));
        bytes = rest.get(length.next_multiple_of(4).saturating_sub(length)..).unwrap_or_default();
        // What the decoder does not know is newer than it, and may be anything.
        let Ok(message) = NetlinkMessage::<Message>::deserialize(this) else { return News::ALL };
        let by_us = own.ports.contains(&message.header.port_number);
        if let NetlinkPayload::InnerMessage(message) = message.payload {
            news = news.and(about(&message, own, by_us));
        }
    }
    news
}

/// Whom one message concerns.
fn about(message: &Message, own: &Own, by_us: bool) -> News {
    let (ours, others) = (|own| News { own, ..News::default() }, News { addresses: true, ..News::default() });
    match message {
        Message::NewAddress(it) if is_own_address(it, own) => News::default(),
        Message::DelAddress(it) if is_own_address(it, own) => ours(!by_us),
        Message::NewAddress(_) | Message::DelAddress(_) => others,
        // Of some changes of links the kernel does not say whose they are.
        Message::NewLink(_) | Message::DelLink(_) if by_us => News::default(),
        Message::NewLink(it) if own.interfaces.contains(&it.header.index) => {
            ours(!it.header.flags.contains(LinkFlags::Up))
        }
        Message::DelLink(it) if own.interfaces.contains(&it.header.index) => ours(true),
        // Statistics and the like come with nothing in the mask.
        Message::NewLink(it) if it.header.change_mask.is_empty() => News::default(),
        Message::NewLink(_) | Message::DelLink(_) => others,
        Message::NewRoute(it) | Message::DelRoute(it) => match is_own_route(it, own) {
            Some(true) => ours(!by_us),
            Some(false) => News { routes: true, ..News::default() },
            None => News::default(),
        },
        Message::NewRule(_) => News { rules: !by_us, ..News::default() },
        Message::DelRule(_) => News { rules: !by_us, own: !by_us, ..News::default() },
        _ => News::default(),
    }
}

fn is_own_address(message: &AddressMessage, own: &Own) -> bool {
    let has = |a: &IpAddr| own.addresses.contains(a);
    own.interfaces.contains(&message.header.index)
        || message.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Local(a) => has(a),
            AddressAttribute::Address(a) => message.header.family == AddressFamily::Inet6 && has(a),
            _ => false,
        })
}

/// `None` for routes that nobody need hear of.
fn is_own_route(route: &RouteMessage, own: &Own) -> Option<bool> {
    let mut table = u32::from(route.header.table);
    let mut device = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(it) => table = *it,
            RouteAttribute::Oif(it) => device = Some(*it),
            _ => {}
        }
    }
    if table == LOCAL || route.header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    if own.table == Some(table) {
        return Some(true);
    }
    // What the kernel makes of our interface's being up.
    let ours = device.is_some_and(|device| own.interfaces.contains(&device));
    (!ours).then_some(false)
}
