//! Committed positions of groups. All functions wait while the group's coordinator, the broker that stores the
//! positions, is not ready.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka::client::{CommitOffset, FetchGroupOffset, KafkaClient};
use kafka::error::Result;
use kc_core::backend::TopicPartition;

use super::client::Client;

/// Returns the positions that a group has committed. Partitions without a position are omitted.
pub(super) fn committed(
    client: &mut Client,
    group: &str,
    partitions: &[TopicPartition],
    end: Instant,
) -> Result<BTreeMap<TopicPartition, i64>> {
    list(client, partitions)?;
    client.until(end, |kafka| {
        let mut there = partitions.to_vec();
        there.retain(|at| kafka.topics().contains(&at.topic));
        fetch(kafka, group, &there)
    })
}

/// Commits positions for a group.
pub(super) fn commit(
    client: &mut Client,
    group: &str,
    positions: &[(TopicPartition, i64)],
    end: Instant,
) -> Result<()> {
    let Some((first, _)) = positions.first() else {
        return Ok(());
    };
    list(client, positions.iter().map(|(at, _)| at))?;
    client.until(end, |kafka| {
        // First make a request that fails if the coordinator is not ready: `until` retries it. The commit of the crate
        // would retry by itself without end, and without pauses after `retry_max_attempts` attempts.
        fetch(kafka, group, std::slice::from_ref(first))?;
        let attempts = kafka.retry_max_attempts();
        kafka.set_retry_max_attempts(u32::MAX);
        let offsets = positions
            .iter()
            .map(|(at, offset)| CommitOffset::new(&at.topic, at.partition, *offset));
        let committed = kafka.commit_offsets(group, offsets);
        kafka.set_retry_max_attempts(attempts);
        committed
    })
}

/// Makes the client request the topics again if it does not know the topic of one of these partitions. The crate
/// refuses calls for topics that did not exist at its last request for metadata.
fn list<'a>(
    client: &mut Client,
    partitions: impl IntoIterator<Item = &'a TopicPartition> + Clone,
) -> Result<()> {
    let known = client.with(|kafka| {
        let mut partitions = partitions.clone().into_iter();
        Ok(partitions.all(|at| kafka.topics().contains(&at.topic)))
    })?;
    if !known {
        client.forget_leaders();
    }
    Ok(())
}

fn fetch(
    kafka: &mut KafkaClient,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut committed = BTreeMap::new();
    if partitions.is_empty() {
        return Ok(committed);
    }
    let asked = partitions
        .iter()
        .map(|at| FetchGroupOffset::new(&at.topic, at.partition));
    for (topic, found) in kafka.fetch_group_offsets(group, asked)? {
        for found in found.into_iter().filter(|found| found.offset >= 0) {
            let at = TopicPartition {
                topic: topic.clone(),
                partition: found.partition,
            };
            committed.insert(at, found.offset);
        }
    }
    Ok(committed)
}
