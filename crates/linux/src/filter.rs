//! Traffic that must not pass in the clear: one nf_tables table of our own, which drops flows in both directions.
//!
//! What goes into or comes out of the tunnel device is not looked at: tunnels go before drops.

use std::io;
use std::net::IpAddr;

use crate::nft::{
    Batch, CMP_EQ, DELETE_TABLE, Link, NEW_CHAIN, NEW_RULE, NEW_TABLE, REGISTER, compare, expression,
    interface, meta, nested, number, text,
};
use crate::sys::tried;

const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const CMP_NEQ: u32 = 1;
const CMP_LTE: u32 = 3;
const CMP_GTE: u32 = 5;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// A range of addresses and ports for one protocol or any (0), at one end of a flow. ICMP type and code stand in the
/// place of ports, `type << 8 | code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// First and last address, of one family.
    pub addresses: (IpAddr, IpAddr),
    /// First and last port; (0, 65535) = any, also packets without ports.
    pub ports: (u16, u16),
}

/// Packets between two ends, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// This side.
    pub local: End,
    /// The other side.
    pub remote: End,
    /// Upper-layer protocol; 0 = any.
    pub protocol: u8,
}

impl Flow {
    /// What matches its packets from `from` to `to`.
    fn expressions(&self, from: &End, to: &End) -> Vec<Vec<u8>> {
        let v4 = from.addresses.0.is_ipv4();
        let (family, width, offsets) =
            if v4 { (NFPROTO_IPV4, 4, [12, 16]) } else { (NFPROTO_IPV6, 16, [8, 24]) };
        let mut all = Vec::from(meta(META_NFPROTO, CMP_EQ, &[family]));
        for (offset, end) in offsets.into_iter().zip([from, to]) {
            let (first, last) = (octets(end.addresses.0), octets(end.addresses.1));
            all.extend(within(NETWORK_HEADER, offset, width, &first, &last));
        }
        if self.protocol != 0 {
            all.extend(meta(META_L4PROTO, CMP_EQ, &[self.protocol]));
        }
        // The type and code of ICMP are one field, however many ends name it.
        let offsets = if matches!(self.protocol, 1 | 58) { [0, 0] } else { [0, 2] };
        for (offset, end) in offsets.into_iter().zip([from, to]) {
            if end.ports != (0, u16::MAX) {
                let (first, last) = (end.ports.0.to_be_bytes(), end.ports.1.to_be_bytes());
                all.extend(within(TRANSPORT_HEADER, offset, 2, &first, &last));
            }
        }
        all
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Loads a field of a header and compares it with both ends of a range.
fn within(base: u32, offset: u32, width: u32, first: &[u8], last: &[u8]) -> Vec<Vec<u8>> {
    let load =
        expression("payload", &[number(1, REGISTER), number(2, base), number(3, offset), number(4, width)]);
    vec![load, compare(CMP_GTE, first), compare(CMP_LTE, last)]
}

fn verdict(code: u32) -> Vec<u8> {
    expression("immediate", &[number(1, 0), nested(2, &[nested(2, &[number(1, code)])])])
}

/// Fills tables of one network namespace.
#[derive(Debug)]
pub struct Filter(Link);

impl Filter {
    /// For those of the calling thread's namespace.
    ///
    /// # Errors
    /// Where the kernel has no netfilter.
    pub fn open() -> io::Result<Self> {
        Link::open().map(Self).map_err(|e| tried("opening a netfilter socket", &e))
    }

    /// Drops the flows of `drop` that none of `pass` covers, unless they go through the device `inside`. Replaces what
    /// an earlier call with this table name made; nothing to drop leaves no table.
    ///
    /// # Errors
    /// Without privilege, or where the kernel has no nf_tables; the table is then as it was.
    pub fn replace(&mut self, table: &str, inside: &str, pass: &[Flow], drop: &[Flow]) -> io::Result<()> {
        let name = interface(inside)?;
        let mut batch = Batch::new(NFPROTO_INET, &self.0);
        if drop.is_empty() {
            for kind in [NEW_TABLE, DELETE_TABLE] {
                batch.message(kind, &[text(1, table)]);
            }
            return batch
                .apply(&mut self.0)
                .map_err(|e| tried(format_args!("removing nf_tables table {table}"), &e));
        }
        batch.fresh_table(table);
        // NF_INET_LOCAL_IN, _FORWARD, _LOCAL_OUT, and which interfaces their packets have.
        for (chain, hook, devices) in [
            ("input", 1, &[META_IIFNAME][..]),
            ("forward", 2, &[META_IIFNAME, META_OIFNAME]),
            ("output", 3, &[META_OIFNAME]),
        ] {
            let hook = nested(4, &[number(1, hook), number(2, 0)]);
            batch.message(NEW_CHAIN, &[text(1, table), text(3, chain), hook, text(7, "filter")]);
            for (flows, code) in [(pass, NF_ACCEPT), (drop, NF_DROP)] {
                for flow in flows {
                    let directions = [(&flow.local, &flow.remote), (&flow.remote, &flow.local)];
                    let directions = match chain {
                        "input" => directions.get(1..),
                        "output" => directions.get(..1),
                        _ => Some(&directions[..]),
                    };
                    for (from, to) in directions.unwrap_or_default() {
                        let mut rule: Vec<Vec<u8>> =
                            devices.iter().flat_map(|device| meta(*device, CMP_NEQ, &name)).collect();
                        rule.extend(flow.expressions(from, to));
                        rule.push(verdict(code));
                        batch.message(NEW_RULE, &[text(1, table), text(2, chain), nested(4, &rule)]);
                    }
                }
            }
        }
        batch.apply(&mut self.0).map_err(|e| tried(format_args!("filling nf_tables table {table}"), &e))
    }
}
