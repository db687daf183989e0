//! IKE_SAs that wait for something of their peer, by source.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use crate::time::Instant;

/// An IKE_SA's place in a crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub source: Source,
    pub since: Instant,
    /// Its peer has sent a genuine IKE_AUTH.
    pub pending: bool,
}

/// A set of waiting IKE_SAs that knows which source has most of them.
#[derive(Default)]
pub(crate) struct Crowd {
    by_source: BTreeMap<Source, BTreeSet<(Instant, u32)>>,
    /// How many, its oldest, source: the last is the one that makes room.
    by_size: BTreeSet<(usize, Reverse<Instant>, Source)>,
    len: usize,
}

impl Crowd {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn sources(&self) -> usize {
        self.by_source.len()
    }

    /// How many are of that source.
    pub(crate) fn of(&self, source: Source) -> usize {
        // Nearly always under a flood: nobody waits.
        self.by_source.get(&source).map_or(0, BTreeSet::len)
    }

    pub(crate) fn oldest(&self, source: Source) -> Option<(Instant, u32)> {
        self.by_source.get(&source)?.first().copied()
    }

    pub(crate) fn join(&mut self, source: Source, since: Instant, id: u32) {
        self.change(source, |set| set.insert((since, id)));
    }

    pub(crate) fn leave(&mut self, source: Source, since: Instant, id: u32) {
        self.change(source, |set| set.remove(&(since, id)));
    }

    /// Who has to go: the oldest of the source that has most, and of those the one that has waited longest.
    pub(crate) fn surplus(&self, limit: u32) -> Option<u32> {
        if limit == 0 || self.len <= limit as usize {
            return None;
        }
        let (_, _, source) = self.by_size.last()?;
        self.oldest(*source).map(|(_, id)| id)
    }

    fn change(&mut self, source: Source, work: impl FnOnce(&mut BTreeSet<(Instant, u32)>) -> bool) {
        let size = |set: &BTreeSet<(Instant, u32)>| {
            set.first().map(|(since, _)| (set.len(), Reverse(*since), source))
        };
        let set = self.by_source.entry(source).or_default();
        let (before, was) = (size(set), set.len());
        work(set);
        let (after, is) = (size(set), set.len());
        self.len = self.len + is - was;
        if let Some(before) = before {
            self.by_size.remove(&before);
        }
        match after {
            Some(after) => drop(self.by_size.insert(after)),
            None => drop(self.by_source.remove(&source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(n: u8) -> Source {
        Source::of([192, 0, 2, n].into())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn whoever_takes_most_makes_room() {
        let mut crowd = Crowd::default();
        crowd.join(source(9), at(0), 1); // honest, and the oldest
        for id in 2..12 {
            crowd.join(source(1), at(u64::from(id)), id);
        }
        assert_eq!((crowd.len(), crowd.sources(), crowd.of(source(1))), (11, 2, 10));
        assert_eq!(crowd.surplus(11), None);
        assert_eq!(crowd.surplus(0), None);
        for id in 2..11 {
            assert_eq!(crowd.surplus(1), Some(id));
            crowd.leave(source(1), at(u64::from(id)), id);
        }
        // Equals: the one that has waited longest.
        assert_eq!(crowd.surplus(1), Some(1));
        crowd.leave(source(9), at(0), 1);
        crowd.leave(source(1), at(11), 11);
        crowd.leave(source(1), at(11), 11);
        assert_eq!((crowd.len(), crowd.sources(), crowd.by_size.len()), (0, 0, 0));
    }
}
