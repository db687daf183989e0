//! What the table is to hold, and what of it the kernel has.
//!
//! Every packet is looked up once, by the address at the peer's side, in an interval map whose verdict leads to the chain
//! of the child: thousands of children cost a packet no more than one. The chain has a rule per selector of ours. Nothing
//! here is an anonymous set: the kernel looks for each of those among all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use adit_ipsec::{ChildSa, Selector};

use super::claims::Claims;
use super::names::identifier;
use super::rules::Ports;
use super::style::{Inside, Style};

/// The table, of family `inet`.
pub const NAME: &str = "adit";

/// Selectors of one child that packets are matched against alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) conn: Arc<str>,
    pub(super) child: Arc<str>,
    pub(super) remote: Ports,
    pub(super) locals: Vec<Selector>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Key,
    pub(super) name: String,
    /// CHILD_SAs that have it, as often as they claim a range for it.
    pub(super) uses: usize,
    /// The kernel has its chains.
    pub(super) written: bool,
}

/// One family's part of the maps.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) claims: Claims,
    /// What the kernel has: first number to last, and to the owners that the verdict is about.
    pub(super) written: BTreeMap<u128, (u128, Vec<u32>)>,
}

/// Several groups whose selectors overlap at the peer's side: their chains are gone through one after the other.
#[derive(Debug, Default)]
pub(super) struct Several {
    /// Elements that lead there.
    pub(super) uses: usize,
    pub(super) written: bool,
}

/// The table as it is to be.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) style: Style,
    sas: BTreeMap<u32, Vec<(u32, Selector)>>,
    pub(super) keys: BTreeMap<Key, u32>,
    pub(super) groups: BTreeMap<u32, Group>,
    pub(super) several: BTreeMap<Vec<u32>, Several>,
    pub(super) families: [Family; 2],
    /// Counters the kernel has, by the name of the child.
    pub(super) counters: BTreeSet<String>,
    pub(super) pools: Vec<(IpAddr, IpAddr)>,
    pub(super) passed: Vec<(Selector, Selector)>,
    /// Pools or passed pairs differ from what was written.
    pub(super) fixed_changed: bool,
    pub(super) last_id: u32,
}

impl Table {
    /// Without children.
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            sas: BTreeMap::new(),
            keys: BTreeMap::new(),
            groups: BTreeMap::new(),
            several: BTreeMap::new(),
            families: Default::default(),
            counters: BTreeSet::new(),
            pools: Vec::new(),
            passed: Vec::new(),
            fixed_changed: false,
            last_id: 0,
        }
    }

    /// How packets of tunnels are told.
    pub(crate) fn inside(&self) -> &Inside {
        &self.style.inside
    }

    /// A CHILD_SA is there.
    pub(crate) fn child_up(&mut self, sa: &ChildSa) {
        self.child_down(sa.id);
        let mut locals = sa.local_ts.clone();
        locals.sort_unstable();
        locals.dedup();
        let mut claims = Vec::with_capacity(sa.remote_ts.len());
        for remote in &sa.remote_ts {
            let key = Key {
                conn: Arc::clone(&sa.ike_name),
                child: Arc::clone(&sa.name),
                remote: Ports::of(remote),
                locals: locals.clone(),
            };
            let id = self.group(key);
            if let Some(group) = self.groups.get_mut(&id) {
                group.uses += 1;
            }
            let (family, first, last) = numbers(remote.start(), remote.end());
            self.families[family].claims.add(first, last, id);
            claims.push((id, *remote));
        }
        self.sas.insert(sa.id, claims);
    }

    /// A CHILD_SA is gone.
    pub(crate) fn child_down(&mut self, id: u32) {
        for (group, remote) in self.sas.remove(&id).unwrap_or_default() {
            let (family, first, last) = numbers(remote.start(), remote.end());
            self.families[family].claims.remove(first, last, group);
            if let Some(group) = self.groups.get_mut(&group) {
                group.uses -= 1;
            }
        }
    }

    /// The addresses that are leased to clients: nobody else has one.
    pub(crate) fn set_pools(&mut self, mut pools: Vec<(IpAddr, IpAddr)>) {
        pools.sort_unstable();
        // Where clients load pools, they may overlap.
        pools.dedup_by(|next, before| {
            let both = before.1.is_ipv4() == next.0.is_ipv4() && next.0 <= before.1;
            before.1 = if both { before.1.max(next.1) } else { before.1 };
            both
        });
        self.fixed_changed |= self.pools != pools;
        self.pools = pools;
    }

    /// What goes in the clear by policy, as the peer's selector and ours.
    pub(crate) fn set_passed(&mut self, passed: Vec<(Selector, Selector)>) {
        self.fixed_changed |= self.passed != passed;
        self.passed = passed;
    }

    /// The child that a counter belongs to.
    pub(crate) fn children(&self) -> BTreeMap<String, (Arc<str>, Arc<str>)> {
        let named =
            |group: &Group| (group.name.clone(), (Arc::clone(&group.key.conn), Arc::clone(&group.key.child)));
        self.groups.values().map(named).collect()
    }

    fn group(&mut self, key: Key) -> u32 {
        if let Some(id) = self.keys.get(&key) {
            return *id;
        }
        self.last_id += 1;
        let name = identifier(&key.conn, &key.child);
        self.keys.insert(key.clone(), self.last_id);
        self.groups.insert(self.last_id, Group { key, name, uses: 0, written: false });
        self.last_id
    }

    /// Takes for granted that the kernel has nothing of it.
    pub(super) fn forget(&mut self) {
        for family in &mut self.families {
            family.written.clear();
        }
        self.several.clear();
        self.counters.clear();
        self.groups.values_mut().for_each(|group| group.written = false);
        self.families.iter_mut().for_each(|family| family.claims.touch());
        self.fixed_changed = false;
    }
}

/// Which family (0 = IPv4, 1 = IPv6) a range is of, and its ends as numbers.
fn numbers(first: IpAddr, last: IpAddr) -> (usize, u128, u128) {
    let number = |address| match address {
        IpAddr::V4(it) => u128::from(it.to_bits()),
        IpAddr::V6(it) => it.to_bits(),
    };
    (usize::from(first.is_ipv6()), number(first), number(last))
}
