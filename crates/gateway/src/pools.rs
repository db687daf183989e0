//! Address pools with sticky leases.
//!
//! An identity that comes back gets the address it had before, as long as nobody needed it in between: road-warriors
//! keep their address over a reconnect. A pool hands out fresh addresses first and reuses the longest-offline one last.
//! Memory is bounded by the number of addresses ever handed out at once, never by what peers ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ike::Leased;
use adit_ipsec::Identity;

use crate::reload::Change;
use crate::store::Source;

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

#[derive(Clone)]
struct Lease {
    identity: Identity,
    /// How many IKE_SAs hold it; 0 = offline. Two while a reauthentication overlaps.
    holders: u32,
    /// Turn at which it went offline, to reuse the oldest first.
    offline_since: u64,
}

struct Pool {
    spec: PoolSpec,
    source: Source,
    /// A client has unloaded it, and may be about to load what takes its place: not shown, still served.
    leaving: bool,
    first: u128,
    size: u128,
    /// Offset of the next address never handed out.
    fresh: u128,
    leases: BTreeMap<u128, Lease>,
    by_identity: BTreeMap<Identity, BTreeSet<u128>>,
    offline: BTreeSet<(u64, u128)>,
    online: usize,
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
        let mut pool = Pool { leaving: old.leaving, ..Pool::new(old.spec.clone(), old.source) };
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

impl Pool {
    fn new(spec: PoolSpec, source: Source) -> Self {
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
    fn adopt(&mut self, address: IpAddr, lease: Lease) {
        let Some(offset) = number(address).checked_sub(self.first) else { return };
        self.by_identity.entry(lease.identity.clone()).or_default().insert(offset);
        if lease.holders > 0 {
            self.online += 1;
        } else {
            self.offline.insert((lease.offline_since, offset));
        }
        self.leases.insert(offset, lease);
    }

    fn into_leases(mut self) -> impl Iterator<Item = (IpAddr, Lease)> {
        let leases = std::mem::take(&mut self.leases);
        leases.into_iter().map(move |(offset, lease)| (self.address(offset), lease))
    }

    /// Leases that IKE_SAs hold.
    fn in_use(&self) -> impl Iterator<Item = (IpAddr, &Lease)> {
        let held = self.leases.iter().filter(|(_, lease)| lease.holders > 0);
        held.map(|(offset, lease)| (self.address(*offset), lease))
    }

    fn address(&self, offset: u128) -> IpAddr {
        let n = self.first.wrapping_add(offset);
        match self.spec.first {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((n & u128::from(u32::MAX)) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(n)),
        }
    }

    fn lease(&mut self, identity: &Identity, want: IpAddr) -> Option<IpAddr> {
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
    fn returning(&self, identity: &Identity, want: IpAddr) -> Option<u128> {
        let mine = self.by_identity.get(identity)?;
        mine.iter()
            .copied()
            .find(|o| !want.is_unspecified() && self.address(*o) == want)
            .or_else(|| mine.iter().copied().find(|o| self.leases.get(o).is_some_and(|l| l.holders == 0)))
    }

    /// A specific address that nobody has.
    fn specific(&self, want: IpAddr) -> Option<u128> {
        let offset = number(want).checked_sub(self.first)?;
        (offset < self.size && !self.leases.contains_key(&offset)).then_some(offset)
    }

    fn never_used(&mut self) -> Option<u128> {
        while self.fresh < self.size {
            let offset = self.fresh;
            self.fresh += 1;
            if !self.leases.contains_key(&offset) {
                return Some(offset);
            }
        }
        None
    }

    fn take(&mut self, offset: u128, identity: &Identity) {
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

    fn release(&mut self, address: IpAddr, identity: &Identity, turn: u64) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn pools(first: &str, last: &str) -> Pools {
        let mut pools = Pools::default();
        pools.insert(
            PoolSpec {
                name: "home".into(),
                first: first.parse().unwrap(),
                last: last.parse().unwrap(),
                base: first.parse().unwrap(),
                attributes: vec![(3, vec![10, 2, 0, 2])],
            },
            Source::File,
        );
        pools
    }

    fn id(name: &str) -> Identity {
        Identity::Fqdn(name.into())
    }

    fn lease(pools: &mut Pools, who: &str, want: IpAddr) -> Result<IpAddr, String> {
        pools.acquire(&["home".into()], &id(who), &[want]).map(|l| l.addresses[0])
    }

    #[test]
    fn an_identity_gets_its_address_back() {
        let mut p = pools("10.3.0.1", "10.3.0.3");
        let a = lease(&mut p, "a", ANY).unwrap();
        p.release(&[a], &id("a"));
        assert_ne!(lease(&mut p, "b", ANY).unwrap(), a);
        assert_eq!(lease(&mut p, "a", ANY).unwrap(), a);
    }

    #[test]
    fn a_full_pool_reuses_the_longest_offline_lease_then_refuses() {
        let mut p = pools("10.3.0.1", "10.3.0.2");
        let a = lease(&mut p, "a", ANY).unwrap();
        let b = lease(&mut p, "b", ANY).unwrap();
        assert_eq!(lease(&mut p, "c", ANY).unwrap_err(), "no free IPv4 address in pool 'home'");
        p.release(&[b], &id("b"));
        p.release(&[a], &id("a"));
        assert_eq!(lease(&mut p, "c", ANY).unwrap(), b);
        assert_eq!(lease(&mut p, "a", ANY).unwrap(), a);
    }

    #[test]
    fn two_holders_of_one_lease_are_counted() {
        let mut p = pools("10.3.0.1", "10.3.0.9");
        let a = lease(&mut p, "a", ANY).unwrap();
        assert_eq!(lease(&mut p, "a", a).unwrap(), a);
        p.release(&[a], &id("a"));
        assert_eq!(p.views().next().unwrap().2, 1);
        p.release(&[a], &id("a"));
        p.release(&[a], &id("a"));
        let (_, size, online, offline, _) = p.views().next().unwrap();
        assert_eq!((size, online, offline), (9, 0, 1));
        assert!(p.unload("home").is_ok());
    }

    #[test]
    fn a_foreign_address_or_identity_releases_nothing() {
        let mut p = pools("10.3.0.1", "10.3.0.9");
        let a = lease(&mut p, "a", ANY).unwrap();
        p.release(&[a], &id("b"));
        p.release(&["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()], &id("a"));
        assert_eq!(p.views().next().unwrap().2, 1);
        assert!(p.unload("home").unwrap_err().contains("online leases"));
    }

    #[test]
    fn a_reload_keeps_what_is_in_use_and_what_clients_loaded() {
        let mut p = pools("10.3.0.1", "10.3.0.9");
        let spec = |p: &Pools, name: &str| PoolSpec { name: name.into(), ..p.pools["home"].spec.clone() };
        p.insert(spec(&p, "theirs"), Source::Vici);
        p.insert(spec(&p, "gone"), Source::File);
        let a = lease(&mut p, "a", ANY).unwrap();
        let wider = PoolSpec { first: "10.3.0.0".parse().unwrap(), ..spec(&p, "home") };
        p.replace(vec![wider]);
        assert_eq!(p.pools.keys().collect::<Vec<_>>(), ["home", "theirs"]);
        let others: Vec<_> = (0..9).map(|n| lease(&mut p, &format!("b{n}"), ANY).unwrap()).collect();
        assert!(!others.contains(&a), "{a} is in use");
        assert!(lease(&mut p, "c", ANY).is_err());
        p.replace(Vec::new());
        assert_eq!(p.pools.keys().collect::<Vec<_>>(), ["theirs"]);
    }

    #[test]
    fn addresses_in_use_outlive_their_pool_and_are_given_to_nobody_else() {
        let mut p = pools("10.3.0.1", "10.3.0.4");
        let spec = |name: &str, first: &str, last: &str| PoolSpec {
            name: name.into(),
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            base: first.parse().unwrap(),
            attributes: vec![(3, vec![10, 2, 0, 2])],
        };
        let held: Vec<_> = ["a", "b", "c"].iter().map(|who| lease(&mut p, who, ANY).unwrap()).collect();
        // the upper half passes to another pool
        let wanted = [spec("home", "10.3.0.1", "10.3.0.2"), spec("guests", "10.3.0.3", "10.3.0.4")];
        let plan = p.plan(&wanted);
        assert_eq!((plan[0].kept, plan[0].strays), (2, 1));
        assert_eq!(plan[0].change, Change::Changed(vec!["addrs"]));
        assert_eq!(plan[1].change, Change::Added);
        p.replace(wanted.to_vec());
        let guest = p.acquire(&["guests".into()], &id("g"), &[ANY]).unwrap().addresses[0];
        assert_eq!(guest.to_string(), "10.3.0.4", "10.3.0.3 is c's");
        assert!(p.acquire(&["guests".into()], &id("h"), &[ANY]).is_err());
        p.release(&held[2..], &id("c"));
        assert!(p.acquire(&["guests".into()], &id("h"), &[ANY]).is_ok());
        // gone altogether, and back
        assert_eq!(p.plan(&[])[1].strays, 2);
        p.replace(Vec::new());
        assert_eq!(p.strays.len(), 4);
        p.replace(vec![spec("home", "10.3.0.1", "10.3.0.4")]);
        assert!(p.strays.is_empty());
        assert!(lease(&mut p, "d", ANY).is_err());
        p.release(&held[..1], &id("a"));
        assert_eq!(lease(&mut p, "d", ANY).unwrap(), held[0]);
    }

    #[test]
    fn an_unloaded_pool_serves_until_it_is_swept_or_loaded_again() {
        let mut p = pools("10.3.0.1", "10.3.0.9");
        let spec = p.pools["home"].spec.clone();
        p.unload("home").unwrap();
        assert_eq!(p.views().count(), 0);
        assert_eq!(p.unload("home").unwrap_err(), "home not found");
        let a = lease(&mut p, "a", ANY).unwrap();
        p.insert(spec, Source::Vici);
        p.sweep();
        assert_eq!(p.views().next().unwrap().2, 1);
        p.release(&[a], &id("a"));
        p.unload("home").unwrap();
        p.sweep();
        assert!(lease(&mut p, "a", ANY).unwrap_err().contains("does not exist"));
    }
}
