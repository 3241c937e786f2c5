use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kc_core::backend::{Backend, BackendError, OutgoingRecord, Producer};
use kc_core::text::with_sources;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::ConsumeError;
use super::inbox::Letter;
use super::record::ConsumerRecord;

/// Number of records that are being sent at which the consumer opens no more records.
const MAX_SENDING: usize = 1024;

/// Time to wait before a record is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Deadline for closing the producer after its last record was acknowledged.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Sends records that were not opened to topics for dead letters. A record is acknowledged when the broker has
/// acknowledged it in that topic, so that none is lost if the process ends before.
#[derive(Debug)]
pub(super) struct Letters {
    backend: Arc<dyn Backend>,
    /// Started when the first record must be sent.
    sender: Option<Sender>,
}

/// A task that sends records in their order.
#[derive(Debug)]
struct Sender {
    queue: mpsc::UnboundedSender<Letter>,
    queued: usize,
    /// The number of records that were sent.
    sent: watch::Receiver<usize>,
    task: JoinHandle<Result<(), ConsumeError>>,
}

impl Letters {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            sender: None,
        }
    }

    /// Queues records.
    pub(super) fn queue(&mut self, letters: Vec<Letter>) {
        if letters.is_empty() {
            return;
        }
        let backend = &self.backend;
        let sender = self
            .sender
            .get_or_insert_with(|| Sender::start(Arc::clone(backend)));
        for letter in letters {
            sender.queued += 1;
            // If the task has failed, `check` returns the failure.
            let _ = sender.queue.send(letter);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        let sender = self.sender.as_ref();
        sender.is_some_and(|sender| sender.queued - *sender.sent.borrow() >= MAX_SENDING)
    }

    /// Returns the failure that ended the sending, if there is one.
    pub(super) fn check(&mut self) -> Result<(), ConsumeError> {
        match &mut self.sender {
            Some(sender) if sender.task.is_finished() => {
                let ended = (&mut sender.task).now_or_never();
                self.sender = None;
                ended.and_then(Result::ok).unwrap_or(Ok(()))
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
            tracing::warn!(target: "kc::consumer", "dead letters not sent in time: the group gets their records again");
            task.abort();
        }
    }
}

impl Sender {
    fn start(backend: Arc<dyn Backend>) -> Self {
        let (queue, letters) = mpsc::unbounded_channel();
        let (sent, seen) = watch::channel(0);
        Self {
            queue,
            queued: 0,
            sent: seen,
            task: tokio::spawn(run(backend, letters, sent)),
        }
    }
}

/// Sends records until the queue is closed and all records have been sent.
async fn run(
    backend: Arc<dyn Backend>,
    mut letters: mpsc::UnboundedReceiver<Letter>,
    sent: watch::Sender<usize>,
) -> Result<(), ConsumeError> {
    let mut producer: Option<Arc<dyn Producer>> = None;
    let mut sending = JoinSet::new();
    let mut is_open = true;
    while is_open || !sending.is_empty() {
        tokio::select! {
            letter = letters.recv(), if is_open => {
                let Some(Letter { record, source }) = letter else {
                    is_open = false;
                    continue;
                };
                let producer = match &producer {
                    Some(producer) => producer,
                    None => producer.insert(connect(&*backend, &record, &source).await?),
                };
                let first = producer.enqueue(record.clone()).await;
                let again = Arc::clone(producer);
                sending.spawn(async move {
                    let mut attempt = first;
                    loop {
                        let delivered = match attempt {
                            Ok(delivery) => delivery.await.map(drop),
                            Err(error) => Err(error),
                        };
                        match delivered {
                            Ok(()) => break,
                            Err(error) if error.is_retriable() => wait_after(&error, &record).await,
                            Err(error) => return Err(failed(&record, &source, error)),
                        }
                        attempt = again.enqueue(record.clone()).await;
                    }
                    source.ack();
                    Ok(())
                });
            }
            Some(delivered) = sending.join_next() => {
                delivered.unwrap_or(Ok(()))?;
                sent.send_modify(|sent| *sent += 1);
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
) -> Result<Arc<dyn Producer>, ConsumeError> {
    loop {
        match backend.producer().await {
            Ok(producer) => return Ok(producer.into()),
            Err(error) if error.is_retriable() => wait_after(&error, record).await,
            Err(error) => return Err(failed(record, source, error)),
        }
    }
}

async fn wait_after(error: &BackendError, record: &OutgoingRecord) {
    tracing::debug!(
        target: "kc::consumer", topic = record.topic, error = %with_sources(error), "dead letter not sent yet"
    );
    sleep(RETRY_DELAY).await;
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
