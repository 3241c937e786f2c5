//! A partition: batches in the order of their offsets.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::batch::RecordBatch;
use super::producers::{Producers, SequenceError, Verdict};
use super::{Memory, MemoryFull};
use crate::limits::BATCH_OVERHEAD_BYTES;

/// The reason why a batch was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum AppendError {
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    #[error(transparent)]
    Memory(#[from] MemoryFull),
}

/// The offset is outside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the offset is outside the log")]
pub(crate) struct OutOfRange;

/// A position in the log to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeQuery {
    Earliest,
    Latest,
    /// The first record with the largest timestamp.
    MaxTimestamp,
    /// The first record that is not older than this time, in milliseconds since the epoch.
    Since(i64),
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    batches: Vec<Stored>,
    producers: Producers,
    /// The offset of the first record that is not deleted.
    start: i64,
    /// The offset of the next record.
    end: i64,
}

#[derive(Debug)]
struct Stored {
    base: i64,
    batch: RecordBatch,
}

impl Stored {
    fn last(&self) -> i64 {
        self.base.saturating_add(self.batch.last_delta())
    }

    fn cost(&self) -> usize {
        cost(&self.batch)
    }
}

fn cost(batch: &RecordBatch) -> usize {
    batch.len().saturating_add(BATCH_OVERHEAD_BYTES)
}

impl Partition {
    /// Returns the log start offset.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Returns the high watermark: the offset of the next record.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Stores a batch and returns the offset of its first record. A repeated batch of an idempotent
    /// producer is not stored again.
    pub(crate) fn append(
        &mut self,
        batch: &RecordBatch,
        memory: &mut Memory,
    ) -> Result<i64, AppendError> {
        if let Some(origin) = batch.origin()
            && let Verdict::Duplicate(offset) = self.producers.check(origin)?
        {
            return Ok(offset);
        }
        memory.charge(cost(batch))?;
        let base = self.end;
        if let Some(origin) = batch.origin() {
            self.producers.record(origin, base);
        }
        let stored = Stored {
            base,
            batch: batch.placed_at(base),
        };
        self.end = stored.last().saturating_add(1);
        self.batches.push(stored);
        Ok(base)
    }

    /// Returns the batch that contains `offset` and the batches after it: as many as fit into `max_bytes`.
    /// If `at_least_one` is true, returns the first batch even if this batch is larger than `max_bytes`.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Bytes, OutOfRange> {
        if !(self.start..=self.end).contains(&offset) {
            return Err(OutOfRange);
        }
        let from = self.batches.partition_point(|b| b.last() < offset);
        let mut size = 0_usize;
        let fitting = self.batches.iter().skip(from).take_while(|b| {
            let first = size == 0;
            size = size.saturating_add(b.batch.len());
            size <= max_bytes || (first && at_least_one)
        });
        let found: Vec<&Bytes> = fitting.map(|b| b.batch.bytes()).collect();
        Ok(match found.as_slice() {
            [one] => Bytes::clone(one),
            several => {
                let mut joined = BytesMut::with_capacity(several.iter().map(|b| b.len()).sum());
                several.iter().for_each(|b| joined.extend_from_slice(b));
                joined.freeze()
            }
        })
    }

    /// Returns the offset and the timestamp of the record that `query` describes, or `None` if the log has no such
    /// record. For the start and the end of the log, the timestamp is -1.
    pub(crate) fn find(&self, query: TimeQuery) -> Option<(i64, i64)> {
        match query {
            TimeQuery::Earliest => Some((self.start, -1)),
            TimeQuery::Latest => Some((self.end, -1)),
            TimeQuery::MaxTimestamp => {
                let newest = self.batches.iter().map(|b| b.batch.max_timestamp()).max()?;
                self.find(TimeQuery::Since(newest))
            }
            TimeQuery::Since(timestamp) => self.batches.iter().find_map(|b| {
                let (delta, at) = b.batch.first_since(timestamp)?;
                Some((b.base.saturating_add(delta).max(self.start), at))
            }),
        }
    }

    /// Deletes all records before `offset`, or all records if `offset` is `None`. Returns the new log start offset.
    /// A deleted record cannot be read any more. It stays in memory as long as its batch has a record that is not
    /// deleted.
    pub(crate) fn delete_before(
        &mut self,
        offset: Option<i64>,
        memory: &mut Memory,
    ) -> Result<i64, OutOfRange> {
        let offset = offset.unwrap_or(self.end);
        if !(0..=self.end).contains(&offset) {
            return Err(OutOfRange);
        }
        self.start = self.start.max(offset);
        let kept = self.batches.partition_point(|b| b.last() < self.start);
        for gone in self.batches.drain(..kept) {
            memory.release(gone.cost());
        }
        Ok(self.start)
    }

    /// Releases the memory of a deleted partition.
    pub(crate) fn free(self, memory: &mut Memory) {
        memory.release(self.batches.iter().map(Stored::cost).sum());
    }
}

#[cfg(test)]
mod tests;
