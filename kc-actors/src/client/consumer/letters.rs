use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use kc_core::backend::{Backend, BackendError, BackendErrorKind, OutgoingRecord, Producer};
use kc_core::text::with_sources;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::ConsumeError;
use super::backlog::size_of_content;
use super::parking;
use super::record::ConsumerRecord;
use super::treatment::Letter;
use crate::events::{Events, NodeEvent};

/// Number of records that are being sent at which the consumer opens no more records.
const MAX_SENDING: usize = 1024;

/// Size in bytes of the records that are being sent at which the consumer opens no more records.
const MAX_SENDING_BYTES: usize = 16 << 20;

/// Time to wait before a record is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Deadline for closing the producer after its last record was acknowledged.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Sends records that were not opened to topics for dead letters and parked records. A record is acknowledged when the broker has
/// acknowledged it in that topic, so that none is lost if the process ends before. Records are sent in their order, but a
/// record that must be sent again can come behind later ones.
#[derive(Debug)]
pub(super) struct Letters {
    backend: Arc<dyn Backend>,
    events: Events,
    /// Started when the first record must be sent.
    sender: Option<Sender>,
}

/// A task that sends records.
#[derive(Debug)]
struct Sender {
    queue: mpsc::UnboundedSender<Letter>,
    queued: Amount,
    /// The records that were sent.
    sent: watch::Receiver<Amount>,
    task: JoinHandle<Result<(), ConsumeError>>,
}

/// A number of records, and their size in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    records: usize,
    bytes: usize,
}

impl Amount {
    fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }
}

impl Letters {
    pub(super) fn new(backend: Arc<dyn Backend>, events: Events) -> Self {
        Self {
            backend,
            events,
            sender: None,
        }
    }

    /// Queues records.
    pub(super) fn queue(&mut self, letters: Vec<Letter>) {
        if letters.is_empty() {
            return;
        }
        let start = || Sender::start(Arc::clone(&self.backend), self.events.clone());
        let sender = self.sender.get_or_insert_with(start);
        for letter in letters {
            letter.source.take();
            sender.queued.add(size(&letter.record));
            // If the task has failed, `check` returns the failure.
            let _ = sender.queue.send(letter);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        let sender = self.sender.as_ref();
        sender.is_some_and(|Sender { queued, sent, .. }| {
            let sent = *sent.borrow();
            queued.records - sent.records >= MAX_SENDING
                || queued.bytes - sent.bytes >= MAX_SENDING_BYTES
        })
    }

    /// Returns the failure that ended the sending, if there is one.
    pub(super) fn check(&mut self) -> Result<(), ConsumeError> {
        match &mut self.sender {
            Some(sender) if sender.task.is_finished() => {
                // `None` if the runtime wants the thread for other tasks first.
                let Some(ended) = (&mut sender.task).now_or_never() else {
                    return Ok(());
                };
                self.sender = None;
                ended.unwrap_or_else(|error| Err(broken(error)))
            }
            _ => Ok(()),
        }
    }

    /// Waits until a record has been sent, or sending has failed. Cancel safe.
    pub(super) async fn progress(&mut self) {
        if let Some(sender) = &mut self.sender {
            // Fails when the task has ended.
            let _ = sender.sent.changed().await;
        }
    }

    /// Waits until the queued records have been sent, but at most for `deadline`. The rest stays unacknowledged.
    pub(super) async fn close(self, deadline: Duration) {
        let Some(Sender {
            queue, mut task, ..
        }) = self.sender
        else {
            return;
        };
        drop(queue);
        if timeout(deadline, &mut task).await.is_err() {
            tracing::warn!(target: "kc::consumer", "dead letters or parked records not sent in time: the group gets them again");
            task.abort();
        }
    }
}

impl Sender {
    fn start(backend: Arc<dyn Backend>, events: Events) -> Self {
        let (queue, letters) = mpsc::unbounded_channel();
        let (sent, seen) = watch::channel(Amount::default());
        Self {
            queue,
            queued: Amount::default(),
            sent: seen,
            task: tokio::spawn(run(backend, letters, sent, events)),
        }
    }
}

/// Sends records until the queue is closed and all records have been sent.
async fn run(
    backend: Arc<dyn Backend>,
    mut letters: mpsc::UnboundedReceiver<Letter>,
    sent: watch::Sender<Amount>,
    events: Events,
) -> Result<(), ConsumeError> {
    let mut producer: Option<Arc<dyn Producer>> = None;
    // The numbers of partitions of topics of parked records.
    let mut counts = HashMap::new();
    let mut sending = JoinSet::new();
    let mut is_open = true;
    let outage = Arc::new(Outage::new(events));
    while is_open || !sending.is_empty() {
        tokio::select! {
            letter = letters.recv(), if is_open => {
                let Some(Letter { mut record, source, parks }) = letter else {
                    is_open = false;
                    continue;
                };
                if parks {
                    let count = match counts.get(&record.topic) {
                        Some(count) => *count,
                        None => {
                            let counting = partitions(&*backend, &record, &source, &outage);
                            *counts.entry(record.topic.clone()).or_insert(counting.await?)
                        }
                    };
                    // The records of a partition stay in one partition, so that they keep their order.
                    record.partition = Some(source.partition().rem_euclid(count));
                }
                let producer = match &producer {
                    Some(producer) => producer,
                    None => producer.insert(connect(&*backend, &record, &source, &outage).await?),
                };
                let first = producer.enqueue(record.clone()).await;
                let (sender, outage) = (Arc::clone(producer), Arc::clone(&outage));
                sending.spawn(async move {
                    let mut attempt = first;
                    loop {
                        let delivered = match attempt {
                            Ok(delivery) => delivery.await.map(drop),
                            Err(error) => Err(error),
                        };
                        match delivered {
                            Ok(()) => break,
                            Err(error) if error.is_retriable() => outage.wait(&error, &record).await,
                            Err(error) => return Err(failed(&record, &source, error)),
                        }
                        attempt = sender.enqueue(record.clone()).await;
                    }
                    outage.end();
                    source.ack();
                    Ok(size(&record))
                });
            }
            Some(delivered) = sending.join_next() => {
                let bytes = delivered.unwrap_or_else(|error| Err(broken(error)))?;
                sent.send_modify(|sent| sent.add(bytes));
            }
        }
    }
    if let Some(producer) = producer {
        // All records have been acknowledged.
        let _ = producer.flush(CLOSE_DEADLINE).await;
    }
    Ok(())
}

/// Connects a producer. Tries again after each failure that may pass.
async fn connect(
    backend: &dyn Backend,
    record: &OutgoingRecord,
    source: &ConsumerRecord,
    outage: &Outage,
) -> Result<Arc<dyn Producer>, ConsumeError> {
    let connecting = || backend.producer();
    let producer = again(connecting, record, source, outage).await?;
    Ok(producer.into())
}

/// Returns the number of partitions of the topic of parked records of `record`. Creates the topic if it does not exist.
/// Tries again after each failure that may pass.
async fn partitions(
    backend: &dyn Backend,
    record: &OutgoingRecord,
    source: &ConsumerRecord,
    outage: &Outage,
) -> Result<i32, ConsumeError> {
    let counting = || parking::partitions(backend, &record.topic);
    again(counting, record, source, outage).await
}

/// Repeats an operation until it succeeds, or fails in a way that does not pass.
async fn again<T, F: Future<Output = Result<T, BackendError>>>(
    operation: impl Fn() -> F,
    record: &OutgoingRecord,
    source: &ConsumerRecord,
    outage: &Outage,
) -> Result<T, ConsumeError> {
    loop {
        match operation().await {
            Ok(done) => return Ok(done),
            Err(error) if error.is_retriable() => outage.wait(&error, record).await,
            Err(error) => return Err(failed(record, source, error)),
        }
    }
}

/// Reports that records cannot be sent, once for each outage.
#[derive(Debug)]
struct Outage {
    events: Events,
    since: Mutex<Option<Instant>>,
}

impl Outage {
    fn new(events: Events) -> Self {
        Self {
            events,
            since: Mutex::new(None),
        }
    }

    /// Reports a failure, and waits before the next attempt.
    async fn wait(&self, error: &BackendError, record: &OutgoingRecord) {
        let is_new = {
            let mut since = self.since();
            let is_new = since.is_none();
            since.get_or_insert_with(Instant::now);
            is_new
        };
        if is_new {
            let reason = with_sources(error);
            tracing::warn!(
                target: "kc::outage", topic = record.topic, reason, "dead letters or parked records cannot be sent; consumer tries again"
            );
            self.events
                .tell(NodeEvent::ProducerFails { queued: 1, reason });
        }
        sleep(RETRY_DELAY).await;
    }

    /// Records that a record was sent.
    fn end(&self) {
        if let Some(since) = self.since().take() {
            let after = since.elapsed();
            tracing::info!(target: "kc::outage", ?after, "dead letters and parked records are sent again");
            self.events.tell(NodeEvent::ProducerWorks { after });
        }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(record: &OutgoingRecord) -> usize {
    size_of_content(
        record.key.as_deref(),
        record.value.as_deref(),
        &record.headers,
    )
}

/// Returns the error of a task that panicked or was aborted.
fn broken(error: JoinError) -> ConsumeError {
    let context = "send dead letters and parked records";
    BackendError::new(BackendErrorKind::Other, context)
        .with_source(error)
        .into()
}

fn failed(record: &OutgoingRecord, source: &ConsumerRecord, error: BackendError) -> ConsumeError {
    ConsumeError::DeadLetter {
        topic: source.topic().to_owned(),
        partition: source.partition(),
        offset: source.offset(),
        to: record.topic.clone(),
        error,
    }
}
