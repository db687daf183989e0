//! Links and their addresses.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::{Netlink, allow, family_of, full_prefix};
use crate::sys::tried;

/// One address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface that has it.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its on-link prefix.
    pub prefix: u8,
    /// Nothing can be sent from it yet: another host might have it (RFC 4862 §5.4).
    pub tentative: bool,
    /// Nothing new is to be sent from it unless asked for (RFC 4862 §5.5.4).
    pub deprecated: bool,
}

/// What an interface is called and whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// Its name.
    pub name: String,
    /// Set up, with or without a carrier.
    pub up: bool,
}

/// A choice of interfaces by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// If any, only these.
    pub only: Vec<String>,
    /// Else all but these.
    pub not: Vec<String>,
}

impl Interfaces {
    /// Whether all are chosen.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.only.is_empty() && self.not.is_empty()
    }

    /// Whether one is chosen.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|other| other == name);
        if self.only.is_empty() { !named(&self.not) } else { named(&self.only) }
    }
}

impl Netlink {
    /// The interfaces that a choice leaves out.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn links_outside(&mut self, chosen: &Interfaces) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        if chosen.is_all() {
            return Ok(found);
        }
        self.dump(Message::GetLink(LinkMessage::default()), |message| {
            let Message::NewLink(link) = message else { return };
            let outside = link
                .attributes
                .iter()
                .any(|attribute| matches!(attribute, LinkAttribute::IfName(name) if !chosen.allows(name)));
            if outside {
                found.push(link.header.index);
            }
        })
        .map_err(|e| tried("listing interfaces", &e))?;
        Ok(found)
    }

    pub(super) fn link(&mut self, message: LinkMessage) -> io::Result<LinkMessage> {
        match self.get(Message::GetLink(message))? {
            Message::NewLink(link) => Ok(link),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "netlink answered something else")),
        }
    }

    /// The index of the interface `name`.
    ///
    /// # Errors
    /// `NotFound`-like (ENODEV) when there is none.
    pub fn link_index(&mut self, name: &str) -> io::Result<u32> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.link(message)
            .map(|link| link.header.index)
            .map_err(|e| tried(format_args!("looking up interface {name}"), &e))
    }

    /// The name and MTU of an interface.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn link_info(&mut self, ifindex: u32) -> io::Result<(String, u32)> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        let link =
            self.link(message).map_err(|e| tried(format_args!("looking up interface {ifindex}"), &e))?;
        let (mut name, mut mtu) = (String::new(), 0);
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(n) => name = n,
                LinkAttribute::Mtu(m) => mtu = m,
                _ => {}
            }
        }
        Ok((name, mtu))
    }

    /// The state of an interface.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn link_state(&mut self, ifindex: u32) -> io::Result<LinkState> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        let link =
            self.link(message).map_err(|e| tried(format_args!("looking up interface {ifindex}"), &e))?;
        let name = link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        let up = link.header.flags.contains(LinkFlags::Up);
        Ok(LinkState { name: name.unwrap_or_else(|| format!("if{ifindex}")), up })
    }

    /// The interface's name for error texts.
    pub(super) fn name_of(&mut self, ifindex: u32) -> String {
        self.link_info(ifindex).map_or_else(|_| format!("if{ifindex}"), |(name, _)| name)
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn link_up(&mut self, ifindex: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.change(Message::SetLink(message), 0)
            .map_err(|e| tried(format_args!("bringing up {}", self.name_of(ifindex)), &e))
    }

    /// Takes an interface down.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn link_down(&mut self, ifindex: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.change_mask = LinkFlags::Up;
        self.change(Message::SetLink(message), 0)
            .map_err(|e| tried(format_args!("taking down {}", self.name_of(ifindex)), &e))
    }

    /// Sets an interface's MTU.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn set_mtu(&mut self, ifindex: u32, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.change(Message::SetLink(message), 0)
            .map_err(|e| tried(format_args!("setting MTU {mtu} on {}", self.name_of(ifindex)), &e))
    }

    /// Deletes an interface.
    ///
    /// # Errors
    /// As rtnetlink; success when it is gone already.
    pub fn del_link(&mut self, ifindex: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        allow(self.change(Message::DelLink(message), 0), &[libc::ENODEV])
            .map_err(|e| tried(format_args!("deleting {}", self.name_of(ifindex)), &e))
    }

    /// Creates a veth pair: `name` here, `peer` in the namespace that `peer_namespace` is open on.
    ///
    /// # Errors
    /// As rtnetlink, `File exists` when a name is taken.
    pub fn add_veth(&mut self, name: &str, peer: &str, peer_namespace: BorrowedFd<'_>) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        other.attributes.push(LinkAttribute::NetNsFd(peer_namespace.as_raw_fd()));
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]));
        self.change(Message::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|e| tried(format_args!("adding veth pair {name} and {peer}"), &e))
    }

    fn address(ifindex: u32, address: IpAddr, prefix: u8) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = family_of(address);
        message.header.prefix_len = prefix;
        message.header.index = ifindex;
        message.header.scope = AddressScope::Universe;
        if address.is_ipv6() {
            // Nobody else can have a tunnel's address: no waiting for duplicate address detection.
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        message
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// As rtnetlink; success when it has it already.
    pub fn add_address(&mut self, ifindex: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let message = Message::NewAddress(Self::address(ifindex, address, prefix));
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE).map_err(|e| {
            tried(format_args!("adding address {address}/{prefix} to {}", self.name_of(ifindex)), &e)
        })
    }

    /// Gives an interface an address with a full prefix that only those use who ask for it: an IPv6 one is deprecated from
    /// the start (RFC 4862 §5.5.4).
    ///
    /// # Errors
    /// As rtnetlink; success when it has it already.
    pub fn add_virtual_address(&mut self, ifindex: u32, address: IpAddr) -> io::Result<()> {
        let mut message = Self::address(ifindex, address, full_prefix(address));
        if address.is_ipv6() {
            let mut lifetimes = CacheInfo::default();
            (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
            message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
        self.change(Message::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|e| tried(format_args!("adding address {address} to {}", self.name_of(ifindex)), &e))
    }

    /// Takes an address from an interface.
    ///
    /// # Errors
    /// As rtnetlink; success when it is gone already.
    pub fn del_address(&mut self, ifindex: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let message = Message::DelAddress(Self::address(ifindex, address, prefix));
        allow(self.change(message, 0), &[libc::EADDRNOTAVAIL, libc::ENODEV]).map_err(|e| {
            tried(format_args!("removing address {address}/{prefix} from {}", self.name_of(ifindex)), &e)
        })
    }

    /// All addresses of all interfaces.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let mut found = Vec::new();
        self.dump(Message::GetAddress(AddressMessage::default()), |message| {
            let Message::NewAddress(message) = message else { return };
            let (mut local, mut address) = (None, None);
            for attribute in &message.attributes {
                match attribute {
                    // On a point-to-point link `Address` is the other end; `Local` is ours.
                    AddressAttribute::Local(a) => local = Some(*a),
                    AddressAttribute::Address(a) => address = Some(*a),
                    _ => {}
                }
            }
            if let Some(address) = local.or(address) {
                found.push(Address {
                    ifindex: message.header.index,
                    address,
                    prefix: message.header.prefix_len,
                    tentative: message.header.flags.contains(AddressHeaderFlags::Tentative),
                    deprecated: message.header.flags.contains(AddressHeaderFlags::Deprecated),
                });
            }
        })
        .map_err(|e| tried("listing addresses", &e))?;
        Ok(found)
    }
}
