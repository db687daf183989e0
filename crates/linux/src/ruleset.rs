//! News of nf_tables, as the kernel multicasts them: who changed what.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::sys::{enlarge_buffers, tried};

/// NFNLGRP_NFTABLES, as the bit of a group.
const GROUP: u32 = 1 << (7 - 1);
const NFNL_SUBSYS_NFTABLES: u16 = 10;
// The messages about tables and chains; the others of the subsystem are about what is in them.
const NEW_TABLE: u8 = 0;
const DELETE_TABLE: u8 = 2;
const NEW_CHAIN: u8 = 3;
const DELETE_CHAIN: u8 = 5;
/// The number of a ruleset, which goes with every change and names no table.
const NEW_GENERATION: u8 = 15;
/// In every message but that: the attribute with the name of the table.
const TABLE_NAME: u16 = 1;
const NFPROTO_INET: u8 = 1;

/// Datagrams read in one go; what is left wakes the caller's poll again.
const BUDGET: usize = 4096;

/// A socket that becomes readable when the ruleset of its network namespace changes.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
}

/// What has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// Somebody else has changed, or may have, the table that is watched.
    pub ours: bool,
    /// Other tables or chains have come, gone or changed.
    pub others: bool,
}

impl Watch {
    /// Starts listening in the calling thread's network namespace.
    ///
    /// # Errors
    /// When netlink is not available.
    pub fn new() -> io::Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.set_non_blocking(true)?;
            enlarge_buffers(socket.as_raw_fd());
            socket.bind(&SocketAddr::new(0, GROUP))?;
            Ok(socket)
        };
        open().map(|socket| Self { socket }).map_err(|e| tried("listening for changes of nf_tables", &e))
    }

    /// Reads what is there about `table` of family `inet` and about the others, but for what a process of number `own`
    /// has done. More than the socket could hold may have been anything.
    pub fn drain(&mut self, table: &str, own: Option<u32>) -> News {
        let mut news = News::default();
        for _ in 0..BUDGET {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => note(&bytes, table, own, &mut news),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => news = News { ours: true, others: true },
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

/// Takes in one datagram: netlink headers of 16 bytes, each with a `struct nfgenmsg` of four and attributes behind it.
fn note(mut bytes: &[u8], table: &str, own: Option<u32>, news: &mut News) {
    while let Some(length) = word(bytes, 0).and_then(|length| usize::try_from(length).ok()) {
        let this = bytes.get(..length).unwrap_or(bytes);
        bytes = bytes.get(length.next_multiple_of(4).max(16)..).unwrap_or_default();
        let Some([kind, subsystem]) = this
            .get(4..6)
            .and_then(|it| it.first_chunk().copied())
            .map(u16::from_ne_bytes)
            .map(|it| [it & 0xff, it >> 8])
        else {
            return;
        };
        let kind = u8::try_from(kind).unwrap_or(u8::MAX);
        // The port a process sends from is its number, unless that was taken.
        if subsystem != NFNL_SUBSYS_NFTABLES
            || kind == NEW_GENERATION
            || own.is_some_and(|own| word(this, 12) == Some(own))
        {
            continue;
        }
        let family = this.get(16).copied();
        let attributes = this.get(20..).unwrap_or_default();
        if family == Some(NFPROTO_INET) && text(attributes, TABLE_NAME) == Some(table.as_bytes()) {
            news.ours = true;
        } else if matches!(kind, NEW_TABLE | DELETE_TABLE | NEW_CHAIN | DELETE_CHAIN) {
            news.others = true;
        }
    }
}

/// The text of an attribute, without what ends it.
fn text(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        if kind == wanted {
            return attributes.get(4..length)?.split(|byte| *byte == 0).next();
        }
        attributes = attributes.get(length.next_multiple_of(4).max(4)..)?;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of `kind` by `port` about `table` of `family`, with an attribute before the name.
    fn message(kind: u8, port: u32, family: u8, table: &str) -> Vec<u8> {
        let mut name = table.as_bytes().to_vec();
        name.push(0);
        let length = u16::try_from(4 + name.len()).unwrap();
        let mut body = vec![family, 0, 0, 0, 8, 0, 9, 0, 1, 2, 3, 4];
        body.extend(length.to_ne_bytes());
        body.extend(TABLE_NAME.to_ne_bytes());
        body.extend(name);
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend((NFNL_SUBSYS_NFTABLES << 8 | u16::from(kind)).to_ne_bytes());
        bytes.extend([0; 6]);
        bytes.extend(port.to_ne_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn heard(messages: &[Vec<u8>]) -> (bool, bool) {
        let mut news = News::default();
        note(&messages.concat(), "adit", Some(77), &mut news);
        (news.ours, news.others)
    }

    #[test]
    fn who_changed_what() {
        assert_eq!(heard(&[message(DELETE_TABLE, 5, 1, "adit")]), (true, false));
        assert_eq!(
            heard(&[message(DELETE_TABLE, 77, 1, "adit"), message(NEW_TABLE, 77, 1, "adit")]),
            (false, false)
        );
        assert_eq!(heard(&[message(8, 5, 1, "adit")]), (true, false), "a rule");
        assert_eq!(heard(&[message(DELETE_TABLE, 5, 2, "adit")]), (false, true), "of another family");
        assert_eq!(heard(&[message(NEW_CHAIN, 5, 1, "adit2")]), (false, true));
        assert_eq!(heard(&[message(12, 5, 1, "filter")]), (false, false), "an element of theirs");
        assert_eq!(heard(&[message(NEW_GENERATION, 5, 0, "adit")]), (false, false));
        let cut = message(DELETE_TABLE, 5, 1, "adit");
        for length in 0..cut.len() {
            note(&cut[..length], "adit", None, &mut News::default());
        }
    }
}
