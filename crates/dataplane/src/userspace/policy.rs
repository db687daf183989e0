//! Which SA or trap an outbound packet belongs to: the outbound SPD (RFC 4301 §4.4.1), as a table of prefixes.
//!
//! Every remote selector is cut into prefixes; there is one hash table per prefix length in use. A lookup asks
//! them from the longest to the shortest, so it costs the number of different lengths, not of SAs: ten thousand
//! clients with a /32 each are one hash lookup. Within one prefix the narrower selector goes first, an SA goes
//! before a trap, and the newest SA before older ones.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use adit_ipsec::{PacketInfo, Selector};

use super::sa::Sa;

/// A trap as the worker sees it.
#[derive(Debug)]
pub(super) struct Trap {
    pub(super) id: u32,
    pub(super) local_ts: Vec<Selector>,
    pub(super) remote_ts: Vec<Selector>,
}

/// What a packet is for.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Sa(Arc<Sa>),
    Trap(Arc<Trap>),
}

impl Target {
    fn local_ts(&self) -> &[Selector] {
        match self {
            Self::Sa(sa) => &sa.local_ts,
            Self::Trap(trap) => &trap.local_ts,
        }
    }

    fn remote_ts(&self) -> &[Selector] {
        match self {
            Self::Sa(sa) => &sa.remote_ts,
            Self::Trap(trap) => &trap.remote_ts,
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sa(a), Self::Sa(b)) => Arc::ptr_eq(a, b),
            (Self::Trap(a), Self::Trap(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Orders the entries of one prefix; the smallest wins.
type Rank = (bool, u32, u32, bool, Reverse<u64>);

#[derive(Debug)]
struct Entry {
    rank: Rank,
    remote: Selector,
    target: Target,
}

/// Networks of one address family by prefix length, longest first.
#[derive(Debug, Default)]
struct Family(Vec<(u8, HashMap<u128, Vec<Entry>>)>);

/// The outbound policy table.
#[derive(Debug, Default)]
pub(super) struct Policies {
    v4: Family,
    v6: Family,
    serial: u64,
}

/// An address as a number, and the width of its family.
fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(a) => (u128::from(u32::from(a)), 32),
        IpAddr::V6(a) => (u128::from(a), 128),
    }
}

/// The network part of an address.
fn network(address: u128, width: u8, prefix: u8) -> u128 {
    let host_bits = u32::from(width.saturating_sub(prefix));
    // Shifting by all 128 bits leaves nothing.
    address.checked_shr(host_bits).unwrap_or(0).checked_shl(host_bits).unwrap_or(0)
}

fn rank(remote: &Selector, target: &Target, serial: u64) -> Rank {
    // How many addresses the widest local selector spans, as a power of two: narrower goes first.
    let local = target
        .local_ts()
        .iter()
        .filter(|s| s.is_v4() == remote.is_v4())
        .map(|s| {
            let ((start, _), (end, _)) = (number(s.start()), number(s.end()));
            128 - end.saturating_sub(start).leading_zeros()
        })
        .max()
        .unwrap_or(0);
    // A protocol or ports on either side narrow the traffic.
    let sides = || target.local_ts().iter().filter(|s| s.is_v4() == remote.is_v4());
    let ports = |s: &Selector| u32::from(s.end_port().saturating_sub(s.start_port()));
    (
        remote.protocol() == 0 && sides().any(|s| s.protocol() == 0),
        ports(remote) + sides().map(ports).max().unwrap_or(0),
        local,
        matches!(target, Target::Trap(_)),
        Reverse(serial),
    )
}

impl Policies {
    fn family(&mut self, address: IpAddr) -> &mut Family {
        if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }

    /// Adds a target under each of its remote selectors.
    pub(super) fn insert(&mut self, target: &Target) {
        self.serial += 1;
        let serial = self.serial;
        for remote in target.remote_ts() {
            let rank = rank(remote, target, serial);
            for (address, prefix) in remote.cidrs() {
                let (value, width) = number(address);
                let Family(lengths) = self.family(address);
                let at = match lengths.binary_search_by_key(&Reverse(prefix), |(p, _)| Reverse(*p)) {
                    Ok(at) => at,
                    Err(at) => {
                        lengths.insert(at, (prefix, HashMap::new()));
                        at
                    }
                };
                let Some((_, networks)) = lengths.get_mut(at) else { continue };
                let entries = networks.entry(network(value, width, prefix)).or_default();
                let place = entries.partition_point(|e| e.rank <= rank);
                entries.insert(place, Entry { rank, remote: *remote, target: target.clone() });
            }
        }
    }

    /// Removes a target. Removing what is not there does nothing.
    pub(super) fn remove(&mut self, target: &Target) {
        for remote in target.remote_ts() {
            for (address, prefix) in remote.cidrs() {
                let (value, width) = number(address);
                let Family(lengths) = self.family(address);
                let Ok(at) = lengths.binary_search_by_key(&Reverse(prefix), |(p, _)| Reverse(*p)) else {
                    continue;
                };
                let Some((_, networks)) = lengths.get_mut(at) else { continue };
                let key = network(value, width, prefix);
                if let Some(entries) = networks.get_mut(&key) {
                    entries.retain(|e| !e.target.same(target));
                    if entries.is_empty() {
                        networks.remove(&key);
                    }
                }
                if networks.is_empty() {
                    lengths.remove(at);
                }
            }
        }
    }

    /// What an outbound packet is for.
    pub(super) fn lookup(&self, packet: &PacketInfo) -> Option<&Target> {
        let (value, width) = number(packet.dst);
        let Family(lengths) = if packet.dst.is_ipv4() { &self.v4 } else { &self.v6 };
        for (prefix, networks) in lengths {
            let Some(entries) = networks.get(&network(value, width, *prefix)) else { continue };
            for entry in entries {
                if entry.remote.matches(packet.dst, packet.protocol, packet.dst_port)
                    && entry
                        .target
                        .local_ts()
                        .iter()
                        .any(|s| s.matches(packet.src, packet.protocol, packet.src_port))
                {
                    return Some(&entry.target);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Selector {
        let (address, prefix) = text.split_once('/').unwrap();
        Selector::from_cidr(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
    }

    fn trap(id: u32, local: &str, remote: &[Selector]) -> Target {
        Target::Trap(Arc::new(Trap { id, local_ts: vec![net(local)], remote_ts: remote.to_vec() }))
    }

    fn packet(src: &str, dst: &str, protocol: u8, dst_port: u16) -> PacketInfo {
        PacketInfo {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol,
            src_port: 1000,
            dst_port,
            total_len: 60,
        }
    }

    fn found(policies: &Policies, p: &PacketInfo) -> Option<u32> {
        match policies.lookup(p)? {
            Target::Trap(t) => Some(t.id),
            Target::Sa(sa) => Some(sa.id),
        }
    }

    #[test]
    fn the_most_specific_wins_and_removal_uncovers_the_rest() {
        let mut policies = Policies::default();
        let wide = trap(1, "10.1.0.0/16", &[net("0.0.0.0/0")]);
        let narrow = trap(2, "10.1.0.0/16", &[net("10.2.0.0/16")]);
        let host = trap(3, "10.1.0.0/16", &[net("10.2.3.4/32")]);
        let web = trap(
            4,
            "10.1.0.0/16",
            &[Selector::new(6, 80, 80, "10.2.0.0".parse().unwrap(), "10.2.255.255".parse().unwrap())
                .unwrap()],
        );
        for target in [&wide, &narrow, &host, &web] {
            policies.insert(target);
        }
        assert_eq!(found(&policies, &packet("10.1.0.1", "10.2.3.4", 17, 53)), Some(3));
        assert_eq!(found(&policies, &packet("10.1.0.1", "10.2.3.5", 17, 53)), Some(2));
        assert_eq!(found(&policies, &packet("10.1.0.1", "10.2.3.5", 6, 80)), Some(4));
        assert_eq!(found(&policies, &packet("10.1.0.1", "192.0.2.1", 17, 53)), Some(1));
        assert_eq!(found(&policies, &packet("10.9.0.1", "10.2.3.4", 17, 53)), None);
        policies.remove(&host);
        policies.remove(&web);
        assert_eq!(found(&policies, &packet("10.1.0.1", "10.2.3.4", 6, 80)), Some(2));
        policies.remove(&narrow);
        policies.remove(&narrow);
        policies.remove(&wide);
        assert_eq!(found(&policies, &packet("10.1.0.1", "10.2.3.4", 6, 80)), None);
        assert!(policies.v4.0.is_empty());
    }

    #[test]
    fn ranges_and_ipv6_are_found_too() {
        let mut policies = Policies::default();
        let range =
            Selector::new(0, 0, 65535, "10.0.0.5".parse().unwrap(), "10.0.0.9".parse().unwrap()).unwrap();
        policies.insert(&trap(1, "10.1.0.0/16", &[range]));
        policies.insert(&trap(2, "fd01::/64", &[net("::/0")]));
        assert_eq!(found(&policies, &packet("10.1.0.1", "10.0.0.9", 17, 53)), Some(1));
        assert_eq!(found(&policies, &packet("10.1.0.1", "10.0.0.10", 17, 53)), None);
        assert_eq!(found(&policies, &packet("fd01::1", "2001:db8::1", 17, 53)), Some(2));
    }
}
