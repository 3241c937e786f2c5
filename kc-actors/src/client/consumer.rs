mod driver;
mod inbox;
mod parked;
mod record;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, GroupStart, Record, Subscription, end_of,
};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use self::driver::Driver;
use self::inbox::{Batch, Inbox};
pub use self::parked::{MAX_ALL_PARKED_BYTES, MAX_PARKED_BYTES, MAX_PARKED_RECORDS};
pub use self::record::ConsumerRecord;
use super::CLOSE_DEADLINE;
use crate::events::Events;
use crate::handles::{OpenFailure, Opener};

/// How many bytes of records wait for the application; beyond, none are handed out, and soon partitions are paused.
pub const MAX_BUFFERED_BYTES: usize = 32 << 20;

/// What to do with a record that is not sealed, or that no key opens: it may have been slipped into the topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForeignPolicy {
    /// Ends the consumer there with an error; nothing is committed past the record.
    #[default]
    Fail,
    /// Leaves the record out.
    Skip,
    /// Hands the record out as it is, with the [reason](ConsumerRecord::failure).
    Deliver,
}

/// What a consumer reads, and how.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The consumer group.
    pub group: String,
    /// The topics. Side topics carry no messages: they are left out of what regular expressions match.
    pub topics: Subscription,
    /// Where a group without a committed position starts.
    pub start: GroupStart,
    /// What to do with records that are not sealed.
    pub policy: ForeignPolicy,
    /// Takes Kafka keys as they are: for topics whose producers leave them so, see
    /// [`ProducerOptions::plain_keys`](super::ProducerOptions::plain_keys).
    pub plain_keys: bool,
    /// Opens nothing: keys and values are as the broker holds them.
    pub plain: bool,
    /// Commits nothing, so that records need not be acknowledged.
    pub no_commit: bool,
}

/// Why a consumer ended.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The broker, for a reason that only a person can change.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
    /// The thread of the consumer could not be started.
    #[error("the consumer's thread does not start")]
    Thread(#[source] Arc<std::io::Error>),
    /// A record that is not sealed, or that no key opens.
    #[error("{topic}[{partition}] offset {offset}: {failure}")]
    Foreign {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// Why it was not opened.
        failure: OpenFailure,
    },
}

/// Reads and opens the records of a consumer group: in order for each partition, at least once.
///
/// A thread of its own polls, opens and commits, so that the consumer stays in its group however long the application
/// works on a record; up to [`MAX_BUFFERED_BYTES`] are read ahead. Outages of brokers are waited for, and reported as
/// [events](crate::NodeEvent).
///
/// Positions are committed in the background, up to the first record that is not
/// [acknowledged](ConsumerRecord::ack). One that stays so holds its partition back once
/// [`MAX_UNACKNOWLEDGED`](super::MAX_UNACKNOWLEDGED) records were taken from there on.
#[derive(Debug)]
pub struct Consumer {
    batches: mpsc::UnboundedReceiver<Result<Batch, ConsumeError>>,
    /// What is left of the last batch, whose size counts as buffered until all of it is taken.
    batch: std::vec::IntoIter<ConsumerRecord>,
    batch_bytes: usize,
    control: Arc<Control>,
}

/// What a consumer, its thread, and those who close it share.
#[derive(Debug)]
pub(super) struct Control {
    /// The bytes of records that wait for the application.
    buffered: AtomicUsize,
    /// Whether the thread waits for less to be buffered.
    wants_room: AtomicBool,
    /// How many records wait for keys.
    waiting: AtomicUsize,
    /// Wakes the thread once there is.
    wake: Notify,
    /// Whether the phase is another than [`Phase::Running`].
    stopped: AtomicBool,
    phase: watch::Sender<Phase>,
}

/// How far closing is.
#[derive(Clone, Debug)]
enum Phase {
    Running,
    /// Nothing is handed out any more; records may be acknowledged.
    Stopped,
    /// What is acknowledged is to be committed, and the group left.
    Leaving {
        end: Instant,
    },
    /// The group is left.
    Left(Result<(), BackendError>),
}

impl ConsumeError {
    fn of(record: &Record, failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::Closed => Self::Closed,
            failure => Self::Foreign {
                topic: record.topic.clone(),
                partition: record.partition,
                offset: record.offset,
                failure,
            },
        }
    }
}

impl Consumer {
    /// Joins the group.
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
            wake: Notify::new(),
            stopped: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Running),
        });
        let (sender, batches) = mpsc::unbounded_channel();
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
                    let (inbox, arrivals) = match inbox(backend.as_ref(), opener, options).await {
                        Ok(joined) => joined,
                        Err(error) => {
                            let _ = joins.send(Err(error.into()));
                            return Ok(());
                        }
                    };
                    if joins.send(Ok(())).is_err() {
                        // Joining was given up.
                        control.begin_leaving(Instant::now() + CLOSE_DEADLINE);
                    }
                    let driver = Driver::new(inbox, arrivals, topics, sender, &control, events);
                    driver.run().await
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
            control,
        })
    }

    /// Waits for the next record. `None` once the consumer or the node is closed, and after an error.
    ///
    /// Cancel safe: dropping the future, as `select!` does, loses no record.
    ///
    /// # Errors
    /// [`ConsumeError`], once: the consumer has ended then. Outages are no errors.
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ConsumeError>> {
        poll_fn(|context| self.poll_record(context)).await
    }

    /// Waits for the next records: all that are left of those that came together, in the order of
    /// [`next`](Self::next). Never empty.
    ///
    /// Cancel safe, as `next` is.
    ///
    /// # Errors
    /// As [`next`](Self::next).
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

    /// Returns the records as a stream, which ends where [`next`](Self::next) gives `None`. Dropping it loses none.
    pub fn stream(&mut self) -> RecordStream<'_> {
        RecordStream(self)
    }

    /// Returns how many records wait for keys: their own, or those of records before them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.control.waiting.load(Ordering::Relaxed)
    }

    /// Commits what is acknowledged, and leaves the group. Takes at most ten seconds. What was not acknowledged comes
    /// again.
    ///
    /// If the future is dropped, the consumer goes on leaving in the background.
    ///
    /// # Errors
    /// [`BackendError`] if the commit failed.
    pub async fn close(self) -> Result<(), BackendError> {
        self.close_within(CLOSE_DEADLINE).await
    }

    /// As [`close`](Self::close), within `deadline`.
    ///
    /// # Errors
    /// As [`close`](Self::close).
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

/// The records of a [`Consumer`]: [`Consumer::stream`].
#[derive(Debug)]
pub struct RecordStream<'c>(&'c mut Consumer);

impl Stream for RecordStream<'_> {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_record(context)
    }
}

impl Control {
    /// Ends what [`Consumer::next`] gives.
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

    /// Commits what is acknowledged, and leaves the group.
    pub(super) async fn leave(&self, end: Instant) -> Result<(), BackendError> {
        self.begin_leaving(end);
        let mut phase = self.phase.subscribe();
        let left = phase
            .wait_for(|phase| matches!(phase, Phase::Left(_)))
            .await;
        match left.as_deref() {
            Ok(Phase::Left(left)) => left.clone(),
            // The sender is here.
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

/// Says that the group is left when the thread ends, however it does.
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
) -> Result<(Inbox, watch::Receiver<u64>), BackendError> {
    let scheme = opener.tables().scheme.clone();
    let topics = options
        .topics
        .clone()
        .except(move |topic| scheme.parse_side_topic(topic).is_some());
    let consumer = backend
        .group_consumer(&options.group, &topics, options.start)
        .await?;
    let arrivals = opener.tables().arrivals();
    let opener = (!options.plain).then_some(opener);
    let inbox = Inbox::new(consumer, opener, options);
    Ok((inbox, arrivals))
}

#[cfg(test)]
mod tests;
