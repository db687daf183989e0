//! Address pools with sticky leases.
//!
//! An identity that comes back gets the address it had before, as long as nobody needed it in between: road-warriors
//! keep their address over a reconnect. A pool hands out fresh addresses first and reuses the longest-offline one last.
//! Memory is bounded by the number of addresses ever handed out at once, never by what peers ask.

mod pool;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use adit_ike::Leased;
use adit_ipsec::Identity;

use crate::reload::Change;
use crate::store::Source;

use pool::{Lease, Pool};

/// What the configuration says of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolSpec {
    /// Name, as in `pools.<name>`.
    pub name: String,
    /// First address that may be leased.
    pub first: IpAddr,
    /// Last address that may be leased.
    pub last: IpAddr,
    /// What `--list-pools` prints as base.
    pub base: IpAddr,
    /// Configuration attributes (RFC 7296 §3.15.1) handed out with an address.
    pub attributes: Vec<(u16, Vec<u8>)>,
}

impl PoolSpec {
    /// Is it one of its addresses?
    fn has(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    fn change(&self, new: &Self) -> Change {
        let mut keys = Vec::new();
        if (self.first, self.last, self.base) != (new.first, new.last, new.base) {
            keys.push("addrs");
        }
        if self.attributes != new.attributes {
            keys.push("attributes");
        }
        if keys.is_empty() { Change::Unchanged } else { Change::Changed(keys) }
    }
}

/// One lease, as `--list-pools --leases` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseView {
    /// The address.
    pub address: IpAddr,
    /// Whom it is leased to.
    pub identity: Identity,
    /// In use by an IKE_SA now.
    pub online: bool,
}

/// All pools of the daemon.
#[derive(Default)]
pub(crate) struct Pools {
    pools: BTreeMap<String, Pool>,
    /// Addresses in use that no pool has any more: whoever has one keeps it until its IKE_SA ends, and no pool that comes
    /// to have it gives it to anybody else. At most as many as were ever leased at once.
    strays: BTreeMap<IpAddr, Lease>,
    turn: u64,
}

/// What a new configuration does to a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolPlan {
    /// Its name.
    pub name: String,
    /// What differs.
    pub change: Change,
    /// Leases in use that it keeps.
    pub kept: usize,
    /// Leases in use outside of it: kept by whoever has them until the IKE_SA ends.
    pub strays: usize,
}

impl Pools {
    /// What making the pools of the file be `specs` would do.
    pub(crate) fn plan(&self, specs: &[PoolSpec]) -> Vec<PoolPlan> {
        let mut plans: Vec<PoolPlan> = specs
            .iter()
            .map(|spec| match self.pools.get(&spec.name) {
                None => PoolPlan { name: spec.name.clone(), change: Change::Added, kept: 0, strays: 0 },
                Some(pool) => {
                    let kept = pool.in_use().filter(|(address, _)| spec.has(*address)).count();
                    let change = pool.spec.change(spec);
                    PoolPlan { name: spec.name.clone(), change, kept, strays: pool.online - kept }
                }
            })
            .collect();
        plans.extend(self.not_in(specs).map(|pool| PoolPlan {
            name: pool.spec.name.clone(),
            change: Change::Removed,
            kept: 0,
            strays: pool.online,
        }));
        plans
    }

    /// First and last address of each.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.pools.values().map(|pool| (pool.spec.first, pool.spec.last))
    }

    /// Pools of the file that are no longer in it.
    fn not_in(&self, specs: &[PoolSpec]) -> impl Iterator<Item = &Pool> {
        let named = |pool: &Pool| specs.iter().any(|s| s.name == pool.spec.name);
        self.pools.values().filter(move |pool| pool.source == Source::File && !named(pool))
    }

    /// Makes the pools of the file be `specs`. Those that clients loaded stay.
    pub(crate) fn replace(&mut self, specs: Vec<PoolSpec>) {
        let gone: Vec<String> = self.not_in(&specs).map(|pool| pool.spec.name.clone()).collect();
        // All shrink before the first grows: a range may pass from one pool to another.
        gone.iter().for_each(|name| self.drop_pool(name));
        specs.iter().for_each(|spec| self.shed(spec));
        for spec in specs {
            self.insert(spec, Source::File);
        }
    }

    /// Adds or updates one pool; leases whose addresses it still has are kept. One that is there as it is stays as it is,
    /// and whose it is.
    pub(crate) fn insert(&mut self, spec: PoolSpec, source: Source) {
        if let Some(pool) = self.pools.get_mut(&spec.name)
            && pool.spec == spec
        {
            pool.leaving = false;
            pool.source = source.after(Some(pool.source));
            return;
        }
        self.shed(&spec);
        let old = self.pools.remove(&spec.name);
        let mut pool = Pool::new(spec, source.after(old.as_ref().map(|pool| pool.source)));
        for (address, lease) in old.into_iter().flat_map(Pool::into_leases) {
            pool.adopt(address, lease);
        }
        let found: Vec<IpAddr> = self.strays.keys().copied().filter(|a| pool.spec.has(*a)).collect();
        for address in found {
            if let Some(lease) = self.strays.remove(&address) {
                pool.adopt(address, lease);
            }
        }
        self.pools.insert(pool.spec.name.clone(), pool);
    }

    /// Takes the leases out of a pool that it will not have when it is as `spec` says.
    fn shed(&mut self, spec: &PoolSpec) {
        if self.pools.get(&spec.name).is_none_or(|pool| pool.spec == *spec) {
            return;
        }
        let Some(old) = self.pools.remove(&spec.name) else { return };
        let mut pool = Pool::new(old.spec.clone(), old.source);
        pool.leaving = old.leaving;
        for (address, lease) in old.into_leases() {
            if spec.has(address) {
                pool.adopt(address, lease);
            } else if lease.holders > 0 {
                self.strays.insert(address, lease);
            }
        }
        self.pools.insert(spec.name.clone(), pool);
    }

    fn drop_pool(&mut self, name: &str) {
        let Some(pool) = self.pools.remove(name) else { return };
        self.strays.extend(pool.into_leases().filter(|(_, lease)| lease.holders > 0));
    }

    /// Takes out what clients unloaded, if nobody loaded it again.
    pub(crate) fn sweep(&mut self) {
        let leaving: Vec<String> =
            self.pools.iter().filter(|(_, pool)| pool.leaving).map(|(name, _)| name.clone()).collect();
        leaving.iter().for_each(|name| self.drop_pool(name));
    }

    /// Unloads a pool; refused while addresses of it are in use. It is no longer shown, but serves until the next
    /// [`Self::sweep`]: the connections that name it may be about to change, too.
    pub(crate) fn unload(&mut self, name: &str) -> Result<(), String> {
        match self.pools.get_mut(name) {
            Some(pool) if pool.leaving => Err(format!("{name} not found")),
            None => Err(format!("{name} not found")),
            Some(pool) if pool.online > 0 => Err(format!("{name} has online leases, unable to unload")),
            Some(pool) => {
                pool.leaving = true;
                Ok(())
            }
        }
    }

    /// Leases one address per wanted one (unspecified = any of that family) from the named pools.
    ///
    /// Answers what could be had; an error only if that is nothing at all.
    pub(crate) fn acquire(
        &mut self,
        names: &[String],
        identity: &Identity,
        wanted: &[IpAddr],
    ) -> Result<Leased, String> {
        let mut leased = Leased { addresses: Vec::new(), attributes: Vec::new() };
        for want in wanted {
            let from = names.iter().find_map(|name| {
                let pool = self.pools.get_mut(name)?;
                pool.lease(identity, *want)
            });
            if let Some(address) = from {
                leased.addresses.push(address);
            }
        }
        if leased.addresses.is_empty() && !wanted.is_empty() {
            return Err(self.explain(names, wanted));
        }
        for name in names {
            if let Some(pool) = self.pools.get(name) {
                leased.attributes.extend(pool.spec.attributes.iter().cloned());
            }
        }
        Ok(leased)
    }

    /// Gives addresses back; the lease stays with the identity until somebody else needs it.
    pub(crate) fn release(&mut self, addresses: &[IpAddr], identity: &Identity) {
        for address in addresses {
            for pool in self.pools.values_mut() {
                self.turn += 1;
                pool.release(*address, identity, self.turn);
            }
            if let Some(lease) = self.strays.get_mut(address)
                && lease.identity == *identity
            {
                lease.holders -= 1;
                if lease.holders == 0 {
                    self.strays.remove(address);
                }
            }
        }
    }

    /// Name, base, size, online and offline count and leases of every pool.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&PoolSpec, u64, usize, usize, Vec<LeaseView>)> {
        self.pools.values().filter(|pool| !pool.leaving).map(|pool| {
            let leases = pool
                .leases
                .iter()
                .map(|(offset, lease)| LeaseView {
                    address: pool.address(*offset),
                    identity: lease.identity.clone(),
                    online: lease.holders > 0,
                })
                .collect();
            let size = u64::try_from(pool.size).unwrap_or(u64::MAX);
            (&pool.spec, size, pool.online, pool.offline.len(), leases)
        })
    }

    fn explain(&self, names: &[String], wanted: &[IpAddr]) -> String {
        let family = |v4| if v4 { "IPv4" } else { "IPv6" };
        if names.is_empty() {
            return "the connection names no pool to take a virtual address from".into();
        }
        let missing: Vec<&str> =
            names.iter().filter(|n| !self.pools.contains_key(*n)).map(String::as_str).collect();
        if !missing.is_empty() {
            return format!("pool '{}' does not exist", missing.join("', '"));
        }
        let wants: Vec<&str> = wanted.iter().map(|w| family(w.is_ipv4())).collect();
        format!("no free {} address in pool '{}'", wants.join(" or "), names.join("', '"))
    }
}
