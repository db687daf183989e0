//! What stands in the kernel's SPD for whom.
//!
//! The kernel has one policy per selector, direction, mark and XFRM interface, and several of ours may want it: a trap and
//! its CHILD_SA, a CHILD_SA and its successor, two clients with the same selectors. The best of them is in the kernel (the
//! lowest priority, and of several the newest), the rest stand behind it; when it goes, the next takes its place. Nothing
//! here looks at more than one selector, so that it does not matter how many there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use adit_linux::xfrm::{Direction, Mark, Policy, PolicyId, Selector};

use super::marker;

/// By which the kernel tells policies apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    selector: Selector,
    direction: Direction,
    mark: Mark,
    if_id: u32,
}

impl Key {
    pub(super) const fn of(policy: &Policy) -> Self {
        Self {
            selector: policy.selector,
            direction: policy.direction,
            mark: policy.mark,
            if_id: policy.if_id,
        }
    }

    pub(super) const fn id(self) -> PolicyId {
        let Self { selector, direction, mark, if_id } = self;
        PolicyId { selector, direction, mark, if_id, index: 0 }
    }
}

/// Whose a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// A CHILD_SA's, by its id.
    Child(u32),
    /// A trap's.
    Trap(u32),
    /// A policy's without an SA.
    Shunt(u32),
}

/// Orders those who want the same policy; the smallest has it.
type Rank = (u32, Reverse<u64>);

/// Where somebody's policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    key: Key,
    rank: Rank,
}

#[derive(Debug)]
struct Entry {
    index: u32,
    users: BTreeMap<Rank, (Owner, Policy)>,
}

/// What is to be done in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// There is none of ours yet.
    Add(Policy),
    /// In the place of the one that is there.
    Replace(Policy),
    /// Nobody wants it any more. By its index: the kernel finds that at once, and it is ours alone.
    Delete(PolicyId),
}

/// The book of policies.
#[derive(Debug, Default)]
pub(super) struct Spd {
    entries: HashMap<Key, Entry>,
    by_index: HashMap<u32, Key>,
    serial: u64,
    last_index: u32,
}

impl Spd {
    /// Notes that somebody wants a policy.
    pub(super) fn add(&mut self, owner: Owner, policy: Policy) -> (Place, Option<Change>) {
        self.serial += 1;
        let (key, rank) = (Key::of(&policy), (policy.priority, Reverse(self.serial)));
        let fresh = !self.entries.contains_key(&key);
        if fresh {
            let index = self.free_index(key.direction);
            self.by_index.insert(index, key);
            self.entries.insert(key, Entry { index, users: BTreeMap::new() });
        }
        let place = Place { key, rank };
        let Some(entry) = self.entries.get_mut(&key) else { return (place, None) };
        let policy = Policy { index: entry.index, ..policy };
        entry.users.insert(rank, (owner, policy.clone()));
        let first = entry.users.first_key_value().is_some_and(|(best, _)| *best == rank);
        let change = if fresh { Change::Add(policy) } else { Change::Replace(policy) };
        (place, first.then_some(change))
    }

    /// Notes that somebody does not want it any more.
    pub(super) fn remove(&mut self, place: Place) -> Option<Change> {
        let entry = self.entries.get_mut(&place.key)?;
        let first = entry.users.first_key_value().is_some_and(|(best, _)| *best == place.rank);
        entry.users.remove(&place.rank)?;
        match entry.users.first_key_value() {
            Some((_, (_, next))) => first.then(|| Change::Replace(next.clone())),
            None => {
                let index = entry.index;
                self.entries.remove(&place.key);
                self.by_index.remove(&index);
                Some(Change::Delete(PolicyId { index, ..place.key.id() }))
            }
        }
    }

    /// Changes what somebody's policy says, at the same place.
    pub(super) fn change(&mut self, place: Place, change: impl FnOnce(&mut Policy)) -> Option<Change> {
        let entry = self.entries.get_mut(&place.key)?;
        let first = entry.users.first_key_value().is_some_and(|(best, _)| *best == place.rank);
        let (_, policy) = entry.users.get_mut(&place.rank)?;
        change(policy);
        first.then(|| Change::Replace(policy.clone()))
    }

    /// By which the kernel finds the policy at a place.
    pub(super) fn id(&self, place: Place) -> Option<PolicyId> {
        let index = self.entries.get(&place.key)?.index;
        Some(PolicyId { index, ..place.key.id() })
    }

    /// What should be in the kernel under a key, if anything of ours.
    pub(super) fn wanted(&self, key: &Key) -> Option<&Policy> {
        self.entries.get(key)?.users.first_key_value().map(|(_, (_, policy))| policy)
    }

    /// All that should be in the kernel.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Policy)> {
        self.entries
            .iter()
            .filter_map(|(key, entry)| entry.users.first_key_value().map(|(_, (_, policy))| (key, policy)))
    }

    /// Whose policy the kernel means by an index; where several want it, whose it is at the moment.
    pub(super) fn owner(&self, index: u32) -> Option<Owner> {
        let key = self.by_index.get(&index)?;
        self.entries.get(key)?.users.first_key_value().map(|(_, (owner, _))| *owner)
    }

    /// How many there should be.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn free_index(&mut self, direction: Direction) -> u32 {
        loop {
            self.last_index = self.last_index.wrapping_add(1);
            let index = marker::policy_index(self.last_index, direction);
            // There are two million; that many policies the kernel would not bear.
            if !self.by_index.contains_key(&index) {
                return index;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(to: &str, priority: u32) -> Policy {
        let net = Selector::between(("10.1.0.0".parse().unwrap(), 24), (to.parse().unwrap(), 24));
        Policy::pass(net, Direction::Out, priority)
    }

    fn priority(change: Option<Change>) -> Option<u32> {
        match change? {
            Change::Add(policy) | Change::Replace(policy) => Some(policy.priority),
            Change::Delete(_) => None,
        }
    }

    #[test]
    fn the_best_is_in_the_kernel_and_the_next_comes_back() {
        let mut spd = Spd::default();
        let (trap, change) = spd.add(Owner::Trap(1), policy("10.2.0.0", 11));
        assert!(matches!(change, Some(Change::Add(_))));
        let (old, change) = spd.add(Owner::Child(1), policy("10.2.0.0", 10));
        assert!(matches!(&change, Some(Change::Replace(_))));
        // The newest of equals has it.
        let (new, change) = spd.add(Owner::Child(2), policy("10.2.0.0", 10));
        let Some(Change::Replace(put)) = change else { panic!("not replaced") };
        assert_eq!(spd.owner(put.index), Some(Owner::Child(2)));
        // A worse one stands behind.
        let (late, change) = spd.add(Owner::Trap(2), policy("10.2.0.0", 11));
        assert_eq!(change, None);
        assert_eq!(spd.len(), 1);

        assert_eq!(spd.remove(old), None);
        assert_eq!(spd.remove(old), None);
        assert_eq!(priority(spd.remove(new)), Some(11));
        assert_eq!(spd.owner(put.index), Some(Owner::Trap(2)));
        assert_eq!(priority(spd.remove(late)), Some(11));
        assert!(matches!(spd.remove(trap), Some(Change::Delete(_))));
        assert_eq!((spd.len(), spd.owner(put.index)), (0, None));
    }

    #[test]
    fn directions_marks_and_interfaces_are_kept_apart() {
        let mut spd = Spd::default();
        let plain = policy("10.2.0.0", 10);
        let marked = Policy { mark: Mark { value: 1, mask: u32::MAX }, ..plain.clone() };
        let inside = Policy { if_id: 7, ..plain.clone() };
        let back = Policy { direction: Direction::In, ..plain.clone() };
        let mut indexes = std::collections::HashSet::new();
        for it in [plain, marked, inside, back] {
            let (_, change) = spd.add(Owner::Child(1), it);
            let Some(Change::Add(put)) = change else { panic!("not added") };
            assert!(marker::is_our_policy(put.index) && indexes.insert(put.index));
            assert_eq!(put.index & 7, if put.direction == Direction::In { 0 } else { 1 });
        }
        assert_eq!(spd.len(), 4);
    }
}
