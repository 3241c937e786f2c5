use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind, TopicPartition};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::inbox::{Batch, Inbox};
use super::{ConsumeError, Control, MAX_BUFFERED_BYTES, Phase};
use crate::events::{Events, NodeEvent};

/// How many records are handed out at once, at most.
const MAX_BATCH: usize = 1024;

/// How often positions are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long such a commit may keep from polling.
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

/// How long one poll of the broker takes at most, so that acknowledgements are seen meanwhile.
const POLL: Duration = Duration::from_millis(250);

/// The same while records wait for keys: whether one will ever come changes without a key's arrival.
const PARKED_POLL: Duration = Duration::from_millis(50);

/// How long the application may be slow before partitions are paused: until then it is enough not to poll.
const PATIENCE: Duration = Duration::from_millis(500);

/// How much longer than its deadline leaving the group may take.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait after a failed poll.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What a consumer's thread does: polls, opens, hands out, commits, and at the end leaves the group.
#[derive(Debug)]
pub(super) struct Driver<'c> {
    inbox: Inbox,
    /// Changes when keys come in.
    arrivals: watch::Receiver<u64>,
    /// What is read, for events.
    topics: String,
    /// Where batches go; none once nothing is handed out any more.
    batches: Option<mpsc::UnboundedSender<Result<Batch, ConsumeError>>>,
    control: &'c Control,
    events: Events,
    /// Since when there has been no room for more.
    full: Option<Instant>,
    /// Since when brokers have failed.
    failing: Option<Instant>,
    commits_fail: bool,
    /// The partitions that are paused until an offset is acknowledged.
    stuck: Vec<(TopicPartition, i64)>,
    next_commit: Instant,
}

/// The runtime of a consumer's thread. The Kafka client's tasks have a thread of their own beside it, so that fetching
/// goes on while records are opened.
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
        mut arrivals: watch::Receiver<u64>,
        topics: String,
        batches: mpsc::UnboundedSender<Result<Batch, ConsumeError>>,
        control: &'c Control,
        events: Events,
    ) -> Self {
        arrivals.mark_unchanged();
        Self {
            inbox,
            arrivals,
            topics,
            batches: Some(batches),
            control,
            events,
            full: None,
            failing: None,
            commits_fail: false,
            stuck: Vec::new(),
            next_commit: Instant::now() + COMMIT_INTERVAL,
        }
    }

    /// Runs until the consumer is closed. Returns what came of leaving the group.
    pub(super) async fn run(mut self) -> Result<(), BackendError> {
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
                // What a step has begun goes on with the next one: polls and commits lose nothing.
                _ = phase.changed() => {}
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
            // It was reported; what was handed out can still be acknowledged.
            Err(_) => sleep(RETRY_DELAY).await,
        }
    }

    /// Hands out what can be opened, then polls for more, or waits for room.
    async fn hand_out(&mut self) -> Result<(), ConsumeError> {
        self.settle().await;
        let has_room = self.has_room();
        let mut more = false;
        if has_room {
            let batch = self.inbox.open(MAX_BATCH)?;
            more = batch.more;
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
        let waiting = self.inbox.waiting();
        let wait = match (more, waiting) {
            (true, _) => Duration::ZERO,
            (false, 0) => POLL,
            (false, _) => PARKED_POLL,
        };
        let mut arrivals = self.arrivals.clone();
        tokio::select! {
            fetched = self.fetch(wait) => fetched,
            Ok(()) = arrivals.changed(), if waiting > 0 => {
                self.arrivals.mark_unchanged();
                Ok(())
            }
        }
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
            // The consumer may have been dropped; then it is left soon.
            let _ = batches.send(Ok(batch));
        }
    }

    /// Stays in the group while nothing is handed out any more.
    async fn keep_membership(&mut self) -> Result<(), ConsumeError> {
        self.settle().await;
        self.inbox.hold_back(true, &[]);
        self.fetch(POLL).await
    }

    /// Returns whether more may be buffered: from the bound on not before half of it is taken.
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

    /// Waits until the application has taken some.
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
                self.works();
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                self.fails(&error);
                sleep(RETRY_DELAY).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores what is acknowledged; commits it now and then.
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
            Ok(()) => self.commits_fail = false,
            Err(error) if self.commits_fail => {
                tracing::debug!(target: "kc::consumer", topics = self.topics, %error, "still not committed");
            }
            Err(error) => {
                tracing::warn!(target: "kc::consumer", topics = self.topics, %error, "positions not committed; trying again");
                self.commits_fail = true;
            }
        }
    }

    fn report(&self, stuck: &[(TopicPartition, i64)]) {
        for (at, offset) in stuck {
            if self
                .stuck
                .iter()
                .any(|known| known == &(at.clone(), *offset))
            {
                continue;
            }
            let (topic, partition) = (at.topic.clone(), at.partition);
            tracing::warn!(
                target: "kc::consumer", topic, partition, offset,
                "partition paused: too many records were taken after one that is not acknowledged"
            );
            self.events.tell(NodeEvent::Unacknowledged {
                topic,
                partition,
                offset: *offset,
            });
        }
    }

    fn fails(&mut self, error: &BackendError) {
        if self.failing.is_some() {
            tracing::debug!(target: "kc::consumer", topics = self.topics, %error, "still failing");
            return;
        }
        self.failing = Some(Instant::now());
        tracing::warn!(target: "kc::consumer", topics = self.topics, %error, "consumer cannot read; trying again");
        self.events.tell(NodeEvent::ConsumerFails {
            topics: self.topics.clone(),
            reason: error.to_string(),
        });
    }

    fn works(&mut self) {
        if let Some(since) = self.failing.take() {
            let after = since.elapsed();
            tracing::info!(target: "kc::consumer", topics = self.topics, ?after, "consumer reads again");
            self.events.tell(NodeEvent::ConsumerWorks {
                topics: self.topics.clone(),
                after,
            });
        }
    }

    /// Ends what is handed out with an error.
    fn fail(&mut self, error: ConsumeError) {
        if let Some(batches) = self.batches.take() {
            // The consumer may have been dropped.
            let _ = batches.send(Err(error));
        }
    }

    async fn leave(self, end: Instant) -> Result<(), BackendError> {
        drop(self.batches);
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
                target: "kc::consumer", topics = self.topics, %error,
                "acknowledged records may come again: their positions were not committed"
            );
        })
    }
}
