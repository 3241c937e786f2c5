//! The producer. It sends idempotently and keeps the order of records. Each record is acknowledged by all in-sync
//! replicas.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, Delivery, DeliveryFuture, OutgoingRecord,
    Producer, Progress, ProgressCounter, end_of, finite,
};
use krafka::admin::AdminClient;
use krafka::interceptor::{InterceptorResult, ProducerInterceptor, RecordContext};
use krafka::producer::{Acks, RecordMetadata, UNKNOWN_PARTITION};
use krafka::{CloseOptions, Headers, KrafkaError};
use tokio::time::Instant;

use crate::connection::{compression, connect};
use crate::error::{bounded, failed};
use crate::lookup;
use crate::record::outgoing;

pub(crate) struct PureProducer {
    producer: krafka::producer::Producer,
    /// Shares its metadata with `producer`.
    admin: AdminClient,
    outcomes: Arc<Outcomes>,
    max_block: Duration,
    max_request_size: usize,
}

impl PureProducer {
    pub(crate) async fn connect(settings: &ClientSettings) -> Result<Self, BackendError> {
        let auto_create = settings.allow_auto_create_topics;
        let kafka = connect(settings, "producer", auto_create).await?;
        let outcomes = Arc::new(Outcomes::default());
        let building = kafka
            .producer()
            .acks(Acks::All)
            .idempotent(true)
            .compression(compression(settings.compression)?)
            .linger(settings.linger)
            // krafka refuses a batch size beyond the request size.
            .batch_size(settings.batch_size.min(settings.max_request_size))
            .max_request_size(settings.max_request_size)
            .buffer_memory(settings.buffer_memory)
            .max_block(settings.max_block)
            .delivery_timeout(settings.delivery_timeout)
            .metrics_push(false)
            .interceptor(Arc::clone(&outcomes))
            .build();
        let context = || format!("connect producer to {}", settings.bootstrap_servers);
        let producer = bounded(settings.request_timeout, context, building).await?;
        Ok(Self {
            producer,
            admin: kafka.admin(),
            outcomes,
            max_block: settings.max_block,
            max_request_size: settings.max_request_size,
        })
    }
}

#[async_trait]
impl Producer for PureProducer {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        let topic = record.topic.clone();
        let context = || format!("send to topic {topic}");
        let record = outgoing(record);
        let size = record.estimated_size();
        if size > self.max_request_size {
            let limit = self.max_request_size;
            return Err(BackendError::new(
                BackendErrorKind::RecordTooLarge,
                format!(
                    "{}: the record needs about {size} bytes, but `max_request_size` is {limit}",
                    context()
                ),
            ));
        }
        let queuing = self.producer.enqueue(record);
        let handle = bounded(self.max_block, context, queuing).await?;
        Ok(Box::pin(async move {
            match handle.await {
                Ok(sent) => Ok(Delivery {
                    partition: sent.partition,
                    offset: sent.offset,
                }),
                Err(error) => Err(failed(format!("send to topic {topic}"), error)),
            }
        }))
    }

    async fn partitions(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError> {
        let end = end_of(Instant::now(), deadline);
        let left = || end.saturating_duration_since(Instant::now());
        let found = lookup::existing(&self.admin, [topic], left()).await?;
        let Some(count) = found
            .get(topic)
            .and_then(|count| usize::try_from(*count).ok())
        else {
            return Ok(None);
        };
        let context = || format!("look for partitions of topic {topic}");
        let known = bounded(left(), context, self.producer.partitions_for(topic)).await?;
        if known.len() < count {
            lookup::all(&self.admin, left()).await?;
        }
        Ok(Some(count))
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.outcomes.counter.progress())
    }

    async fn flush(&self, deadline: Duration) -> Result<(), BackendError> {
        bounded(deadline, || "flush".to_owned(), self.producer.flush()).await?;
        self.outcomes.take_failure()
    }

    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        let options = CloseOptions::new().timeout(finite(deadline));
        let closing = self.producer.close_with(options);
        bounded(deadline, || "close producer".to_owned(), closing).await?;
        self.outcomes.take_failure()
    }
}

impl fmt::Debug for PureProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PureProducer").finish_non_exhaustive()
    }
}

/// The outcomes of the records that were queued.
#[derive(Debug, Default)]
struct Outcomes {
    counter: ProgressCounter,
    /// The first failure to deliver a record since the last flush. It is kept even if the caller does not wait for the
    /// delivery of that record.
    failure: Mutex<Option<(String, KrafkaError)>>,
}

impl Outcomes {
    fn take_failure(&self) -> Result<(), BackendError> {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match first.take() {
            Some((topic, error)) => Err(failed(format!("send to topic {topic}"), error)),
            None => Ok(()),
        }
    }
}

impl ProducerInterceptor for Outcomes {
    // krafka calls `on_acknowledgement` exactly once for each call of this function.
    fn on_send(
        &self,
        _: &mut krafka::producer::Record,
        _: &mut RecordContext,
    ) -> InterceptorResult {
        self.counter.queued();
        Ok(())
    }

    fn on_acknowledgement(
        &self,
        topic: &str,
        partition: i32,
        result: Result<&RecordMetadata, &KrafkaError>,
        _headers: &Headers,
        _context: &mut RecordContext,
    ) -> InterceptorResult {
        match result {
            Ok(_) => self.counter.acknowledged(),
            // The record was never queued, and `enqueue` has already returned its error.
            Err(_) if partition == UNKNOWN_PARTITION => self.counter.failed(),
            Err(error) => {
                self.counter.failed();
                self.failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert_with(|| (topic.to_owned(), error.clone()));
            }
        }
        Ok(())
    }
}
