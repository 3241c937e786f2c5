use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kc_core::backend::{BackendError, GroupConsumer, Polled, Record, TopicPartition};
use kc_core::keys::VerifyingKey;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backlog::{Backlog, MAX_ALL_WAITING_BYTES};
use super::origin::Origin;
use super::parking::{MAX_TRIED, News, ParkedLog, Parking, ROUNDS};
use super::record::Partition;
use super::threads::Threads;
use super::treatment::{Batch, Front, Letter, Next, Treatment, next_step, open_front};
use super::{ConsumeError, ConsumerOptions};
use crate::clock::Clock;
use crate::handles::{HeldPartition, OpenFailure, Opener, WaitingRecords};

/// Maximum time between two polls of the broker while records are opened. A member that does not poll delays the
/// rebalances of its group, and is finally removed from the group.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Number of waiting records of all partitions together whose data keys are requested again in each round of signals,
/// because the exchange forgets keys that are no longer requested. The exchange asks for at most 256 keys of a root topic
/// at a time, and the first record of each partition has precedence.
const MAX_REPEATED: usize = 128;

/// Number of records of a partition that are opened at once when nothing is known about their data keys.
const MIN_AHEAD: usize = 64;

/// The records of a group member. In each partition they are opened in the order of their offsets.
///
/// A record whose data key is missing blocks its partition: the application gets no later record of the partition.
#[derive(Debug)]
pub(super) struct Inbox {
    consumer: Box<dyn GroupConsumer>,
    /// Opens records. `None` for a consumer that opens nothing.
    opener: Option<Opener>,
    threads: Threads,
    options: ConsumerOptions,
    backlogs: BTreeMap<TopicPartition, Backlog>,
    /// `None` if the consumer parks no records.
    parking: Option<Parking>,
    /// The parked records of this group, by the partitions of the topics for them.
    parked: BTreeMap<TopicPartition, ParkedLog>,
    /// Changes when data keys arrive.
    arrivals: Option<watch::Receiver<u64>>,
    /// The changes since all parked records were considered.
    news: News,
    /// The round of signals that `news` contains.
    parked_round: u64,
    handed_out: HandedOut,
    /// The number of records that the application has skipped.
    skipped: Arc<AtomicU64>,
    paused: BTreeSet<TopicPartition>,
    /// The partition of the last record that the consumer got.
    last: Option<TopicPartition>,
    /// Maximum size in bytes of all records that wait in `backlogs`. At this size the consumer stops fetching each
    /// partition that has such a record.
    room: usize,
    waiting: Option<WaitingRecords>,
    /// The round of signals in which the data keys of waiting records were last requested.
    round: u64,
    /// The partitions whose first record is held.
    held: BTreeMap<TopicPartition, Held>,
    /// The time at which the broker must be polled, even if more records can be opened.
    next_poll: Instant,
}

/// The first record of a partition, which waits by the policy [`Policy::Hold`](super::Policy::Hold) for longer than the
/// patience.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) offset: i64,
    /// The reason why the record cannot be opened.
    pub(super) failure: OpenFailure,
    /// The node to which the data key belongs, if it is known.
    pub(super) owner: Option<VerifyingKey>,
}

impl Held {
    /// Returns the held record at `offset`. `before` is the record that was held in the partition until now.
    fn new(
        offset: i64,
        failure: OpenFailure,
        before: Option<Self>,
        opener: Option<&Opener>,
    ) -> Self {
        let owner = match before.filter(|before| before.offset == offset) {
            Some(before) => before.owner,
            None => failure.key_id().and_then(|id| opener?.tables().owner(id)),
        };
        Self {
            offset,
            failure,
            owner,
        }
    }
}

type Offsets = Vec<(TopicPartition, i64)>;

/// The partitions from which the consumer got records. The backend shares them, to store the positions of acknowledged
/// records before a rebalance takes partitions away.
#[derive(Clone, Debug, Default)]
struct HandedOut(Arc<Mutex<BTreeMap<TopicPartition, Arc<Partition>>>>);

impl Inbox {
    pub(super) fn new(
        mut consumer: Box<dyn GroupConsumer>,
        opener: Option<Opener>,
        options: ConsumerOptions,
        parking: Option<Parking>,
        skipped: Arc<AtomicU64>,
    ) -> Self {
        let handed_out = HandedOut::default();
        consumer.store_at_rebalance({
            let handed_out = handed_out.clone();
            Arc::new(move || handed_out.settle().0)
        });
        Self {
            consumer,
            waiting: opener.as_ref().map(Opener::waiting_records),
            arrivals: opener.as_ref().map(|opener| opener.tables().arrivals()),
            opener,
            threads: Threads::new(options.threads),
            options,
            backlogs: BTreeMap::new(),
            parking,
            parked: BTreeMap::new(),
            news: News::default(),
            parked_round: 0,
            handed_out,
            skipped,
            paused: BTreeSet::new(),
            last: None,
            room: MAX_ALL_WAITING_BYTES,
            round: 0,
            held: BTreeMap::new(),
            next_poll: Instant::now(),
        }
    }

    /// Returns whether the broker must be polled before more records are opened.
    pub(super) fn is_poll_due(&self) -> bool {
        Instant::now() >= self.next_poll
    }

    /// Returns whether records wait for keys, here or among the parked records.
    pub(super) fn awaits_keys(&self) -> bool {
        self.waiting() > 0 || self.parked.values().any(|log| log.len() > 0)
    }

    /// Returns the number of records that wait for keys: for their own key, or for the key of a record before them.
    pub(super) fn waiting(&self) -> usize {
        self.backlogs.values().map(Backlog::waiting).sum()
    }

    /// Polls the broker, for at most `wait`. Cancel safe, as the backend's poll is.
    pub(super) async fn fetch(&mut self, wait: Duration) -> Result<(), BackendError> {
        self.next_poll = Instant::now() + POLL_INTERVAL;
        let polled = self.consumer.poll(wait).await?;
        self.take(polled);
        if let Some(parking) = self
            .parking
            .as_ref()
            .filter(|_| self.options.topics.is_open())
        {
            parking.read_for(&self.consumer.assignment());
        }
        Ok(())
    }

    /// Opens at most `max` records, in each partition up to the first record that cannot be opened yet. The next call
    /// starts with the partition after that of the last opened record, so that a busy partition does not block the
    /// others.
    ///
    /// # Errors
    /// Returns [`ConsumeError`] if a record cannot be opened and the policy is [`Policy::Fail`](super::Policy::Fail), or if
    /// the node is closed. Records that were opened before the failure are returned first, and the next call returns the
    /// error.
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
        stops |= self.open_parked(max, &mut batch)?.is_break();
        batch.more = stops || batch.is_full(max);
        self.request_keys();
        self.note_waiting();
        Ok(batch)
    }

    /// Returns the partitions whose first record is held.
    pub(super) fn held(&self) -> &BTreeMap<TopicPartition, Held> {
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

    /// Returns the time for which nothing must be fetched, because too many records wait in a partition that is not paused yet.
    pub(super) fn fetches_in(&self) -> Option<Duration> {
        let times = self.backlogs.values().filter_map(Backlog::pause_in);
        times.max().filter(|time| !time.is_zero())
    }

    /// Pauses the partitions in `stuck` and the partitions in which too many records have waited for
    /// [`PAUSE_DELAY`](super::backlog::PAUSE_DELAY). Pauses all partitions if `all` is set. Resumes the other partitions. The
    /// consumer stays in its group.
    pub(super) fn hold_back(&mut self, all: bool, stuck: &[(TopicPartition, i64)]) {
        let waiting: usize = self.backlogs.values().map(Backlog::bytes).sum();
        let parked: usize = self.parked.values().map(ParkedLog::bytes).sum();
        let room = waiting + parked < self.room;
        let mut held = BTreeSet::new();
        for (at, backlog) in &self.backlogs {
            let is_due = backlog.pause_in().is_some_and(|left| left.is_zero());
            if is_due || (!room && backlog.len() > 0) {
                held.insert(at.clone());
            }
        }
        let parked = self.parked.iter();
        let parked = parked.filter(|(_, log)| log.is_full() || (!room && log.len() > 0));
        held.extend(parked.map(|(at, _)| at.clone()));
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

    /// Continues to read a partition at `offset`, and stores this position. The application gets no more records that were
    /// fetched from the partition before, and their acknowledgements have no effect.
    pub(super) async fn seek(
        &mut self,
        at: &TopicPartition,
        offset: i64,
    ) -> Result<(), BackendError> {
        self.consumer.seek(at, offset).await?;
        self.drop_records(at);
        if !self.options.no_commit {
            self.consumer.store(&[(at.clone(), offset)]);
        }
        Ok(())
    }

    fn drop_records(&mut self, at: &TopicPartition) {
        self.backlogs.remove(at);
        self.parked.remove(at);
        self.held.remove(at);
        if let Some(partition) = self.handed_out.with(|all| all.remove(at)) {
            partition.revoke();
        }
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
            self.drop_records(at);
            // The Kafka client does not end a pause when the partition is revoked.
            if self.paused.remove(at) {
                self.consumer.resume(std::slice::from_ref(at));
            }
        }
        if !revoked.is_empty() {
            self.note_waiting();
        }
        let now = Instant::now();
        let mut records = records.into_iter().peekable();
        while let Some(first) = records.peek() {
            let at = first.at();
            let run = std::iter::from_fn(|| records.next_if(|record| record.is_of(&at)));
            self.take_run(&at, run, now);
        }
    }

    /// Takes records that follow each other in a partition.
    fn take_run(
        &mut self,
        at: &TopicPartition,
        records: impl Iterator<Item = Record>,
        now: Instant,
    ) {
        let new = || new_partition(at, &self.options, &self.skipped);
        let skip_until = self.options.skip_until.get(at);
        let records = records.filter(|record| {
            let is_skipped = skip_until.is_some_and(|until| record.offset < *until);
            if is_skipped {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                self.handed_out.of(at, new).leave_out(record.offset);
            }
            !is_skipped
        });
        let parked = self.parking.as_ref().and_then(|parking| {
            let root = parking.scheme().parse_parked_topic(&at.topic)?;
            Some((parking, root))
        });
        match parked {
            Some((parking, root)) => {
                let partition = self.handed_out.of(at, new);
                let log = self.parked.entry(at.clone());
                let log = log.or_insert_with(|| ParkedLog::new(root, partition));
                for record in records {
                    log.push(record, &self.options, parking.scheme(), now);
                }
            }
            None => {
                let backlog = self.backlogs.entry(at.clone()).or_default();
                for record in records {
                    backlog.push(record, now);
                }
            }
        }
    }

    /// Adds parked records to a batch, as [`open_some`](Self::open_some) does with those of data topics.
    fn open_parked(
        &mut self,
        max: usize,
        batch: &mut Batch,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        let Some(opener) = self.opener.as_ref().filter(|_| !self.parked.is_empty()) else {
            return Ok(ControlFlow::Continue(()));
        };
        if let Some(arrivals) = &mut self.arrivals
            && arrivals.has_changed().unwrap_or(false)
        {
            arrivals.mark_unchanged();
            self.news.keys = true;
        }
        let round = opener.tables().signal_rounds();
        if std::mem::replace(&mut self.parked_round, round) != round {
            self.news.share = (MAX_TRIED / self.parked.len()).max(1);
            self.news.turns |= round % ROUNDS == 0;
        }
        let now = Clock::system().now();
        for (at, log) in &mut self.parked {
            if log
                .open(opener, &self.options, self.news, max, batch)?
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            log.park_again(&at.topic, now, batch);
        }
        if !batch.is_full(max) {
            self.news = News::default();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Opens records of `partitions` until the batch has `max` records or [`MAX_BATCH_BYTES`]. Returns `Break` if the
    /// next record must end the consumer, but the batch already has records.
    fn open_some(
        &mut self,
        partitions: (Bound<TopicPartition>, Bound<TopicPartition>),
        max: usize,
        batch: &mut Batch,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        for (at, backlog) in self.backlogs.range_mut(partitions) {
            if batch.is_full(max) {
                break;
            }
            let before = batch.len();
            let mut held_before = self.held.remove(at);
            let mut partition = None;
            let mut ahead = if backlog.waits() { 1 } else { MIN_AHEAD };
            while !batch.is_full(max) && backlog.len() > 0 {
                let (records, bytes) = batch.room(max);
                let front = backlog.front((records.min(ahead), bytes));
                let Front { opened, failure } = match &self.opener {
                    Some(opener) => {
                        let plain_keys = self.options.plain_keys;
                        open_front(opener, &self.threads, plain_keys, &at.topic, front)
                    }
                    None => Front::unopened(front),
                };
                let of = || {
                    let new = || new_partition(at, &self.options, &self.skipped);
                    self.handed_out.of(at, new)
                };
                for content in opened {
                    let Some((mut record, bytes)) = backlog.take_first() else {
                        break;
                    };
                    content.put(&mut record);
                    let partition = partition.get_or_insert_with(of);
                    batch.records.push(partition.hand_out(record, None));
                    batch.bytes += bytes;
                }
                // What is opened ahead of a record that does not open is opened again: the more records open, the more are
                // opened ahead.
                ahead = if failure.is_some() {
                    1
                } else {
                    ahead.saturating_mul(2)
                };
                let Some((failure, offset)) = failure.zip(backlog.first_offset()) else {
                    continue;
                };
                let waited = |reason| backlog.waited_for(reason);
                let treatment = match next_step(failure, &self.options.undecryptable, waited) {
                    Next::Wait(reason, held) => {
                        if let Some(failure) = held {
                            let opener = self.opener.as_ref();
                            let held = Held::new(offset, failure, held_before.take(), opener);
                            self.held.insert(at.clone(), held);
                        }
                        backlog.wait(reason);
                        break;
                    }
                    Next::Stop(failure) if batch.is_empty() => {
                        return Err(ConsumeError::of(at, offset, failure));
                    }
                    // The consumer gets the records before the failed one first. The next call returns the error.
                    Next::Stop(_) => return Ok(ControlFlow::Break(())),
                    Next::Take(treatment) => treatment,
                };
                let Some((mut record, bytes)) = backlog.take_first() else {
                    break;
                };
                let partition = partition.get_or_insert_with(of);
                if let Treatment::LeaveOut(reason)
                | Treatment::Send(_, reason, _)
                | Treatment::Park(reason, _) = &treatment
                {
                    batch.count_left_out(&at.topic, *reason);
                }
                match treatment {
                    Treatment::HandOut(failure) => {
                        batch
                            .records
                            .push(partition.hand_out(record, Some(failure)));
                        batch.bytes += bytes;
                    }
                    Treatment::Send(topic, reason, failure) => {
                        let origin = Origin::new(&self.options.group, reason, &record);
                        let letter = origin.letter(topic, &mut record);
                        let source = partition.hand_out(record, Some(failure));
                        batch.letters.push(Letter::new(letter, source));
                        batch.bytes += bytes;
                    }
                    Treatment::Park(reason, failure) => {
                        let origin = Origin::new(&self.options.group, reason, &record);
                        let topic = self.parking.as_ref();
                        let topic = topic.map(|parking| parking.topic_for(&record.topic));
                        let letter = origin.letter(&topic.unwrap_or_default(), &mut record);
                        let source = partition.hand_out(record, Some(failure));
                        batch.letters.push(Letter::parked(letter, source));
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
        let waiting = self
            .backlogs
            .values()
            .filter(|backlog| backlog.waiting() > 0);
        let share = match waiting.count() {
            0 => return,
            partitions => MAX_REPEATED / partitions,
        };
        let again = if is_new { share } else { 0 };
        let waiting = self.backlogs.values_mut();
        for backlog in waiting.filter(|backlog| backlog.waiting() > 0) {
            backlog.foresee(opener, self.options.plain_keys, again);
        }
    }

    /// Updates the numbers of waiting records in the status of the node.
    fn note_waiting(&self) {
        if let Some(waiting) = &self.waiting {
            let backlogs = self.backlogs.iter();
            let parked = self.parked.iter();
            let held = self.held.iter().map(|(at, held)| HeldPartition {
                topic: at.topic.clone(),
                partition: at.partition,
                offset: held.offset,
                failure: held.failure.clone(),
                owner: held.owner.clone(),
                waited: self
                    .backlogs
                    .get(at)
                    .map_or(Duration::ZERO, Backlog::waited),
            });
            let held = held.collect();
            let backlogs = backlogs.map(|(at, backlog)| (&*at.topic, backlog.waiting()));
            let parked = parked.map(|(at, log)| (&*at.topic, log.len()));
            waiting.note(backlogs.chain(parked), held);
        }
    }
}

fn new_partition(
    at: &TopicPartition,
    options: &ConsumerOptions,
    skipped: &Arc<AtomicU64>,
) -> Arc<Partition> {
    let partition = Partition::new(at.clone(), !options.no_commit, Arc::clone(skipped));
    Arc::new(partition)
}

impl HandedOut {
    /// Returns a partition, which is made by `new` if the consumer has got no records from it.
    fn of(&self, at: &TopicPartition, new: impl FnOnce() -> Arc<Partition>) -> Arc<Partition> {
        self.with(|all| Arc::clone(all.entry(at.clone()).or_insert_with(new)))
    }

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

#[cfg(test)]
mod tests;
