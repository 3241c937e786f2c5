//! The producer. It sends idempotently and keeps the order of records. Each record is acknowledged by all in-sync
//! replicas.

mod deliveries;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, DeliveryFuture, OutgoingRecord, Producer,
    Progress, end_of,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::{self, Role};
use crate::connection::await_broker;
use crate::error::code;
use crate::lookup::{self, LOOK_TIMEOUT};
use crate::record::{check_name, outgoing_headers, size};
use crate::worker::{Worker, retire};
use deliveries::{Deliveries, Queued};

/// The time between two attempts to add a record to a full queue.
const FULL_QUEUE_POLL: Duration = Duration::from_millis(5);

/// The time between two lookups of a missing topic.
const MISSING_TOPIC_POLL: Duration = Duration::from_millis(100);

type Native = ThreadedProducer<Deliveries>;

type NativeRecord<'a> = BaseRecord<'a, [u8], [u8], Box<Queued>>;

pub(crate) struct RdkafkaProducer {
    // Declared before the worker, so that the last reference is dropped by the worker's thread, which may block.
    native: Native,
    worker: Worker<Native>,
    /// A lock for each topic that was looked up. The lock keeps the order of the records that wait for a lookup.
    checks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    max_block: Duration,
    max_request_size: usize,
}

impl RdkafkaProducer {
    pub(crate) async fn connect(settings: Arc<ClientSettings>) -> Result<Self, BackendError> {
        let max_block = settings.max_block;
        let max_request_size = settings.max_request_size;
        let worker = Worker::start("kc producer", move || connect(&settings)).await?;
        let share = |native: &mut Native| native.clone();
        let native = worker.call(max_block, "connect producer", share).await?;
        Ok(Self {
            native,
            worker,
            checks: Mutex::default(),
            max_block,
            max_request_size,
        })
    }

    fn deliveries(&self) -> &Deliveries {
        self.native.client().context()
    }

    /// Asks a broker for the number of a topic's partitions; 0 if the topic does not exist.
    async fn look(
        &self,
        topic: &str,
        context: &str,
        deadline: Duration,
    ) -> Result<usize, BackendError> {
        let topic = topic.to_owned();
        let look = move |native: &mut Native| {
            let end = std::time::Instant::now() + deadline;
            lookup::partitions(native.client(), &topic, end)
        };
        let found = self.worker.call(deadline, context, look).await??;
        Ok(found.len())
    }

    /// Waits until a topic exists, but at most until `end`.
    ///
    /// # Errors
    /// Returns `UnknownTopic` or the error of the last lookup if the topic has not been found at `end`. Returns at once
    /// any other error that is not retriable.
    async fn look_for(&self, topic: &str, context: &str, end: Instant) -> Result<(), BackendError> {
        loop {
            let deadline = left(end).min(LOOK_TIMEOUT);
            let error = match self.look(topic, context, deadline).await {
                Ok(partitions) => {
                    self.deliveries().learn(topic, partitions > 0);
                    if partitions > 0 {
                        return Ok(());
                    }
                    BackendError::new(BackendErrorKind::UnknownTopic, context)
                }
                Err(error) => match self.deliveries().events.explain(error) {
                    error if error.kind() == BackendErrorKind::Timeout => {
                        self.not_found(topic, context).with_source(error)
                    }
                    error => error,
                },
            };
            let can_pass = error.is_retriable() || error.kind() == BackendErrorKind::UnknownTopic;
            if !can_pass || Instant::now() + MISSING_TOPIC_POLL >= end {
                return Err(error);
            }
            tokio::time::sleep(MISSING_TOPIC_POLL).await;
        }
    }

    /// Returns the error of a topic that was not found in time: `UnknownTopic` if a broker answered that the topic does
    /// not exist, otherwise `Timeout`.
    fn not_found(&self, topic: &str, context: &str) -> BackendError {
        let kind = match self.deliveries().knows(topic) {
            Some(false) => BackendErrorKind::UnknownTopic,
            _ => BackendErrorKind::Timeout,
        };
        BackendError::new(kind, context)
    }

    /// Adds a record to the queue. Waits while the queue is full, but at most until `end`.
    ///
    /// # Errors
    /// Returns `Timeout`, or the cause that librdkafka reported, if the queue is still full at `end`; and another error
    /// if librdkafka refuses the record.
    async fn queue(&self, mut record: NativeRecord<'_>, end: Instant) -> Result<(), BackendError> {
        loop {
            let (error, rejected) = match self.try_to_queue(record) {
                Ok(()) => return Ok(()),
                Err(rejected) => rejected,
            };
            if code(&error) != Some(Code::QueueFull) {
                let error = self.deliveries().error(rejected.topic, error);
                return Err(self.unless_dead(error));
            }
            if Instant::now() + FULL_QUEUE_POLL >= end {
                let context = format!("send to topic {}: the queue is full", rejected.topic);
                let timeout = BackendError::new(BackendErrorKind::Timeout, context);
                return Err(self.deliveries().events.explain(timeout));
            }
            record = rejected;
            tokio::time::sleep(FULL_QUEUE_POLL).await;
        }
    }

    /// Returns `error`, unless the producer has had a fatal error. In that case, returns an error of the kind `Closed`,
    /// because librdkafka accepts no more records after a fatal error.
    fn unless_dead(&self, error: BackendError) -> BackendError {
        match self.native.client().fatal_error() {
            Some((_, reason)) => {
                BackendError::new(BackendErrorKind::Closed, error.context()).with_source(reason)
            }
            None => error,
        }
    }

    #[allow(clippy::result_large_err, reason = "the crate's own type")]
    fn try_to_queue<'a>(
        &self,
        mut record: NativeRecord<'a>,
    ) -> Result<(), (KafkaError, NativeRecord<'a>)> {
        self.deliveries().queued(&mut record.delivery_opaque);
        let queued = self.native.send(record);
        if let Err((_, rejected)) = &queued {
            self.deliveries().not_queued(&rejected.delivery_opaque);
        }
        queued
    }

    fn check_of(&self, topic: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(checks.entry(topic.to_owned()).or_default())
    }
}

fn connect(settings: &ClientSettings) -> Result<Native, BackendError> {
    let native: Native = config::client(settings, Role::Producer, Deliveries::default())?;
    let client = native.client();
    let events = &client.context().events;
    // The producer has a thread that serves its events.
    match await_broker(settings, "producer", client, events, || ()) {
        Ok(()) => Ok(native),
        Err(error) => {
            retire(native);
            Err(error)
        }
    }
}

#[async_trait]
impl Producer for RdkafkaProducer {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        let end = Instant::now() + self.max_block;
        let topic = record.topic.as_str();
        let context = format!("send to topic {topic}");
        check_name(topic)?;
        let size = size(&record);
        if size > self.max_request_size {
            let limit = self.max_request_size;
            return Err(BackendError::new(
                BackendErrorKind::RecordTooLarge,
                format!(
                    "{context}: the record needs up to {size} bytes, but `max_request_size` is {limit}"
                ),
            ));
        }
        if let Some(failure) = self.deliveries().events.failure(&context) {
            return Err(self.unless_dead(failure));
        }
        let (deliver, delivered) = oneshot::channel();
        let native = BaseRecord {
            topic,
            partition: record.partition,
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: None,
            headers: outgoing_headers(&record.headers),
            delivery_opaque: Box::new(Queued::new(deliver)),
        };
        if self.deliveries().knows(topic) == Some(true) {
            self.queue(native, end).await?;
        } else {
            let check = self.check_of(topic);
            let Ok(_first) = tokio::time::timeout_at(end, check.lock()).await else {
                return Err(self.not_found(topic, &context));
            };
            if self.deliveries().knows(topic) != Some(true) {
                self.look_for(topic, &context, end).await?;
            }
            self.queue(native, end).await?;
        }
        Ok(Box::pin(async move {
            delivered.await.unwrap_or_else(|error| {
                Err(BackendError::new(BackendErrorKind::Closed, context).with_source(error))
            })
        }))
    }

    async fn partitions(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError> {
        let context = format!("look for partitions of topic {topic}");
        let found = self.look(topic, &context, deadline).await?;
        Ok((found > 0).then_some(found))
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.deliveries().counter.progress())
    }

    async fn flush(&self, deadline: Duration) -> Result<(), BackendError> {
        let all_done = self.deliveries().all_done();
        if let Err(elapsed) = tokio::time::timeout(deadline, all_done).await {
            let timeout = BackendError::new(BackendErrorKind::Timeout, "flush");
            return Err(self
                .deliveries()
                .events
                .explain(timeout.with_source(elapsed)));
        }
        self.deliveries().take_failure()
    }

    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        let end = end_of(Instant::now(), deadline);
        let flushed = self.flush(deadline).await;
        drop(self.native);
        self.worker.end(left(end)).await;
        flushed
    }
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

impl fmt::Debug for RdkafkaProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaProducer").finish_non_exhaustive()
    }
}
