//! Rules around a table: packets that are not to be looked up in it although a rule sends everything there.
//!
//! A detour stands in front of that rule and goes to a place behind it: what would have been asked next is asked next.
//! All are marked with [`ADIT_PROTOCOL`], so that those a killed predecessor left can be told from anybody else's.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage as Message};

use super::{ADIT_PROTOCOL, Netlink, allow};
use crate::sys::tried;

/// Which packets take a detour; what is `None` or 0 is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Source network.
    pub from: Option<(IpAddr, u8)>,
    /// Destination network.
    pub to: Option<(IpAddr, u8)>,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// First and last source port; the kernel takes neither 0 nor 65535.
    pub source_ports: Option<(u16, u16)>,
    /// First and last destination port.
    pub destination_ports: Option<(u16, u16)>,
    /// Firewall mark.
    pub mark: Option<u32>,
}

/// A rule that skips others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detour {
    /// IPv4, else IPv6.
    pub v4: bool,
    /// Its place among the rules.
    pub priority: u32,
    /// What goes where; `None` = this is the place that others go to.
    pub to: Option<(Traffic, u32)>,
}

impl std::fmt::Display for Detour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (IPv{}): ", self.priority, if self.v4 { 4 } else { 6 })?;
        let Some((traffic, target)) = &self.to else { return f.write_str("nop") };
        for (word, network) in [("from", traffic.from), ("to", traffic.to)] {
            if let Some((address, prefix)) = network {
                write!(f, "{word} {address}/{prefix} ")?;
            }
        }
        if let Some(mark) = traffic.mark {
            write!(f, "fwmark {mark:#x} ")?;
        }
        write!(f, "goto {target}")
    }
}

impl Detour {
    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = if self.v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.action = if self.to.is_some() { RuleAction::Goto } else { RuleAction::Nop };
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Priority(self.priority));
        attributes.push(RuleAttribute::Protocol(RouteProtocol::from(ADIT_PROTOCOL)));
        let Some((traffic, target)) = &self.to else { return message };
        attributes.push(RuleAttribute::Goto(*target));
        if let Some((address, prefix)) = traffic.from {
            message.header.src_len = prefix;
            attributes.push(RuleAttribute::Source(address));
        }
        if let Some((address, prefix)) = traffic.to {
            message.header.dst_len = prefix;
            attributes.push(RuleAttribute::Destination(address));
        }
        if traffic.protocol != 0 {
            attributes.push(RuleAttribute::IpProtocol(IpProtocol::from(i32::from(traffic.protocol))));
        }
        let range = |(start, end): (u16, u16)| RulePortRange { start, end };
        attributes.extend(traffic.source_ports.map(|p| RuleAttribute::SourcePortRange(range(p))));
        attributes.extend(traffic.destination_ports.map(|p| RuleAttribute::DestinationPortRange(range(p))));
        if let Some(mark) = traffic.mark {
            attributes.push(RuleAttribute::FwMark(mark));
            attributes.push(RuleAttribute::FwMask(u32::MAX));
        }
        message
    }
}

impl Netlink {
    /// Adds a detour. Returns whether it is new.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn add_detour(&mut self, detour: &Detour) -> io::Result<bool> {
        match self.change(Message::NewRule(detour.message()), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(e) => Err(tried(format_args!("adding rule {detour}"), &e)),
        }
    }

    /// Removes a detour.
    ///
    /// # Errors
    /// As rtnetlink; success when there is none.
    pub fn del_detour(&mut self, detour: &Detour) -> io::Result<()> {
        allow(self.change(Message::DelRule(detour.message()), 0), &[libc::ENOENT, libc::ESRCH])
            .map_err(|e| tried(format_args!("removing rule {detour}"), &e))
    }

    /// Removes all rules marked [`ADIT_PROTOCOL`].
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn flush_detours(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let result = self.dump(Message::GetRule(message), |message| {
                if let Message::NewRule(message) = message
                    && message
                        .attributes
                        .contains(&RuleAttribute::Protocol(RouteProtocol::from(ADIT_PROTOCOL)))
                {
                    found.push(message);
                }
            });
            allow(result, &[libc::EOPNOTSUPP, libc::EAFNOSUPPORT]).map_err(|e| tried("listing rules", &e))?;
        }
        for message in found {
            allow(self.change(Message::DelRule(message), 0), &[libc::ENOENT, libc::ESRCH])
                .map_err(|e| tried("removing a rule of a predecessor", &e))?;
        }
        Ok(())
    }
}
