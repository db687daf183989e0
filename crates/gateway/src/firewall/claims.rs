//! Ranges of addresses that may overlap, cut into ones that do not: what an interval map of nftables can hold.

use std::collections::{BTreeMap, BTreeSet};

/// Disjoint ranges of numbers, each with those who claim it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By first number.
    segments: BTreeMap<u128, Segment>,
    /// Where claims begin, or have ended, and how many.
    edges: BTreeMap<u128, u32>,
    /// First numbers of segments that came, went or changed since they were last asked for.
    dirty: BTreeSet<u128>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its last number.
    pub(super) last: u128,
    /// Who claims it, and how often.
    owners: BTreeMap<u32, u32>,
}

impl Segment {
    /// Who claims it.
    pub(super) fn owners(&self) -> Vec<u32> {
        self.owners.keys().copied().collect()
    }
}

impl Claims {
    /// `owner` claims a range; as often as it does, it has to give it up.
    pub(super) fn add(&mut self, first: u128, last: u128, owner: u32) {
        self.cut(first, last);
        for edge in [Some(first), last.checked_add(1)].into_iter().flatten() {
            *self.edges.entry(edge).or_default() += 1;
        }
        let mut at = first;
        let inside: Vec<u128> = self.segments.range(first..=last).map(|(start, _)| *start).collect();
        let mut gaps = Vec::new();
        for start in inside {
            if start > at {
                gaps.push((at, start - 1));
            }
            if let Some(segment) = self.segments.get_mut(&start) {
                let times = segment.owners.entry(owner).or_default();
                *times += 1;
                if *times == 1 {
                    self.dirty.insert(start);
                }
                // Behind the last number there is none: the loop ends then, too.
                at = segment.last.saturating_add(1);
                if segment.last >= last {
                    at = last;
                    break;
                }
            }
        }
        if self.segments.range(..=last).next_back().is_none_or(|(_, it)| it.last < last) {
            gaps.push((at, last));
        }
        for (first, last) in gaps {
            self.segments.insert(first, Segment { last, owners: BTreeMap::from([(owner, 1)]) });
            self.dirty.insert(first);
        }
    }

    /// `owner` gives up a range that it claimed.
    pub(super) fn remove(&mut self, first: u128, last: u128, owner: u32) {
        self.cut(first, last);
        let inside: Vec<u128> = self.segments.range(first..=last).map(|(start, _)| *start).collect();
        for start in inside {
            let Some(segment) = self.segments.get_mut(&start) else { continue };
            let Some(times) = segment.owners.get_mut(&owner) else { continue };
            *times -= 1;
            if *times == 0 {
                segment.owners.remove(&owner);
                self.dirty.insert(start);
            }
            if segment.owners.is_empty() {
                self.segments.remove(&start);
            }
        }
        // What was only cut for the sake of this range grows together again.
        for edge in [Some(first), last.checked_add(1)].into_iter().flatten() {
            if let Some(claims) = self.edges.get_mut(&edge) {
                *claims -= 1;
                if *claims == 0 {
                    self.edges.remove(&edge);
                    self.join(edge);
                }
            }
        }
    }

    /// Takes note of everything that has changed: first numbers, with what begins there now.
    pub(super) fn changes(&mut self) -> Vec<(u128, Option<Segment>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|start| (start, self.segments.get(&start).cloned())).collect()
    }

    /// Has everything count as changed.
    pub(super) fn touch(&mut self) {
        self.dirty.extend(self.segments.keys());
    }

    /// All there is, with its first number.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, &Segment)> {
        self.segments.iter().map(|(start, segment)| (*start, segment))
    }

    /// Has segments begin at `first` and end at `last`.
    fn cut(&mut self, first: u128, last: u128) {
        self.cut_before(first);
        if let Some(next) = last.checked_add(1) {
            self.cut_before(next);
        }
    }

    fn cut_before(&mut self, at: u128) {
        let Some((start, segment)) = self.segments.range_mut(..at).next_back() else { return };
        if segment.last < at {
            return;
        }
        let behind = segment.clone();
        segment.last = at - 1;
        self.dirty.extend([*start, at]);
        self.segments.insert(at, behind);
    }

    /// Joins the segment at `start` to the one right before it: no claim begins or ends in between, so that the same claim
    /// both.
    fn join(&mut self, start: u128) {
        let Some((before, left)) = self.segments.range(..start).next_back() else { return };
        if left.last.checked_add(1) != Some(start) {
            return;
        }
        let before = *before;
        let Some(right) = self.segments.remove(&start) else { return };
        if let Some(left) = self.segments.get_mut(&before) {
            left.last = right.last;
        }
        self.dirty.extend([before, start]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(claims: &Claims) -> String {
        let one =
            |(start, segment): (u128, &Segment)| format!("{start}-{}{:?}", segment.last, segment.owners());
        claims.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_overlaps_is_cut_and_grows_together_again() {
        let mut claims = Claims::default();
        claims.add(10, 19, 1);
        claims.add(0, 99, 2);
        claims.add(15, 15, 3);
        assert_eq!(shown(&claims), "0-9[2] 10-14[1, 2] 15-15[1, 2, 3] 16-19[1, 2] 20-99[2]");
        claims.changes();
        claims.remove(10, 19, 1);
        assert_eq!(shown(&claims), "0-14[2] 15-15[2, 3] 16-99[2]");
        let starts: Vec<u128> = claims.changes().iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [0, 10, 15, 16, 20]);
        claims.remove(15, 15, 3);
        assert_eq!(shown(&claims), "0-99[2]");
        claims.remove(0, 99, 2);
        assert_eq!(shown(&claims), "");
    }

    #[test]
    fn what_is_claimed_twice_is_given_up_twice_and_nobody_hears_of_it() {
        let mut claims = Claims::default();
        claims.add(5, u128::MAX, 1);
        claims.changes();
        claims.add(5, u128::MAX, 1);
        claims.remove(5, u128::MAX, 1);
        assert!(claims.changes().is_empty());
        claims.remove(5, u128::MAX, 1);
        assert_eq!(claims.changes(), [(5, None)]);
        claims.add(1, 1, 1);
        claims.add(2, 2, 1);
        claims.changes();
        claims.add(1, 1, 1);
        claims.remove(1, 1, 1);
        assert!(claims.changes().is_empty(), "neighbours stay two");
    }

    /// Against counting every number by itself.
    #[test]
    fn as_if_every_number_were_counted() {
        let mut claims = Claims::default();
        let mut counted = vec![BTreeMap::<u32, u32>::new(); 64];
        let mut held: Vec<(usize, usize, u32)> = Vec::new();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below).unwrap()
        };
        for _ in 0..5000 {
            if held.len() > 12 || (!held.is_empty() && random(2) == 0) {
                let (first, last, owner) = held.swap_remove(random(held.len() as u64));
                claims.remove(first as u128, last as u128, owner);
                for number in &mut counted[first..=last] {
                    let times = number.get_mut(&owner).unwrap();
                    *times -= 1;
                    if *times == 0 {
                        number.remove(&owner);
                    }
                }
            } else {
                let (a, b) = (random(64), random(64));
                let (first, last, owner) = (a.min(b), a.max(b), u32::try_from(random(4)).unwrap());
                held.push((first, last, owner));
                claims.add(first as u128, last as u128, owner);
                for number in &mut counted[first..=last] {
                    *number.entry(owner).or_default() += 1;
                }
            }
            let mut seen = vec![BTreeMap::new(); 64];
            let mut behind = 0;
            for (start, segment) in claims.iter() {
                assert!(start >= behind && segment.last >= start && !segment.owners.is_empty());
                behind = segment.last + 1;
                for number in start..=segment.last {
                    seen[usize::try_from(number).unwrap()] = segment.owners.clone();
                }
            }
            assert_eq!(seen, counted);
        }
    }
}
