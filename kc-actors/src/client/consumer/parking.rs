use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kc_core::backend::{
    Admin, Backend, BackendError, BackendErrorKind, Record, Subscription, TopicPartition, TopicSpec,
};
use kc_core::message::Envelope;
use kc_core::types::{KeyId, RootTopic, Timestamp, TopicScheme};
use tokio::time::Instant;

use super::backlog::{MAX_WAITING_BYTES, MAX_WAITING_RECORDS, size};
use super::origin::{Origin, without_origin};
use super::record::{ConsumerRecord, Partition};
use super::treatment::{Batch, Letter, Next, Treatment, next_step, open};
use super::undecryptable::Reason;
use super::{ConsumeError, ConsumerOptions};
use crate::handles::{OpenFailure, Opener};

/// The time for which a record stays at its place in a topic of parked records before it may be parked again, at the end
/// of the topic. It doubles each time, up to 128 times this value. A member parks records again only if no more of the
/// partition fit into memory.
pub const PARK_INTERVAL: Duration = Duration::from_secs(600);

/// The number of times that [`PARK_INTERVAL`] is doubled.
const MAX_DOUBLED: u32 = 7;

/// The number of records of a partition, counted from the first one that cannot be opened, at which the partition counts
/// as full. It is below [`MAX_UNACKNOWLEDGED`](crate::MAX_UNACKNOWLEDGED).
const MAX_SPAN: usize = 2 * MAX_WAITING_RECORDS;

/// The number of lines of all partitions together whose data keys are requested in each round of signals. The exchange
/// asks for at most 256 keys of a root topic at a time, and those of data topics have precedence.
pub(super) const MAX_TRIED: usize = 64;

/// The number of rounds in which the data keys of the same lines are requested. An exchange needs 20 s to find out that no
/// node answers, and a round lasts 5 s.
pub(super) const ROUNDS: u64 = 6;

/// The number of lines that are remembered after their records were parked again.
const MAX_MOVED: usize = 4 * MAX_WAITING_RECORDS;

/// The deadline for creating a topic for parked records.
const CREATION_DEADLINE: Duration = Duration::from_secs(10);

/// The topics of parked records of a consumer with [`Policy::Park`](super::Policy::Park).
#[derive(Clone, Debug)]
pub(super) struct Parking {
    scheme: Arc<TopicScheme>,
    /// The root topics of the consumer's topics, as far as they are known.
    root_topics: Arc<Mutex<BTreeSet<RootTopic>>>,
}

impl Parking {
    /// Checks that the consumer can park records, and creates the topics of parked records for the topics that it
    /// subscribes by name.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of the kind `Unsupported` if the backend has no headers or no groups, of the kind
    /// `Configuration` if the consumer commits no positions or topics have no separator, and of another kind if a topic
    /// cannot be created.
    pub(super) async fn start(
        backend: &dyn Backend,
        options: &ConsumerOptions,
        scheme: Arc<TopicScheme>,
    ) -> Result<Self, BackendError> {
        let refused =
            |kind, why: &str| Err(BackendError::new(kind, format!("park records: {why}")));
        let capabilities = backend.capabilities();
        if !capabilities.headers || !capabilities.groups {
            let why = "this backend has no headers, or no consumer groups";
            return refused(BackendErrorKind::Unsupported, why);
        }
        if options.assignment.is_some() || options.no_commit {
            let why = "the consumer has no group, or commits no positions";
            return refused(BackendErrorKind::Configuration, why);
        }
        if scheme.separator.is_empty() {
            let why = "topics have no separator, so each topic has data keys of its own";
            return refused(BackendErrorKind::Configuration, why);
        }
        let mut names = options.topics.names().iter();
        if let Some(topic) = names.find(|topic| scheme.parse_parked_topic(topic).is_some()) {
            let why = format!("{topic} is a topic of parked records, and is read anyway");
            return refused(BackendErrorKind::Configuration, &why);
        }
        let names = options.topics.names().iter();
        let root_topics: BTreeSet<_> = names.map(|topic| scheme.root_of(topic)).collect();
        for topic in root_topics
            .iter()
            .filter_map(|root| scheme.parked_topic(root))
        {
            partitions(backend, &topic).await?;
        }
        Ok(Self {
            scheme,
            root_topics: Arc::new(Mutex::new(root_topics)),
        })
    }

    /// Adds the topics of parked records to a subscription.
    pub(super) fn subscribe(&self, topics: Subscription) -> Subscription {
        let known = self.root_topics().clone();
        let names = known
            .iter()
            .filter_map(|root| self.scheme.parked_topic(root));
        let topics = topics.and(names);
        if !topics.is_open() {
            return topics;
        }
        let parking = self.clone();
        topics.and_if(move |topic| {
            let root = parking.scheme.parse_parked_topic(topic);
            root.is_some_and(|root| parking.root_topics().contains(&root))
        })
    }

    /// Returns the topic for parked records of the same root topic as `topic`.
    pub(super) fn topic_for(&self, topic: &str) -> String {
        let parked = self.scheme.parked_topic(&self.scheme.root_of(topic));
        // `start` refuses schemes without a separator.
        parked.unwrap_or_default()
    }

    /// Subscribes the parked records of the root topics of these partitions.
    pub(super) fn read_for(&self, partitions: &[TopicPartition]) {
        let mut root_topics = self.root_topics();
        for at in partitions {
            let root_topic = self.scheme.root_str(&at.topic);
            if !root_topics.contains(&*root_topic) {
                root_topics.insert(RootTopic::from(&*root_topic));
            }
        }
    }

    pub(super) fn scheme(&self) -> &TopicScheme {
        &self.scheme
    }

    fn root_topics(&self) -> MutexGuard<'_, BTreeSet<RootTopic>> {
        let guard = self.root_topics.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of partitions of a topic of parked records. Creates the topic if it does not exist.
///
/// # Errors
/// Returns a [`BackendError`] if the topic cannot be created, or no broker answers in time.
pub(super) async fn partitions(backend: &dyn Backend, topic: &str) -> Result<i32, BackendError> {
    let admin = backend.admin().await?;
    let found = create(&*admin, topic).await;
    admin.close().await;
    let found = found?.unwrap_or(1).max(1);
    Ok(i32::try_from(found).unwrap_or(i32::MAX))
}

async fn create(admin: &dyn Admin, topic: &str) -> Result<Option<usize>, BackendError> {
    let found = admin.partitions(topic, false, CREATION_DEADLINE).await?;
    if found.is_some() {
        return Ok(found);
    }
    let spec = TopicSpec::parked(topic, 1);
    match admin.create_topic(&spec, CREATION_DEADLINE).await {
        // Another member may have created it.
        Err(error) if error.kind() != BackendErrorKind::TopicExists => Err(error),
        _ => admin.partitions(topic, false, CREATION_DEADLINE).await,
    }
}

/// The records of a partition of a topic of parked records that this group has parked and that wait for their data keys.
///
/// The records of one data key and one partition of a data topic form a *line*: they are delivered in the order of their
/// offsets in the data topic. Lines do not wait for each other.
#[derive(Debug)]
pub(super) struct ParkedLog {
    root_topic: RootTopic,
    partition: Arc<Partition>,
    /// The records by their numbers in the window of the partition.
    records: BTreeMap<u64, Waiting>,
    lines: BTreeMap<Line, Queue>,
    /// The lines whose records were parked again.
    moved: BTreeMap<Line, Moved>,
    /// The numbers of records that must be parked again because the records before them in the line were.
    followers: Vec<u64>,
    bytes: usize,
    /// The line after which the present share of lines begins.
    before_share: Option<Line>,
}

/// A line whose records were parked again.
#[derive(Debug)]
struct Moved {
    since: Instant,
    /// The offset, in the data topic, of the last record that was parked again, until this record is read again. Later
    /// records of the line must be parked behind it.
    last: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    at: TopicPartition,
    /// `None` for a record that is not sealed.
    key: Option<KeyId>,
}

/// The records of a line, by their offsets in the data topic. The second number is that in the window.
#[derive(Debug, Default)]
struct Queue {
    records: BTreeSet<(i64, u64)>,
    /// Set if the first record has been tried.
    is_tried: bool,
}

#[derive(Debug)]
struct Waiting {
    /// The record, with the position that it had in the data topic.
    record: Record,
    origin: Origin,
    line: Line,
    /// The offset in the topic of parked records.
    offset: i64,
    /// The time at which it was parked, in milliseconds since the Unix epoch, if the broker stores one.
    parked: Option<i64>,
    bytes: usize,
    fetched: Instant,
}

/// The changes since records were tried last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// Data keys have arrived.
    pub(super) keys: bool,
    /// A round of signals has begun: the number of lines whose data keys are requested.
    pub(super) share: usize,
    /// The share moves on to the next lines.
    pub(super) turns: bool,
}

impl ParkedLog {
    pub(super) fn new(root_topic: RootTopic, partition: Arc<Partition>) -> Self {
        Self {
            root_topic,
            partition,
            records: BTreeMap::new(),
            lines: BTreeMap::new(),
            moved: BTreeMap::new(),
            followers: Vec::new(),
            bytes: 0,
            before_share: None,
        }
    }

    /// Returns the number of waiting records.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the approximate size of the waiting records in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether the partition must not be fetched, until records have been delivered or parked again.
    pub(super) fn is_full(&self) -> bool {
        !self.records.is_empty()
            && (self.records.len() >= MAX_WAITING_RECORDS
                || self.bytes >= MAX_WAITING_BYTES
                || self.partition.span() >= MAX_SPAN)
    }

    /// Adds a fetched record. Passes over records that this group has not parked.
    pub(super) fn push(
        &mut self,
        mut record: Record,
        options: &ConsumerOptions,
        scheme: &TopicScheme,
        fetched: Instant,
    ) {
        let origin = Origin::of(&record.headers).filter(|origin| {
            // The broker may have changed the headers. The data keys are those of the root topic.
            let topic = &origin.at.topic;
            origin.group == options.group
                && scheme.root_of(topic) == self.root_topic
                && scheme.parse_parked_topic(topic).is_none()
        });
        let Some(origin) = origin else {
            self.partition.leave_out(record.offset);
            return;
        };
        // Records of other groups share the buffer, and are not stored.
        record.detach();
        let bytes = size(&record);
        let line = Line {
            at: origin.at.clone(),
            key: key_id(&record, options.plain_keys),
        };
        let offset = record.offset;
        let number = self.partition.reserve(offset);
        record.topic = origin.at.topic.as_str().into();
        record.partition = origin.at.partition;
        record.offset = origin.offset;
        let parked = std::mem::replace(&mut record.timestamp, origin.timestamp);
        let last = self.moved.get_mut(&line).map(|moved| &mut moved.last);
        match last {
            Some(Some(last)) if origin.offset > *last => {
                *last = origin.offset;
                self.followers.push(number);
            }
            last => {
                // The records that were parked again come back in their order.
                if let Some(last) = last.filter(|last| **last == Some(origin.offset)) {
                    *last = None;
                }
                let queue = self.lines.entry(line.clone()).or_default();
                // The first record may be another one now.
                queue.is_tried &= queue.records.first() < Some(&(origin.offset, number));
                queue.records.insert((origin.offset, number));
            }
        }
        self.bytes += bytes;
        self.records.insert(
            number,
            Waiting {
                record,
                origin,
                line,
                offset,
                parked,
                bytes,
                fetched,
            },
        );
    }

    /// Adds the records that can be opened, and those that another policy than `park` applies to, to the batch.
    ///
    /// # Errors
    /// Returns [`ConsumeError`] as [`Inbox::open`](super::inbox::Inbox::open) does.
    pub(super) fn open(
        &mut self,
        opener: &Opener,
        options: &ConsumerOptions,
        news: News,
        max: usize,
        batch: &mut Batch,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        for line in self.due(opener, news) {
            while !batch.is_full(max)
                && let Some(queue) = self.lines.get_mut(&line)
                && let Some((_, number)) = queue.records.first().copied()
                && let Some(first) = self.records.get_mut(&number)
            {
                let Err(failure) = open(opener, options.plain_keys, &mut first.record) else {
                    self.hand_out(number, None, batch);
                    continue;
                };
                let waited = first.fetched.elapsed();
                match next_step(failure, &options.undecryptable, |_| waited) {
                    Next::Wait(..) | Next::Take(Treatment::Park(..)) => {
                        queue.is_tried = true;
                        break;
                    }
                    Next::Stop(failure) if batch.is_empty() => {
                        let at = self.partition.at();
                        return Err(ConsumeError::of(at, first.offset, failure));
                    }
                    Next::Stop(_) => return Ok(ControlFlow::Break(())),
                    Next::Take(Treatment::HandOut(failure)) => {
                        self.hand_out(number, Some(failure), batch);
                    }
                    Next::Take(Treatment::LeaveOut(reason)) => {
                        self.leave_out(number, reason, batch);
                    }
                    Next::Take(Treatment::Send(to, reason, failure)) => {
                        self.send(number, to, (reason, failure), batch);
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Parks records again: those that follow records that were parked again, and, if this log is full, the line of its
    /// first record, unless that record has not been at its place for its interval.
    pub(super) fn park_again(&mut self, topic: &str, now: Timestamp, batch: &mut Batch) {
        for number in std::mem::take(&mut self.followers) {
            self.move_record(topic, number, batch);
        }
        while self.is_full()
            && let Some((_, first)) = self.records.first_key_value()
            && self.may_move(first, now)
        {
            let line = first.line.clone();
            let Some(Queue { records, .. }) = self.lines.remove(&line) else {
                break;
            };
            if self.moved.len() >= MAX_MOVED {
                self.moved.pop_first();
            }
            let moved = Moved {
                since: Instant::now(),
                last: records.last().map(|(last, _)| *last),
            };
            self.moved.insert(line, moved);
            for (_, number) in records {
                self.move_record(topic, number, batch);
            }
        }
    }

    /// Returns whether the line of a record may be parked again. The broker can choose the time of a record, so this member
    /// does not trust it alone.
    fn may_move(&self, first: &Waiting, now: Timestamp) -> bool {
        let interval = PARK_INTERVAL * 2_u32.pow(first.origin.again.min(MAX_DOUBLED));
        let moved = self.moved.get(&first.line);
        if moved.is_some_and(|moved| moved.since.elapsed() < interval) {
            return false;
        }
        let parked = first.parked.and_then(|millis| u64::try_from(millis).ok());
        let has_stayed = parked.is_some_and(|millis| {
            let end = Duration::from_millis(millis).saturating_add(interval);
            Timestamp::from_unix(end) <= now
        });
        has_stayed || first.fetched.elapsed() >= interval
    }

    /// Returns the lines to try: those whose data key is known and has not been tried, and, in each round, a share of the
    /// others, so that their data keys are requested.
    fn due(&mut self, opener: &Opener, news: News) -> Vec<Line> {
        let ring = opener.tables().ring();
        let root_topic = self.root_topic.as_str();
        let is_known = |line: &Line| {
            let key = line.key.as_ref();
            key.is_none_or(|key| ring.knows(root_topic, key) || ring.is_denied(root_topic, key))
        };
        let lines = self.lines.iter();
        let due = lines.filter(|(line, queue)| (!queue.is_tried || news.keys) && is_known(line));
        let mut due: Vec<Line> = due.map(|(line, _)| line.clone()).collect();
        if news.share > 0 {
            let share = |before: &Option<Line>| -> Vec<Line> {
                let after = before.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let rest = self.lines.range((after, Bound::Unbounded));
                rest.take(news.share)
                    .map(|(line, _)| line.clone())
                    .collect()
            };
            if news.turns {
                // After the last lines follow the first ones.
                let last = share(&self.before_share).get(news.share - 1).cloned();
                self.before_share = last;
            }
            due.extend(share(&self.before_share));
        }
        due
    }

    fn hand_out(&mut self, number: u64, failure: Option<OpenFailure>, batch: &mut Batch) {
        if let Some(mut taken) = self.remove(number) {
            taken.record.headers = without_origin(taken.record.headers);
            batch.bytes += taken.bytes;
            batch.records.push(self.record(number, taken, failure));
        }
    }

    fn leave_out(&mut self, number: u64, reason: Reason, batch: &mut Batch) {
        if let Some(taken) = self.remove(number) {
            batch.count_left_out(&taken.origin.at.topic, reason);
            self.partition.acknowledge(number);
        }
    }

    /// Sends a record to the topic `to` for dead letters.
    fn send(
        &mut self,
        number: u64,
        to: &str,
        (reason, failure): (Reason, OpenFailure),
        batch: &mut Batch,
    ) {
        if let Some(mut taken) = self.remove(number) {
            batch.count_left_out(&taken.origin.at.topic, reason);
            taken.origin.reason = reason.to_string();
            batch.bytes += taken.bytes;
            let letter = taken.origin.letter(to, &mut taken.record);
            let source = self.record(number, taken, Some(failure));
            batch.letters.push(Letter::new(letter, source));
        }
    }

    /// Sends a record to the end of the topic of parked records.
    fn move_record(&mut self, topic: &str, number: u64, batch: &mut Batch) {
        if let Some(mut moved) = self.remove(number) {
            moved.origin.again = moved.origin.again.saturating_add(1);
            batch.bytes += moved.bytes;
            let letter = moved.origin.letter(topic, &mut moved.record);
            let source = self.record(number, moved, None);
            batch.letters.push(Letter::parked(letter, source));
        }
    }

    fn record(&self, number: u64, taken: Waiting, failure: Option<OpenFailure>) -> ConsumerRecord {
        let Waiting { record, offset, .. } = taken;
        self.partition
            .hand_out_parked(number, record, offset, failure)
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let removed = self.records.remove(&number)?;
        self.bytes -= removed.bytes;
        if let Some(queue) = self.lines.get_mut(&removed.line) {
            queue.records.remove(&(removed.origin.offset, number));
            queue.is_tried = false;
            if queue.records.is_empty() {
                self.lines.remove(&removed.line);
            }
        }
        Some(removed)
    }
}

/// Returns the id of the data key that a record needs.
fn key_id(record: &Record, plain_keys: bool) -> Option<KeyId> {
    let key = record.key.as_deref().filter(|_| !plain_keys);
    let mut sealed = [record.value.as_deref(), key].into_iter().flatten();
    sealed.find_map(|part| Envelope::parse(part).ok().map(|envelope| envelope.key_id))
}

#[cfg(test)]
mod tests;
