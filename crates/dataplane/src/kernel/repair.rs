//! What others have done to our entries, and what is done about it.
//!
//! Policies are put back at once, from the book. SAs are not: with the same keys, sequence numbers would be used again
//! (RFC 4303 §2.2, RFC 4106 §3.1), so IKE is told to rekey, which has the new SA there before the selectors of the old one
//! were without for longer than that exchange takes. Whoever takes ours away again and again is answered ten times a second,
//! then once a second.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use adit_linux::xfrm::{Cause, Policy, Request};

use super::spd::{Change, Key};
use super::state::State;
use crate::DataplaneEvent;

/// Repairs without a pause between them.
const AT_ONCE: u32 = 10;
/// In which they are counted, and the pause after so many.
const WHILE: Duration = Duration::from_secs(1);
/// Single entries that are looked at; with more, all are.
const MOST_SINGLE: usize = 256;

/// What is known to have been touched.
#[derive(Debug, Default)]
pub(super) struct Damage {
    policies: HashSet<Key>,
    all_policies: bool,
    children: HashSet<u32>,
    all_sas: bool,
    /// The netlink ports of those who did it.
    by: HashSet<u32>,
}

impl Damage {
    pub(super) fn policy(&mut self, by: u32, key: Key) {
        if self.policies.len() >= MOST_SINGLE {
            return self.all_policies(by);
        }
        self.by.insert(by);
        self.policies.insert(key);
    }

    pub(super) fn all_policies(&mut self, by: u32) {
        self.by.insert(by);
        self.all_policies = true;
    }

    pub(super) fn child(&mut self, by: u32, id: u32) {
        if self.children.len() >= MOST_SINGLE {
            return self.all_sas(by);
        }
        self.by.insert(by);
        self.children.insert(id);
    }

    pub(super) fn all_sas(&mut self, by: u32) {
        self.by.insert(by);
        self.all_sas = true;
    }

    /// Nobody knows what: the kernel had more to tell than we could take in.
    pub(super) fn everything(&mut self) {
        (self.all_policies, self.all_sas) = (true, true);
    }

    fn is_none(&self) -> bool {
        !self.all_policies && !self.all_sas && self.policies.is_empty() && self.children.is_empty()
    }

    fn culprits(&self) -> String {
        let mut ports: Vec<u32> = self.by.iter().copied().filter(|port| *port != 0).collect();
        ports.sort_unstable();
        let ports: Vec<String> = ports.iter().take(4).map(ToString::to_string).collect();
        if ports.is_empty() { String::new() } else { format!(" (netlink port {})", ports.join(", ")) }
    }
}

/// Damage that waits to be repaired, and how often that was done.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    damage: Damage,
    since: Option<Instant>,
    done: u32,
}

impl Repairs {
    pub(super) fn damage(&mut self) -> &mut Damage {
        &mut self.damage
    }

    /// When to look again, if not at once.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.damage.is_none() {
            return None;
        }
        self.since.map(|since| since + WHILE)
    }

    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.since.is_some_and(|since| now >= since + WHILE) {
            (self.since, self.done) = (None, 0);
        }
        !self.damage.is_none() && self.done < AT_ONCE
    }

    /// Repairs, and says what was done.
    pub(super) fn carry_out(&mut self, state: &mut State, now: Instant, told: &mut Vec<DataplaneEvent>) {
        self.since.get_or_insert(now);
        self.done += 1;
        let damage = std::mem::take(&mut self.damage);
        let (back, failed) = policies(state, &damage);
        let by = damage.culprits();
        if back > 0 {
            let sentence = format!(
                "somebody{by} has removed or changed IPsec policies of ours in the kernel: {back} of {} put back",
                state.spd.len()
            );
            told.push(DataplaneEvent::Disturbed { sentence });
        }
        if let Some(error) = failed {
            let sentence = format!(
                "IPsec policies that somebody{by} has removed cannot be put back: {error}; traffic may pass in the clear"
            );
            told.push(DataplaneEvent::Disturbed { sentence });
        }
        let lost = lost(state, &damage);
        if !lost.is_empty() {
            let sentence = format!(
                "somebody{by} has removed SAs of ours in the kernel: rekeying {} CHILD_SAs, since theirs cannot be put back",
                lost.len()
            );
            told.push(DataplaneEvent::Disturbed { sentence });
        }
        told.extend(lost.into_iter().map(|id| DataplaneEvent::Expired { id, hard: false }));
    }
}

/// Puts policies back; how many, and the first failure.
fn policies(state: &mut State, damage: &Damage) -> (usize, Option<String>) {
    let missing = if damage.all_policies { audit(state) } else { look_at(state, &damage.policies) };
    let changes: Vec<_> = missing.into_iter().map(|policy| Some(Change::Replace(policy))).collect();
    let results = state.run(&changes);
    let failed = results.iter().flatten().filter_map(|result| result.as_ref().err());
    let first = failed.clone().next().map(ToString::to_string);
    (changes.len() - failed.count(), first)
}

/// Our policies that the kernel does not have as we want them.
fn audit(state: &mut State) -> Vec<Policy> {
    let mut there = HashSet::new();
    let State { xfrm, spd, .. } = state;
    let listed = xfrm.each_policy(|it| {
        let key = Key::of(&it.policy);
        if spd.wanted(&key).is_some_and(|wanted| same(wanted, &it.policy)) {
            there.insert(key);
        }
    });
    if listed.is_err() {
        // Putting back what is there does no harm.
        there.clear();
    }
    spd.all().filter(|(key, _)| !there.contains(key)).map(|(_, policy)| policy.clone()).collect()
}

fn look_at(state: &mut State, keys: &HashSet<Key>) -> Vec<Policy> {
    let mut missing = Vec::new();
    for key in keys {
        let Some(wanted) = state.spd.wanted(key).cloned() else { continue };
        let there = state.xfrm.get_policy(key.id());
        if !there.is_ok_and(|there| same(&wanted, &there.policy)) {
            missing.push(wanted);
        }
    }
    missing
}

/// Whether the kernel's policy does what ours should.
fn same(wanted: &Policy, there: &Policy) -> bool {
    (wanted.priority, wanted.action, &wanted.templates) == (there.priority, there.action, &there.templates)
}

/// The CHILD_SAs that miss an SA and whose loss was not known.
fn lost(state: &mut State, damage: &Damage) -> Vec<u32> {
    let suspects: Vec<u32> = if damage.all_sas {
        state.children.keys().copied().collect()
    } else {
        damage.children.iter().copied().filter(|id| state.children.contains_key(id)).collect()
    };
    let of = |id: &u32| {
        let child = state.children.get(id).filter(|child| !child.lost)?;
        let outbound = child.waiting.is_none().then_some(child.outbound);
        Some((*id, child.inbound, outbound))
    };
    let asked: Vec<_> = suspects.iter().filter_map(of).collect();
    let (mut owners, mut requests) = (Vec::new(), Vec::new());
    for (id, inbound, outbound) in asked {
        for sa in [Some(inbound), outbound].into_iter().flatten() {
            owners.push(id);
            requests.push(Request::GetSa(sa));
        }
    }
    let mut lost: Vec<u32> = Vec::new();
    for (id, result) in owners.into_iter().zip(state.xfrm.batch(&requests)) {
        let gone = matches!(&result, Err(error) if error.cause() == Cause::Gone);
        if gone && lost.last() != Some(&id) {
            lost.push(id);
        }
    }
    for id in &lost {
        if let Some(child) = state.children.get_mut(id) {
            child.lost = true;
        }
    }
    lost
}
