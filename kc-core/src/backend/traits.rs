use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Add;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    BackendError, BackendErrorKind, Delivery, OutgoingRecord, Record, Retention, Subscription,
    TopicPartition,
};

/// The optional capabilities of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Records have headers.
    pub headers: bool,
    /// Consumer groups divide partitions among their members. Without this, each member reads all partitions.
    pub groups: bool,
    /// A null and an empty value are different.
    pub nulls: bool,
    /// Topics can be created with a number of partitions and settings.
    pub topic_creation: bool,
}

impl Capabilities {
    /// All capabilities.
    pub const ALL: Self = Self {
        headers: true,
        groups: true,
        nulls: true,
        topic_creation: true,
    };

    /// None of the optional capabilities.
    pub const MINIMAL: Self = Self {
        headers: false,
        groups: false,
        nulls: false,
        topic_creation: false,
    };
}

/// A Kafka client library behind a common interface. It makes the clients of a node. Each client has a connection of
/// its own, so that no client waits for another.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// Returns the backend's name in configurations, for example `pure` or `rdkafka`.
    fn name(&self) -> &'static str;

    /// Returns the capabilities.
    fn capabilities(&self) -> Capabilities;

    /// Connects a client for metadata and topic management.
    ///
    /// Cancel safe: the connection is abandoned.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the connection fails. If no broker can be reached, the error names the brokers.
    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError>;

    /// Connects a client that sends records.
    ///
    /// Cancel safe: the connection is abandoned.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the connection fails.
    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError>;

    /// Connects a client that reads all partitions of topics. `group` is the consumer group under which the client
    /// commits positions. Without a group, the client can neither commit positions nor return committed ones.
    ///
    /// Cancel safe: the connection is abandoned.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the connection fails.
    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError>;

    /// Joins a consumer group that reads all partitions of its topics. The topics need not exist yet.
    ///
    /// Cancel safe: the connection is abandoned. If the member has already joined the group, the group may wait for
    /// this member until its session times out.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the connection fails. A topic that does not exist is not an error.
    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError>;
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// The topic's name.
    pub name: String,
    /// The number of partitions.
    pub partitions: i32,
    /// The number of replicas, or `None` for the broker's default.
    pub replication: Option<i16>,
    /// The records that the broker deletes.
    pub cleanup: Cleanup,
}

/// The records that the broker deletes from a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// The broker applies its own settings.
    #[default]
    AsBroker,
    /// The broker keeps the latest record of each key (`cleanup.policy=compact`).
    Compact,
    /// The broker keeps all records (`cleanup.policy=delete` without limits of time and size).
    Never,
}

impl Cleanup {
    /// Returns the settings of a topic, each with its name.
    #[must_use]
    pub fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::AsBroker => &[],
            Self::Compact => &[("cleanup.policy", "compact")],
            Self::Never => &[
                ("cleanup.policy", "delete"),
                ("retention.ms", "-1"),
                ("retention.bytes", "-1"),
            ],
        }
    }
}

impl TopicSpec {
    /// Describes a data topic, with the broker's settings and its default number of replicas.
    #[must_use]
    pub fn data(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication: None,
            cleanup: Cleanup::AsBroker,
        }
    }

    /// Describes a side or management topic: one partition, compacted, with the broker's default number of
    /// replicas.
    #[must_use]
    pub fn control(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 1,
            replication: None,
            cleanup: Cleanup::Compact,
        }
    }

    /// Describes a topic for parked records, which the broker keeps until they are deleted with the topic.
    #[must_use]
    pub fn parked(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            cleanup: Cleanup::Never,
            ..Self::data(name, partitions)
        }
    }
}

/// An operation on a resource. With [`Read`](Self::Read) and [`Write`](Self::Write), Kafka also allows to describe the
/// resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Reading a topic, or joining a group and committing its positions.
    Read,
    /// Sending to a topic.
    Write,
    /// Creating a topic.
    Create,
}

impl Operation {
    /// Returns the name of the operation in Kafka's tools.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Create => "Create",
        }
    }
}

/// A client for metadata and topic management.
#[async_trait]
pub trait Admin: Debug + Send + Sync {
    /// Returns the number of a topic's partitions, or `None` if the topic does not exist. With `auto_create`, the
    /// request creates a missing topic if the broker is configured for that.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time or the broker denies the access.
    async fn partitions(
        &self,
        topic: &str,
        auto_create: bool,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError>;

    /// Returns the sorted names of all topics, without internal topics of the brokers such as `__consumer_offsets`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time or the broker denies the access.
    async fn topics(&self, deadline: Duration) -> Result<Vec<String>, BackendError>;

    /// Creates a topic. In a cluster, some brokers learn of a new topic later than others. The method therefore
    /// completes when the broker that answers [`partitions`](Self::partitions) knows the topic, but waits for this at
    /// most 10 s, and not beyond the deadline.
    ///
    /// Not cancel safe: the topic may be created nevertheless.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of a kind such as `TopicExists`, `Authorization` or `Rejected` if the topic is
    /// not created, and of the kind `Unsupported` if the backend cannot create topics.
    async fn create_topic(&self, spec: &TopicSpec, deadline: Duration) -> Result<(), BackendError>;

    /// Adds partitions to a topic, so that it has `count` partitions in all. Running consumers and producers find the
    /// new partitions after at most `metadata_max_age_ms`.
    ///
    /// Not cancel safe: the partitions may be added nevertheless.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of a kind such as `UnknownTopic`, `Authorization` or `Rejected` if no partition is
    /// added, for example because the topic already has `count` partitions. The kind is `Unsupported` if the backend
    /// cannot add partitions.
    async fn add_partitions(
        &self,
        topic: &str,
        count: i32,
        deadline: Duration,
    ) -> Result<(), BackendError> {
        let _ = (count, deadline);
        let context = format!("add partitions to topic {topic}");
        Err(BackendError::new(BackendErrorKind::Unsupported, context))
    }

    /// Returns the operations that this client may perform on a topic; `None` if the backend or the broker does not say.
    /// A topic that the client may not describe allows no operation. The default implementation returns `None`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time.
    async fn allowed_on_topic(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Operation>>, BackendError> {
        let _ = (topic, deadline);
        Ok(None)
    }

    /// Returns the operations that this client may perform on a consumer group; `None` if the backend or the broker does
    /// not say. The default implementation returns `None`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time.
    async fn allowed_on_group(
        &self,
        group: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Operation>>, BackendError> {
        let _ = (group, deadline);
        Ok(None)
    }

    /// Returns how long a topic keeps its records; `None` if the topic does not exist, or if the backend or the broker
    /// does not say. The default implementation returns `None`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time, and one of the kind `Authorization` if the client may not
    /// describe the configuration of the topic (Kafka's operation DescribeConfigs).
    async fn retention(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Retention>, BackendError> {
        let _ = (topic, deadline);
        Ok(None)
    }

    /// Disconnects.
    ///
    /// Cancel safe: the connection is abandoned.
    async fn close(self: Box<Self>);
}

/// A future that completes when all in-sync replicas have acknowledged a record, or when the record cannot be
/// delivered. Dropping the future does not stop the delivery.
pub type DeliveryFuture =
    Pin<Box<dyn Future<Output = Result<Delivery, BackendError>> + Send + 'static>>;

/// A client that sends records. It keeps the order of the records of each partition. A record is not stored twice if
/// the broker can detect duplicates.
#[async_trait]
pub trait Producer: Debug + Send + Sync {
    /// Queues a record. Waits while the queue is full.
    ///
    /// The returned future completes when the record is acknowledged. The record is sent even if that future is
    /// dropped.
    ///
    /// Not cancel safe: the record may or may not have been queued.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of a kind such as `UnknownTopic`, `RecordTooLarge` or `Timeout` if the record cannot
    /// be queued within [`max_block`](super::ClientSettings::max_block). The returned future may report the same errors
    /// instead.
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError>;

    /// Asks a broker for the number of a topic's partitions, and updates the metadata from which this client finds the
    /// brokers for its records. Returns `None` if the topic does not exist. The default implementation returns `None`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time or the broker denies the access.
    async fn partitions(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError> {
        let _ = (topic, deadline);
        Ok(None)
    }

    /// Returns the progress of this client, or `None` if the client does not count its records. The default
    /// implementation returns `None`.
    fn progress(&self) -> Option<Progress> {
        None
    }

    /// Waits until all records that were queued before this call are acknowledged. Records that are queued during the
    /// call do not extend the wait.
    ///
    /// Cancel safe: the records remain queued.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of the kind `Timeout` at the deadline, or the first failure of a queued record
    /// since the last flush.
    async fn flush(&self, deadline: Duration) -> Result<(), BackendError>;

    /// Flushes and disconnects.
    ///
    /// Not cancel safe: queued records may be lost.
    ///
    /// # Errors
    /// Returns the same errors as [`flush`](Self::flush).
    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError>;
}

/// The progress of a [`Producer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of records that are queued: neither acknowledged nor failed.
    pub queued: u64,
    /// The number of records that were acknowledged since the client was connected.
    pub acknowledged: u64,
}

/// Counts the records of a [`Producer`], from any thread.
#[derive(Debug, Default)]
pub struct ProgressCounter {
    queued: AtomicU64,
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

impl ProgressCounter {
    /// Counts a record that was queued.
    pub fn queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a queued record that was acknowledged.
    pub fn acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a queued record that will not be acknowledged.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the progress. While other threads count, the number of queued records is approximate.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        let ended = acknowledged + self.failed.load(Ordering::Relaxed);
        Progress {
            queued: self.queued.load(Ordering::Relaxed).saturating_sub(ended),
            acknowledged,
        }
    }
}

/// The maximum number of partitions of a topic that a [`LogReader`] reads. Further partitions are ignored.
pub const MAX_LOG_PARTITIONS: i32 = 64;

/// The positions at which a [`LogReader`] begins to read the partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// The first available record of each partition.
    Earliest,
    /// The end of each partition, after its present last record.
    Latest,
    /// The offset that the map contains for a partition. The first available record if the map does not contain the
    /// partition, or if the log does not contain the offset (older records were deleted, or the topic was created
    /// again).
    Offsets(BTreeMap<i32, i64>),
}

impl LogStart {
    /// Returns the start at `offset` in partition 0, and at the first available record in all other partitions.
    #[must_use]
    pub fn offset(offset: i64) -> Self {
        Self::Offsets(BTreeMap::from([(0, offset)]))
    }
}

/// The range of offsets of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The offset of the first available record (Kafka's log start offset).
    pub low: i64,
    /// The offset after the last record, even if that record belongs to an open transaction.
    pub high: i64,
}

impl Watermarks {
    /// Returns whether reading can begin at an offset: at a record of the log, or directly after the last record.
    #[must_use]
    pub fn holds(&self, offset: i64) -> bool {
        (self.low..=self.high).contains(&offset)
    }

    /// Returns the offset at which a reader with the start `start` begins to read `partition`, which has these
    /// watermarks.
    #[must_use]
    pub fn resolve(&self, start: &LogStart, partition: i32) -> i64 {
        match start {
            LogStart::Earliest => self.low,
            LogStart::Latest => self.high,
            LogStart::Offsets(offsets) => {
                let offset = offsets.get(&partition).copied();
                offset
                    .filter(|offset| self.holds(*offset))
                    .unwrap_or(self.low)
            }
        }
    }

    /// Returns the offset at which a member of a group begins: the `committed` position, or `start` if no position is
    /// committed. If both are `None`, or reading cannot begin at the offset, returns the offset of the first
    /// available record.
    #[must_use]
    pub fn resolve_for_group(&self, committed: Option<i64>, start: Option<i64>) -> i64 {
        let wanted = committed.or(start);
        wanted
            .filter(|offset| self.holds(*offset))
            .unwrap_or(self.low)
    }
}

/// The position that a group has committed in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The topic's name.
    pub topic: String,
    /// The number of the partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
}

impl Committed {
    /// Returns the position `offset` in a partition.
    #[must_use]
    pub fn new(at: TopicPartition, offset: i64) -> Self {
        Self {
            topic: at.topic,
            partition: at.partition,
            offset,
        }
    }

    /// Returns the partition.
    #[must_use]
    pub fn at(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.clone(),
            partition: self.partition,
        }
    }
}

/// A client that reads all partitions of topics, up to [`MAX_LOG_PARTITIONS`] of each. The partitions are not divided
/// among the members of a group.
///
/// Control topics should have one partition. But a broker that creates topics on request may give them more, and the
/// clients of other nodes then write to any of them (protocol §2).
#[async_trait]
pub trait LogReader: Debug + Send {
    /// Begins to read further topics. If a topic does not exist yet, reading begins with its first record. Partitions
    /// that are added later are found after at most `metadata_max_age_ms`, and are read from their first record.
    ///
    /// Not cancel safe: some of the topics may have been added.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time or the broker denies the access.
    async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError>;

    /// Stops reading topics, whether or not they exist. [`poll`](Self::poll) returns no records of these topics until
    /// they are assigned again.
    ///
    /// Not cancel safe: some of the topics may have been removed.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the client fails.
    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError>;

    /// Returns the next records, in the order of their offsets in each partition. The list is empty if no record
    /// arrives within `wait`.
    ///
    /// Not cancel safe: records that were already fetched may be lost.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if fetching fails. After a retriable error, the next poll continues at the same
    /// position.
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError>;

    /// Returns the present range of offsets of each partition of a topic, in the order of the partitions. Leaves out
    /// partitions beyond [`MAX_LOG_PARTITIONS`]. Returns `None` if the topic does not exist.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time or the broker denies the access.
    async fn watermarks(
        &mut self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Watermarks>>, BackendError>;

    /// Returns the positions that the group has committed in the partitions of these topics. Partitions without a
    /// position, and partitions beyond [`MAX_LOG_PARTITIONS`], are omitted.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if no broker answers in time or the broker denies the access, and one of the kind
    /// `Unsupported` if the reader has no group.
    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError>;

    /// Commits positions of the group.
    ///
    /// Not cancel safe: the positions may or may not have been committed.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the commit fails, and one of the kind `Unsupported` if the reader has no
    /// group.
    async fn commit(
        &mut self,
        positions: &[Committed],
        deadline: Duration,
    ) -> Result<(), BackendError>;

    /// Disconnects.
    ///
    /// Cancel safe: the connection is abandoned.
    async fn close(self: Box<Self>);
}

/// The position at which a group without a committed position begins.
///
/// The position is committed when a partition is assigned. If the partition moves to another member before a record
/// is processed, that member begins at the same position and misses no record. If the log does not contain the
/// committed position (older records were deleted, or the topic was created again), the group begins at the first
/// available record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStart {
    /// The first available record.
    Earliest,
    /// The end of the log at the time when the consumer joins. Topics that are created later are read from their
    /// first record.
    Latest,
}

/// The result of [`GroupConsumer::poll`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// The records, in the order of their offsets in each partition.
    pub records: Vec<Record>,
    /// The partitions that were revoked since the last poll.
    ///
    /// The stored positions of these partitions have been committed, unless the commit failed or the member had lost
    /// its membership. Records after the committed positions will be delivered again, to the next owner.
    pub revoked: Vec<TopicPartition>,
}

/// Returns the next offset to read of each partition in which the application has processed records since the last
/// call.
pub type Processed = dyn Fn() -> Vec<(TopicPartition, i64)> + Send + Sync;

/// The warning of a backend whose consumer was removed from its group.
pub const MEMBERSHIP_LOST: &str = "consumer was removed from its group, because it was not polled within \
    max_poll_interval_ms or the broker received no heartbeat within session_timeout_ms; records that were not committed \
    will be read again";

/// A member of a consumer group.
#[async_trait]
pub trait GroupConsumer: Debug + Send {
    /// Returns the next records, in the order of their offsets in each partition. The list is empty if no record
    /// arrives within `wait`. The member remains in the group only if the time between two calls is at most
    /// `max_poll_interval_ms`.
    ///
    /// Not cancel safe: records and revocations that were already received may be lost.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if fetching fails. After a retriable error, the next poll continues at the same
    /// position.
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError>;

    /// Stores the next offset to read of each given partition. [`commit`](Self::commit) and the revocation of a
    /// partition commit the stored offsets.
    ///
    /// Partitions that are not assigned to this member are ignored. If an offset is before the position at which this
    /// member began to read the partition, the offset is also ignored, because another member may have advanced
    /// further.
    fn store(&mut self, positions: &[(TopicPartition, i64)]);

    /// Sets a function that returns positions to store. If a rebalance during a poll takes partitions away, the client
    /// calls the function before it commits their positions. Without this function, records that the application
    /// processed during the poll would be read again. The default implementation ignores the function.
    fn store_at_rebalance(&mut self, processed: Arc<Processed>) {
        let _ = processed;
    }

    /// Commits the stored positions.
    ///
    /// Not cancel safe: the positions may or may not have been committed.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the commit fails.
    async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError>;

    /// Stops fetching from partitions until [`resume`](Self::resume), even if they are revoked and assigned again
    /// meanwhile. The member remains in the group.
    fn pause(&mut self, partitions: &[TopicPartition]);

    /// Resumes fetching from paused partitions, at the positions where fetching stopped.
    fn resume(&mut self, partitions: &[TopicPartition]);

    /// Continues to read a partition at `offset`. Drops the records that were fetched from the partition and not
    /// returned yet, and the position that is stored for it. If the log does not contain the offset, reading continues
    /// at the first available record. The default implementation returns an error of the kind `Unsupported`.
    ///
    /// Not cancel safe: reading may or may not continue at the offset.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of the kind `NotAssigned` if the partition is not assigned to this member, and of
    /// another kind if the client fails.
    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        let _ = offset;
        Err(BackendError::new(BackendErrorKind::Unsupported, seek(at)))
    }

    /// Returns the partitions that are assigned to this member.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// Commits the stored positions, leaves the group and disconnects.
    ///
    /// Not cancel safe: the positions may or may not have been committed.
    ///
    /// # Errors
    /// Returns a [`BackendError`] if the commit fails.
    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError>;
}

/// Returns the error of [`GroupConsumer::seek`] for a partition that is not assigned to the member.
#[must_use]
pub fn not_assigned(at: &TopicPartition) -> BackendError {
    BackendError::new(BackendErrorKind::NotAssigned, seek(at))
}

fn seek(at: &TopicPartition) -> String {
    let TopicPartition { topic, partition } = at;
    format!("continue at another offset of {topic}[{partition}]")
}

/// A duration that is practically infinite, but can be added to an instant.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// Limits a wait to about thirty years, so that clients can add it to an instant without an overflow. An unlimited
/// wait ([`Duration::MAX`]) becomes this maximum.
#[must_use]
pub fn finite(wait: Duration) -> Duration {
    wait.min(FAR)
}

/// Returns the instant at which a [`finite`] wait that begins at `now` ends.
#[must_use]
pub fn end_of<I: Add<Duration, Output = I>>(now: I, wait: Duration) -> I {
    now + finite(wait)
}
