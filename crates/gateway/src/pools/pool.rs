//! One pool: its addresses and who has them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ipsec::Identity;

use super::PoolSpec;
use crate::store::Source;

/// An address and whose it is.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) identity: Identity,
    /// How many IKE_SAs hold it; 0 = offline. Two while a reauthentication overlaps.
    pub(super) holders: u32,
    /// Turn at which it went offline, to reuse the oldest first.
    pub(super) offline_since: u64,
}

/// A pool with its leases.
pub(super) struct Pool {
    pub(super) spec: PoolSpec,
    pub(super) source: Source,
    /// A client has unloaded it, and may be about to load what takes its place: not shown, still served.
    pub(super) leaving: bool,
    first: u128,
    pub(super) size: u128,
    /// Offset of the next address never handed out.
    fresh: u128,
    pub(super) leases: BTreeMap<u128, Lease>,
    by_identity: BTreeMap<Identity, BTreeSet<u128>>,
    pub(super) offline: BTreeSet<(u64, u128)>,
    pub(super) online: usize,
}

impl Pool {
    pub(super) fn new(spec: PoolSpec, source: Source) -> Self {
        let first = number(spec.first);
        let size = number(spec.last).saturating_sub(first).saturating_add(1);
        Self {
            spec,
            source,
            leaving: false,
            first,
            size,
            fresh: 0,
            leases: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            offline: BTreeSet::new(),
            online: 0,
        }
    }

    /// Takes over a lease from before: an address in use must not be handed out again.
    pub(super) fn adopt(&mut self, address: IpAddr, lease: Lease) {
        let Some(offset) = number(address).checked_sub(self.first) else { return };
        self.by_identity.entry(lease.identity.clone()).or_default().insert(offset);
        if lease.holders > 0 {
            self.online += 1;
        } else {
            self.offline.insert((lease.offline_since, offset));
        }
        self.leases.insert(offset, lease);
    }

    pub(super) fn into_leases(mut self) -> impl Iterator<Item = (IpAddr, Lease)> {
        let leases = std::mem::take(&mut self.leases);
        leases.into_iter().map(move |(offset, lease)| (self.address(offset), lease))
    }

    /// Leases that IKE_SAs hold.
    pub(super) fn in_use(&self) -> impl Iterator<Item = (IpAddr, &Lease)> {
        let held = self.leases.iter().filter(|(_, lease)| lease.holders > 0);
        held.map(|(offset, lease)| (self.address(*offset), lease))
    }

    pub(super) fn address(&self, offset: u128) -> IpAddr {
        let n = self.first.wrapping_add(offset);
        match self.spec.first {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((n & u128::from(u32::MAX)) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(n)),
        }
    }

    pub(super) fn lease(&mut self, identity: &Identity, want: IpAddr) -> Option<IpAddr> {
        if want.is_ipv4() != self.spec.first.is_ipv4() {
            return None;
        }
        let offset = self
            .returning(identity, want)
            .or_else(|| self.specific(want))
            .or_else(|| self.never_used())
            .or_else(|| self.offline.first().map(|(_, offset)| *offset))?;
        self.take(offset, identity);
        Some(self.address(offset))
    }

    /// An address this identity had: the one it asks for, else any that is offline.
    pub(super) fn returning(&self, identity: &Identity, want: IpAddr) -> Option<u128> {
        let mine = self.by_identity.get(identity)?;
        mine.iter()
            .copied()
            .find(|o| !want.is_unspecified() && self.address(*o) == want)
            .or_else(|| mine.iter().copied().find(|o| self.leases.get(o).is_some_and(|l| l.holders == 0)))
    }

    /// A specific address that nobody has.
    pub(super) fn specific(&self, want: IpAddr) -> Option<u128> {
        let offset = number(want).checked_sub(self.first)?;
        (offset < self.size && !self.leases.contains_key(&offset)).then_some(offset)
    }

    pub(super) fn never_used(&mut self) -> Option<u128> {
        while self.fresh < self.size {
            let offset = self.fresh;
            self.fresh += 1;
            if !self.leases.contains_key(&offset) {
                return Some(offset);
            }
        }
        None
    }

    pub(super) fn take(&mut self, offset: u128, identity: &Identity) {
        match self.leases.get_mut(&offset) {
            Some(lease) if lease.identity == *identity => {
                if lease.holders == 0 {
                    self.offline.remove(&(lease.offline_since, offset));
                    self.online += 1;
                }
                lease.holders += 1;
                return;
            }
            Some(lease) => {
                self.offline.remove(&(lease.offline_since, offset));
                if let Some(set) = self.by_identity.get_mut(&lease.identity) {
                    set.remove(&offset);
                    if set.is_empty() {
                        self.by_identity.remove(&lease.identity);
                    }
                }
            }
            None => {}
        }
        self.leases.insert(offset, Lease { identity: identity.clone(), holders: 1, offline_since: 0 });
        self.by_identity.entry(identity.clone()).or_default().insert(offset);
        self.online += 1;
    }

    pub(super) fn release(&mut self, address: IpAddr, identity: &Identity, turn: u64) {
        if address.is_ipv4() != self.spec.first.is_ipv4() {
            return;
        }
        let Some(offset) = number(address).checked_sub(self.first) else { return };
        let Some(lease) = self.leases.get_mut(&offset) else { return };
        if lease.identity != *identity || lease.holders == 0 {
            return;
        }
        lease.holders -= 1;
        if lease.holders == 0 {
            lease.offline_since = turn;
            self.offline.insert((turn, offset));
            self.online -= 1;
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}
