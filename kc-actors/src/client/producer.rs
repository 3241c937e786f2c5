use std::sync::Arc;
use std::time::Duration;

use kc_core::backend::{
    Admin, Backend, BackendError, BackendErrorKind, DeliveryFuture, Header, OutgoingRecord,
    Producer,
};
use thiserror::Error;

use super::partition_counts::{Known, PartitionCounts};
use super::partitioner;
use crate::actors::key_table::PrepareError;
use crate::handles::{SealError, Serializer};

/// How long to look for a topic that the broker does not know.
const TOPIC_DEADLINE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK_DELAY: Duration = Duration::from_millis(250);

/// A record to be sealed and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainRecord {
    /// The topic.
    pub topic: String,
    /// The partition; `None` chooses by the plaintext key, as for plain records, or spreads.
    pub partition: Option<i32>,
    /// The Kafka key; null stays null.
    pub key: Option<Vec<u8>>,
    /// The Kafka value; null stays null.
    pub value: Option<Vec<u8>>,
    /// The headers, which are not sealed.
    pub headers: Vec<Header>,
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

/// Seals records and sends them.
#[derive(Debug)]
pub struct EncryptedProducer {
    serializer: Serializer,
    producer: Box<dyn Producer>,
    admin: Box<dyn Admin>,
    plain_keys: bool,
    counts: Arc<PartitionCounts>,
}

impl EncryptedProducer {
    /// Connects; `serializer` is a node's.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn connect(
        backend: &dyn Backend,
        serializer: Serializer,
    ) -> Result<Self, BackendError> {
        Ok(Self {
            serializer,
            producer: backend.producer().await?,
            admin: backend.admin().await?,
            plain_keys: false,
            counts: Arc::default(),
        })
    }

    /// Leaves Kafka keys as they are, for brokers to see: a compacted topic needs it, because no two sealed keys are
    /// equal. Consumers must be told, too.
    #[must_use]
    pub fn with_plain_keys(mut self) -> Self {
        self.plain_keys = true;
        self
    }

    /// Seals a record and queues it. The future tells when it is acknowledged; the record is sent
    /// whether or not that is awaited.
    ///
    /// # Errors
    /// [`ProduceError`]. A topic that the broker does not know after ten seconds is
    /// [`BackendErrorKind::UnknownTopic`].
    pub async fn send(&self, record: PlainRecord) -> Result<DeliveryFuture, ProduceError> {
        let PlainRecord {
            topic,
            partition,
            key,
            value,
            headers,
        } = record;
        let partitions = self.ready(&topic).await?;
        let by_key = || partitioner::partition(key.as_deref()?, partitions);
        let partition = partition.or_else(by_key);
        let seal = |plaintext: Option<Vec<u8>>, is_key: bool| {
            let Some(plaintext) = plaintext else {
                return Ok(None);
            };
            let mut sealed = Vec::new();
            if is_key {
                self.serializer.seal_key(&topic, &plaintext, &mut sealed)?;
            } else {
                self.serializer
                    .seal_value(&topic, &plaintext, &mut sealed)?;
            }
            Ok::<_, SealError>(Some(sealed))
        };
        let key = if self.plain_keys {
            key
        } else {
            seal(key, true)?
        };
        let value = seal(value, false)?;
        let record = OutgoingRecord {
            topic: topic.clone(),
            partition,
            key,
            value,
            headers,
        };
        let doubt = {
            let counts = Arc::clone(&self.counts);
            move |error: &BackendError| {
                if is_missing(error) {
                    counts.doubt(&topic);
                }
            }
        };
        let delivery = self.producer.enqueue(record).await.inspect_err(&doubt)?;
        Ok(Box::pin(async move { delivery.await.inspect_err(doubt) }))
    }

    /// Waits until everything queued is acknowledged.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn flush(&self, deadline: Duration) -> Result<(), BackendError> {
        let flushed = self.producer.flush(deadline).await;
        // It is of a record whose delivery nobody may be waiting for.
        flushed.inspect_err(|error| {
            if is_missing(error) {
                self.counts.doubt_all();
            }
        })
    }

    /// Flushes and disconnects.
    ///
    /// # Errors
    /// As [`Producer::close`].
    pub async fn close(self, deadline: Duration) -> Result<(), BackendError> {
        self.admin.close().await;
        self.producer.close(deadline).await
    }

    /// Makes sure that the topic exists and has a key; gives its number of partitions.
    async fn ready(&self, topic: &str) -> Result<usize, ProduceError> {
        match self.counts.get(topic) {
            Known::Count(partitions) => Ok(partitions),
            Known::OldCount(partitions) => Ok(self.look_again(topic, partitions).await?),
            Known::Nothing => {
                let partitions = self.look_up(topic).await?;
                self.serializer.prepare(topic).await?;
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
