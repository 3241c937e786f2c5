//! The producer. It keeps the order of records. Each record is acknowledged by all in-sync replicas.

mod partitioner;
mod queues;
mod sender;

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, DeliveryFuture, OutgoingRecord, Producer,
    Progress, ProgressCounter, unsupported,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::{NAME, OTHER_BACKENDS};
use queues::Queued;
use sender::{Message, Sender};

/// The number of bytes that a record needs in a request in addition to its key and its value.
const OVERHEAD: usize = 26;

/// The time for which a delivery is awaited after its deadline. At the deadline the sender returns an error of its own,
/// which is more precise than a timeout.
const GRACE: Duration = Duration::from_millis(500);

pub(super) struct LegacyProducer {
    settings: Arc<ClientSettings>,
    sender: mpsc::Sender<Message>,
    /// The free memory of the queue. Each permit is one byte.
    memory: Arc<Semaphore>,
    counter: Arc<ProgressCounter>,
}

impl LegacyProducer {
    pub(super) async fn connect(settings: &Arc<ClientSettings>) -> Result<Self, BackendError> {
        let context = || format!("connect producer to {}", settings.bootstrap_servers);
        let (messages, inbox) = mpsc::channel();
        let (reply, connected) = oneshot::channel();
        let sender = Sender::new(Arc::clone(settings), inbox);
        thread::Builder::new()
            .name("kc-legacy producer".to_owned())
            .spawn(move || sender.run(reply))
            .map_err(|error| {
                BackendError::new(BackendErrorKind::Other, context()).with_source(error)
            })?;
        answer(settings.request_timeout, connected, &context)
            .await
            .map_err(|error| match error.kind() {
                BackendErrorKind::Timeout => {
                    BackendError::new(BackendErrorKind::Unreachable, context()).with_source(error)
                }
                _ => error,
            })?;
        Ok(Self {
            settings: Arc::clone(settings),
            sender: messages,
            memory: Arc::new(Semaphore::new(settings.buffer_memory)),
            counter: Arc::default(),
        })
    }

    fn check(&self, record: &OutgoingRecord) -> Result<usize, BackendError> {
        if !record.headers.is_empty() {
            let what = format!("send a record with headers to topic {}", record.topic);
            return Err(unsupported(NAME, what, OTHER_BACKENDS));
        }
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let size = OVERHEAD + length(&record.key) + length(&record.value);
        let limit = self.settings.max_request_size;
        if size > limit {
            let topic = &record.topic;
            let context = format!(
                "send to topic {topic}: the record needs {size} bytes, but `max_request_size` is {limit}"
            );
            return Err(BackendError::new(BackendErrorKind::RecordTooLarge, context));
        }
        Ok(size)
    }
}

#[async_trait]
impl Producer for LegacyProducer {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        let size = self.check(&record)?;
        let context = format!("send to topic {}", record.topic);
        let permits = u32::try_from(size.min(self.settings.buffer_memory)).unwrap_or(u32::MAX);
        let waiting = Arc::clone(&self.memory).acquire_many_owned(permits);
        let memory = timeout(self.settings.max_block, waiting)
            .await
            .map_err(|elapsed| {
                let context = format!("{context}: the queue is full");
                BackendError::new(BackendErrorKind::Timeout, context).with_source(elapsed)
            })?
            .map_err(|closed| closed_before(&context).with_source(closed))?;
        let (reply, delivery) = oneshot::channel();
        let queued = Queued::new(record, size, memory, Arc::clone(&self.counter), reply);
        let end = Instant::from_std(queued.since) + self.settings.delivery_timeout + GRACE;
        self.sender
            .send(Message::Send(queued))
            .map_err(|_| closed_before(&context))?;
        Ok(Box::pin(async move {
            match timeout_at(end, delivery).await {
                Ok(Ok(result)) => result,
                Ok(Err(ended)) => Err(closed_before(&context).with_source(ended)),
                Err(elapsed) => {
                    Err(BackendError::new(BackendErrorKind::Timeout, context).with_source(elapsed))
                }
            }
        }))
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.counter.progress())
    }

    async fn flush(&self, deadline: Duration) -> Result<(), BackendError> {
        let (reply, flushed) = oneshot::channel();
        self.sender
            .send(Message::Flush(reply))
            .map_err(|_| closed_before("flush"))?;
        answer(deadline, flushed, &|| "flush".to_owned()).await
    }

    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.flush(deadline).await
    }
}

async fn answer(
    deadline: Duration,
    answer: oneshot::Receiver<Result<(), BackendError>>,
    context: &(dyn Fn() -> String + Sync),
) -> Result<(), BackendError> {
    match timeout(deadline, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(ended)) => Err(closed_before(context()).with_source(ended)),
        Err(elapsed) => {
            Err(BackendError::new(BackendErrorKind::Timeout, context()).with_source(elapsed))
        }
    }
}

fn closed_before(context: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Closed, context)
}

impl fmt::Debug for LegacyProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacyProducer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use kc_core::backend::Header;

    use super::*;

    fn producer() -> LegacyProducer {
        let pairs = [("bootstrap_servers", "x:1"), ("max_request_size", "100")];
        let settings = Arc::new(ClientSettings::parse(pairs).unwrap());
        LegacyProducer {
            memory: Arc::new(Semaphore::new(settings.buffer_memory)),
            counter: Arc::default(),
            settings,
            sender: mpsc::channel().0,
        }
    }

    fn record(length: usize) -> OutgoingRecord {
        OutgoingRecord {
            topic: "t".to_owned(),
            value: Some(vec![0; length]),
            ..OutgoingRecord::default()
        }
    }

    #[test]
    fn headers_and_large_records_are_refused_before_they_are_queued() {
        let producer = producer();
        assert_eq!(producer.check(&record(74)).unwrap(), 100);
        let error = producer.check(&record(75)).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::RecordTooLarge);

        let mut with_header = record(1);
        with_header.headers.push(Header {
            name: "h".to_owned(),
            value: None,
        });
        let error = producer.check(&with_header).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Unsupported);
        assert!(error.to_string().contains("headers"), "{error}");
    }

    #[tokio::test]
    async fn a_sender_that_has_ended_is_told() {
        let producer = producer();
        let error = producer.enqueue(record(1)).await.err().unwrap();
        assert_eq!(error.kind(), BackendErrorKind::Closed);
        let error = producer.flush(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Closed);
    }
}
