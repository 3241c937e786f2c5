//! Records of ours and krafka's.

use kc_core::backend::{Header, OutgoingRecord, Record, TopicPartition};
use krafka::consumer::{ConsumerRecord, TopicPartition as KrafkaPartition};

pub(crate) fn fetched(record: ConsumerRecord) -> Record {
    Record {
        topic: record.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        timestamp: (record.timestamp >= 0).then_some(record.timestamp),
        key: record.key.map(Vec::from),
        value: record.value.map(Vec::from),
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
