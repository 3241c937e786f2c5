use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use kc_core::backend::{
    Admin, Backend, BackendError, BackendErrorKind, Delivery, DeliveryFuture, OutgoingRecord,
    Producer as BackendProducer,
};
use kc_core::message::sealed_len;
use kc_core::ratchet::Component;
use thiserror::Error;

use super::partitions::{Known, PartitionCounts, partition_of};
use super::record::{Payload, Record};
use crate::actors::key_table::PrepareError;
use crate::handles::{SealError, Sealers};

/// How long to look for a topic that the broker does not know.
const TOPIC_DEADLINE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK_DELAY: Duration = Duration::from_millis(250);

/// How a producer seals.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProducerOptions {
    /// Leaves Kafka keys as they are, for brokers to see: a compacted topic needs it, because no two sealed keys are
    /// equal. Consumers must know it, too.
    pub plain_keys: bool,
    /// Seals nothing: brokers see keys and values.
    pub plain: bool,
}

/// Why a record was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// There is no key to seal with.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Sending failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Seals records and sends them. Cheap to clone; clones share one Kafka client.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Inner>);

/// What the clones of a producer share.
#[derive(Debug)]
pub(super) struct Inner {
    /// `None` seals nothing.
    sealers: Option<Sealers>,
    /// `None` once it is closed.
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
    ) -> Result<Self, BackendError> {
        Ok(Self(Arc::new(Inner {
            sealers: (!options.plain).then_some(sealers),
            client: ArcSwapOption::from_pointee(backend.producer().await?),
            admin: backend.admin().await?,
            plain_keys: options.plain_keys,
            counts: Arc::default(),
        })))
    }

    /// Seals a record, sends it, and waits until it is acknowledged by all in-sync replicas. To have many under way at
    /// once, [`enqueue`](Self::enqueue) them.
    ///
    /// If the future is dropped, the record may still be sent.
    ///
    /// # Errors
    /// [`ProduceError`]. A topic that the broker does not know after ten seconds is
    /// [`BackendErrorKind::UnknownTopic`].
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, ProduceError> {
        Ok(self.enqueue(record).await?.await?)
    }

    /// Seals a record and queues it; waits while the queue is full. The returned future, which is `'static`, resolves
    /// when the record is acknowledged; the record is sent whether or not that is awaited.
    ///
    /// If the future of this call is dropped, the record may still be sent.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn enqueue(&self, record: Record<'_>) -> Result<DeliveryFuture, ProduceError> {
        self.0.enqueue(record).await
    }

    /// Waits until everything that was queued is acknowledged, or cannot be: the Kafka client's `delivery_timeout_ms`
    /// bounds it.
    ///
    /// Cancel safe: dropping the future loses no record.
    ///
    /// # Errors
    /// [`BackendError`]: the first failure of a queued record since the last flush.
    pub async fn flush(&self) -> Result<(), BackendError> {
        self.flush_within(Duration::MAX).await
    }

    /// As [`flush`](Self::flush), within `deadline`.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); `Timeout` at the deadline.
    pub async fn flush_within(&self, deadline: Duration) -> Result<(), BackendError> {
        let client = self.0.client()?;
        let flushed = client.flush(deadline).await;
        // It is of a record whose delivery nobody may be waiting for.
        flushed.inspect_err(|error| {
            if is_missing(error) {
                self.0.counts.doubt_all();
            }
        })
    }

    /// Flushes and disconnects, for all clones. A second call does nothing. [`Node`](crate::Node) does so when it is
    /// closed.
    ///
    /// If the future is dropped, records that were queued may not be sent.
    ///
    /// # Errors
    /// As [`flush_within`](Self::flush_within).
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
            // Records are just being queued; the last one disconnects.
            Err(client) => client.flush(deadline).await,
        }
    }

    fn client(&self) -> Result<Arc<Box<dyn BackendProducer>>, BackendError> {
        let closed = || BackendError::new(BackendErrorKind::Closed, "send");
        self.client.load_full().ok_or_else(closed)
    }

    async fn enqueue(&self, record: Record<'_>) -> Result<DeliveryFuture, ProduceError> {
        let Record {
            topic,
            partition,
            key,
            value,
            headers,
        } = record;
        let partitions = self.ready(&topic).await?;
        let by_key = || partition_of(key.as_ref()?.as_slice(), partitions);
        let partition = partition.or_else(by_key);
        let record = OutgoingRecord {
            partition,
            key: self.sealed(&topic, Component::Key, key)?,
            value: self.sealed(&topic, Component::Value, value)?,
            topic: topic.into_owned(),
            headers,
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

    fn sealed(
        &self,
        topic: &str,
        component: Component,
        payload: Option<Payload<'_>>,
    ) -> Result<Option<Vec<u8>>, SealError> {
        let Some(payload) = payload else {
            return Ok(None);
        };
        let sealers = self.sealers.as_ref();
        let Some(sealers) = sealers.filter(|_| component == Component::Value || !self.plain_keys)
        else {
            return Ok(Some(payload.into_vec()));
        };
        let mut sealed = Vec::with_capacity(sealed_len(payload.as_slice().len()));
        sealers.seal(topic, component, payload.as_slice(), &mut sealed)?;
        Ok(Some(sealed))
    }

    /// Makes sure that the topic exists and has a key. Returns its number of partitions.
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

    /// While the broker does not say, it is as it was.
    async fn look_again(&self, topic: &str, known: usize) -> Result<usize, BackendError> {
        let found = self.admin.partitions(topic, true, TOPIC_DEADLINE).await;
        let partitions = match found {
            Ok(Some(partitions)) => partitions,
            Ok(None) => {
                self.counts.forget(topic);
                self.look_up(topic).await?
            }
            Err(error) => {
                tracing::debug!(topic, %error, "the number of partitions was not looked up again");
                return Ok(known);
            }
        };
        self.counts.set(topic, partitions);
        Ok(partitions)
    }

    /// We never create a data topic, but asking may make the broker do so.
    async fn look_up(&self, topic: &str) -> Result<usize, BackendError> {
        let look = async {
            loop {
                let found = self.admin.partitions(topic, true, TOPIC_DEADLINE).await?;
                if let Some(partitions) = found {
                    return Ok(partitions);
                }
                tokio::time::sleep(LOOK_DELAY).await;
            }
        };
        let unknown =
            || BackendError::new(BackendErrorKind::UnknownTopic, format!("send to {topic}"));
        tokio::time::timeout(TOPIC_DEADLINE, look)
            .await
            .unwrap_or_else(|_| Err(unknown()))
    }
}

/// Whether a topic or partition is not there, or not any more.
fn is_missing(error: &BackendError) -> bool {
    error.kind() == BackendErrorKind::UnknownTopic
}

#[cfg(test)]
mod tests;
