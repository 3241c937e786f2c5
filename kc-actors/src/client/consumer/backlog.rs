use std::collections::VecDeque;
use std::time::Duration;

use kc_core::backend::{Header, Record};
use tokio::time::Instant;

use super::undecryptable::Reason;
use crate::handles::Opener;

/// Maximum number of records of a partition that wait for data keys in memory. At this number the consumer stops
/// fetching the partition.
pub const MAX_WAITING_RECORDS: usize = 4096;

/// Maximum size in bytes of the records of a partition that wait for data keys in memory. At this size the consumer
/// stops fetching the partition.
pub const MAX_WAITING_BYTES: usize = 16 << 20;

/// Time for which a partition with as many waiting records as it may have is not paused: the consumer polls no partition
/// instead. Most data keys arrive sooner, and librdkafka drops what it has fetched ahead when a partition is paused, and needs
/// most of a second to fetch again after that.
pub(super) const PAUSE_DELAY: Duration = Duration::from_millis(750);

/// Maximum size in bytes of all records of a consumer that wait for data keys in memory. At this size the consumer
/// stops fetching each partition that has a waiting record.
pub const MAX_ALL_WAITING_BYTES: usize = 256 << 20;

/// The records of a partition that were fetched and that the application cannot get yet, in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The records, each with its size in bytes and the time at which it was fetched.
    records: VecDeque<(Record, usize, Instant)>,
    bytes: usize,
    /// The number of records at the front that share no buffer with records elsewhere, so that `bytes` is their size.
    detached: usize,
    /// The number of records at the front whose data keys were requested from the exchange.
    foreseen: usize,
    /// If the first record was found to wait for its data key: the reason, and the time since which this is the reason.
    waits: Option<(Reason, Instant)>,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the number of records that wait for keys. If the first record waits, all records of the partition wait.
    pub(super) fn waiting(&self) -> usize {
        if self.waits() { self.len() } else { 0 }
    }

    /// Returns the approximate size of the records in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_full(&self) -> bool {
        self.records.len() >= MAX_WAITING_RECORDS || self.bytes >= MAX_WAITING_BYTES
    }

    /// Returns the time until the partition must be paused, because the waiting records have reached a limit. It is zero if
    /// the first record has waited for [`PAUSE_DELAY`], and `None` if the limit is not reached.
    pub(super) fn pause_in(&self) -> Option<Duration> {
        let (_, since) = self.waits.as_ref().filter(|_| self.is_full())?;
        Some(PAUSE_DELAY.saturating_sub(since.elapsed()))
    }

    pub(super) fn push(&mut self, record: Record, fetched: Instant) {
        let bytes = size(&record);
        self.bytes += bytes;
        self.records.push_back((record, bytes, fetched));
        if self.waits() {
            self.detach();
        }
    }

    /// Returns the first records: as many as fit into `room`, which is a number of records and the number of bytes that the
    /// last of them may exceed.
    pub(super) fn front(
        &self,
        room: (usize, usize),
    ) -> impl ExactSizeIterator<Item = &Record> + Clone {
        let (records, mut bytes) = room;
        let mut count = 0;
        for (_, size, _) in self.records.iter().take(records) {
            if bytes == 0 {
                break;
            }
            bytes = bytes.saturating_sub(*size);
            count += 1;
        }
        self.records.range(..count).map(|(record, ..)| record)
    }

    pub(super) fn first_offset(&self) -> Option<i64> {
        self.records.front().map(|(record, ..)| record.offset)
    }

    /// Returns whether the first record was found to wait for its data key.
    pub(super) fn waits(&self) -> bool {
        self.waits.is_some()
    }

    /// Returns the time for which the first record has been waiting for `reason`. If no node has answered, the key was
    /// requested, and the time counts from the fetch, so that records behind a lost one do not wait one after the
    /// other. For another reason it counts from the moment at which the record was first found to wait for it.
    pub(super) fn waited_for(&self, reason: Reason) -> Duration {
        match self.waits {
            _ if reason == Reason::Unanswered => self.waited(),
            Some((known, since)) if known == reason => since.elapsed(),
            _ => Duration::ZERO,
        }
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
        self.detached = self.detached.saturating_sub(1);
        self.foreseen = self.foreseen.saturating_sub(1);
        self.waits = None;
        Some((record, bytes))
    }

    /// Marks the first record as waiting for its data key.
    pub(super) fn wait(&mut self, reason: Reason) {
        match &self.waits {
            Some((known, _)) if *known == reason => {}
            _ => self.waits = Some((reason, Instant::now())),
        }
        self.detach();
    }

    fn detach(&mut self) {
        for (record, ..) in self.records.range_mut(self.detached..) {
            record.detach();
        }
        self.detached = self.records.len();
    }

    /// Requests the data keys of the records that have arrived since the last call, so that they do not have to wait
    /// again when they are the first. Requests the data keys of the first `again` records once more.
    pub(super) fn foresee(&mut self, opener: &Opener, plain_keys: bool, again: usize) {
        let again = self.records.range(..self.foreseen.min(again));
        for (record, ..) in again.chain(self.records.range(self.foreseen..)) {
            let key = record.key.as_ref().filter(|_| !plain_keys);
            for part in [key, record.value.as_ref()].into_iter().flatten() {
                opener.foresee(&record.topic, part);
            }
        }
        self.foreseen = self.records.len();
    }
}

/// Returns the approximate size of a record in memory, in bytes.
pub(super) fn size(record: &Record) -> usize {
    let content = size_of_content(
        record.key.as_deref(),
        record.value.as_deref(),
        &record.headers,
    );
    size_of_val(record) + record.topic.len() + content
}

/// Returns the approximate size of the content of a record in memory, in bytes.
pub(super) fn size_of_content(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    let len = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let of = |it: &Header| size_of_val(it) + it.name.len() + len(it.value.as_deref());
    len(key) + len(value) + headers.iter().map(of).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::tests::record;
    use super::*;

    #[tokio::test]
    async fn waiting_records_do_not_keep_the_buffers_that_they_were_fetched_in() {
        let mut backlog = Backlog::default();
        let buffer = Bytes::from(vec![7; 1 << 20]);
        for offset in 0..2 {
            backlog.push(record(offset, buffer.slice(..10)), Instant::now());
        }
        assert!(!buffer.is_unique());
        backlog.wait(Reason::Unanswered);
        assert!(buffer.is_unique());
        backlog.push(record(2, buffer.slice(..10)), Instant::now());
        assert!(buffer.is_unique());
        while let Some((record, _)) = backlog.take_first() {
            assert_eq!(record.value.as_deref(), Some(&[7; 10][..]));
        }
    }
}
