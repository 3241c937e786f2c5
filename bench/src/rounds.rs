//! Interleaved rounds: what is compared runs in turns, so that all of it meets the same state of the machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::report::{Figures, Line, Unit};

/// How long and how often to measure.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The number of rounds.
    pub rounds: usize,
    /// The time of one contender in one round.
    pub slice: Duration,
    /// Leaves out what takes longer than a minute in all.
    pub quick: bool,
}

/// A piece of work that can be repeated.
pub struct Work<'w> {
    /// Repeats the work for a time. Returns the operations in a second.
    rate: Box<dyn FnMut(Duration) -> f64 + 'w>,
}

impl<'w> Work<'w> {
    /// One operation.
    pub fn once<T>(run: impl FnMut() -> T + 'w) -> Self {
        Self::of(1, run)
    }

    /// As many operations as `operations`.
    pub fn of<T>(operations: u32, mut run: impl FnMut() -> T + 'w) -> Self {
        Self::measured_by(move |slice| {
            let start = Instant::now();
            let mut done = 0;
            let mut burst: u64 = 1;
            loop {
                for _ in 0..burst {
                    black_box(run());
                }
                done += burst;
                let elapsed = start.elapsed();
                if elapsed >= slice {
                    let operations = done as f64 * f64::from(operations);
                    return operations / elapsed.as_secs_f64();
                }
                // Looks at the clock about a hundred times a slice.
                let fraction = elapsed.as_secs_f64() / slice.as_secs_f64();
                burst = ((done as f64 / fraction.max(0.01) / 100.0) as u64).max(1);
            }
        })
    }

    /// Work that another process does and measures.
    pub fn measured_by(rate: impl FnMut(Duration) -> f64 + 'w) -> Self {
        Self {
            rate: Box::new(rate),
        }
    }

    fn rate(&mut self, slice: Duration) -> f64 {
        (self.rate)(slice)
    }
}

impl Plan {
    /// Measures work of ours beside its counterpart. Returns rates in operations per second.
    pub fn compare(&self, name: &str, mut ours: Work, against: &str, mut theirs: Work) -> Line {
        let (mut our_rates, mut their_rates) = (Figures::default(), Figures::default());
        // What is measured first in a process runs on cold caches and at a low frequency.
        ours.rate(self.slice / 4);
        theirs.rate(self.slice / 4);
        for round in 0..self.rounds {
            let mut ours = || our_rates.add(ours.rate(self.slice));
            let mut theirs = || their_rates.add(theirs.rate(self.slice));
            if round % 2 == 0 {
                ours();
                theirs();
            } else {
                theirs();
                ours();
            }
        }
        Line::new(name, Unit::PerSecond, &our_rates).against(against, &their_rates)
    }
}
