//! XFRM interfaces: what is routed into one meets the policies of its number, and what they decrypt comes out of it.

use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoXfrm, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::Netlink;
use crate::sys::tried;

/// The alias by which ours are told from others'; `ip link` shows it.
const ALIAS: &str = "adit";

/// An XFRM interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XfrmLink {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// The number that policies and SAs name it by; no two have the same.
    pub if_id: u32,
    /// The interface below, if it is bound to one.
    pub lower: Option<u32>,
    /// It is up.
    pub up: bool,
    /// [`Netlink::add_xfrm_link`] made it, in this life or a former one.
    pub ours: bool,
}

impl XfrmLink {
    fn parse(message: &LinkMessage) -> Option<Self> {
        let mut link = Self {
            ifindex: message.header.index,
            name: String::new(),
            if_id: 0,
            lower: None,
            up: message.header.flags.contains(LinkFlags::Up),
            ours: false,
        };
        let mut is_one = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::IfAlias(alias) => link.ours = alias == ALIAS,
                LinkAttribute::LinkInfo(infos) => {
                    is_one = infos.contains(&LinkInfo::Kind(InfoKind::Xfrm));
                    for info in infos {
                        if let LinkInfo::Data(InfoData::Xfrm(data)) = info {
                            link.take(data);
                        }
                    }
                }
                _ => {}
            }
        }
        is_one.then_some(link)
    }

    fn take(&mut self, data: &[InfoXfrm]) {
        for attribute in data {
            match attribute {
                InfoXfrm::IfId(if_id) => self.if_id = *if_id,
                InfoXfrm::Link(index) => self.lower = Some(*index).filter(|index| *index != 0),
                _ => {}
            }
        }
    }
}

impl Netlink {
    /// All XFRM interfaces, others' included.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn xfrm_links(&mut self) -> io::Result<Vec<XfrmLink>> {
        let mut found = Vec::new();
        self.dump(Message::GetLink(LinkMessage::default()), |message| {
            let Message::NewLink(message) = message else { return };
            found.extend(XfrmLink::parse(&message));
        })
        .map_err(|e| tried("listing XFRM interfaces", &e))?;
        Ok(found)
    }

    /// Makes an XFRM interface and marks it as ours. One that is there by that name and number is returned as it is,
    /// somebody else's too.
    ///
    /// # Errors
    /// `AlreadyExists` when the name or the number is taken otherwise, saying by what; `Unsupported` when the kernel has no
    /// XFRM interfaces.
    pub fn add_xfrm_link(&mut self, name: &str, if_id: u32, lower: Option<u32>) -> io::Result<XfrmLink> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let mut data = vec![InfoXfrm::IfId(if_id)];
        data.extend(lower.map(InfoXfrm::Link));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Xfrm),
            LinkInfo::Data(InfoData::Xfrm(data)),
        ]));
        let failed =
            |e: &io::Error| tried(format_args!("adding XFRM interface {name} with if_id {if_id}"), e);
        match self.change(Message::NewLink(message), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => return self.claimed(name).map_err(|e| failed(&e)),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let text =
                    "the kernel has no XFRM interfaces: its module xfrm_interface is missing or blacklisted";
                return Err(failed(&io::Error::new(io::ErrorKind::Unsupported, text)));
            }
            Err(e) => return Err(failed(&e)),
        }
        let links = self.xfrm_links()?;
        let mut same = links.iter().filter(|link| link.name == name || link.if_id == if_id);
        let taken = match same.next() {
            Some(link) if link.name == name && link.if_id == if_id && link.lower == lower => {
                return Ok(link.clone());
            }
            Some(link) => format!("there is {} with if_id {}", link.name, link.if_id),
            None => "there is another interface of that name".to_owned(),
        };
        Err(failed(&io::Error::new(io::ErrorKind::AlreadyExists, taken)))
    }

    /// Writes our mark on an interface. It is asked for by itself: where there are thousands, a listing of all for each
    /// would take hours.
    fn claimed(&mut self, name: &str) -> io::Result<XfrmLink> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let mut marked = message.clone();
        marked.attributes.push(LinkAttribute::IfAlias(ALIAS.to_owned()));
        self.change(Message::SetLink(marked), 0)?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it has been taken away again");
        XfrmLink::parse(&self.link(message)?).ok_or_else(gone)
    }

    /// Deletes an XFRM interface of ours; whether it was there. Others' are left alone.
    ///
    /// # Errors
    /// As rtnetlink.
    pub fn del_xfrm_link(&mut self, if_id: u32) -> io::Result<bool> {
        let ours = self.xfrm_links()?.into_iter().find(|link| link.ours && link.if_id == if_id);
        ours.map_or(Ok(false), |link| self.del_link(link.ifindex).map(|()| true))
    }
}
