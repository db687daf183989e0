//! What nf_tables netlink messages are made of: no `nft` program is needed.
//!
//! A batch (begin, what is to be, end) is applied whole or not at all. The numbers are those of
//! `linux/netfilter/nf_tables.h`, which are stable interface.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::sys::bound_receive;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
pub(crate) const NEW_TABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
pub(crate) const DELETE_TABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 2;
pub(crate) const NEW_CHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 3;
pub(crate) const NEW_RULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 6;
pub(crate) const REGISTER: u32 = 1;
pub(crate) const CMP_EQ: u32 = 0;
const NLA_F_NESTED: u16 = 1 << 15;

/// A growing netlink batch.
pub(crate) struct Batch {
    family: u8,
    bytes: Vec<u8>,
    first: u32,
    sequence: u32,
}

impl Batch {
    /// A batch about tables of one family (`NFPROTO_*`).
    pub(crate) fn new(family: u8, link: &Link) -> Self {
        let first = link.sequence.wrapping_add(1);
        let mut batch = Self { family, bytes: Vec::new(), first, sequence: link.sequence };
        batch.write(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        batch
    }

    /// Appends a message that makes something (a rule behind those there are) or deletes it.
    pub(crate) fn message(&mut self, kind: u16, attributes: &[Vec<u8>]) {
        let flags = match kind {
            DELETE_TABLE => libc::NLM_F_ACK,
            NEW_RULE => libc::NLM_F_CREATE | libc::NLM_F_APPEND | libc::NLM_F_ACK,
            _ => libc::NLM_F_CREATE | libc::NLM_F_ACK,
        };
        self.write(kind, flags, self.family, 0, attributes);
    }

    /// Makes a table that is empty, whether it was there or not.
    pub(crate) fn fresh_table(&mut self, table: &str) {
        for kind in [NEW_TABLE, DELETE_TABLE, NEW_TABLE] {
            self.message(kind, &[text(1, table)]);
        }
    }

    /// Applies the batch, whole or not at all.
    pub(crate) fn apply(mut self, link: &mut Link) -> io::Result<()> {
        let last = self.sequence;
        self.write(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
        let first = self.first;
        link.sequence = self.sequence;
        link.apply(&self.bytes, first..=last)
    }

    fn write(&mut self, kind: u16, flags: i32, family: u8, resource: u16, attributes: &[Vec<u8>]) {
        let payload: usize = attributes.iter().map(Vec::len).sum();
        let length = 16 + 4 + payload;
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes.extend((length as u32).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        // struct nfgenmsg
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        for attribute in attributes {
            self.bytes.extend(attribute);
        }
    }
}

/// One attribute, padded to four bytes.
pub(crate) fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + payload.len().next_multiple_of(4));
    bytes.extend(((4 + payload.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A text.
pub(crate) fn text(kind: u16, value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    attribute(kind, &bytes)
}

/// A number in network order.
pub(crate) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// Attributes in one.
pub(crate) fn nested(kind: u16, inner: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &inner.concat())
}

/// NFTA_LIST_ELEM with NFTA_EXPR_NAME and NFTA_EXPR_DATA.
pub(crate) fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[text(1, name), nested(2, data)])
}

/// Loads a field of the packet's description (`NFT_META_*`) and compares it.
pub(crate) fn meta(key: u32, op: u32, value: &[u8]) -> [Vec<u8>; 2] {
    [expression("meta", &[number(1, REGISTER), number(2, key)]), compare(op, value)]
}

/// Compares what was loaded last.
pub(crate) fn compare(op: u32, value: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, REGISTER), number(2, op), nested(3, &[attribute(1, value)])])
}

/// An interface name as it is compared.
pub(crate) fn interface(name: &str) -> io::Result<Vec<u8>> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has 1 to 15 bytes"));
    }
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(libc::IFNAMSIZ, 0);
    Ok(bytes)
}

/// A connection to the nf_tables of one network namespace.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    /// Last number used: answers to an earlier batch that failed may still come.
    sequence: u32,
}

impl Link {
    /// To those of the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        bound_receive(socket.as_raw_fd())?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a batch and waits for the acknowledgement of its last message, or the first error.
    fn apply(&self, batch: &[u8], sequences: RangeInclusive<u32>) -> io::Result<()> {
        self.socket.send(batch, 0)?;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            // Each answer: length, type, flags, sequence number, port, and for NLMSG_ERROR the errno.
            while let (Some(length), Some(sequence), Some(code)) =
                (word(rest, 0), word(rest, 8), word(rest, 16))
            {
                let kind = rest.get(4..).and_then(|r| r.first_chunk()).copied().map_or(0, u16::from_ne_bytes);
                if i32::from(kind) == libc::NLMSG_ERROR && sequences.contains(&sequence) {
                    let code = code as i32;
                    if code != 0 {
                        return Err(io::Error::from_raw_os_error(-code));
                    }
                    if sequence == *sequences.end() {
                        return Ok(());
                    }
                }
                let step = usize::try_from(length).unwrap_or(usize::MAX).next_multiple_of(4).max(16);
                rest = rest.get(step..).unwrap_or_default();
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}
