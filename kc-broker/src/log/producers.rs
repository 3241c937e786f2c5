//! The last batches of each idempotent producer in a partition. With them, the partition stores each batch only once,
//! and the batches of a producer in the order of their sequence numbers.
//!
//! As in Apache Kafka, the last five batches of each producer are remembered: a client may have five
//! batches in flight.

use std::collections::{HashMap, VecDeque};

use thiserror::Error;

use super::batch::{Origin, advance_sequence};
use crate::limits::MAX_PRODUCERS_PER_PARTITION;

const REMEMBERED_BATCHES: usize = 5;

/// The reason why a producer may not append a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum SequenceError {
    #[error(
        "the producer epoch {got} is older than the latest known epoch {known} of this producer"
    )]
    StaleEpoch { got: i16, known: i16 },
    #[error("the batch has the sequence number {got} instead of {expected}")]
    OutOfOrder { got: i32, expected: i32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The batch must be appended.
    New,
    /// The batch is already stored at this offset.
    Duplicate(i64),
}

#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
    clock: u64,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    /// The first sequence number, the last sequence number and the base offset of each batch. The oldest batch is the
    /// first. The list is never empty.
    batches: VecDeque<(i32, i32, i64)>,
    touched: u64,
}

impl Producers {
    /// Checks whether a batch of this origin is new. The first batch of a new epoch must have the sequence number 0. A
    /// producer that is not known may start at any sequence number, because the partition may have forgotten this
    /// producer.
    pub(crate) fn check(&self, origin: Origin) -> Result<Verdict, SequenceError> {
        let Some(producer) = self.known.get(&origin.producer_id) else {
            return Ok(Verdict::New);
        };
        if origin.epoch < producer.epoch {
            return Err(SequenceError::StaleEpoch {
                got: origin.epoch,
                known: producer.epoch,
            });
        }
        let expected = if origin.epoch > producer.epoch {
            0
        } else {
            let same = |b: &&(i32, i32, i64)| (b.0, b.1) == (origin.first, origin.last);
            if let Some((_, _, offset)) = producer.batches.iter().find(same) {
                return Ok(Verdict::Duplicate(*offset));
            }
            let last = producer.batches.back().map_or(i32::MAX, |b| b.1);
            advance_sequence(last, 1)
        };
        if origin.first == expected {
            Ok(Verdict::New)
        } else {
            Err(SequenceError::OutOfOrder {
                got: origin.first,
                expected,
            })
        }
    }

    /// Remembers that a batch of this origin was stored at `offset`.
    pub(crate) fn record(&mut self, origin: Origin, offset: i64) {
        self.clock += 1;
        let touched = self.clock;
        let producer = self.known.entry(origin.producer_id).or_insert(Producer {
            epoch: origin.epoch,
            batches: VecDeque::new(),
            touched,
        });
        if producer.epoch != origin.epoch {
            producer.epoch = origin.epoch;
            producer.batches.clear();
        }
        producer.touched = touched;
        producer
            .batches
            .push_back((origin.first, origin.last, offset));
        if producer.batches.len() > REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        if self.known.len() > MAX_PRODUCERS_PER_PARTITION {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.known.iter().min_by_key(|(_, p)| p.touched);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.known.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(epoch: i16, first: i32, last: i32) -> Origin {
        Origin {
            producer_id: 7,
            epoch,
            first,
            last,
        }
    }

    fn with(batches: &[(i32, i32)]) -> Producers {
        let mut producers = Producers::default();
        for (first, last) in batches {
            producers.record(origin(0, *first, *last), i64::from(*first) + 100);
        }
        producers
    }

    #[test]
    fn the_next_sequence_is_new_and_a_repeat_is_a_duplicate() {
        let producers = with(&[(0, 4), (5, 9)]);
        assert_eq!(producers.check(origin(0, 10, 10)), Ok(Verdict::New));
        assert_eq!(
            producers.check(origin(0, 0, 4)),
            Ok(Verdict::Duplicate(100))
        );
        assert_eq!(
            producers.check(origin(0, 5, 9)),
            Ok(Verdict::Duplicate(105))
        );
    }

    #[test]
    fn a_gap_or_a_restart_in_the_same_epoch_is_out_of_order() {
        let producers = with(&[(0, 4)]);
        for first in [6, 0, 3] {
            let expected = Err(SequenceError::OutOfOrder {
                got: first,
                expected: 5,
            });
            assert_eq!(producers.check(origin(0, first, first)), expected);
        }
    }

    #[test]
    fn only_the_last_five_batches_are_remembered() {
        let producers = with(&[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        assert!(producers.check(origin(0, 0, 0)).is_err());
        assert_eq!(
            producers.check(origin(0, 1, 1)),
            Ok(Verdict::Duplicate(101))
        );
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_ends_the_old_one() {
        let mut producers = with(&[(0, 4)]);
        assert!(producers.check(origin(1, 5, 5)).is_err());
        assert_eq!(producers.check(origin(1, 0, 0)), Ok(Verdict::New));
        producers.record(origin(1, 0, 0), 5);
        let stale = Err(SequenceError::StaleEpoch { got: 0, known: 1 });
        assert_eq!(producers.check(origin(0, 5, 5)), stale);
    }

    #[test]
    fn sequences_continue_at_zero_after_the_largest() {
        let producers = with(&[(i32::MAX, i32::MAX)]);
        assert_eq!(producers.check(origin(0, 0, 0)), Ok(Verdict::New));
    }

    #[test]
    fn the_producer_silent_longest_is_forgotten() {
        let mut producers = Producers::default();
        for producer_id in 0..=i64::try_from(MAX_PRODUCERS_PER_PARTITION).unwrap() {
            let origin = Origin {
                producer_id,
                ..origin(0, 0, 0)
            };
            producers.record(origin, 0);
        }
        assert_eq!(producers.known.len(), MAX_PRODUCERS_PER_PARTITION);
        assert!(!producers.known.contains_key(&0));
    }
}
