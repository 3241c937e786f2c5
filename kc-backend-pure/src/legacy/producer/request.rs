//! Sending batches to the brokers that lead their partitions.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kafka::client::{ProduceMessage, RequiredAcks};
use kafka::error::{KafkaCode, Result as KafkaResult};
use kc_core::backend::TopicPartition;

use super::queues::{Batch, Queued};
use crate::legacy::client::Client;

/// For each partition the offset of the batch's first record, or why the broker refuses.
pub(super) type Confirmed = HashMap<TopicPartition, Result<i64, KafkaCode>>;

/// Batches by their leaders. (A request for several leaders would lose what one has confirmed when the next one fails.)
pub(super) fn by_leader(
    leaders: Vec<Option<String>>,
    batches: Vec<Batch>,
) -> BTreeMap<Option<String>, Vec<Batch>> {
    let mut by_leader: BTreeMap<_, Vec<Batch>> = BTreeMap::new();
    for (leader, batch) in leaders.into_iter().zip(batches) {
        by_leader.entry(leader).or_default().push(batch);
    }
    by_leader
}

/// Sends batches to their leader, and waits until all in-sync replicas have them.
pub(super) fn produce(
    client: &mut Client,
    batches: &[Batch],
    timeout: Duration,
) -> KafkaResult<Confirmed> {
    let confirms = client.with(|kafka| {
        let messages = batches.iter().flat_map(|batch| {
            batch.records.iter().map(|Queued { record, .. }| {
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                ProduceMessage::new(&batch.at.topic, batch.at.partition, key, value)
            })
        });
        kafka.produce_messages(RequiredAcks::All, timeout, messages)
    })?;
    let mut confirmed = HashMap::new();
    for confirm in confirms {
        for of_partition in confirm.partition_confirms {
            let at = TopicPartition {
                topic: confirm.topic.clone(),
                partition: of_partition.partition,
            };
            confirmed.insert(at, of_partition.offset);
        }
    }
    Ok(confirmed)
}
