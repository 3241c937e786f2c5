mod outages;

use std::sync::Arc;
use std::time::Duration;
use std::{mem, slice};

use arc_swap::ArcSwapOption;
use kc_core::backend::{
    Admin, Backend, BackendError, BackendErrorKind, Delivery, DeliveryFuture, OutgoingRecord,
    Producer as BackendProducer, Progress,
};
use kc_core::message::ToSeal;
use kc_core::ratchet::Component;
use kc_core::text::with_sources;
use thiserror::Error;

use super::partitions::{Known, PartitionCounts, partition_of};
use super::record::{Payload, Record};
use crate::actors::key_table::PrepareError;
use crate::events::Events;
use crate::handles::{SealError, Sealers};

/// Maximum time to wait for a topic that the broker does not know.
const TOPIC_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two requests for the metadata of a topic that the broker does not know.
const LOOK_DELAY: Duration = Duration::from_millis(250);

/// The options of a producer.
#[derive(Clone, Copy, Debug)]
pub struct ProducerOptions {
    /// Leaves Kafka keys unsealed, so that brokers see them. A compacted topic needs this, because sealing equal keys
    /// gives different bytes. Consumers must set [`ConsumerOptions::plain_keys`](super::ConsumerOptions::plain_keys).
    pub plain_keys: bool,
    /// Seals nothing: brokers see keys and values.
    pub plain: bool,
    /// The time after which the producer asks the broker again for the number of a topic's partitions; 5 minutes by
    /// default. Producers choose the same partition for equal keys only if they know the same number of partitions.
    pub metadata_max_age: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            plain_keys: false,
            plain: false,
            metadata_max_age: Duration::from_mins(5),
        }
    }
}

/// The reason why a record was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// No data key is ready for sealing.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Sending failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl ProduceError {
    /// Returns whether sending failed for a reason that can pass without an operator, for example because no broker
    /// answered. Sending the same record again can then succeed. Returns `false` if no data key was ready or sealing
    /// failed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Backend(error) if error.is_retriable())
    }
}

/// Seals records and sends them. Cheap to clone; clones share one Kafka client.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Inner>);

/// State shared by the clones of a producer.
#[derive(Debug)]
pub(super) struct Inner {
    /// `None` if the producer seals nothing.
    sealers: Option<Sealers>,
    /// `None` once the producer is closed.
    client: ArcSwapOption<Box<dyn BackendProducer>>,
    admin: Box<dyn Admin>,
    plain_keys: bool,
    counts: Arc<PartitionCounts>,
}

impl Producer {
    pub(super) async fn connect(
        backend: &dyn Backend,
        sealers: Sealers,
        options: ProducerOptions,
        events: Events,
    ) -> Result<Self, BackendError> {
        let inner = Arc::new(Inner {
            sealers: (!options.plain).then_some(sealers),
            client: ArcSwapOption::from_pointee(backend.producer().await?),
            admin: backend.admin().await?,
            plain_keys: options.plain_keys,
            counts: Arc::new(PartitionCounts::new(options.metadata_max_age)),
        });
        outages::watch(&inner, events);
        Ok(Self(inner))
    }

    /// Seals a record, sends it, and waits until all in-sync replicas have acknowledged it. Use
    /// [`enqueue`](Self::enqueue) to have many records in flight.
    ///
    /// Not cancel safe: if the future is dropped, the record may or may not be sent.
    ///
    /// # Errors
    /// Returns [`ProduceError`] if no data key is ready, sealing failed, the producer is closed, or the record was
    /// not acknowledged. A topic that the broker does not know after ten seconds gives
    /// [`BackendErrorKind::UnknownTopic`].
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, ProduceError> {
        Ok(self.enqueue(record).await?.await?)
    }

    /// Seals a record and adds it to the queue. Waits while the queue is full. The returned future is `'static` and
    /// resolves when the record is acknowledged. The record is sent even if that future is dropped.
    ///
    /// Not cancel safe: if the future of this call is dropped, the record may or may not be sent.
    ///
    /// # Errors
    /// Returns the errors of [`send`](Self::send). The returned future yields the errors that occur after the record
    /// was queued.
    pub async fn enqueue(&self, record: Record<'_>) -> Result<DeliveryFuture, ProduceError> {
        self.0.enqueue(record).await
    }

    /// Seals records, sends them, and waits until all in-sync replicas have acknowledged them. Takes less time than
    /// [`send`](Self::send) for each of them. Returns their positions in the order of the records.
    ///
    /// Not cancel safe: if the future is dropped, each record may or may not be sent.
    ///
    /// # Errors
    /// Returns the first error of [`send`](Self::send). Each record may or may not be sent then.
    pub async fn send_batch<'r>(
        &self,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> Result<Vec<Delivery>, ProduceError> {
        let deliveries = self.enqueue_batch(records).await?;
        let mut sent = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            sent.push(delivery.await?);
        }
        Ok(sent)
    }

    /// Seals records and adds them to the queue, in less time than [`enqueue`](Self::enqueue) for each of them. Waits while the
    /// queue is full. Returns a future for each record, in the order of the records.
    ///
    /// Not cancel safe: if the future of this call is dropped, each record may or may not be sent.
    ///
    /// # Errors
    /// Returns the errors of [`send`](Self::send). If no data key is ready or sealing failed, no record is sent; if the
    /// queue refuses a record, the records before it are sent.
    pub async fn enqueue_batch<'r>(
        &self,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> Result<Vec<DeliveryFuture>, ProduceError> {
        self.0.enqueue_batch(records.into_iter().collect()).await
    }

    /// Waits until each queued record is acknowledged or has failed. The Kafka client's `delivery_timeout_ms` bounds
    /// the wait.
    ///
    /// Cancel safe: no record is lost if the future is dropped.
    ///
    /// # Errors
    /// Returns the first failure of a queued record since the last flush, or a [`BackendError`] of kind `Closed` if
    /// the producer is closed.
    pub async fn flush(&self) -> Result<(), BackendError> {
        self.flush_within(Duration::MAX).await
    }

    /// Flushes as [`flush`](Self::flush) does, within `deadline`.
    ///
    /// Cancel safe: no record is lost if the future is dropped.
    ///
    /// # Errors
    /// Returns the errors of [`flush`](Self::flush), and [`BackendErrorKind::Timeout`] if the deadline passed.
    pub async fn flush_within(&self, deadline: Duration) -> Result<(), BackendError> {
        let client = self.0.client()?;
        let flushed = client.flush(deadline).await;
        // The application may have dropped the future of the failed record, and the error does not name its topic.
        flushed.inspect_err(|error| {
            if is_missing(error) {
                self.0.counts.doubt_all();
            }
        })
    }

    /// Sends the queued records and disconnects, within `deadline`. All clones of this producer are then closed, too. A
    /// repeated call does nothing. [`Node::shutdown`](crate::Node::shutdown) closes all producers in this way.
    ///
    /// Not cancel safe: if the future is dropped, queued records may not be sent.
    ///
    /// # Errors
    /// Returns the first failure of a queued record since the last flush, or [`BackendErrorKind::Timeout`] if the
    /// deadline passed.
    pub async fn close_within(&self, deadline: Duration) -> Result<(), BackendError> {
        self.0.close(deadline).await
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Inner {
    pub(super) async fn close(&self, deadline: Duration) -> Result<(), BackendError> {
        let Some(client) = self.client.swap(None) else {
            return Ok(());
        };
        match Arc::try_unwrap(client) {
            Ok(client) => client.close(deadline).await,
            // Another caller is adding a record to the queue. The client disconnects when that caller has finished.
            Err(client) => client.flush(deadline).await,
        }
    }

    /// Returns the progress of the Kafka client, or `None` if the producer is closed or its client does not count
    /// records.
    fn progress(&self) -> Option<Progress> {
        self.client.load().as_ref()?.progress()
    }

    fn client(&self) -> Result<Arc<Box<dyn BackendProducer>>, BackendError> {
        let closed = || BackendError::new(BackendErrorKind::Closed, "use the producer");
        self.client.load_full().ok_or_else(closed)
    }

    async fn enqueue(&self, mut record: Record<'_>) -> Result<DeliveryFuture, ProduceError> {
        let topic = mem::take(&mut record.topic);
        self.prepare(&topic, slice::from_mut(&mut record)).await?;
        record.topic = topic;
        Ok(self.queue(record).await?)
    }

    async fn enqueue_batch(
        &self,
        mut records: Vec<Record<'_>>,
    ) -> Result<Vec<DeliveryFuture>, ProduceError> {
        for run in records.chunk_by_mut(|one, next| one.topic == next.topic) {
            if let [first, ..] = run {
                let topic = first.topic.clone();
                self.prepare(&topic, run).await?;
            }
        }
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            deliveries.push(self.queue(record).await?);
        }
        Ok(deliveries)
    }

    /// Chooses the partitions of records of one topic, and seals the records.
    async fn prepare(&self, topic: &str, records: &mut [Record<'_>]) -> Result<(), ProduceError> {
        let partitions = self.ready(topic).await?;
        for record in &mut *records {
            let by_key = || partition_of(record.key.as_ref()?.as_slice(), partitions);
            record.partition = record.partition.or_else(by_key);
        }
        let Some(sealers) = &self.sealers else {
            return Ok(());
        };
        if !self.plain_keys {
            let keys = records.iter_mut().map(|record| &mut record.key);
            seal(sealers, topic, Component::Key, keys)?;
        }
        let values = records.iter_mut().map(|record| &mut record.value);
        Ok(seal(sealers, topic, Component::Value, values)?)
    }

    /// Queues a prepared record.
    async fn queue(&self, record: Record<'_>) -> Result<DeliveryFuture, BackendError> {
        let record = OutgoingRecord {
            topic: record.topic.into_owned(),
            partition: record.partition,
            key: record.key.map(Payload::into_vec),
            value: record.value.map(Payload::into_vec),
            headers: record.headers,
        };
        let doubt = {
            let (counts, topic) = (Arc::clone(&self.counts), record.topic.clone());
            move |error: &BackendError| {
                if is_missing(error) {
                    counts.doubt(&topic);
                }
            }
        };
        let delivery = self.client()?.enqueue(record).await.inspect_err(&doubt)?;
        Ok(Box::pin(async move { delivery.await.inspect_err(doubt) }))
    }

    /// Waits until the topic exists and a data key for it is ready. Returns the number of partitions of the topic.
    async fn ready(&self, topic: &str) -> Result<usize, ProduceError> {
        match self.counts.get(topic) {
            Known::Count(partitions) => Ok(partitions),
            Known::OldCount(partitions) => Ok(self.look_again(topic, partitions).await?),
            Known::Nothing => {
                let partitions = self.look_up(topic).await?;
                if let Some(sealers) = &self.sealers {
                    sealers.prepare(topic).await?;
                }
                self.counts.set(topic, partitions);
                Ok(partitions)
            }
        }
    }

    /// Asks the broker again for the number of partitions. Returns `known` if the request fails. If the broker no
    /// longer knows the topic, waits for the topic as [`look_up`](Self::look_up) does.
    async fn look_again(&self, topic: &str, known: usize) -> Result<usize, BackendError> {
        let partitions = match self.asked(topic).await {
            Ok(Some(partitions)) => partitions,
            Ok(None) => {
                self.counts.forget(topic);
                self.look_up(topic).await?
            }
            Err(error) => {
                tracing::debug!(
                    topic, error = %with_sources(&error),
                    "the number of partitions cannot be looked up again: the last known number is used"
                );
                return Ok(known);
            }
        };
        self.counts.set(topic, partitions);
        Ok(partitions)
    }

    /// Asks the broker for the number of partitions through the client that sends, so that this client can send to all
    /// of them. If this client returns no number, asks through the admin client. Returns `None` if the broker does not
    /// know the topic.
    async fn asked(&self, topic: &str) -> Result<Option<usize>, BackendError> {
        match self.client()?.partitions(topic, TOPIC_DEADLINE).await? {
            Some(partitions) => Ok(Some(partitions)),
            None => self.admin.partitions(topic, true, TOPIC_DEADLINE).await,
        }
    }

    /// Asks the broker for the number of partitions until the broker knows the topic, for at most [`TOPIC_DEADLINE`].
    /// kc never creates a data topic, but the request may cause the broker to create the topic.
    async fn look_up(&self, topic: &str) -> Result<usize, BackendError> {
        // A broker that never answers is not a broker that does not know the topic.
        let mut kind = BackendErrorKind::Timeout;
        let look = async {
            loop {
                let found = self.admin.partitions(topic, true, TOPIC_DEADLINE).await?;
                if let Some(partitions) = found {
                    return Ok(partitions);
                }
                kind = BackendErrorKind::UnknownTopic;
                tokio::time::sleep(LOOK_DELAY).await;
            }
        };
        match tokio::time::timeout(TOPIC_DEADLINE, look).await {
            Ok(found) => found,
            Err(_) => Err(BackendError::new(kind, format!("send to {topic}"))),
        }
    }
}

/// Seals payloads of a topic in their places.
fn seal<'p, 'r: 'p>(
    sealers: &Sealers,
    topic: &str,
    component: Component,
    payloads: impl Iterator<Item = &'p mut Option<Payload<'r>>>,
) -> Result<(), SealError> {
    let mut payloads = payloads.flatten();
    let Some(first) = payloads.next() else {
        return Ok(());
    };
    let Some(second) = payloads.next() else {
        let mut sealed = Vec::new();
        sealers.seal(topic, component, first.as_slice(), &mut sealed)?;
        *first = sealed.into();
        return Ok(());
    };
    let mut payloads: Vec<_> = [first, second].into_iter().chain(payloads).collect();
    let mut sealed = vec![Vec::new(); payloads.len()];
    let messages = payloads.iter().zip(&mut sealed);
    let mut messages: Vec<_> = messages
        .map(|(payload, sealed)| ToSeal {
            plaintext: payload.as_slice(),
            sealed,
        })
        .collect();
    sealers.seal_batch(topic, component, &mut messages)?;
    for (payload, sealed) in payloads.iter_mut().zip(sealed) {
        **payload = sealed.into();
    }
    Ok(())
}

/// Returns whether the error says that a topic or partition does not exist.
fn is_missing(error: &BackendError) -> bool {
    error.kind() == BackendErrorKind::UnknownTopic
}

#[cfg(test)]
mod tests;
