//! From what is to be and what the kernel has to what is to be done.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::names::several_name;
use super::rules;
use super::table::Table;

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Children to be counted, in both directions.
    pub(super) counters: Vec<String>,
    /// Chains to be made, with their rules.
    pub(super) chains: Vec<(String, Vec<String>)>,
    /// Elements to be taken out, of each family.
    pub(super) removed: [Vec<Element>; 2],
    /// Elements to be put in.
    pub(super) added: [Vec<Element>; 2],
    /// Chains nothing leads to any more.
    pub(super) gone: Vec<String>,
    /// Children that need not be counted any more.
    pub(super) spare: Vec<String>,
}

/// One range of a map.
#[derive(Debug)]
pub(super) struct Element {
    first: u128,
    last: u128,
    /// The chain without the way; `None` where it does not matter.
    chain: Option<String>,
}

impl Element {
    /// As an element of a map of that family, for that way.
    pub(super) fn text(&self, family: usize, way: &str) -> String {
        let range = if family == 0 {
            let address = |n: u128| Ipv4Addr::from_bits(u32::try_from(n).unwrap_or(u32::MAX));
            format!("{}-{}", address(self.first), address(self.last))
        } else {
            format!("{}-{}", Ipv6Addr::from_bits(self.first), Ipv6Addr::from_bits(self.last))
        };
        match &self.chain {
            Some(chain) => format!("{range} : goto {way}-{chain}"),
            None => range,
        }
    }
}

impl Table {
    /// What is to be done, taken for done from now on.
    pub(super) fn next(&mut self) -> Changes {
        let mut changes = Changes::default();
        self.new_groups(&mut changes);
        for family in 0..self.families.len() {
            self.change_elements(family, &mut changes);
        }
        self.change_several(&mut changes);
        self.old_groups(&mut changes);
        changes
    }

    fn new_groups(&mut self, changes: &mut Changes) {
        for (id, group) in self.groups.iter_mut().filter(|(_, group)| group.uses > 0 && !group.written) {
            group.written = true;
            if self.counters.insert(group.name.clone()) {
                changes.counters.push(group.name.clone());
            }
            let inbound = rules::inbound(&self.style, &group.name, group.key.remote, &group.key.locals);
            let outbound = rules::outbound(&group.name, group.key.remote, &group.key.locals);
            changes.chains.push((format!("in-{}.{id}", group.name), inbound));
            changes.chains.push((format!("out-{}.{id}", group.name), outbound));
        }
    }

    fn change_elements(&mut self, family: usize, changes: &mut Changes) {
        let Some(of) = self.families.get_mut(family) else { return };
        for (first, now) in of.claims.changes() {
            let now = now.map(|segment| (segment.last, segment.owners()));
            let before = of.written.get(&first);
            if before == now.as_ref() {
                continue;
            }
            if let Some((last, owners)) = of.written.remove(&first) {
                if let Some(several) = self.several.get_mut(&owners) {
                    several.uses -= 1;
                }
                changes.removed[family].push(Element { first, last, chain: None });
            }
            if let Some((last, owners)) = now {
                let chain = match owners.as_slice() {
                    [one] => self.groups.get(one).map(|group| format!("{}.{one}", group.name)),
                    several => {
                        let name = several_name(several);
                        self.several.entry(owners.clone()).or_default().uses += 1;
                        Some(name)
                    }
                };
                changes.added[family].push(Element { first, last, chain });
                of.written.insert(first, (last, owners));
            }
        }
    }

    fn change_several(&mut self, changes: &mut Changes) {
        for (owners, several) in &mut self.several {
            if several.uses > 0 && !several.written {
                several.written = true;
                for way in ["in", "out"] {
                    let jump = |id: &u32| Some(format!("jump {way}-{}.{id}", self.groups.get(id)?.name));
                    let jumps = owners.iter().filter_map(jump).collect();
                    changes.chains.push((format!("{way}-{}", several_name(owners)), jumps));
                }
            }
            if several.uses == 0 && several.written {
                changes.gone.extend(["in", "out"].map(|way| format!("{way}-{}", several_name(owners))));
            }
        }
        self.several.retain(|_, several| several.uses > 0);
    }

    fn old_groups(&mut self, changes: &mut Changes) {
        let old: Vec<u32> = self.groups.iter().filter(|(_, it)| it.uses == 0).map(|(id, _)| *id).collect();
        for id in old {
            let Some(group) = self.groups.remove(&id) else { continue };
            self.keys.remove(&group.key);
            if group.written {
                changes.gone.extend(["in", "out"].map(|way| format!("{way}-{}.{id}", group.name)));
            }
        }
        let used: BTreeSet<&String> = self.groups.values().map(|group| &group.name).collect();
        changes.spare = self.counters.iter().filter(|name| !used.contains(name)).cloned().collect();
        for name in &changes.spare {
            self.counters.remove(name);
        }
    }
}
