use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind, TopicPartition};
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use kc_core::keys::VerifyingKey;
use kc_core::text::with_sources;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::inbox::Inbox;
use super::letters::Letters;
use super::treatment::Batch;
use super::undecryptable::Reason;
use super::{ConsumeError, Control, MAX_BUFFERED_BYTES, Phase, Seek};
use crate::events::{Events, NodeEvent};
use crate::outage::ReadOutage;

/// Maximum number of records in a batch.
const MAX_BATCH: usize = 1024;

/// Time between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Deadline for a commit. The consumer does not poll during a commit.
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

/// Maximum duration of one poll of the broker. Acknowledgements are processed between polls.
const POLL: Duration = Duration::from_millis(250);

/// Maximum duration of a poll while records wait for keys. A record can stop waiting although no key has arrived: the
/// known data keys do not open the record, and no producer has sent another data key in time. Nothing wakes the driver
/// then, so it checks the records often.
const WAITING_POLL: Duration = Duration::from_millis(50);

/// Time for which the buffer may be full before the driver pauses partitions. During this time the driver does not
/// poll.
const PATIENCE: Duration = Duration::from_millis(500);

/// Time by which leaving the group may exceed its deadline.
const GRACE: Duration = Duration::from_millis(500);

/// Time to wait after a failed poll.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Does the work of a consumer's thread: it polls the broker, opens records, passes them to the consumer, commits
/// positions, and finally leaves the group.
#[derive(Debug)]
pub(super) struct Driver<'c> {
    inbox: Inbox,
    letters: Letters,
    /// Changes when data keys arrive.
    arrivals: watch::Receiver<u64>,
    /// The topics of the consumer, as text for events and log messages.
    topics: String,
    /// The channel to the consumer; `None` if the consumer gets no more records.
    batches: Option<mpsc::UnboundedSender<Result<Batch, ConsumeError>>>,
    control: &'c Control,
    events: Events,
    /// The time at which the buffer became full; `None` if the buffer is not full.
    full: Option<Instant>,
    outage: ReadOutage,
    /// Limits the logging of commits that failed.
    commits: FailureLog<(), String>,
    /// The time at which this driver was created. The times in failure logs are durations since then.
    start: Instant,
    /// The partitions that are paused because a record is not acknowledged, each with the offset of that record.
    stuck: Vec<(TopicPartition, i64)>,
    /// Limits the logging of records that were left out, by topic and reason.
    left_out: FailureLog<(String, Reason)>,
    /// The held partitions that were reported, each with the offset of the record.
    held: BTreeMap<TopicPartition, i64>,
    next_commit: Instant,
}

/// Returns the runtime of a consumer's thread. The tasks of the Kafka client run on a second thread, so that fetching
/// continues while records are opened.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("kc-consumer-io")
        .enable_all()
        .build()
}

impl<'c> Driver<'c> {
    pub(super) fn new(
        inbox: Inbox,
        letters: Letters,
        mut arrivals: watch::Receiver<u64>,
        topics: String,
        batches: mpsc::UnboundedSender<Result<Batch, ConsumeError>>,
        control: &'c Control,
        events: Events,
    ) -> Self {
        arrivals.mark_unchanged();
        Self {
            inbox,
            letters,
            arrivals,
            outage: ReadOutage::new(topics.clone(), events.clone()),
            topics,
            batches: Some(batches),
            control,
            events,
            full: None,
            commits: FailureLog::new(OUTAGE_INTERVAL),
            start: Instant::now(),
            stuck: Vec::new(),
            left_out: FailureLog::new(OUTAGE_INTERVAL),
            held: BTreeMap::new(),
            next_commit: Instant::now() + COMMIT_INTERVAL,
        }
    }

    /// Runs until the consumer is closed. `seeks` are the requests of the application to continue at other offsets. Returns
    /// the result of leaving the group.
    pub(super) async fn run(
        mut self,
        mut seeks: mpsc::UnboundedReceiver<Seek>,
    ) -> Result<(), BackendError> {
        let mut phase = self.control.phase.subscribe();
        loop {
            let now = phase.borrow_and_update().clone();
            if let Phase::Leaving { end } = now {
                return self.leave(end).await;
            }
            if !matches!(now, Phase::Running) {
                self.batches = None;
            }
            tokio::select! {
                biased;
                // A step that is dropped here loses nothing: polls and commits are cancel safe.
                _ = phase.changed() => {}
                Some(Seek { at, offset, done }) = seeks.recv() => {
                    let sought = self.inbox.seek(&at, offset).await;
                    // Fails if the caller no longer waits.
                    let _ = done.send(sought);
                }
                () = self.step() => {}
            }
        }
    }

    async fn step(&mut self) {
        let is_running = self.batches.is_some();
        let step = if is_running {
            self.hand_out().await
        } else {
            self.keep_membership().await
        };
        match step {
            Ok(()) => {}
            Err(error) if is_running => self.fail(error),
            // An error was reported before. The application can still acknowledge the records that it has taken.
            Err(_) => sleep(RETRY_DELAY).await,
        }
    }

    /// Passes the records that can be opened to the consumer. Then polls for more, or waits until the buffer has room.
    async fn hand_out(&mut self) -> Result<(), ConsumeError> {
        self.settle().await;
        self.letters.check()?;
        if self.letters.is_full() {
            return self.stay_while_sending().await;
        }
        let has_room = self.has_room();
        let mut more = false;
        if has_room {
            let mut batch = self.inbox.open(MAX_BATCH)?;
            more = batch.more;
            self.report_left_out(&batch);
            self.letters.queue(std::mem::take(&mut batch.letters));
            self.report_held();
            self.send(batch);
        }
        let is_slow = self.full.is_some_and(|since| since.elapsed() >= PATIENCE);
        self.inbox.hold_back(is_slow, &self.stuck);
        if !has_room {
            if is_slow {
                self.fetch(Duration::ZERO).await?;
            }
            self.room(if is_slow { POLL } else { PATIENCE }).await;
            return Ok(());
        }
        if more && !self.inbox.is_poll_due() {
            return Ok(());
        }
        let mut arrivals = self.arrivals.clone();
        if let Some(time) = self.inbox.fetches_in() {
            if timeout(time, arrivals.changed()).await.is_ok() {
                self.arrivals.mark_unchanged();
            }
            return Ok(());
        }
        let awaits_keys = self.inbox.awaits_keys();
        let wait = match (more, self.inbox.waiting()) {
            (true, _) => Duration::ZERO,
            (false, 0) => POLL,
            (false, _) => WAITING_POLL,
        };
        tokio::select! {
            fetched = self.fetch(wait) => fetched,
            Ok(()) = arrivals.changed(), if awaits_keys => {
                self.arrivals.mark_unchanged();
                Ok(())
            }
        }
    }

    /// Stays in the group without reading records, until a dead letter has been sent.
    async fn stay_while_sending(&mut self) -> Result<(), ConsumeError> {
        self.inbox.hold_back(true, &[]);
        self.fetch(Duration::ZERO).await?;
        // The loop goes on in any case, to commit positions and to stay in the group.
        let _ = timeout(POLL, self.letters.progress()).await;
        Ok(())
    }

    fn send(&self, batch: Batch) {
        let waiting = self.inbox.waiting();
        self.control.waiting.store(waiting, Ordering::Relaxed);
        if let Some(batches) = &self.batches
            && !batch.records.is_empty()
        {
            self.control
                .buffered
                .fetch_add(batch.bytes, Ordering::AcqRel);
            // Sending fails if the consumer was dropped. The driver leaves the group soon after that.
            let _ = batches.send(Ok(batch));
        }
    }

    /// Stays in the group without reading records.
    async fn keep_membership(&mut self) -> Result<(), ConsumeError> {
        self.settle().await;
        self.inbox.hold_back(true, &[]);
        self.report_held();
        self.fetch(POLL).await
    }

    /// Returns whether more records may be buffered. After the buffer was full, it must become half empty before it
    /// accepts more.
    fn has_room(&mut self) -> bool {
        let limit = if self.full.is_some() {
            MAX_BUFFERED_BYTES / 2
        } else {
            MAX_BUFFERED_BYTES
        };
        if self.control.buffered.load(Ordering::Acquire) < limit {
            self.full = None;
            return true;
        }
        self.full.get_or_insert_with(Instant::now);
        false
    }

    /// Waits until the application has taken records, at most for `patience`.
    async fn room(&self, patience: Duration) {
        self.control.wants_room.store(true, Ordering::Release);
        let full = self.control.buffered.load(Ordering::Acquire) >= MAX_BUFFERED_BYTES / 2;
        if full {
            tokio::select! {
                () = self.control.wake.notified() => {}
                () = sleep(patience) => {}
            }
        }
    }

    async fn fetch(&mut self, wait: Duration) -> Result<(), ConsumeError> {
        match self.inbox.fetch(wait).await {
            Ok(()) => {
                self.outage.works();
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                self.outage.fails(&error);
                sleep(RETRY_DELAY).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores the positions of acknowledged records, and commits them once per [`COMMIT_INTERVAL`].
    async fn settle(&mut self) {
        let stuck = self.inbox.settle();
        if stuck != self.stuck {
            self.report(&stuck);
            self.stuck = stuck;
        }
        if Instant::now() < self.next_commit {
            return;
        }
        self.next_commit = Instant::now() + COMMIT_INTERVAL;
        match self.inbox.commit(COMMIT_DEADLINE).await {
            Ok(()) => {
                self.commits.succeed(&());
            }
            Err(error) => {
                let (topics, now) = (&self.topics, self.start.elapsed());
                let logs = self.commits.fail((), error.to_string(), now).is_some();
                let error = with_sources(&error);
                if logs {
                    tracing::warn!(target: "kc::consumer", topics, error, "positions not committed; consumer tries again");
                } else {
                    tracing::debug!(target: "kc::consumer", topics, error, "positions still not committed");
                }
            }
        }
    }

    /// Counts records that were left out or are sent to a topic for dead letters, and logs them, at most once an hour
    /// for each topic and reason.
    fn report_left_out(&mut self, batch: &Batch) {
        for ((topic, reason), records) in &batch.left_out {
            self.control.left_out.fetch_add(*records, Ordering::Relaxed);
            let (left_out, now) = ((topic.clone(), *reason), self.start.elapsed());
            if self.left_out.fail(left_out, (), now).is_some() {
                tracing::warn!(
                    target: "kc::consumer", topic, %reason, records,
                    "records that cannot be opened are left out or moved, as the policy says"
                );
            }
        }
    }

    /// Reports partitions that are held now and were not before, and partitions that are no longer held.
    fn report_held(&mut self) {
        let held = self.inbox.held();
        for (at, now) in held {
            if self.held.get(at) == Some(&now.offset) {
                continue;
            }
            let (topic, partition, offset) = (at.topic.clone(), at.partition, now.offset);
            let owner = now.owner.as_ref().map(VerifyingKey::fingerprint);
            tracing::warn!(
                target: "kc::consumer", topic, partition, offset, reason = %now.failure, owner,
                "partition held: its next record cannot be opened yet"
            );
            self.events.tell(NodeEvent::Held {
                topic,
                partition,
                offset,
                failure: now.failure.clone(),
                owner: now.owner.clone(),
            });
        }
        for (at, offset) in &self.held {
            if held.get(at).is_some_and(|now| now.offset == *offset) {
                continue;
            }
            let TopicPartition { topic, partition } = at;
            tracing::info!(target: "kc::consumer", topic, partition, offset, "partition no longer held");
            self.events.tell(released(at, *offset));
        }
        let offsets = held.iter().map(|(at, now)| (at.clone(), now.offset));
        self.held = offsets.collect();
    }

    fn report(&self, stuck: &[(TopicPartition, i64)]) {
        for (at, offset) in stuck.iter().filter(|found| !self.stuck.contains(found)) {
            let (topic, partition) = (at.topic.clone(), at.partition);
            tracing::warn!(
                target: "kc::consumer", topic, partition, offset,
                "partition paused: the application has taken too many records after an unacknowledged record"
            );
            self.events.tell(NodeEvent::Unacknowledged {
                topic,
                partition,
                offset: *offset,
            });
        }
    }

    /// Sends `error` to the consumer, which then gets no more records.
    fn fail(&mut self, error: ConsumeError) {
        if let Some(batches) = self.batches.take() {
            // Sending fails if the consumer was dropped.
            let _ = batches.send(Err(error));
        }
    }

    async fn leave(self, end: Instant) -> Result<(), BackendError> {
        drop(self.batches);
        for (at, offset) in &self.held {
            self.events.tell(released(at, *offset));
        }
        self.letters
            .close(end.saturating_duration_since(Instant::now()) / 2)
            .await;
        let deadline = end.saturating_duration_since(Instant::now());
        let left = timeout(deadline + GRACE, self.inbox.close(deadline)).await;
        let late = |_| {
            Err(BackendError::new(
                BackendErrorKind::Timeout,
                "leave the group",
            ))
        };
        left.unwrap_or_else(late).inspect_err(|error| {
            tracing::warn!(
                target: "kc::consumer", topics = self.topics, error = %with_sources(&error),
                "consumer could not be closed in time or without an error: acknowledged records may be delivered again"
            );
        })
    }
}

fn released(at: &TopicPartition, offset: i64) -> NodeEvent {
    NodeEvent::Released {
        topic: at.topic.clone(),
        partition: at.partition,
        offset,
    }
}
