use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kc_core::backend::{Header, Record, TopicPartition};

use crate::client::acknowledgements::Window;
use crate::handles::OpenFailure;

/// A record of a consumer. The application processes the record, then calls [`ack`](Self::ack). If a record is
/// dropped without `ack`, the group gets it again, with all later records of its partition, after this consumer has
/// left the group or has lost the partition.
///
/// Key and value may share a buffer of up to about 1 MiB with other records, which is freed with the last of them. An
/// application that keeps single records for long should keep copies of what it needs.
#[derive(Debug)]
pub struct ConsumerRecord {
    partition: Arc<Partition>,
    number: u64,
    offset: i64,
    /// The position from which the record was parked.
    parked_from: Option<Box<(TopicPartition, i64)>>,
    timestamp: Option<i64>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<Header>,
    failure: Option<OpenFailure>,
}

/// A partition that is assigned to this consumer. The records of the partition share this value.
#[derive(Debug)]
pub(super) struct Partition {
    at: TopicPartition,
    /// Set if the consumer commits positions.
    commits: bool,
    window: Mutex<Window>,
    /// The number of records that the application has taken.
    taken: AtomicU64,
    /// The number of records that the application has skipped, in all partitions of the consumer.
    skipped: Arc<AtomicU64>,
    revoked: AtomicBool,
}

impl ConsumerRecord {
    /// Acknowledges the record: the application has processed it. Records may be acknowledged in any order and from any
    /// thread. A repeated call changes nothing. In the background, the consumer commits the position of the first
    /// record of the partition that is not acknowledged. Returns `false` if the consumer no longer has the partition,
    /// because the partition was revoked or the consumer was closed: a member of the group may get the record again.
    pub fn ack(&self) -> bool {
        self.partition.window().acknowledge(self.number)
    }

    /// Acknowledges the record without processing it, as [`ack`](Self::ack) does, and counts it as left out
    /// ([`Consumer::left_out`](super::Consumer::left_out)).
    pub fn skip(&self) -> bool {
        let (topic, partition, offset) = (self.topic(), self.partition(), self.offset());
        tracing::debug!(target: "kc::consumer", topic, partition, offset, "record skipped by the application");
        self.partition.skipped.fetch_add(1, Ordering::Relaxed);
        self.ack()
    }

    /// Returns the topic. For a parked record this is the topic in which the record was before.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.at().topic
    }

    /// Returns the partition. For a parked record this is the partition in which the record was before.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.at().partition
    }

    /// Returns the offset. For a parked record this is the offset that the record had before.
    #[must_use]
    pub fn offset(&self) -> i64 {
        match &self.parked_from {
            Some(from) => from.1,
            None => self.offset,
        }
    }

    /// Returns the place of a parked record: its topic, partition and offset among the parked records
    /// ([`Policy::Park`](super::Policy::Park)). Returns `None` for any other record. The position that
    /// [`topic`](Self::topic), [`partition`](Self::partition) and [`offset`](Self::offset) return for a parked record is
    /// not authentic: the broker can change it, within the root topic.
    #[must_use]
    pub fn parked_at(&self) -> Option<(&str, i32, i64)> {
        let at = &self.partition.at;
        let is_parked = self.parked_from.is_some();
        is_parked.then_some((&*at.topic, at.partition, self.offset))
    }

    fn at(&self) -> &TopicPartition {
        match &self.parked_from {
            Some(from) => &from.0,
            None => &self.partition.at,
        }
    }

    /// Returns the time at which the record was created or appended, in milliseconds since the Unix epoch. Returns
    /// `None` if the broker does not store this time.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    /// Returns the Kafka key. Returns `None` for a null key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// Returns the Kafka value. A null value is returned as an empty slice. [`is_null`](Self::is_null) distinguishes a
    /// null value from an empty one.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// Removes the Kafka value from the record and returns it. A null value is returned as an empty vector.
    #[must_use]
    pub fn take_value(&mut self) -> Vec<u8> {
        self.value.take().map(Vec::from).unwrap_or_default()
    }

    /// Returns whether the Kafka value is null. In a compacted topic, a null value deletes the key.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value.is_none()
    }

    /// Returns the headers, which are never sealed.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// Returns the reason why key and value could not be opened. Returns `None` if they were opened, or if the consumer
    /// does not open records ([`ConsumerOptions::plain`](super::ConsumerOptions::plain)). Only
    /// [`Policy::Deliver`](super::Policy::Deliver) delivers records that could not be opened.
    #[must_use]
    pub fn failure(&self) -> Option<&OpenFailure> {
        self.failure.as_ref()
    }

    /// Counts the record as taken by the application. Returns `false` if the partition was revoked: the application
    /// must not get the record.
    pub(super) fn take(&self) -> bool {
        // Dead letters are taken when they are queued, possibly before earlier records.
        self.partition
            .taken
            .fetch_max(self.number + 1, Ordering::Relaxed);
        !self.partition.revoked.load(Ordering::Relaxed)
    }
}

impl Partition {
    pub(super) fn new(at: TopicPartition, commits: bool, skipped: Arc<AtomicU64>) -> Self {
        Self {
            at,
            commits,
            window: Mutex::default(),
            taken: AtomicU64::new(0),
            skipped,
            revoked: AtomicBool::new(false),
        }
    }

    pub(super) fn hand_out(
        self: &Arc<Self>,
        record: Record,
        failure: Option<OpenFailure>,
    ) -> ConsumerRecord {
        let number = if self.commits {
            self.window().hand_out(record.offset)
        } else {
            0
        };
        let offset = record.offset;
        self.record(number, offset, None, record, failure)
    }

    /// Adds a parked record that will be handed out later, or acknowledged without that. Returns its number.
    pub(super) fn reserve(&self, offset: i64) -> u64 {
        self.window().hand_out(offset)
    }

    /// Hands out the parked record with this number and this offset among the parked records. `record` has the position
    /// from which it was parked.
    pub(super) fn hand_out_parked(
        self: &Arc<Self>,
        number: u64,
        record: Record,
        offset: i64,
        failure: Option<OpenFailure>,
    ) -> ConsumerRecord {
        let from = Box::new((record.at(), record.offset));
        self.record(number, offset, Some(from), record, failure)
    }

    fn record(
        self: &Arc<Self>,
        number: u64,
        offset: i64,
        parked_from: Option<Box<(TopicPartition, i64)>>,
        content: Record,
        failure: Option<OpenFailure>,
    ) -> ConsumerRecord {
        ConsumerRecord {
            partition: Arc::clone(self),
            number,
            offset,
            parked_from,
            timestamp: content.timestamp,
            key: content.key,
            value: content.value,
            headers: content.headers,
            failure,
        }
    }

    pub(super) fn acknowledge(&self, number: u64) {
        self.window().acknowledge(number);
    }

    /// Returns the number of records from the first unacknowledged one on.
    pub(super) fn span(&self) -> usize {
        self.window().len()
    }

    pub(super) fn at(&self) -> &TopicPartition {
        &self.at
    }

    pub(super) fn leave_out(&self, offset: i64) {
        if self.commits {
            self.window().leave_out(offset);
        }
    }

    /// Returns the position that can be stored now, if there is one. If the partition must be paused, also returns the
    /// offset of its first unacknowledged record.
    pub(super) fn settle(&self) -> (Option<i64>, Option<i64>) {
        let mut window = self.window();
        let taken = self.taken.load(Ordering::Relaxed);
        (window.take_position(), window.stuck_at(taken))
    }

    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
        self.window().revoke();
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
