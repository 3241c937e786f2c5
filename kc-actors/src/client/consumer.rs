mod assignment;
mod backlog;
mod driver;
mod inbox;
mod letters;
mod origin;
mod parking;
mod record;
mod threads;
mod treatment;
mod undecryptable;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, GroupStart, Subscription, TopicPartition, end_of,
};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

pub use self::assignment::{Assignment, Position};
pub use self::backlog::{MAX_ALL_WAITING_BYTES, MAX_WAITING_BYTES, MAX_WAITING_RECORDS};
use self::driver::Driver;
use self::inbox::Inbox;
use self::letters::Letters;
pub use self::origin::Origin;
pub use self::parking::PARK_INTERVAL;
use self::parking::Parking;
pub use self::record::ConsumerRecord;
use self::treatment::Batch;
pub use self::undecryptable::{
    DEFAULT_PATIENCE, Policy, Reason, Undecryptable, UndecryptableError,
};
use super::CLOSE_DEADLINE;
use crate::events::Events;
use crate::handles::{OpenFailure, Opener};

/// Maximum size in bytes of the records that wait for the application. At this size the consumer stops fetching. If
/// half of the buffer is not free again within half a second, the consumer pauses its partitions.
pub const MAX_BUFFERED_BYTES: usize = 32 << 20;

/// The topics, the group and the behaviour of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The consumer group.
    pub group: String,
    /// The topics to read. A regular expression selects neither side topics, which carry no messages, nor topics of
    /// parked records ([`Policy::Park`]).
    pub topics: Subscription,
    /// The position at which reading begins in a partition for which the group has no committed position.
    pub start: GroupStart,
    /// The partitions and the position to read without the group; `None` to join the group. With an assignment, the
    /// consumer ignores `group` and `start`, and commits no positions.
    pub assignment: Option<Assignment>,
    /// The treatment of records that cannot be opened.
    pub undecryptable: Undecryptable,
    /// Returns Kafka keys without opening them. This is needed for topics whose producers set
    /// [`ProducerOptions::plain_keys`](super::ProducerOptions::plain_keys).
    pub plain_keys: bool,
    /// Opens neither keys nor values: the application gets the bytes that the broker stores.
    pub plain: bool,
    /// Commits no positions. The application then does not have to acknowledge records.
    pub no_commit: bool,
    /// Leaves out the records of a partition before this offset, whatever their policy is.
    pub skip_until: BTreeMap<TopicPartition, i64>,
    /// Maximum number of threads that open records. They start when there is enough work for them. `None` selects one for
    /// each processor, at most eight.
    pub threads: Option<NonZero<usize>>,
}

/// The reason why a consumer could not join its group, or ended.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The broker or the Kafka client failed: the group could not be joined, or the consumer ended because trying again
    /// does not help.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
    /// The thread of the consumer could not be started.
    #[error("the consumer's thread cannot be started")]
    Thread(#[source] Arc<std::io::Error>),
    /// A record cannot be opened, and the policy for the reason is [`Policy::Fail`].
    #[error("{topic}[{partition}] offset {offset}: {failure}")]
    Foreign {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// The reason why the record was not opened.
        failure: OpenFailure,
    },
    /// A record that cannot be opened could not be sent to the topic for dead letters or parked records.
    #[error("{topic}[{partition}] offset {offset} cannot be sent to {to}")]
    DeadLetter {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// The topic for dead letters or parked records.
        to: String,
        /// The reason.
        #[source]
        error: BackendError,
    },
}

/// Reads and opens the records of a consumer group. The records of a partition are delivered in the order of their
/// offsets, and each record is delivered at least once.
///
/// A separate thread polls the broker, opens records and commits positions. The consumer therefore stays in its group
/// even if the application works on a record for a long time. The thread stops fetching when [`MAX_BUFFERED_BYTES`] of
/// records wait for the application. When [`MAX_ALL_WAITING_BYTES`] of records wait for data keys, the thread stops
/// fetching the partitions of these records. During an outage of the brokers the consumer tries again, and reports the
/// outage as an [event](crate::NodeEvent).
///
/// In each partition, the thread commits the position of the first record that is not
/// [acknowledged](ConsumerRecord::ack). A partition is paused when the application has taken
/// [`MAX_UNACKNOWLEDGED`](super::MAX_UNACKNOWLEDGED) records, counted from the first unacknowledged record. The
/// partition is resumed when that record is acknowledged.
#[derive(Debug)]
pub struct Consumer {
    batches: mpsc::UnboundedReceiver<Result<Batch, ConsumeError>>,
    /// The records of the current batch that the application has not taken. The whole batch counts as buffered until
    /// the application has taken its last record.
    batch: std::vec::IntoIter<ConsumerRecord>,
    batch_bytes: usize,
    seeks: mpsc::UnboundedSender<Seek>,
    control: Arc<Control>,
}

/// A request to continue at another offset of a partition.
#[derive(Debug)]
struct Seek {
    at: TopicPartition,
    offset: i64,
    done: oneshot::Sender<Result<(), BackendError>>,
}

/// State shared by a consumer, its thread, and the callers that close the consumer.
#[derive(Debug)]
pub(super) struct Control {
    /// The size in bytes of the records that wait for the application.
    buffered: AtomicUsize,
    /// Set while the thread waits for the application to take records.
    wants_room: AtomicBool,
    /// The number of records that wait for keys.
    waiting: AtomicUsize,
    /// The number of records that were left out, or sent to a topic for dead letters or parked records.
    left_out: AtomicU64,
    /// The number of records that the application has skipped.
    skipped: Arc<AtomicU64>,
    /// Wakes the thread when the application has taken records.
    wake: Notify,
    /// Set if the phase is not [`Phase::Running`].
    stopped: AtomicBool,
    phase: watch::Sender<Phase>,
}

/// The progress of closing a consumer.
#[derive(Clone, Debug)]
enum Phase {
    Running,
    /// The application gets no more records. It may still acknowledge records.
    Stopped,
    /// The thread commits the positions of acknowledged records, and leaves the group.
    Leaving {
        end: Instant,
    },
    /// The thread has left the group, with this result.
    Left(Result<(), BackendError>),
}

impl ConsumeError {
    fn of(at: &TopicPartition, offset: i64, failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::Closed => Self::Closed,
            failure => Self::Foreign {
                topic: at.topic.clone(),
                partition: at.partition,
                offset,
                failure,
            },
        }
    }
}

impl Consumer {
    /// Starts the consumer's thread, and waits until it has joined the group.
    pub(super) async fn join(
        backend: Arc<dyn Backend>,
        opener: Opener,
        options: ConsumerOptions,
        events: Events,
    ) -> Result<Self, ConsumeError> {
        let control = Arc::new(Control {
            buffered: AtomicUsize::new(0),
            wants_room: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            left_out: AtomicU64::new(0),
            skipped: Arc::default(),
            wake: Notify::new(),
            stopped: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Running),
        });
        let (sender, batches) = mpsc::unbounded_channel();
        let (seeks, sought) = mpsc::unbounded_channel();
        let (joins, joined) = oneshot::channel();
        let run = {
            let control = Arc::clone(&control);
            move || {
                let leaving = Leaving(&control);
                let runtime = match driver::runtime() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = joins.send(Err(ConsumeError::Thread(Arc::new(error))));
                        return;
                    }
                };
                let left = runtime.block_on(async {
                    let topics = options.topics.to_string();
                    let skipped = Arc::clone(&control.skipped);
                    let joining = inbox(backend.as_ref(), opener, options, skipped);
                    let (inbox, arrivals) = match joining.await {
                        Ok(joined) => joined,
                        Err(error) => {
                            let _ = joins.send(Err(error.into()));
                            return Ok(());
                        }
                    };
                    if joins.send(Ok(())).is_err() {
                        // The caller dropped the future of `join`.
                        control.begin_leaving(Instant::now() + CLOSE_DEADLINE);
                    }
                    let letters = Letters::new(backend, events.clone());
                    let driver =
                        Driver::new(inbox, letters, arrivals, topics, sender, &control, events);
                    driver.run(sought).await
                });
                runtime.shutdown_background();
                leaving.done(left);
            }
        };
        let thread = thread::Builder::new().name("kc-consumer".into()).spawn(run);
        thread.map_err(|error| ConsumeError::Thread(Arc::new(error)))?;
        joined.await.unwrap_or(Err(ConsumeError::Closed))?;
        Ok(Self {
            batches,
            batch: Vec::new().into_iter(),
            batch_bytes: 0,
            seeks,
            control,
        })
    }

    /// Waits for the next record and returns it. Returns `None` if the consumer or the node is closed, or if an earlier
    /// call returned an error.
    ///
    /// Cancel safe: no record is lost if the future is dropped, as `select!` does.
    ///
    /// # Errors
    /// Returns [`ConsumeError`] once, when the consumer has ended: the broker or the Kafka client failed and trying
    /// again does not help, a record cannot be opened and the policy is [`Policy::Fail`], or the node was closed
    /// while records were being opened. An outage of the brokers is not an error.
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ConsumeError>> {
        poll_fn(|context| self.poll_record(context)).await
    }

    /// Waits for the next record, and returns it together with the other records of the current batch, in the order of
    /// [`next`](Self::next).
    ///
    /// Cancel safe: no record is lost if the future is dropped.
    ///
    /// # Errors
    /// Returns the errors of [`next`](Self::next).
    pub async fn next_batch(&mut self) -> Option<Result<Vec<ConsumerRecord>, ConsumeError>> {
        let first = match self.next().await? {
            Ok(first) => first,
            Err(error) => return Some(Err(error)),
        };
        let mut batch = Vec::with_capacity(1 + self.batch.len());
        batch.push(first);
        batch.extend(self.batch.by_ref().filter(ConsumerRecord::take));
        Some(Ok(batch))
    }

    /// Returns a stream of the records. The stream ends when [`next`](Self::next) would return `None`. Dropping the
    /// stream loses no record.
    pub fn stream(&mut self) -> RecordStream<'_> {
        RecordStream(self)
    }

    /// Continues to read a partition at `offset`, and stores this position for the next commit, unless the consumer commits
    /// none. If the log does not contain the offset, reading continues at the first available record.
    /// [`next`](Self::next) returns no more records that were fetched from the partition before, and
    /// [acknowledging](ConsumerRecord::ack) these has no effect.
    ///
    /// With this call an application can pass over a record that cannot be opened, also after [`next`](Self::next) has
    /// returned an error: the next consumer of the group begins at the offset.
    ///
    /// Not cancel safe: if the future is dropped, reading may or may not continue at the offset.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of the kind `NotAssigned` if the partition is not assigned to this consumer, of the kind
    /// `Closed` if the consumer is closed, and of another kind if the Kafka client fails.
    pub async fn seek(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), BackendError> {
        let closed = || {
            let context = format!("continue at offset {offset} of {topic}[{partition}]");
            BackendError::new(BackendErrorKind::Closed, context)
        };
        let topic = topic.to_owned();
        let at = TopicPartition { topic, partition };
        let (done, sought) = oneshot::channel();
        let offset = offset.max(0);
        let seek = Seek { at, offset, done };
        if self.seeks.send(seek).is_err() {
            return Err(closed());
        }
        sought.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Returns the number of records that wait for keys: for their own key, or for the key of a record before them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.control.waiting.load(Ordering::Relaxed)
    }

    /// Returns the number of records that were left out by [`Policy::Skip`] or [`ConsumerRecord::skip`], or sent to a topic
    /// for dead letters or parked records.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let skipped = self.control.skipped.load(Ordering::Relaxed);
        self.control.left_out.load(Ordering::Relaxed) + skipped
    }

    /// Commits the positions of acknowledged records, and leaves the group. Takes at most 10.5 seconds. Unacknowledged
    /// records are delivered again to the group.
    ///
    /// Not cancel safe: if the future is dropped, the consumer leaves the group in the background, and the result is
    /// lost.
    ///
    /// # Errors
    /// Returns [`BackendError`] if committing or leaving failed, or took too long.
    pub async fn close(self) -> Result<(), BackendError> {
        self.close_within(CLOSE_DEADLINE).await
    }

    /// Closes the consumer as [`close`](Self::close) does. Takes at most half a second longer than `deadline`.
    ///
    /// Not cancel safe: if the future is dropped, the consumer leaves the group in the background, and the result is
    /// lost.
    ///
    /// # Errors
    /// Returns the errors of [`close`](Self::close).
    pub async fn close_within(self, deadline: Duration) -> Result<(), BackendError> {
        self.control.stop();
        self.control.leave(end_of(Instant::now(), deadline)).await
    }

    pub(super) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    fn poll_record(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<ConsumerRecord, ConsumeError>>> {
        loop {
            if self.control.is_stopped() {
                return Poll::Ready(None);
            }
            if let Some(record) = self.batch.next() {
                if record.take() {
                    return Poll::Ready(Some(Ok(record)));
                }
                continue;
            }
            self.control.release(std::mem::take(&mut self.batch_bytes));
            match self.batches.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => {
                    self.batches.close();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(Batch { records, bytes, .. }))) => {
                    self.batch = records.into_iter();
                    self.batch_bytes = bytes;
                }
            }
        }
    }
}

impl Drop for Consumer {
    /// Leaves the group in the background.
    fn drop(&mut self) {
        self.control.stop();
        self.control.begin_leaving(Instant::now() + CLOSE_DEADLINE);
    }
}

/// A stream of the records of a [`Consumer`]. [`Consumer::stream`] returns it.
#[derive(Debug)]
pub struct RecordStream<'c>(&'c mut Consumer);

impl Stream for RecordStream<'_> {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_record(context)
    }
}

impl Control {
    /// Makes [`Consumer::next`] return `None`. The consumer stays in its group.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.phase.send_if_modified(|phase| {
            let stops = matches!(phase, Phase::Running);
            if stops {
                *phase = Phase::Stopped;
            }
            stops
        });
    }

    fn begin_leaving(&self, end: Instant) {
        self.phase.send_if_modified(|phase| {
            let leaves = matches!(phase, Phase::Running | Phase::Stopped);
            if leaves {
                *phase = Phase::Leaving { end };
            }
            leaves
        });
    }

    /// Asks the thread to commit and to leave the group, and waits until it has done so.
    pub(super) async fn leave(&self, end: Instant) -> Result<(), BackendError> {
        self.begin_leaving(end);
        let mut phase = self.phase.subscribe();
        let left = phase
            .wait_for(|phase| matches!(phase, Phase::Left(_)))
            .await;
        match left.as_deref() {
            Ok(Phase::Left(left)) => left.clone(),
            // Unreachable: `self` holds the sender.
            _ => Ok(()),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.buffered.fetch_sub(bytes, Ordering::AcqRel);
            if self.wants_room.swap(false, Ordering::AcqRel) {
                self.wake.notify_one();
            }
        }
    }
}

/// Sets [`Phase::Left`] when the consumer's thread ends, even if the thread panics.
struct Leaving<'c>(&'c Control);

impl Leaving<'_> {
    fn done(self, left: Result<(), BackendError>) {
        self.0.phase.send_replace(Phase::Left(left));
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.phase.send_if_modified(|phase| {
            let left = matches!(phase, Phase::Left(_));
            if !left {
                *phase = Phase::Left(Err(BackendError::new(
                    BackendErrorKind::Closed,
                    "leave the group",
                )));
            }
            !left
        });
    }
}

async fn inbox(
    backend: &dyn Backend,
    opener: Opener,
    options: ConsumerOptions,
    skipped: Arc<AtomicU64>,
) -> Result<(Inbox, watch::Receiver<u64>), BackendError> {
    let scheme = Arc::clone(&opener.tables().scheme);
    let opener = if options.topics.is_open() {
        for entry in scheme.copies.with_groups() {
            tracing::warn!(
                target: "kc::consumer", entry,
                "entry of root_topics applies only to topics that are subscribed by name"
            );
        }
        opener.for_named(options.topics.names().iter().map(String::as_str))
    } else {
        opener
    };
    let letters = options.undecryptable.dead_letter_topics();
    if let Some(topic) = letters
        .iter()
        .find(|topic| options.topics.names().contains(*topic) || !scheme.is_data_topic(topic))
    {
        let context = format!(
            "{topic} cannot be the topic for dead letters: it is a topic of the consumer, a side topic, or a topic of parked records"
        );
        return Err(BackendError::new(BackendErrorKind::Configuration, context));
    }
    let parking = if options.undecryptable.parks() && !options.plain {
        Some(Parking::start(backend, &options, Arc::clone(opener.scheme())).await?)
    } else {
        None
    };
    let topics = options.topics.clone();
    let topics =
        topics.except(move |topic| !scheme.is_data_topic(topic) || letters.contains(topic));
    let topics = match &parking {
        Some(parking) => parking.subscribe(topics),
        None => topics,
    };
    let consumer = match options.assignment {
        Some(assignment) => assignment.read(backend, &topics).await?,
        None => {
            let joining = backend.group_consumer(&options.group, &topics, options.start);
            joining.await?
        }
    };
    let arrivals = opener.tables().arrivals();
    let opener = (!options.plain).then_some(opener);
    let inbox = Inbox::new(consumer, opener, options, parking, skipped);
    Ok((inbox, arrivals))
}

#[cfg(test)]
mod tests;
