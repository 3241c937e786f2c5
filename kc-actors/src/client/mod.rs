//! Encrypted Kafka clients: the clients of a backend, with sealing and opening added.

mod acknowledgements;
mod consumer;
mod partitions;
mod producer;
mod record;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kc_core::backend::{Backend, BackendError, BackendErrorKind, end_of};
use tokio::time::Instant;

pub use acknowledgements::MAX_UNACKNOWLEDGED;
pub use consumer::{
    Assignment, ConsumeError, Consumer, ConsumerOptions, ConsumerRecord, DEFAULT_PATIENCE,
    MAX_ALL_WAITING_BYTES, MAX_BUFFERED_BYTES, MAX_WAITING_BYTES, MAX_WAITING_RECORDS, Origin,
    PARK_INTERVAL, Policy, Position, Reason, RecordStream, Undecryptable, UndecryptableError,
};
pub use producer::{ProduceError, Producer, ProducerOptions};
pub use record::{Payload, Record};

use crate::events::Events;
use crate::handles::{Opener, Sealers};

/// Default deadline for closing a client.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// Creates the encrypted Kafka clients of a node, and closes all of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    sealers: Sealers,
    opener: Opener,
    events: Events,
    open: Arc<Mutex<Open>>,
}

/// The clients that the application has not dropped.
#[derive(Debug, Default)]
struct Open {
    producers: Vec<Weak<producer::Inner>>,
    consumers: Vec<Weak<consumer::Control>>,
    closed: bool,
}

impl Clients {
    /// Returns a factory of clients that seal with `sealers` and open with `opener`.
    #[must_use]
    pub fn new(sealers: Sealers, opener: Opener, events: Events) -> Self {
        Self {
            sealers,
            opener,
            events,
            open: Arc::default(),
        }
    }

    /// Connects a producer.
    ///
    /// Cancel safe: if the future is dropped, no client stays connected.
    ///
    /// # Errors
    /// Returns [`BackendError`] if the backend cannot create a client, or if [`close`](Self::close) has been called.
    pub async fn producer(
        &self,
        backend: &dyn Backend,
        options: ProducerOptions,
    ) -> Result<Producer, BackendError> {
        let producer =
            Producer::connect(backend, self.sealers.clone(), options, self.events.clone()).await?;
        let closed = self.with(|open| {
            open.producers.retain(|inner| inner.strong_count() > 0);
            open.producers.push(Arc::downgrade(producer.inner()));
            open.closed
        });
        if closed {
            producer.close_within(CLOSE_DEADLINE).await?;
            let context = "connect a producer";
            return Err(BackendError::new(BackendErrorKind::Closed, context));
        }
        Ok(producer)
    }

    /// Joins a consumer group.
    ///
    /// Cancel safe: if the future is dropped, the consumer leaves the group in the background.
    ///
    /// # Errors
    /// Returns [`ConsumeError`] if the group cannot be joined, if the consumer's thread cannot be started, or if
    /// [`close`](Self::close) has been called.
    pub async fn consumer(
        &self,
        backend: Arc<dyn Backend>,
        options: ConsumerOptions,
    ) -> Result<Consumer, ConsumeError> {
        let (opener, events) = (self.opener.clone(), self.events.clone());
        let consumer = Consumer::join(backend, opener, options, events).await?;
        let closed = self.with(|open| {
            open.consumers.retain(|control| control.strong_count() > 0);
            open.consumers.push(Arc::downgrade(consumer.control()));
            open.closed
        });
        if closed {
            return Err(ConsumeError::Closed);
        }
        Ok(consumer)
    }

    /// Closes all clients within `deadline`, in this order: consumers stop delivering records; producers flush and
    /// disconnect; consumers commit the positions of the records that are acknowledged by then, and leave their groups.
    /// A repeated call does nothing.
    ///
    /// Not cancel safe: if the future is dropped, consumers may stay in their groups, and queued records may not be
    /// sent.
    ///
    /// # Errors
    /// Returns the [`BackendError`] of a client that could not be closed in time or without a failure.
    pub async fn close(&self, deadline: Duration) -> Result<(), BackendError> {
        let end = end_of(Instant::now(), deadline);
        let (producers, consumers) = self.with(|open| {
            open.closed = true;
            let producers: Vec<_> = open.producers.iter().filter_map(Weak::upgrade).collect();
            let consumers: Vec<_> = open.consumers.iter().filter_map(Weak::upgrade).collect();
            (producers, consumers)
        });
        consumers.iter().for_each(|consumer| consumer.stop());
        let flushing = producers
            .iter()
            .map(|producer| producer.close(end.saturating_duration_since(Instant::now())));
        let flushed = all(flushing).await;
        let left = all(consumers.iter().map(|consumer| consumer.leave(end))).await;
        flushed.and(left)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Open) -> T) -> T {
        f(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs all futures concurrently. Returns the first failure, in the order of the futures.
async fn all<E>(
    futures: impl Iterator<Item = impl Future<Output = Result<(), E>>>,
) -> Result<(), E> {
    let results = futures_util::future::join_all(futures).await;
    results.into_iter().collect()
}
