mod parked;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use kc_core::backend::{
    Backend, BackendError, GroupConsumer, GroupStart, Header, Polled, Record, Subscription,
    TopicPartition, end_of,
};
use kc_core::message::Foreign;
use thiserror::Error;
use tokio::time::Instant;

use self::parked::{Change, Parked};
pub use self::parked::{MAX_ALL_PARKED_BYTES, MAX_PARKED_BYTES, MAX_PARKED_RECORDS};
use crate::handles::{Awaiting, Deserializer, Outcome, WaitingRecords};

/// How long delivering goes on without a poll of the broker: who does not poll is thrown out of the group, and keeps
/// others from joining it.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a poll of the broker takes at most while records wait for keys.
const PARKED_POLL: Duration = Duration::from_millis(50);

/// What to do with a record that is not sealed, or that no key opens: somebody may have slipped it into
/// an encrypted topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForeignPolicy {
    /// Stop there with an error; nothing is committed past it.
    #[default]
    Fail,
    /// Leave it out.
    Skip,
    /// Deliver it as it is, with its outcome.
    Deliver,
}

/// A record as opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRecord {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The Kafka key.
    pub key: Option<Vec<u8>>,
    /// The Kafka value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<Header>,
    /// Why key and value are as they were received; `None` if they were opened.
    pub foreign: Option<Outcome>,
}

/// Why consuming stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The broker.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
    /// A record that is not sealed, or that no key opens.
    #[error("{topic}[{partition}] offset {offset}: {}", describe(.outcome))]
    Foreign {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What came of opening it.
        outcome: Outcome,
    },
}

/// Opens the records of a consumer group, in order for each partition, at least once.
///
/// A record whose key is not here yet holds its partition back: nothing after it is delivered, and
/// nothing is committed past it. What [`poll`](Self::poll) gave counts as done with at the next poll.
#[derive(Debug)]
pub struct EncryptedConsumer {
    deserializer: Deserializer,
    consumer: Box<dyn GroupConsumer>,
    policy: ForeignPolicy,
    plain_keys: bool,
    parked: BTreeMap<TopicPartition, Parked>,
    /// Where records were last delivered from.
    last: Option<TopicPartition>,
    /// How many bytes may be parked before nothing is added where something is.
    room: usize,
    delivered: BTreeMap<TopicPartition, i64>,
    waiting: WaitingRecords,
    /// When the broker is polled even if there are records to deliver.
    next_poll: Instant,
}

/// What came of a record.
enum Looked {
    Open(OpenedRecord),
    Await,
    Foreign(Outcome),
}

impl EncryptedConsumer {
    /// Joins a group; `deserializer` is a node's. Side topics carry no messages: they are left out of what regular
    /// expressions match.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn connect(
        backend: &dyn Backend,
        deserializer: Deserializer,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
        policy: ForeignPolicy,
    ) -> Result<Self, BackendError> {
        let scheme = deserializer.scheme().clone();
        let messages = topics
            .clone()
            .except(move |topic| scheme.parse_side_topic(topic).is_some());
        Ok(Self {
            waiting: deserializer.waiting_records(),
            deserializer,
            consumer: backend.group_consumer(group, &messages, start).await?,
            policy,
            plain_keys: false,
            parked: BTreeMap::new(),
            last: None,
            room: MAX_ALL_PARKED_BYTES,
            delivered: BTreeMap::new(),
            next_poll: Instant::now(),
        })
    }

    /// Takes Kafka keys as they are: for topics whose producers leave them so, see
    /// [`EncryptedProducer::with_plain_keys`](super::EncryptedProducer::with_plain_keys).
    #[must_use]
    pub fn with_plain_keys(mut self) -> Self {
        self.plain_keys = true;
        self
    }

    /// The next records, at most `max`; none if none come or open within about `wait`. Those of the poll
    /// before count as done with now, and are committed by [`commit`](Self::commit), by
    /// [`close`](Self::close), and when a partition is taken away: call one of them now and then.
    ///
    /// # Errors
    /// [`ConsumeError`]. Records before a foreign one are delivered first.
    pub async fn poll(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<OpenedRecord>, ConsumeError> {
        self.settle();
        let end = end_of(Instant::now(), wait);
        let has_parked = self.parked.values().any(|parked| parked.len() > 0);
        let mut polled = has_parked && Instant::now() >= self.next_poll;
        if polled {
            self.fetch(Duration::ZERO).await?;
        }
        loop {
            let opened = self.open_parked(max);
            self.hold_back();
            self.note_waiting();
            let opened = opened?;
            let left = end.saturating_duration_since(Instant::now());
            if !opened.is_empty() || (polled && left.is_zero()) {
                return Ok(opened);
            }
            let slice = if self.waiting() > 0 {
                left.min(PARKED_POLL)
            } else {
                left
            };
            let came = self.fetch(slice).await?;
            polled = true;
            if !came && slice == left {
                return Ok(opened);
            }
        }
    }

    /// How many records wait for keys: their own, or those of records before them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.parked.values().map(Parked::waiting).sum()
    }

    /// Commits everything that is done with, what the last poll gave included.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError> {
        self.settle();
        self.consumer.commit(deadline).await
    }

    /// Commits everything that is done with, what the last poll gave included, and leaves the group.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn close(mut self, deadline: Duration) -> Result<(), BackendError> {
        self.settle();
        self.consumer.close(deadline).await
    }

    /// Leaves the group without counting what the last poll gave as done with, so that it comes again.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn abandon(mut self, deadline: Duration) -> Result<(), BackendError> {
        self.delivered.clear();
        self.consumer.close(deadline).await
    }

    fn settle(&mut self) {
        let positions: Vec<_> = std::mem::take(&mut self.delivered).into_iter().collect();
        if !positions.is_empty() {
            self.consumer.store(&positions);
        }
    }

    /// Polls the broker; whether anything came.
    async fn fetch(&mut self, wait: Duration) -> Result<bool, BackendError> {
        let polled = self.consumer.poll(wait).await;
        self.next_poll = Instant::now() + POLL_INTERVAL;
        let polled = polled?;
        let came = polled != Polled::default();
        self.take(polled);
        Ok(came)
    }

    fn take(&mut self, Polled { records, revoked }: Polled) {
        for partition in &revoked {
            // A pause outlives what was paused for.
            let parked = self.parked.remove(partition);
            if parked.is_some_and(|parked| parked.is_paused()) {
                self.consumer.resume(std::slice::from_ref(partition));
            }
            self.delivered.remove(partition);
        }
        for record in records {
            let partition = TopicPartition {
                topic: record.topic.clone(),
                partition: record.partition,
            };
            self.parked.entry(partition).or_default().push(record);
        }
    }

    /// Opens what can be opened, up to the first record of each partition that cannot. Goes on where it stopped: one with
    /// much to deliver must not keep the others from their turn.
    fn open_parked(&mut self, max: usize) -> Result<Vec<OpenedRecord>, ConsumeError> {
        let mut opened = Vec::new();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let turns = match self.last.take() {
            None => vec![all],
            Some(last) => vec![
                (Bound::Excluded(last.clone()), Bound::Unbounded),
                (Bound::Unbounded, Bound::Included(last)),
            ],
        };
        for turn in turns {
            if self.open_some(turn, max, &mut opened)?.is_break() {
                break;
            }
        }
        Ok(opened)
    }

    /// Opens records of these partitions, until there are so many in all; breaks off where something stands in the way of
    /// all.
    fn open_some(
        &mut self,
        partitions: (Bound<TopicPartition>, Bound<TopicPartition>),
        max: usize,
        opened: &mut Vec<OpenedRecord>,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        for (partition, parked) in self.parked.range_mut(partitions) {
            let before = opened.len();
            while opened.len() < max
                && let Some(record) = parked.first()
            {
                let delivered = match look(&self.deserializer, self.plain_keys, record) {
                    Looked::Await => {
                        parked.wait(&self.deserializer, self.plain_keys);
                        break;
                    }
                    Looked::Foreign(Outcome::Closed) if opened.is_empty() => {
                        return Err(ConsumeError::Closed);
                    }
                    // First what was opened before; the next poll says so.
                    Looked::Foreign(Outcome::Closed) => return Ok(ControlFlow::Break(())),
                    Looked::Open(record) => Some(record),
                    Looked::Foreign(outcome) => match self.policy {
                        ForeignPolicy::Skip => None,
                        ForeignPolicy::Deliver => Some(as_received(record, outcome)),
                        ForeignPolicy::Fail if opened.is_empty() => {
                            return Err(failure(record, outcome));
                        }
                        // First what stands before it; the next poll fails.
                        ForeignPolicy::Fail => return Ok(ControlFlow::Break(())),
                    },
                };
                self.delivered
                    .insert(partition.clone(), record.next_offset());
                parked.drop_first();
                opened.extend(delivered);
            }
            if opened.len() > before {
                self.last = Some(partition.clone());
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Lets the node's status say how many records wait.
    fn note_waiting(&self) {
        let parked = self.parked.iter();
        let waiting = parked.map(|(partition, parked)| (&*partition.topic, parked.waiting()));
        self.waiting.note(waiting);
    }

    /// Stops fetching partitions that have more waiting than fits, and goes on with those that have
    /// not.
    fn hold_back(&mut self) {
        let all: usize = self.parked.values().map(Parked::bytes).sum();
        let room = all < self.room;
        for (partition, parked) in &mut self.parked {
            let partition = std::slice::from_ref(partition);
            match parked.hold_back(room) {
                Some(Change::Pause) => self.consumer.pause(partition),
                Some(Change::Resume) => self.consumer.resume(partition),
                None => {}
            }
        }
    }
}

fn look(deserializer: &Deserializer, plain_keys: bool, record: &Record) -> Looked {
    let open_key = |key: &[u8]| deserializer.try_open_key(&record.topic, key);
    let open_value = |value: &[u8]| deserializer.try_open_value(&record.topic, value);
    let key = if plain_keys {
        Ok(record.key.clone())
    } else {
        plaintext(record.key.as_deref().map(open_key))
    };
    match (key, plaintext(record.value.as_deref().map(open_value))) {
        (Ok(key), Ok(value)) => Looked::Open(OpenedRecord {
            key,
            value,
            ..frame(record)
        }),
        // The guard looks at both.
        (Err(outcome), _) | (_, Err(outcome)) if may_still_open(&outcome) => Looked::Await,
        (Err(outcome), _) | (_, Err(outcome)) => Looked::Foreign(outcome),
    }
}

/// Whether a key that would open it may still come.
fn may_still_open(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::AwaitingKey { .. } => true,
        Outcome::Unauthentic { why, .. } => *why == Awaiting::NotYet,
        _ => false,
    }
}

/// A component's plaintext; an empty one is the null of the Python peer.
fn plaintext(outcome: Option<Outcome>) -> Result<Option<Vec<u8>>, Outcome> {
    match outcome {
        None | Some(Outcome::Foreign(Foreign::Empty)) => Ok(None),
        Some(outcome) => outcome.into_plaintext().map(Some),
    }
}

fn as_received(record: &Record, outcome: Outcome) -> OpenedRecord {
    OpenedRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        foreign: Some(outcome),
        ..frame(record)
    }
}

/// All of a record but its key and value.
fn frame(record: &Record) -> OpenedRecord {
    OpenedRecord {
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: None,
        value: None,
        headers: record.headers.clone(),
        foreign: None,
    }
}

fn failure(record: &Record, outcome: Outcome) -> ConsumeError {
    ConsumeError::Foreign {
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
        outcome,
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Foreign(foreign) => foreign.to_string(),
        Outcome::Unauthentic { id, .. } => format!("not authentic under key {id}"),
        Outcome::Denied { id } => format!("only denied nodes gave key {id}"),
        other => other.name().to_owned(),
    }
}

#[cfg(test)]
mod tests;
