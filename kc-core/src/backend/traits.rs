use std::fmt::Debug;
use std::ops::Add;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;

use super::{BackendError, Subscription};

/// What a backend can do beyond what every backend must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Records carry headers.
    pub headers: bool,
    /// Consumer groups share partitions among members. Without, each member reads all of them.
    pub groups: bool,
    /// A null and an empty value are told apart.
    pub nulls: bool,
    /// Topics can be created, with partitions and settings of choice.
    pub topic_creation: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self {
        headers: true,
        groups: true,
        nulls: true,
        topic_creation: true,
    };

    /// Only what every backend must, for old clients.
    pub const MINIMAL: Self = Self {
        headers: false,
        groups: false,
        nulls: false,
        topic_creation: false,
    };
}

/// A Kafka client: makes what a node needs, each with a connection of its own, so that none waits for
/// another.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// The backend's name, as configurations have it: `pure`, `rdkafka`.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Connects for metadata and topic management.
    ///
    /// # Errors
    /// [`BackendError`]; unreachable brokers are named.
    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError>;

    /// Connects to send.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError>;

    /// Connects to read partition 0 of chosen topics; `group` names where positions are committed.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError>;

    /// Joins a consumer group that reads whole topics.
    ///
    /// # Errors
    /// [`BackendError`]. A topic that does not exist yet is none: its records come once it does.
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
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; `None` leaves it to the broker.
    pub replication: Option<i16>,
    /// Whether to keep only the latest record of each key (`cleanup.policy=compact`).
    pub compacted: bool,
}

impl TopicSpec {
    /// A side or management topic: one partition, compacted, as many replicas as the broker likes.
    #[must_use]
    pub fn control(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 1,
            replication: None,
            compacted: true,
        }
    }
}

/// Metadata and topic management.
#[async_trait]
pub trait Admin: Debug + Send + Sync {
    /// How many partitions a topic has; `None` if it does not exist. With `auto_create`, asking may
    /// create it, if the broker is set up to.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn partitions(
        &self,
        topic: &str,
        auto_create: bool,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError>;

    /// The names of all topics but the brokers' own (`__consumer_offsets`), sorted.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn topics(&self, deadline: Duration) -> Result<Vec<String>, BackendError>;

    /// Creates a topic. Returns when the broker that answers [`partitions`](Self::partitions) shows it, or after 10 s:
    /// in a cluster, brokers learn of a topic later than the controller that created it.
    ///
    /// # Errors
    /// [`BackendError`]: `TopicExists`, `Authorization`, `Rejected`, ...; `Unsupported` without the capability.
    async fn create_topic(&self, spec: &TopicSpec, deadline: Duration) -> Result<(), BackendError>;

    /// Disconnects.
    async fn close(self: Box<Self>);
}

/// Resolves when a record is acknowledged by all in-sync replicas, or cannot be.
pub type DeliveryFuture =
    Pin<Box<dyn Future<Output = Result<Delivery, BackendError>> + Send + 'static>>;

/// Sends records, in order for each partition, without duplicates where the broker can tell.
#[async_trait]
pub trait Producer: Debug + Send + Sync {
    /// Queues a record; waits while the queue is full. The future tells when it is acknowledged; the
    /// record is sent whether or not that is awaited.
    ///
    /// # Errors
    /// [`BackendError`] if the record cannot be queued before the producer's deadline: `UnknownTopic`,
    /// `RecordTooLarge`, `Timeout`, ... Each of these may come from the future instead.
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError>;

    /// Waits until everything that was queued before is acknowledged, whatever is queued meanwhile.
    ///
    /// # Errors
    /// [`BackendError`]: `Timeout` at the deadline, or the first failure of a queued record since the last
    /// flush.
    async fn flush(&self, deadline: Duration) -> Result<(), BackendError>;

    /// Flushes and disconnects.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError>;
}

/// From where a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// From the first record there is.
    Earliest,
    /// From behind the last record there is now.
    Latest,
    /// From this offset; from the first record if the log no longer reaches back to it, or ends before
    /// it because the topic was made anew.
    Offset(i64),
}

/// The first offset of a partition and the one behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The first.
    pub low: i64,
    /// The one behind the last, committed or not.
    pub high: i64,
}

impl Watermarks {
    /// Whether reading can begin at an offset: at a record, or behind the last.
    #[must_use]
    pub fn holds(&self, offset: i64) -> bool {
        (self.low..=self.high).contains(&offset)
    }

    /// The offset that a start means now.
    #[must_use]
    pub fn resolve(&self, start: LogStart) -> i64 {
        match start {
            LogStart::Earliest => self.low,
            LogStart::Latest => self.high,
            LogStart::Offset(offset) if self.holds(offset) => offset,
            LogStart::Offset(_) => self.low,
        }
    }

    /// Where a group's member begins: at the committed position if the log has it, and at the log's beginning if
    /// not; without one at `start`, if the log has that, else at the log's beginning.
    #[must_use]
    pub fn resolve_for_group(&self, committed: Option<i64>, start: Option<i64>) -> i64 {
        let wanted = committed.or(start);
        wanted
            .filter(|offset| self.holds(*offset))
            .unwrap_or(self.low)
    }
}

/// The position that a group has committed in partition 0 of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The topic.
    pub topic: String,
    /// The next offset to read.
    pub offset: i64,
}

/// Reads partition 0 of topics, without sharing them with anybody.
#[async_trait]
pub trait LogReader: Debug + Send {
    /// Adds topics to those read. One that does not exist yet begins with its first record, once it
    /// does.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError>;

    /// Reads topics no more, whether they exist or not. Nothing of them comes after, until they are assigned again.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError>;

    /// The next records, in order for each topic; none if none come within `wait`.
    ///
    /// # Errors
    /// [`BackendError`]. Polling again after a retriable one goes on where it was.
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError>;

    /// The offsets that a topic has now; `None` if it does not exist.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn watermarks(
        &mut self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Watermarks>, BackendError>;

    /// What the group has committed in these topics; those without a position are left out.
    ///
    /// # Errors
    /// [`BackendError`]; `Unsupported` without a group.
    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError>;

    /// Commits positions for the group.
    ///
    /// # Errors
    /// [`BackendError`]; `Unsupported` without a group.
    async fn commit(
        &mut self,
        positions: &[Committed],
        deadline: Duration,
    ) -> Result<(), BackendError>;

    /// Disconnects.
    async fn close(self: Box<Self>);
}

/// Where a group without a committed position starts. The start is committed when partitions are assigned, so
/// that records which wait are not lost to whoever has the partition next. (One whose position the log no longer has, or does
/// not have because the topic was made anew, starts at the first record there is.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStart {
    /// At the first record there is.
    Earliest,
    /// Behind the last record there is when the consumer joins; topics that appear later, at their
    /// first.
    Latest,
}

/// What a poll of a group's member brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records, in order for each partition.
    pub records: Vec<Record>,
    /// Partitions taken away since the last poll. What was stored for them has been committed, and
    /// records of theirs that are still being worked on will come again to whoever has them now.
    pub revoked: Vec<TopicPartition>,
}

/// A member of a consumer group.
#[async_trait]
pub trait GroupConsumer: Debug + Send {
    /// The next records, in order for each partition; none if none come within `wait`. Must be called
    /// often enough to stay in the group.
    ///
    /// # Errors
    /// [`BackendError`]. Polling again after a retriable one goes on where it was.
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError>;

    /// Notes the next offset to read of partitions, to be committed by [`commit`](Self::commit), and
    /// when they are taken away. Partitions that are not this member's now are left out, and positions
    /// before where they started for it: another may have gone further.
    fn store(&mut self, positions: &[(TopicPartition, i64)]);

    /// Commits what was stored.
    ///
    /// # Errors
    /// [`BackendError`].
    async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError>;

    /// Stops fetching partitions until [`resume`](Self::resume), even if they are taken away and given
    /// back meanwhile; membership is kept.
    fn pause(&mut self, partitions: &[TopicPartition]);

    /// Fetches paused partitions again, from where they were.
    fn resume(&mut self, partitions: &[TopicPartition]);

    /// The partitions that are this member's now.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// Commits what was stored, leaves the group and disconnects.
    ///
    /// # Errors
    /// [`BackendError`] if the commit failed.
    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError>;
}

/// A header of a record: a name, and a value that may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name; names may repeat.
    pub name: String,
    /// The value.
    pub value: Option<Vec<u8>>,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
}

/// A record as fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Milliseconds since the epoch, if the broker keeps them.
    pub timestamp: Option<i64>,
    /// The Kafka key; null and empty are different.
    pub key: Option<Vec<u8>>,
    /// The Kafka value; null and empty are different.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

impl Record {
    /// Returns the position after this record. Offsets come from a broker, which may send the largest there is.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.offset.saturating_add(1)
    }
}

/// A record to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// The topic's name.
    pub topic: String,
    /// The partition; `None` leaves it to the client: by the key's hash, else spread.
    pub partition: Option<i32>,
    /// The Kafka key.
    pub key: Option<Vec<u8>>,
    /// The Kafka value.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// Where an acknowledged record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The partition.
    pub partition: i32,
    /// The offset; −1 if the broker has the record but no longer knows where, which can happen when
    /// an acknowledgement is lost and the record sent again.
    pub offset: i64,
}

/// As good as for ever, and an instant that clocks can still tell.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// A wait that clients can count with: one without end, such as [`Duration::MAX`], is about thirty years.
#[must_use]
pub fn finite(wait: Duration) -> Duration {
    wait.min(FAR)
}

/// The instant at which a [`finite`] wait that begins `now` ends.
#[must_use]
pub fn end_of<I: Add<Duration, Output = I>>(now: I, wait: Duration) -> I {
    now + finite(wait)
}
