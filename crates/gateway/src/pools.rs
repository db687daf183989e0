//! Address pools with sticky leases.
//!
//! An identity that comes back gets the address it had before, as long as nobody needed it in between: road-warriors
//! keep their address over a reconnect. A pool hands out fresh addresses first and reuses the longest-offline one last.
//! Memory is bounded by the number of addresses ever handed out at once, never by what peers ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_ike::Leased;
use adit_ipsec::Identity;

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
    turn: u64,
}

impl Pools {
    /// Makes the pools of the file be `specs`. Those that clients loaded stay, and so do those with addresses in use.
    pub(crate) fn replace(&mut self, specs: Vec<PoolSpec>) {
        let named = |name: &str| specs.iter().any(|s| s.name == name);
        self.pools.retain(|name, pool| pool.source == Source::Vici || pool.online > 0 || named(name));
        for spec in specs {
            self.insert(spec, Source::File);
        }
    }

    /// Adds or updates one pool; leases whose addresses it still has are kept.
    pub(crate) fn insert(&mut self, spec: PoolSpec, source: Source) {
        let mut pool = Pool::new(spec, source);
        if let Some(old) = self.pools.remove(&pool.spec.name) {
            pool.adopt(old);
        }
        self.pools.insert(pool.spec.name.clone(), pool);
    }

    /// Removes a pool; refused while addresses of it are in use.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), String> {
        match self.pools.get(name) {
            None => Err(format!("{name} not found")),
            Some(pool) if pool.online > 0 => Err(format!("{name} has online leases, unable to unload")),
            Some(_) => {
                self.pools.remove(name);
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
        }
    }

    /// Name, base, size, online and offline count and leases of every pool.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&PoolSpec, u64, usize, usize, Vec<LeaseView>)> {
        self.pools.values().map(|pool| {
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
            first,
            size,
            fresh: 0,
            leases: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            offline: BTreeSet::new(),
            online: 0,
        }
    }

    /// Takes over the leases of the pool it replaces: an address in use must not be handed out again.
    fn adopt(&mut self, old: Self) {
        if old.spec.first.is_ipv4() != self.spec.first.is_ipv4() {
            return;
        }
        for (offset, lease) in old.leases {
            let Some(offset) = old.first.wrapping_add(offset).checked_sub(self.first) else { continue };
            if offset >= self.size {
                continue;
            }
            self.by_identity.entry(lease.identity.clone()).or_default().insert(offset);
            if lease.holders > 0 {
                self.online += 1;
            } else {
                self.offline.insert((lease.offline_since, offset));
            }
            self.leases.insert(offset, lease);
        }
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
        assert!(p.remove("home").is_ok());
    }

    #[test]
    fn a_foreign_address_or_identity_releases_nothing() {
        let mut p = pools("10.3.0.1", "10.3.0.9");
        let a = lease(&mut p, "a", ANY).unwrap();
        p.release(&[a], &id("b"));
        p.release(&["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()], &id("a"));
        assert_eq!(p.views().next().unwrap().2, 1);
        assert!(p.remove("home").unwrap_err().contains("online leases"));
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
        assert!(p.pools.contains_key("home"), "its addresses are in use");
    }
}
