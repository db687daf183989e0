//! One masquerade rule, for the NAT router of the demo and the tests.

use std::io;

use crate::nft::{
    Batch, CMP_EQ, Link, NEW_CHAIN, NEW_RULE, expression, interface as name_of, meta, nested, number, text,
};
use crate::sys::tried;

/// Name of the table that [`masquerade`] makes; `nft delete table ip adit-nat` undoes it.
pub const TABLE: &str = "adit-nat";

const NFPROTO_IPV4: u8 = 2;
const NF_INET_POST_ROUTING: u32 = 4;
/// `NF_IP_PRI_NAT_SRC`: where source NAT stands among the hooks.
const PRIORITY_SOURCE_NAT: u32 = 100;
const NFT_META_OIFNAME: u32 = 7;
const NF_NAT_RANGE_PROTO_RANDOM: u32 = 1 << 2;

/// Makes IPv4 traffic that leaves the calling thread's network namespace through `interface` take that
/// interface's address, with `random` source ports if wanted. Replaces what an earlier call made.
///
/// # Errors
/// Without privilege, or where the kernel has no nf_tables NAT.
pub fn masquerade(interface: &str, random: bool) -> io::Result<()> {
    let name = name_of(interface)?;
    let flags = if random { vec![number(1, NF_NAT_RANGE_PROTO_RANDOM)] } else { Vec::new() };
    let mut link = Link::open()?;
    let mut batch = Batch::new(NFPROTO_IPV4, &link);
    batch.fresh_table(TABLE);
    let hook = nested(4, &[number(1, NF_INET_POST_ROUTING), number(2, PRIORITY_SOURCE_NAT)]);
    batch.message(NEW_CHAIN, &[text(1, TABLE), text(3, "postrouting"), hook, text(7, "nat")]);
    let [load, compare] = meta(NFT_META_OIFNAME, CMP_EQ, &name);
    let rule = nested(4, &[load, compare, expression("masq", &flags)]);
    batch.message(NEW_RULE, &[text(1, TABLE), text(2, "postrouting"), rule]);
    batch.apply(&mut link).map_err(|e| tried(format_args!("adding a masquerade rule for {interface}"), &e))
}
