//! Following rebalances: where partitions start, and what is committed when they are taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, TopicPartition};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::membership::Membership;
use crate::error::failed;
use crate::events::{Events, guarded};
use crate::lookup::Lookup;
use crate::positions;
use crate::record::{bare_list, list, named};

/// How long a rebalance waits for the commit of what is revoked.
const REVOCATION_COMMIT: Duration = Duration::from_secs(10);

/// How long a rebalance waits to know where partitions start.
const ASSIGNMENT_CHECK: Duration = Duration::from_secs(5);

/// What an error of the checks at an assignment was about.
const CHECK: &str = "compare committed positions with the logs";

/// What librdkafka calls back to.
pub(super) struct Rebalancing {
    pub(super) events: Events,
    pub(super) lookup: Lookup,
    pub(super) membership: Arc<Membership>,
}

impl ClientContext for Rebalancing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}

impl ConsumerContext for Rebalancing {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        guarded("rebalance", || {
            let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
                self.assign(consumer, partitions)
            } else {
                self.revoke(consumer)
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a rebalance failed");
            }
        });
    }
}

impl Rebalancing {
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> Result<(), BackendError> {
        let partitions = partitions.elements();
        self.membership
            .assign(partitions.iter().map(named).collect());
        let end = Instant::now() + ASSIGNMENT_CHECK;
        if let Err(error) = anchor(consumer, end) {
            tracing::debug!(%error, "positions were not checked yet");
        }
        read(consumer, &self.membership.anchored())?;
        if let Err(error) = commit_starts(consumer, end) {
            tracing::debug!(%error, "starts were not committed yet");
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) -> Result<(), BackendError> {
        if consumer.assignment_lost() {
            tracing::warn!("membership was lost; records that were not committed will come again");
        } else {
            let stored = self.membership.stored();
            let end = Instant::now() + REVOCATION_COMMIT;
            let context = "commit before revocation";
            if let Err(error) = positions::commit(consumer, &stored, context, end) {
                tracing::warn!(%error, "positions of revoked partitions were not committed; records will come again");
            }
        }
        self.membership.revoke();
        consumer
            .unassign()
            .map_err(|error| failed("give up partitions", error))
    }
}

/// Finds out where partitions start of which it is not known yet. What has no leader now is for the next time.
pub(super) fn anchor(
    consumer: &BaseConsumer<Rebalancing>,
    end: Instant,
) -> Result<(), BackendError> {
    let Rebalancing {
        lookup, membership, ..
    } = &**consumer.context();
    let mut partitions = membership.unanchored();
    let topics: BTreeSet<&str> = partitions.iter().map(|at| at.topic.as_str()).collect();
    let ready = lookup.ready_partitions(topics, end)?;
    partitions.retain(|at| ready.contains(at));
    let committed = positions::committed(consumer, &partitions, CHECK, end)?;
    for (at, have) in lookup.watermarks(&partitions, end)? {
        let committed = committed.get(&at).copied();
        membership.anchor(at, committed, have);
    }
    Ok(())
}

/// Commits new starts.
pub(super) fn commit_starts(
    consumer: &BaseConsumer<Rebalancing>,
    end: Instant,
) -> Result<(), BackendError> {
    let membership = &consumer.context().membership;
    if membership.has_new_starts() {
        let stored = membership.stored();
        positions::commit(consumer, &stored, "commit where partitions start", end)?;
        membership.committed(&stored);
    }
    Ok(())
}

/// Lets librdkafka read these partitions from these offsets on, and no others.
pub(super) fn read(
    consumer: &BaseConsumer<Rebalancing>,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), BackendError> {
    let offsets = offsets.iter();
    let offsets = list(offsets.map(|(at, offset)| (at, Offset::Offset(*offset))))?;
    consumer
        .assign(&offsets)
        .map_err(|error| failed("read partitions", error))?;
    // librdkafka forgets a pause when it loses the partition.
    let paused = consumer.context().membership.paused();
    if !paused.is_empty() {
        let paused = bare_list(&paused)?;
        consumer
            .pause(&paused)
            .map_err(|error| failed("pause partitions", error))?;
    }
    Ok(())
}
