//! One masquerade rule, said to the kernel in nf_tables netlink, for the NAT router of the demo and the tests:
//! no `nft` program is needed.
//!
//! A batch (begin, table, chain, rule, end) is applied whole or not at all. The numbers are those of
//! `linux/netfilter/nf_tables.h`, which are stable interface.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::sys::{bound_receive, tried};

/// Name of the table that [`masquerade`] makes; `nft delete table ip adit-nat` undoes it.
pub const TABLE: &str = "adit-nat";

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
const NFT_MSG_DELTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 2;
const NFT_MSG_NEWCHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 3;
const NFT_MSG_NEWRULE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 6;
const NFPROTO_IPV4: u8 = 2;
const NF_INET_POST_ROUTING: u32 = 4;
/// `NF_IP_PRI_NAT_SRC`: where source NAT stands among the hooks.
const PRIORITY_SOURCE_NAT: u32 = 100;
const NFT_REG_1: u32 = 1;
const NFT_META_OIFNAME: u32 = 7;
const NFT_CMP_EQ: u32 = 0;
const NF_NAT_RANGE_PROTO_RANDOM: u32 = 1 << 2;
const NLA_F_NESTED: u16 = 1 << 15;

/// A growing netlink batch.
struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    /// Appends a message made of attributes.
    fn message(&mut self, kind: u16, flags: i32, family: u8, resource: u16, attributes: &[Vec<u8>]) {
        let payload: usize = attributes.iter().map(Vec::len).sum();
        let length = 16 + 4 + payload;
        self.sequence += 1;
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
fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + payload.len().next_multiple_of(4));
    bytes.extend(((4 + payload.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    attribute(kind, &bytes)
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn nested(kind: u16, inner: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &inner.concat())
}

/// NFTA_LIST_ELEM with NFTA_EXPR_NAME and NFTA_EXPR_DATA.
fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[text(1, name), nested(2, data)])
}

/// Makes IPv4 traffic that leaves the calling thread's network namespace through `interface` take that
/// interface's address, with `random` source ports if wanted. Replaces what an earlier call made.
///
/// # Errors
/// Without privilege, or where the kernel has no nf_tables NAT.
pub fn masquerade(interface: &str, random: bool) -> io::Result<()> {
    if interface.is_empty() || interface.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has 1 to 15 bytes"));
    }
    let mut name = interface.as_bytes().to_vec();
    name.resize(libc::IFNAMSIZ, 0);
    let flags = if random { vec![number(1, NF_NAT_RANGE_PROTO_RANDOM)] } else { Vec::new() };

    let create = libc::NLM_F_CREATE | libc::NLM_F_ACK;
    let mut batch = Batch { bytes: Vec::new(), sequence: 0 };
    batch.message(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
    // Creating, deleting, creating: the table is empty whether it was there or not.
    for (kind, flags) in
        [(NFT_MSG_NEWTABLE, create), (NFT_MSG_DELTABLE, libc::NLM_F_ACK), (NFT_MSG_NEWTABLE, create)]
    {
        batch.message(kind, flags, NFPROTO_IPV4, 0, &[text(1, TABLE)]);
    }
    batch.message(
        NFT_MSG_NEWCHAIN,
        create,
        NFPROTO_IPV4,
        0,
        &[
            text(1, TABLE),
            text(3, "postrouting"),
            nested(4, &[number(1, NF_INET_POST_ROUTING), number(2, PRIORITY_SOURCE_NAT)]),
            text(7, "nat"),
        ],
    );
    batch.message(
        NFT_MSG_NEWRULE,
        create | libc::NLM_F_APPEND,
        NFPROTO_IPV4,
        0,
        &[
            text(1, TABLE),
            text(2, "postrouting"),
            nested(
                4,
                &[
                    expression("meta", &[number(1, NFT_REG_1), number(2, NFT_META_OIFNAME)]),
                    expression(
                        "cmp",
                        &[number(1, NFT_REG_1), number(2, NFT_CMP_EQ), nested(3, &[attribute(1, &name)])],
                    ),
                    expression("masq", &flags),
                ],
            ),
        ],
    );
    let last = batch.sequence;
    batch.message(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, &[]);
    apply(&batch.bytes, last).map_err(|e| tried(format_args!("adding a masquerade rule for {interface}"), &e))
}

/// Sends a batch and waits for the acknowledgement of message `last`, or the first error.
fn apply(batch: &[u8], last: u32) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    bound_receive(socket.as_raw_fd())?;
    socket.send(batch, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        // Each answer: length, type, flags, sequence number, port, and for NLMSG_ERROR the errno.
        while let (Some(length), Some(sequence), Some(code)) = (word(rest, 0), word(rest, 8), word(rest, 16))
        {
            let kind = rest.get(4..).and_then(|r| r.first_chunk()).copied().map_or(0, u16::from_ne_bytes);
            if i32::from(kind) == libc::NLMSG_ERROR {
                let code = code as i32;
                if code != 0 {
                    return Err(io::Error::from_raw_os_error(-code));
                }
                if sequence == last {
                    return Ok(());
                }
            }
            let step = usize::try_from(length).unwrap_or(usize::MAX).next_multiple_of(4).max(16);
            rest = rest.get(step..).unwrap_or_default();
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}
