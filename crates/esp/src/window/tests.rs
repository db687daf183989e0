use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The window as RFC 4303 words it, without a trick.
struct Naive {
    size: u64,
    top: u64,
    seen: BTreeSet<u64>,
}

impl Naive {
    fn accept(&mut self, number: u64) -> bool {
        let too_old = number + self.size <= self.top;
        if number == 0 || too_old || !self.seen.insert(number) {
            return false;
        }
        self.top = self.top.max(number);
        true
    }
}

fn take(window: &mut ReplayWindow, low: u32) -> bool {
    window.check(low).is_some_and(|number| window.accept(number))
}

proptest! {
    #[test]
    fn agrees_with_the_naive_model(
        size in prop_oneof![1u32..200, Just(32), Just(64), Just(128), Just(1024)],
        start in prop_oneof![Just(0u64), 1u64..500],
        steps in proptest::collection::vec((-300i64..300, any::<bool>()), 1..400),
    ) {
        let mut window = ReplayWindow::new(size, false);
        let mut naive = Naive { size: u64::from(size), top: 0, seen: BTreeSet::new() };
        let mut at = start;
        for (step, small) in steps {
            let step = if small { step / 40 } else { step };
            at = at.saturating_add_signed(step);
            let expected = naive.accept(at);
            prop_assert_eq!(take(&mut window, at as u32), expected, "number {}", at);
            prop_assert_eq!(window.top(), naive.top);
        }
    }

    /// Far jumps leave nothing behind in the ring.
    #[test]
    fn jumps_clear_the_ring(size in 1u32..300, jumps in proptest::collection::vec(1u64..100_000, 1..50)) {
        let mut window = ReplayWindow::new(size, false);
        let mut naive = Naive { size: u64::from(size), top: 0, seen: BTreeSet::new() };
        for jump in jumps {
            let top = window.top() + jump;
            for number in (top.saturating_sub(400)..=top).rev() {
                prop_assert_eq!(take(&mut window, number as u32), naive.accept(number), "{}", number);
            }
        }
    }

    /// Extended numbers: whatever lies within half the number space of the top is told apart by its low half alone.
    #[test]
    fn high_halves_are_inferred(
        top in 1u64..(5 << 32),
        size in prop_oneof![Just(0u32), 32u32..4096],
        ahead in 0u64..0x7000_0000,
        behind in 0u64..4096,
    ) {
        let window = ReplayWindow::new(size, true).resume_after(top);
        prop_assert_eq!(window.infer((top + ahead) as u32), Some(top + ahead));
        let behind = behind % u64::from(size.max(32));
        if let Some(number) = top.checked_sub(behind) {
            prop_assert_eq!(window.infer(number as u32), Some(number));
        }
    }
}

#[test]
fn edges_of_the_window() {
    let mut window = ReplayWindow::new(32, false);
    assert!(!take(&mut window, 0), "numbers start with 1");
    assert!(take(&mut window, 100));
    assert!(!take(&mut window, 100));
    assert!(take(&mut window, 69), "the oldest of 32");
    assert!(!take(&mut window, 69));
    assert!(!take(&mut window, 68), "one too old");
    assert!(take(&mut window, u32::MAX));
    assert!(!take(&mut window, u32::MAX));
    assert!(!take(&mut window, 1), "no wrap without extended numbers");
}

#[test]
fn extended_numbers_wrap_into_the_next_subspace() {
    let start = u64::from(u32::MAX) - 10;
    let mut window = ReplayWindow::new(64, true).resume_after(start);
    assert!(!window.accept(start));
    for number in start + 1..start + 100 {
        assert_eq!(window.check(number as u32), Some(number));
        assert!(window.accept(number));
        assert_eq!(window.check(number as u32), None);
    }
    assert_eq!(window.top() >> 32, 1);
    // Late ones from the subspace before (case B).
    let mut window = ReplayWindow::new(64, true).resume_after(start);
    assert!(window.accept((1 << 32) + 5));
    assert_eq!(window.check(u32::MAX), Some(u64::from(u32::MAX)));
    assert!(window.accept(u64::from(u32::MAX)));
    assert_eq!(window.check(u32::MAX), None);
}

#[test]
fn nothing_before_the_first_subspace_and_nothing_after_the_last() {
    let fresh = ReplayWindow::new(64, true);
    assert_eq!(fresh.check(u32::MAX), None, "would be number −1");
    assert_eq!(fresh.check(0), None);
    assert_eq!(fresh.check(1), Some(1));
    let last = ReplayWindow::new(64, true).resume_after(u64::MAX);
    assert_eq!(last.check(5), None);
    assert_eq!(last.check(u32::MAX), None);
    let mut last = ReplayWindow::new(64, true).resume_after(u64::MAX - 1);
    assert!(take(&mut last, u32::MAX));
    assert!(!take(&mut last, u32::MAX));
}

#[test]
fn size_zero_looks_for_no_replays() {
    let mut window = ReplayWindow::new(0, false);
    for number in [5, 5, 1, 9, 9] {
        assert!(take(&mut window, number));
    }
    assert!(!take(&mut window, 0));
    assert_eq!(window.top(), 9);
}

#[test]
fn size_is_capped() {
    let window = ReplayWindow::new(u32::MAX, false);
    assert!(window.words.len() * 8 <= 8 * 1024 + 8);
}

#[test]
fn resuming_refuses_the_past_only() {
    for top in [1u64, 63, 64, 65, 1000] {
        let mut window = ReplayWindow::new(128, false).resume_after(top);
        for number in 1..=top {
            assert!(!take(&mut window, number as u32), "{number} after {top}");
        }
        for number in top + 1..top + 200 {
            assert!(take(&mut window, number as u32), "{number} after {top}");
        }
    }
}
