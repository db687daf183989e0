//! Policy routing rules.

use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::{Netlink, allow};
use crate::sys::tried;

/// Restricts a rule to packets with (or, inverted, without) a firewall mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fwmark {
    /// The mark.
    pub mark: u32,
    /// Which of its bits count.
    pub mask: u32,
    /// Whether the rule is for packets that do not have it.
    pub invert: bool,
}

/// A rule "from all [not fwmark …] lookup TABLE", the only shape made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Order among the rules.
    pub priority: u32,
    /// The table it sends the lookup to.
    pub table: u32,
    /// IPv4, else IPv6.
    pub v4: bool,
    /// Which packets, if not all.
    pub fwmark: Option<Fwmark>,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (IPv{}): ", self.priority, if self.v4 { 4 } else { 6 })?;
        if let Some(mark) = self.fwmark {
            write!(f, "{}fwmark {:#x}/{:#x} ", if mark.invert { "not " } else { "" }, mark.mark, mark.mask)?;
        }
        write!(f, "from all lookup {}", self.table)
    }
}

impl Rule {
    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = if self.v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.action = RuleAction::ToTable;
        message.header.table = u8::try_from(self.table).unwrap_or(0);
        message.attributes.push(RuleAttribute::Priority(self.priority));
        message.attributes.push(RuleAttribute::Table(self.table));
        if let Some(mark) = self.fwmark {
            message.attributes.push(RuleAttribute::FwMark(mark.mark));
            message.attributes.push(RuleAttribute::FwMask(mark.mask));
            if mark.invert {
                message.header.flags = RuleFlags::Invert;
            }
        }
        message
    }

    /// `None` for a rule of another shape.
    fn parse(message: &RuleMessage) -> Option<Self> {
        let v4 = match message.header.family {
            AddressFamily::Inet => true,
            AddressFamily::Inet6 => false,
            _ => return None,
        };
        if message.header.action != RuleAction::ToTable
            || message.header.src_len != 0
            || message.header.dst_len != 0
        {
            return None;
        }
        let mut rule = Self { priority: 0, table: u32::from(message.header.table), v4, fwmark: None };
        let (mut mark, mut mask) = (0, 0);
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Priority(p) => rule.priority = *p,
                RuleAttribute::Table(t) => rule.table = *t,
                RuleAttribute::FwMark(m) => mark = *m,
                RuleAttribute::FwMask(m) => mask = *m,
                RuleAttribute::Iifname(_)
                | RuleAttribute::Oifname(_)
                | RuleAttribute::UidRange(_)
                | RuleAttribute::IpProtocol(_)
                | RuleAttribute::SourcePortRange(_)
                | RuleAttribute::DestinationPortRange(_)
                | RuleAttribute::L3MDev(true)
                | RuleAttribute::TunId(_) => return None,
                _ => {}
            }
        }
        let invert = message.header.flags.contains(RuleFlags::Invert);
        if mark != 0 || mask != 0 {
            rule.fwmark = Some(Fwmark { mark, mask, invert });
        } else if invert {
            return None;
        }
        Some(rule)
    }
}

impl Netlink {
    /// Adds a rule. Returns whether it is new (`false`: exactly this rule was there).
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn add_rule(&mut self, rule: &Rule) -> io::Result<bool> {
        // Not every kernel refuses an identical rule, so look first.
        if self.rules()?.contains(rule) {
            return Ok(false);
        }
        match self.change(Message::NewRule(rule.message()), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(e) => Err(tried(format_args!("adding rule {rule}"), &e)),
        }
    }

    /// Removes one rule of this description.
    ///
    /// # Errors
    /// As rtnetlink; success when there is none.
    pub fn del_rule(&mut self, rule: &Rule) -> io::Result<()> {
        allow(self.change(Message::DelRule(rule.message()), 0), &[libc::ENOENT, libc::ESRCH])
            .map_err(|e| tried(format_args!("removing rule {rule}"), &e))
    }

    /// The rules of both families that have the shape of [`Rule`], in the kernel's order.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn rules(&mut self) -> io::Result<Vec<Rule>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let result = self.dump(Message::GetRule(message), |message| {
                if let Message::NewRule(message) = message {
                    found.extend(Rule::parse(&message));
                }
            });
            allow(result, &[libc::EOPNOTSUPP, libc::EAFNOSUPPORT]).map_err(|e| tried("listing rules", &e))?;
        }
        Ok(found)
    }
}
