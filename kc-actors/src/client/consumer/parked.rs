use std::collections::VecDeque;
use std::time::Duration;

use kc_core::backend::Record;
use tokio::time::Instant;

use crate::handles::Opener;

/// Maximum number of records of a partition that wait for data keys in memory. At this number the consumer stops
/// fetching the partition.
pub const MAX_PARKED_RECORDS: usize = 4096;

/// Maximum size in bytes of the records of a partition that wait for data keys in memory. At this size the consumer
/// stops fetching the partition.
pub const MAX_PARKED_BYTES: usize = 16 << 20;

/// Maximum size in bytes of all records of a consumer that wait for data keys in memory. At this size the consumer
/// stops fetching each partition that has a waiting record.
pub const MAX_ALL_PARKED_BYTES: usize = 256 << 20;

/// Number of records of a partition whose data keys are requested again while they wait. The limit keeps a partition
/// with many invented key ids from displacing the requests of the other partitions.
const MAX_REPEATED: usize = 16;

/// The records of a partition that were fetched and that the application cannot get yet, in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// The records, each with its size in bytes and the time at which it was fetched.
    records: VecDeque<(Record, usize, Instant)>,
    bytes: usize,
    /// The number of records at the front whose data keys were requested from the exchange in `round`.
    foreseen: usize,
    /// The round of signals in which data keys were requested.
    round: u64,
    /// Set if the first record was found to wait for its data key.
    waits: bool,
}

impl Parked {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the number of records that wait for keys. If the first record waits, all records of the partition wait.
    pub(super) fn waiting(&self) -> usize {
        if self.waits { self.len() } else { 0 }
    }

    /// Returns the approximate size of the records in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether the records have reached a limit, so that the partition must not be fetched.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= MAX_PARKED_RECORDS || self.bytes >= MAX_PARKED_BYTES
    }

    pub(super) fn push(&mut self, record: Record) {
        let bytes = size(&record);
        self.bytes += bytes;
        self.records.push_back((record, bytes, Instant::now()));
    }

    /// Returns the first record, and the time for which it has been waiting.
    pub(super) fn first_mut(&mut self) -> Option<(&mut Record, Duration)> {
        let (record, _, fetched) = self.records.front_mut()?;
        Some((record, fetched.elapsed()))
    }

    /// Returns the time for which the first record has been waiting.
    pub(super) fn waited(&self) -> Duration {
        let first = self.records.front();
        first.map_or(Duration::ZERO, |(_, _, fetched)| fetched.elapsed())
    }

    /// Removes the first record. Returns the record, and its size when it was fetched.
    pub(super) fn take_first(&mut self) -> Option<(Record, usize)> {
        let (record, bytes, _) = self.records.pop_front()?;
        self.bytes -= bytes;
        self.foreseen = self.foreseen.saturating_sub(1);
        self.waits = false;
        Some((record, bytes))
    }

    /// Marks the first record as waiting for its data key. Requests the data keys of all records at once, so that later
    /// records do not have to wait again. Requests the keys of the first [`MAX_REPEATED`] records again in each round of
    /// signals, because the exchange forgets keys that are no longer signalled.
    pub(super) fn wait(&mut self, opener: &Opener, plain_keys: bool) {
        self.waits = true;
        let round = opener.tables().signal_rounds();
        let again = if std::mem::replace(&mut self.round, round) == round {
            0
        } else {
            self.foreseen.min(MAX_REPEATED)
        };
        let again = self.records.range(..again);
        for (record, ..) in again.chain(self.records.range(self.foreseen..)) {
            let key = record.key.as_ref().filter(|_| !plain_keys);
            for part in [key, record.value.as_ref()].into_iter().flatten() {
                opener.foresee(&record.topic, part);
            }
        }
        self.foreseen = self.records.len();
    }
}

fn size(record: &Record) -> usize {
    let len = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter();
    let headers =
        headers.map(|header| size_of_val(header) + header.name.len() + len(&header.value));
    size_of_val(record)
        + record.topic.len()
        + len(&record.key)
        + len(&record.value)
        + headers.sum::<usize>()
}
