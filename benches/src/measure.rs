//! Medians of interleaved rounds.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time of this thread: what other processes of a shared machine take does not count. Asking costs some 0.2 µs.
pub(crate) fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// Rounds of each measurement.
pub(crate) const ROUNDS: usize = 31;

/// One thing to measure: does its work `count` times.
pub(crate) struct Subject<'a> {
    /// Operations per round.
    pub(crate) count: usize,
    /// Not timed: makes ready for one round.
    pub(crate) prepare: Box<dyn FnMut() + 'a>,
    /// Timed: `count` operations.
    pub(crate) work: Box<dyn FnMut() + 'a>,
}

impl<'a> Subject<'a> {
    /// `operation`, `count` times per round.
    pub(crate) fn repeat(count: usize, mut operation: impl FnMut() + 'a) -> Self {
        let work = move || (0..count).for_each(|_| operation());
        Self { count, prepare: Box::new(|| ()), work: Box::new(work) }
    }
}

/// Median nanoseconds per operation of each subject; the subjects take turns in every round.
pub(crate) fn medians(subjects: &mut [Subject<'_>]) -> Vec<f64> {
    let mut samples = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    // The first round warms caches and is not kept.
    for round in 0..=ROUNDS {
        for (subject, samples) in subjects.iter_mut().zip(&mut samples) {
            (subject.prepare)();
            let start = cpu();
            (subject.work)();
            let elapsed = (cpu() - start).as_nanos() as f64 / subject.count as f64;
            if round > 0 {
                samples.push(elapsed);
            }
        }
    }
    samples
        .into_iter()
        .map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        })
        .collect()
}
