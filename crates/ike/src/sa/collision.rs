//! Both ends rekey the same SA at once (RFC 7296 §2.8.1, §2.8.2, §2.25): both exchanges go through, the lowest of the four
//! nonces says which of the two new SAs is one too many, and who asked for that closes it.
//!
//! An exchange that ended with an error made no SA, so its nonces do not count: after INVALID_KE_PAYLOAD it is the
//! nonces of the retry that decide.

use crate::core::{Core, log};
use crate::event::Event;
use crate::sa::{Active, IkeSa, Phase, Task};
use crate::view::ChildState;

/// What became known, while a rekeying of ours is in flight, of a rekeying of the same SA by the peer.
pub(crate) enum Contest {
    /// Nothing.
    Alone,
    /// We have answered one; `new` is the id of the SA that it made, CHILD_SA or IKE_SA.
    Rival { new: u32, nonces: [Vec<u8>; 2] },
    /// The peer's stands already, for it has deleted the old SA. Ours, should it come to be, is redundant.
    Lost,
}

/// Whether our SA is the redundant one, and whose nonce says so.
pub(crate) fn ours_is_redundant(ours: [&[u8]; 2], theirs: [&[u8]; 2]) -> (bool, &'static str) {
    // RFC 7296 §2.8.1: octet by octet, and what ends first is lower: the order of slices.
    let [(ni1, nr1), (ni2, nr2)] = [(ours[0], ours[1]), (theirs[0], theirs[1])];
    let (low1, low2) = (ni1.min(nr1), ni2.min(nr2));
    match low1 < low2 {
        true => (true, if ni1 < nr1 { "Ni of our exchange" } else { "Nr of our exchange" }),
        false => (false, if ni2 < nr2 { "Ni of the peer's exchange" } else { "Nr of the peer's exchange" }),
    }
}

/// A nonce that may decide a collision, for whoever wants to follow the decision: `whose` is `Ni` or `Nr`.
pub(crate) fn log_nonce(core: &mut Core, sa: &IkeSa, whose: &str, nonce: &[u8]) {
    log!(core, Ike, 3, sa, "{whose} of CREATE_CHILD_SA: {}", Hex(nonce));
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether our SA is the redundant one, and whose nonce says so; `None` where there was no other.
pub(crate) type Verdict = Option<(bool, &'static str)>;

impl Contest {
    /// The SA that the peer's exchange made.
    pub(crate) fn rival(&self) -> Option<u32> {
        match self {
            Self::Rival { new, .. } => Some(*new),
            _ => None,
        }
    }

    /// The verdict once our own exchange has succeeded with these nonces; `None` if there was no other.
    pub(crate) fn verdict(&self, ni: &[u8], nr: &[u8]) -> Verdict {
        match self {
            Self::Alone => None,
            Self::Rival { nonces: [ni2, nr2], .. } => Some(ours_is_redundant([ni, nr], [ni2, nr2])),
            Self::Lost => Some((true, "unimportant, the peer has deleted the old SA")),
        }
    }
}

impl IkeSa {
    /// The contest about a child that we are rekeying.
    pub(crate) fn contest_of(&mut self, child: u32) -> Option<&mut Contest> {
        match &mut self.active {
            Active::Child(offer) if offer.rekeys == Some(child) => Some(&mut offer.contest),
            _ => None,
        }
    }

    /// The peer's successor of a child, while it is open whether it stays.
    pub(crate) fn rival_of(&self, child: u32) -> Option<u32> {
        match &self.active {
            Active::Child(offer) if offer.rekeys == Some(child) => offer.contest.rival(),
            _ => None,
        }
    }

    /// The peer's successor of a child stays: it takes the child's place as soon as it is installed.
    pub(crate) fn child_rival_stays(&mut self, core: &mut Core, rival: u32) {
        let Some(child) = self.child(rival) else { return };
        if child.state != ChildState::Installing {
            self.take_place(core, rival);
        }
    }

    /// The peer's successor of a child is the redundant one: the peer closes it.
    pub(crate) fn child_rival_goes(&mut self, core: &mut Core, rival: u32) {
        // It must not stay for ever if the peer does not.
        let limit = core.now + core.settings.retransmit_total();
        let Some(child) = self.child_mut(rival) else { return };
        child.redundant = true;
        if child.state == ChildState::Installed {
            child.state = ChildState::Rekeyed;
            child.rekey_at = None;
            child.idle_at = None;
            child.expire_at = Some(limit);
        }
    }

    /// A redundant child is installed, for packets that may come on it until it is deleted.
    pub(crate) fn redundant_is_up(&mut self, core: &mut Core, id: u32) {
        let limit = core.now + core.settings.retransmit_total();
        let Some(child) = self.child_mut(id) else { return };
        child.installed_at = Some(core.now);
        if child.asked {
            // RFC 7296 §2.8.1: the endpoint that created it closes it.
            child.state = ChildState::Deleting;
            self.queue.push_back(Task::DeleteChild { id });
        } else {
            child.state = ChildState::Rekeyed;
            child.expire_at = Some(limit);
        }
    }

    /// A child takes the place of the one it replaces. From here on it is the one that is up.
    pub(crate) fn take_place(&mut self, core: &mut Core, id: u32) {
        let Some(child) = self.child_mut(id) else { return };
        child.told = true;
        let (asked, replaces) = (child.asked, child.replaces);
        let Some(old) = replaces else {
            return core.event(Event::ChildUp { ike: self.id, id });
        };
        let Some(child) = self.child_mut(old) else {
            // A predecessor that was deleted meanwhile is not replaced any more: its end has been told, and no delete of
            // it will come to say that the peer is ready.
            self.activate(core, id);
            return core.event(Event::ChildUp { ike: self.id, id });
        };
        // Told to go while its rekeying was under way: that holds for the successor.
        let condemned = child.state == ChildState::Deleting;
        let delete_tags = std::mem::take(&mut child.delete_tags);
        child.state = ChildState::Rekeyed;
        child.replaced_by = Some(id);
        child.told = false;
        child.rekey_at = None;
        child.idle_at = None;
        if asked {
            child.expire_at = None;
        }
        core.event(Event::ChildRekeyed { ike: self.id, old, new: id });
        if condemned {
            self.queue.retain(|task| !matches!(task, Task::DeleteChild { id } if *id == old));
            self.queue.push_back(Task::DeleteChild { id });
            if let Some(child) = self.child_mut(id) {
                child.state = ChildState::Deleting;
                child.delete_tags.extend(delete_tags);
            }
        } else if let Some(child) = self.child_mut(id) {
            child.delete_tags.extend(delete_tags);
        }
        if asked {
            // RFC 7296 §2.8: who rekeyed deletes the old one.
            self.queue.push_front(Task::DeleteChild { id: old });
        }
    }

    /// The IKE_SA that the peer's rekeying made takes over from this one. False if there is none (any more).
    pub(crate) fn ike_rival_stays(&mut self, core: &mut Core, contest: &Contest) -> bool {
        let Some(mut new) = contest.rival().and_then(|id| core.take(id)) else { return false };
        new.linger_until = None;
        new.heir_of = None;
        self.hand_over(core, new);
        self.linger_until = Some(core.now + core.settings.retransmit_total());
        true
    }

    /// Whether the IKE_SA that the peer's rekeying made is still there. If it is not, the peer found its own redundant.
    pub(crate) fn contest_goes_on(&self, core: &Core, contest: &Contest) -> bool {
        match contest {
            Contest::Alone => false,
            Contest::Rival { new, .. } => core.sas.contains_key(new),
            Contest::Lost => true,
        }
    }

    /// The peer uses the IKE_SA that its rekeying made: it has not noticed ours, or knows that ours is redundant.
    pub(crate) fn ike_rival_is_used(&mut self, core: &mut Core) {
        let Active::RekeyIke(offer) = &mut self.active else { return };
        let contest = std::mem::replace(&mut offer.contest, Contest::Lost);
        self.ike_rival_stays(core, &contest);
    }

    /// Keeps an IKE_SA that is not to inherit, or not yet, until its creator deletes it.
    pub(crate) fn shelve(&self, core: &mut Core, mut new: Box<Self>, delete: bool) {
        new.phase = Phase::Rekeyed;
        new.local_id = self.local_id.clone();
        new.remote_id = self.remote_id.clone();
        new.nat = self.nat;
        new.peer_fragments = self.peer_fragments;
        let id = new.id;
        if delete {
            log!(core, Ike, 1, self, "deleting redundant IKE_SA {}", new.label());
            new.queue.push_back(Task::DeleteIke);
        } else {
            new.heir_of = Some(self.id);
            new.linger_until = Some(core.now + core.settings.retransmit_total());
        }
        core.adopt(new);
        core.with(id, |sa, core| sa.pump(core));
    }
}

#[cfg(test)]
mod tests {
    use super::ours_is_redundant;

    #[test]
    fn the_lowest_of_four_decides() {
        let nonces: [&[u8]; 4] = [&[1, 9], &[2], &[2, 0], &[3]];
        for (lowest, redundant) in [(0, true), (1, true), (2, false), (3, false)] {
            let mut list = [nonces[1], nonces[2], nonces[3], nonces[3]];
            list.rotate_right(lowest);
            list[lowest] = nonces[0];
            assert_eq!(ours_is_redundant([list[0], list[1]], [list[2], list[3]]).0, redundant, "{lowest}");
        }
        // What ends first is lower.
        assert!(ours_is_redundant([nonces[1], nonces[3]], [nonces[2], nonces[3]]).0);
        assert!(!ours_is_redundant([nonces[2], nonces[3]], [nonces[1], nonces[3]]).0);
    }
}
