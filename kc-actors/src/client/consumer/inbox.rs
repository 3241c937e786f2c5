use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kc_core::backend::{
    BackendError, GroupConsumer, Header, OutgoingRecord, Polled, Record, TopicPartition,
};
use kc_core::message::Foreign;
use tokio::time::Instant;

use super::parked::{MAX_ALL_PARKED_BYTES, Parked};
use super::record::{ConsumerRecord, Partition};
use super::undecryptable::{Policy, Reason, Undecryptable};
use super::{ConsumeError, ConsumerOptions};
use crate::handles::{HeldPartition, OpenFailure, Opener, WaitingRecords};

/// Maximum time between two polls of the broker while records are opened. A member that does not poll delays the
/// rebalances of its group, and is finally removed from the group.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Number of waiting records of all partitions together whose data keys are requested again in each round of signals,
/// because the exchange forgets keys that are no longer requested. The exchange asks for at most 256 keys of a root topic
/// at a time, and the first record of each partition has precedence.
const MAX_REPEATED: usize = 128;

/// Size in bytes at which a batch ends. A batch may exceed this size by one record.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// The records of a group member. In each partition they are opened in the order of their offsets.
///
/// A record whose data key is missing blocks its partition: the application gets no later record of the partition.
#[derive(Debug)]
pub(super) struct Inbox {
    consumer: Box<dyn GroupConsumer>,
    /// Opens records. `None` for a consumer that opens nothing.
    opener: Option<Opener>,
    options: ConsumerOptions,
    parked: BTreeMap<TopicPartition, Parked>,
    handed_out: HandedOut,
    paused: BTreeSet<TopicPartition>,
    /// The partition of the last record that the consumer got.
    last: Option<TopicPartition>,
    /// Maximum size in bytes of all records that wait in `parked`. At this size the consumer stops fetching each
    /// partition that has such a record.
    room: usize,
    waiting: Option<WaitingRecords>,
    /// The round of signals in which the data keys of waiting records were last requested.
    round: u64,
    /// The partitions whose first record waits by the policy [`Policy::Hold`] for longer than the patience, each with
    /// the offset of this record and the reason.
    held: BTreeMap<TopicPartition, (i64, OpenFailure)>,
    /// The time at which the broker must be polled, even if more records can be opened.
    next_poll: Instant,
}

type Offsets = Vec<(TopicPartition, i64)>;

/// The partitions from which the consumer got records. The backend shares them, to store the positions of acknowledged
/// records before a rebalance takes partitions away.
#[derive(Clone, Debug, Default)]
struct HandedOut(Arc<Mutex<BTreeMap<TopicPartition, Arc<Partition>>>>);

/// Records for the application, and their size in memory in bytes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<ConsumerRecord>,
    pub(super) bytes: usize,
    /// Records that are not for the application: each must be sent to a topic, and acknowledged then.
    pub(super) letters: Vec<Letter>,
    /// The number of records that were left out or are among `letters`, by topic and reason.
    pub(super) left_out: BTreeMap<(String, Reason), u64>,
    /// Set if more records may be ready to be opened.
    pub(super) more: bool,
}

/// A record that must be sent to the topic for dead letters.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) record: OutgoingRecord,
    /// The record as it was handed out, without its content.
    pub(super) source: ConsumerRecord,
}

impl Batch {
    fn len(&self) -> usize {
        self.records.len() + self.letters.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_full(&self, max: usize) -> bool {
        self.len() >= max || self.bytes >= MAX_BATCH_BYTES
    }
}

/// The next step for the first record of a partition.
enum Next<'p> {
    /// Wait for the data key. After the patience, with the failure that holds the partition.
    Wait(Reason, Option<OpenFailure>),
    Stop(OpenFailure),
    Take(Treatment<'p>),
}

/// The treatment of a record that is taken from its partition.
enum Treatment<'p> {
    HandOut(Option<OpenFailure>),
    LeaveOut(Reason),
    Send(&'p str, Reason, OpenFailure),
}

impl Inbox {
    pub(super) fn new(
        mut consumer: Box<dyn GroupConsumer>,
        opener: Option<Opener>,
        options: ConsumerOptions,
    ) -> Self {
        let handed_out = HandedOut::default();
        consumer.store_at_rebalance({
            let handed_out = handed_out.clone();
            Arc::new(move || handed_out.settle().0)
        });
        Self {
            consumer,
            waiting: opener.as_ref().map(Opener::waiting_records),
            opener,
            options,
            parked: BTreeMap::new(),
            handed_out,
            paused: BTreeSet::new(),
            last: None,
            room: MAX_ALL_PARKED_BYTES,
            round: 0,
            held: BTreeMap::new(),
            next_poll: Instant::now(),
        }
    }

    /// Returns whether the broker must be polled before more records are opened.
    pub(super) fn is_poll_due(&self) -> bool {
        Instant::now() >= self.next_poll
    }

    /// Returns the number of records that wait for keys: for their own key, or for the key of a record before them.
    pub(super) fn waiting(&self) -> usize {
        self.parked.values().map(Parked::waiting).sum()
    }

    /// Polls the broker, for at most `wait`. Cancel safe, as the backend's poll is.
    pub(super) async fn fetch(&mut self, wait: Duration) -> Result<(), BackendError> {
        self.next_poll = Instant::now() + POLL_INTERVAL;
        let polled = self.consumer.poll(wait).await?;
        self.take(polled);
        Ok(())
    }

    /// Opens at most `max` records, in each partition up to the first record that cannot be opened yet. The next call
    /// starts with the partition after that of the last opened record, so that a busy partition does not block the
    /// others.
    ///
    /// # Errors
    /// Returns [`ConsumeError`] if a record cannot be opened and the policy is [`Policy::Fail`], or if the node
    /// is closed. Records that were opened before the failure are returned first, and the next call returns the error.
    pub(super) fn open(&mut self, max: usize) -> Result<Batch, ConsumeError> {
        let mut batch = Batch::default();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let turns = match self.last.take() {
            None => vec![all],
            Some(last) => vec![
                (Bound::Excluded(last.clone()), Bound::Unbounded),
                (Bound::Unbounded, Bound::Included(last)),
            ],
        };
        let mut stops = false;
        for turn in turns {
            if self.open_some(turn, max, &mut batch)?.is_break() {
                stops = true;
                break;
            }
        }
        batch.more = stops || batch.is_full(max);
        self.request_keys();
        self.note_waiting();
        Ok(batch)
    }

    /// Returns the partitions whose first record waits by the policy [`Policy::Hold`] for longer than the patience, each
    /// with the offset of this record and the reason.
    pub(super) fn held(&self) -> &BTreeMap<TopicPartition, (i64, OpenFailure)> {
        &self.held
    }

    /// Stores the position of the first unacknowledged record of each partition. Returns the partitions from which
    /// the application has taken too many records, each with the offset of its first unacknowledged record.
    pub(super) fn settle(&mut self) -> Vec<(TopicPartition, i64)> {
        let (positions, stuck) = self.handed_out.settle();
        if !positions.is_empty() {
            self.consumer.store(&positions);
        }
        stuck
    }

    /// Pauses the partitions in `stuck` and the partitions in which too many records wait. Pauses all partitions if
    /// `all` is set. Resumes the other partitions. The consumer stays in its group.
    pub(super) fn hold_back(&mut self, all: bool, stuck: &[(TopicPartition, i64)]) {
        let parked: usize = self.parked.values().map(Parked::bytes).sum();
        let room = parked < self.room;
        let mut held = BTreeSet::new();
        for (at, parked) in &self.parked {
            if parked.is_full() || (!room && parked.len() > 0) {
                held.insert(at.clone());
            }
        }
        held.extend(stuck.iter().map(|(at, _)| at.clone()));
        if all {
            held.extend(self.consumer.assignment());
        }
        let pause: Vec<_> = held.difference(&self.paused).cloned().collect();
        if !pause.is_empty() {
            self.consumer.pause(&pause);
        }
        let resume: Vec<_> = self.paused.difference(&held).cloned().collect();
        if !resume.is_empty() {
            self.consumer.resume(&resume);
        }
        self.paused = held;
    }

    /// Commits the stored positions. Cancel safe: positions stay stored until they are committed.
    pub(super) async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError> {
        self.consumer.commit(deadline).await
    }

    /// Commits the positions of acknowledged records, and leaves the group. Later acknowledgements have no effect.
    pub(super) async fn close(mut self, deadline: Duration) -> Result<(), BackendError> {
        self.settle();
        self.handed_out
            .with(|all| all.values().for_each(|partition| partition.revoke()));
        self.consumer.close(deadline).await
    }

    fn take(&mut self, Polled { records, revoked }: Polled) {
        for at in &revoked {
            self.parked.remove(at);
            self.held.remove(at);
            if let Some(partition) = self.handed_out.with(|all| all.remove(at)) {
                partition.revoke();
            }
            // The Kafka client does not end a pause when the partition is revoked.
            if self.paused.remove(at) {
                self.consumer.resume(std::slice::from_ref(at));
            }
        }
        if !revoked.is_empty() {
            self.note_waiting();
        }
        let now = Instant::now();
        for record in records {
            let at = TopicPartition {
                topic: record.topic.clone(),
                partition: record.partition,
            };
            self.parked.entry(at).or_default().push(record, now);
        }
    }

    /// Opens records of `partitions` until the batch has `max` records or [`MAX_BATCH_BYTES`]. Returns `Break` if the
    /// next record must end the consumer, but the batch already has records.
    fn open_some(
        &mut self,
        partitions: (Bound<TopicPartition>, Bound<TopicPartition>),
        max: usize,
        batch: &mut Batch,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        for (at, parked) in self.parked.range_mut(partitions) {
            if batch.is_full(max) {
                break;
            }
            let before = batch.len();
            self.held.remove(at);
            let mut partition = None;
            while !batch.is_full(max)
                && let Some(record) = parked.first_mut()
            {
                let offset = record.offset;
                let opened = match &self.opener {
                    Some(opener) => open(opener, self.options.plain_keys, record),
                    None => Ok(()),
                };
                let treatment = match next_step(opened, &self.options.undecryptable, parked) {
                    Next::Wait(reason, held) => {
                        if let Some(failure) = held {
                            self.held.insert(at.clone(), (offset, failure));
                        }
                        parked.wait(reason);
                        break;
                    }
                    Next::Stop(failure) if batch.is_empty() => {
                        return Err(ConsumeError::of(at, offset, failure));
                    }
                    // The consumer gets the records before the failed one first. The next call returns the error.
                    Next::Stop(_) => return Ok(ControlFlow::Break(())),
                    Next::Take(treatment) => treatment,
                };
                let Some((mut record, bytes)) = parked.take_first() else {
                    break;
                };
                let partition = partition.get_or_insert_with(|| {
                    let new = || Arc::new(Partition::new(at.clone(), !self.options.no_commit));
                    self.handed_out
                        .with(|all| Arc::clone(all.entry(at.clone()).or_insert_with(new)))
                });
                if let Treatment::LeaveOut(reason) | Treatment::Send(_, reason, _) = &treatment {
                    *batch
                        .left_out
                        .entry((at.topic.clone(), *reason))
                        .or_default() += 1;
                }
                match treatment {
                    Treatment::HandOut(failure) => {
                        batch.records.push(partition.hand_out(record, failure));
                        batch.bytes += bytes;
                    }
                    Treatment::Send(topic, reason, failure) => {
                        let letter = letter(topic, &self.options.group, reason, &mut record);
                        batch.letters.push(Letter {
                            record: letter,
                            source: partition.hand_out(record, Some(failure)),
                        });
                        batch.bytes += bytes;
                    }
                    Treatment::LeaveOut(_) => partition.leave_out(record.offset),
                }
            }
            if batch.len() > before {
                self.last = Some(at.clone());
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Requests the data keys of waiting records. The keys of the first record of each partition were requested when
    /// the record was looked at. They are not displaced by those of the records behind them, which come later.
    fn request_keys(&mut self) {
        let Some(opener) = &self.opener else { return };
        let round = opener.tables().signal_rounds();
        let is_new = std::mem::replace(&mut self.round, round) != round;
        let waiting = self.parked.values().filter(|parked| parked.waiting() > 0);
        let share = match waiting.count() {
            0 => return,
            partitions => MAX_REPEATED / partitions,
        };
        let again = if is_new { share } else { 0 };
        let waiting = self.parked.values_mut();
        for parked in waiting.filter(|parked| parked.waiting() > 0) {
            parked.foresee(opener, self.options.plain_keys, again);
        }
    }

    /// Updates the numbers of waiting records in the status of the node.
    fn note_waiting(&self) {
        if let Some(waiting) = &self.waiting {
            let parked = self.parked.iter();
            let held = self
                .held
                .iter()
                .map(|(at, (offset, failure))| HeldPartition {
                    topic: at.topic.clone(),
                    partition: at.partition,
                    offset: *offset,
                    failure: failure.clone(),
                    waited: self.parked.get(at).map_or(Duration::ZERO, Parked::waited),
                });
            let held = held.collect();
            waiting.note(
                parked.map(|(at, parked)| (&*at.topic, parked.waiting())),
                held,
            );
        }
    }
}

impl HandedOut {
    /// Returns the new positions of acknowledged records, and the partitions from which too many records were taken,
    /// each with the offset of its first unacknowledged record.
    fn settle(&self) -> (Offsets, Offsets) {
        let (mut positions, mut stuck) = (Vec::new(), Vec::new());
        self.with(|all| {
            for (at, partition) in all {
                let (position, stuck_at) = partition.settle();
                positions.extend(position.map(|position| (at.clone(), position)));
                stuck.extend(stuck_at.map(|offset| (at.clone(), offset)));
            }
        });
        (positions, stuck)
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<TopicPartition, Arc<Partition>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Decides what happens next to the first record of a partition, after the attempt to open it.
fn next_step<'p>(
    opened: Result<(), OpenFailure>,
    policies: &'p Undecryptable,
    parked: &Parked,
) -> Next<'p> {
    let Err(failure) = opened else {
        return Next::Take(Treatment::HandOut(None));
    };
    let Some(reason) = Reason::of(&failure) else {
        return Next::Stop(failure);
    };
    if failure.may_still_open() && parked.waited_for(reason) < policies.patience() {
        return Next::Wait(reason, None);
    }
    match policies.policy(reason) {
        Policy::Hold => Next::Wait(reason, Some(failure)),
        Policy::Fail => Next::Stop(failure),
        Policy::Skip => Next::Take(Treatment::LeaveOut(reason)),
        Policy::Deliver => Next::Take(Treatment::HandOut(Some(failure))),
        Policy::DeadLetter(topic) => Next::Take(Treatment::Send(topic, reason, failure)),
    }
}

/// Takes the content of a record that was not opened, for a record of the topic `topic`.
fn letter(topic: &str, group: &str, reason: Reason, record: &mut Record) -> OutgoingRecord {
    let origin = [
        ("kc.group", group.to_owned()),
        ("kc.topic", record.topic.clone()),
        ("kc.partition", record.partition.to_string()),
        ("kc.offset", record.offset.to_string()),
        ("kc.reason", reason.to_string()),
    ];
    let mut headers = std::mem::take(&mut record.headers);
    // The writer of the record does not choose its origin.
    headers.retain(|header| !header.name.starts_with("kc."));
    headers.extend(origin.map(|(name, value)| Header {
        name: name.to_owned(),
        value: Some(value.into_bytes()),
    }));
    OutgoingRecord {
        topic: topic.to_owned(),
        key: record.key.take(),
        value: record.value.take(),
        headers,
        ..OutgoingRecord::default()
    }
}

/// Opens a record in place. If opening fails, the record is unchanged.
fn open(opener: &Opener, plain_keys: bool, record: &mut Record) -> Result<(), OpenFailure> {
    let open_key = |key: &[u8]| opener.try_open_key(&record.topic, key);
    let open_value = |value: &[u8]| opener.try_open_value(&record.topic, value);
    let key = if plain_keys {
        Ok(None)
    } else {
        plaintext(record.key.as_deref().map(open_key))
    };
    match (key, plaintext(record.value.as_deref().map(open_value))) {
        (Ok(key), Ok(value)) => {
            if !plain_keys {
                record.key = key;
            }
            record.value = value;
            Ok(())
        }
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    }
}

/// Returns the plaintext of a key or value. An empty key or value becomes `None`, because the Python peer sends an
/// empty key or value in place of null.
fn plaintext(opened: Option<Result<Vec<u8>, OpenFailure>>) -> Result<Option<Vec<u8>>, OpenFailure> {
    match opened {
        None | Some(Err(OpenFailure::Foreign(Foreign::Empty))) => Ok(None),
        Some(opened) => opened.map(Some),
    }
}

#[cfg(test)]
mod tests;
