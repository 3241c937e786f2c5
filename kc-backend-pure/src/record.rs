//! Conversion of records, and polls with a time limit.

use std::time::Duration;

use kc_core::backend::{
    BackendError, ClientSettings, Header, OutgoingRecord, Record, TopicPartition,
};
use krafka::consumer::{
    Consumer, ConsumerRecord, IsolationLevel, TopicPartition as KrafkaPartition,
};

use crate::error::failed;

/// The time for which a poll may continue after its time limit. A slow broker may need longer than the limit for an
/// answer. Without this additional time, no poll would return records from such a broker.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn isolation(settings: &ClientSettings) -> IsolationLevel {
    if settings.read_committed {
        IsolationLevel::ReadCommitted
    } else {
        IsolationLevel::ReadUncommitted
    }
}

/// Polls for records. Returns an empty list if no records arrive in time, and `None` if a broker does not answer in time.
/// Cancel safe: no records are lost if krafka's poll is dropped.
pub(crate) async fn poll(
    consumer: &Consumer,
    wait: Duration,
    context: &str,
) -> Result<Option<Vec<ConsumerRecord>>, BackendError> {
    match tokio::time::timeout(wait.saturating_add(GRACE), consumer.poll(wait)).await {
        Ok(result) => result.map(Some).map_err(|error| failed(context, error)),
        Err(_) => Ok(None),
    }
}

pub(crate) fn fetched(record: ConsumerRecord) -> Record {
    Record {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: (record.timestamp >= 0).then_some(record.timestamp),
        key: record.key,
        value: record.value,
        headers: record
            .headers
            .into_iter()
            .map(|(name, value)| Header {
                name,
                value: value.map(Vec::from),
            })
            .collect(),
    }
}

pub(crate) fn outgoing(record: OutgoingRecord) -> krafka::Record {
    let mut out = krafka::Record::new(record.topic, Vec::new());
    out.partition = record.partition;
    out.key = record.key.map(Into::into);
    out.value = record.value.map(Into::into);
    out.headers = record
        .headers
        .into_iter()
        .map(|header| (header.name, header.value.map(Into::into)))
        .collect();
    out
}

pub(crate) fn to_krafka(partition: &TopicPartition) -> KrafkaPartition {
    KrafkaPartition::new(&partition.topic, partition.partition)
}

pub(crate) fn from_krafka(partition: &KrafkaPartition) -> TopicPartition {
    TopicPartition {
        topic: partition.topic.clone(),
        partition: partition.partition,
    }
}
