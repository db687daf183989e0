//! Marks and XFRM interface ids that are chosen for each SA instead of configured (`%unique`, `%unique-dir`).

use crate::EntryOptions;

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Choice {
    /// It is configured.
    #[default]
    Given,
    /// The SA's own; one for both directions, if both say so (`%unique`).
    Unique,
    /// The SA's own in this direction (`%unique-dir`).
    UniqueDir,
    /// A CHILD_SA's that has the one of its IKE_SA.
    OfIkeSa,
}

/// One number for each direction; 0 = none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pair {
    /// Of what comes in.
    pub inbound: u32,
    /// Of what goes out.
    pub outbound: u32,
}

impl Pair {
    /// The same number in both directions.
    pub const fn both(number: u32) -> Self {
        Self { inbound: number, outbound: number }
    }

    /// Draws what is to be unique from `next`, and takes what is the IKE_SA's from `ike`; 0 where it is given.
    pub fn draw(inbound: Choice, outbound: Choice, ike: Self, mut next: impl FnMut() -> u32) -> Self {
        let shared = if [inbound, outbound].contains(&Choice::Unique) { next() } else { 0 };
        let mut one = |choice: Choice, of_ike: u32| match choice {
            Choice::Given => 0,
            Choice::Unique => shared,
            Choice::UniqueDir => next(),
            Choice::OfIkeSa => of_ike,
        };
        Self { inbound: one(inbound, ike.inbound), outbound: one(outbound, ike.outbound) }
    }
}

/// The interface ids of a connection: those of its children that say nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct IfIds {
    /// As configured; 0 where there is none, or where it is chosen.
    pub given: Pair,
    /// Where `if_id_in` comes from.
    pub choice_in: Choice,
    /// Where `if_id_out` comes from.
    pub choice_out: Choice,
}

impl IfIds {
    /// Whether each IKE_SA has numbers of its own.
    pub fn is_unique(self) -> bool {
        (self.choice_in, self.choice_out) != (Choice::Given, Choice::Given)
    }

    /// The ids of an IKE_SA that has drawn these.
    pub fn of(self, drawn: Pair) -> Pair {
        let one = |choice, given, drawn| if choice == Choice::Given { given } else { drawn };
        Pair {
            inbound: one(self.choice_in, self.given.inbound, drawn.inbound),
            outbound: one(self.choice_out, self.given.outbound, drawn.outbound),
        }
    }
}

/// Which numbers of a child are chosen for each of its CHILD_SAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Numbering {
    /// `mark_in`.
    pub mark_in: Choice,
    /// `mark_out`.
    pub mark_out: Choice,
    /// `if_id_in`.
    pub if_id_in: Choice,
    /// `if_id_out`.
    pub if_id_out: Choice,
}

impl Numbering {
    /// Whether all are as configured, so that all CHILD_SAs are made alike.
    pub fn is_given(self) -> bool {
        self == Self::default()
    }
}

impl EntryOptions {
    /// Its marks' values and its interface ids.
    pub fn numbers(&self) -> (Pair, Pair) {
        (
            Pair { inbound: self.mark_in.value, outbound: self.mark_out.value },
            Pair { inbound: self.if_id_in, outbound: self.if_id_out },
        )
    }

    /// These options with numbers where `numbering` says that they are chosen.
    #[must_use]
    pub fn numbered(&self, numbering: Numbering, marks: Pair, if_ids: Pair) -> Self {
        let mut out = self.clone();
        for (choice, place, number) in [
            (numbering.mark_in, &mut out.mark_in.value, marks.inbound),
            (numbering.mark_out, &mut out.mark_out.value, marks.outbound),
            (numbering.if_id_in, &mut out.if_id_in, if_ids.inbound),
            (numbering.if_id_out, &mut out.if_id_out, if_ids.outbound),
        ] {
            if choice != Choice::Given {
                *place = number;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mark;

    #[test]
    fn one_number_for_both_directions_unless_each_wants_its_own() {
        use Choice::{Given, OfIkeSa, Unique, UniqueDir};
        let ike = Pair { inbound: 70, outbound: 71 };
        for (inbound, outbound, expected, drawn) in [
            (Given, Given, (0, 0), 0),
            (Unique, Unique, (1, 1), 1),
            (Unique, Given, (1, 0), 1),
            (UniqueDir, UniqueDir, (1, 2), 2),
            (UniqueDir, Unique, (2, 1), 2),
            (OfIkeSa, OfIkeSa, (70, 71), 0),
            (OfIkeSa, Unique, (70, 1), 1),
        ] {
            let mut last = 0;
            let pair = Pair::draw(inbound, outbound, ike, || {
                last += 1;
                last
            });
            assert_eq!(((pair.inbound, pair.outbound), last), (expected, drawn), "{inbound:?} {outbound:?}");
        }
    }

    #[test]
    fn what_is_configured_stays() {
        let mark = |value| Mark { value, mask: 0xff };
        let given =
            EntryOptions { mark_in: mark(9), mark_out: mark(0), if_id_in: 5, ..EntryOptions::default() };
        let numbering =
            Numbering { mark_out: Choice::Unique, if_id_out: Choice::OfIkeSa, ..Numbering::default() };
        let made = given.numbered(numbering, Pair::both(3), Pair::both(8));
        assert_eq!((made.mark_in, made.mark_out, made.if_id_in, made.if_id_out), (mark(9), mark(3), 5, 8));
        assert_eq!(made.numbers(), (Pair { inbound: 9, outbound: 3 }, Pair { inbound: 5, outbound: 8 }));
    }
}
