//! Finds and commits the start positions of assigned partitions, and commits the stored positions before partitions are
//! revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, MEMBERSHIP_LOST, TopicPartition};
use kc_core::text::with_sources;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::membership::Membership;
use crate::error::failed;
use crate::events::{Events, guarded};
use crate::lookup::Lookup;
use crate::record::{bare_list, list, named};
use crate::{assignment, positions};

/// The maximum time for which a rebalance waits for the commit of positions of revoked partitions.
const REVOCATION_COMMIT: Duration = Duration::from_secs(10);

/// The maximum time for which a rebalance waits until the start positions of new partitions are found and committed.
const ASSIGNMENT_CHECK: Duration = Duration::from_secs(5);

/// The text by which errors name the check of newly assigned partitions.
const CHECK: &str = "compare committed positions with the logs";

/// The receiver of librdkafka's callbacks for a member of a group.
pub(super) struct Rebalancing {
    pub(super) group: String,
    pub(super) events: Events,
    pub(super) lookup: Lookup,
    pub(super) membership: Arc<Membership>,
}

impl ClientContext for Rebalancing {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(
        &self,
        path: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.events.generate_oauth_token(path)
    }

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
                tracing::warn!(error = %with_sources(&error), "rebalance failed");
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
            tracing::debug!(error = %with_sources(&error), "start positions of new partitions not checked; the check will be repeated");
        }
        read(consumer, &self.membership.anchored())?;
        if let Err(error) = commit_starts(consumer, end) {
            tracing::debug!(error = %with_sources(&error), "start positions of new partitions not committed; the commit will be repeated");
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>) -> Result<(), BackendError> {
        if consumer.assignment_lost() {
            tracing::warn!(group = self.group, "{MEMBERSHIP_LOST}");
        } else {
            self.membership.store_processed();
            let stored = self.membership.stored();
            let end = Instant::now() + REVOCATION_COMMIT;
            let context = "commit positions before partitions are revoked";
            if let Err(error) = positions::commit(consumer, &stored, context, end) {
                tracing::warn!(error = %with_sources(&error), "positions of revoked partitions not committed; records will be read again");
            }
        }
        self.membership.revoke();
        assignment::clear(consumer).map_err(|error| failed("give up partitions", error))
    }
}

/// Determines the start offsets of the assigned partitions whose start is not known yet. Leaves out partitions that
/// have no leader now: a later call handles them.
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

/// Commits the stored positions if they contain new start offsets.
pub(super) fn commit_starts(
    consumer: &BaseConsumer<Rebalancing>,
    end: Instant,
) -> Result<(), BackendError> {
    let membership = &consumer.context().membership;
    if membership.has_new_starts() {
        let stored = membership.stored();
        let context = "commit the start positions of new partitions";
        positions::commit(consumer, &stored, context, end)?;
        membership.committed(&stored);
    }
    Ok(())
}

/// Makes librdkafka read exactly these partitions, from these offsets on.
pub(super) fn read(
    consumer: &BaseConsumer<Rebalancing>,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), BackendError> {
    let offsets = offsets.iter();
    let offsets = list(offsets.map(|(at, offset)| (at, Offset::Offset(*offset))))?;
    assignment::replace(consumer, &offsets).map_err(|error| failed("read partitions", error))?;
    // librdkafka forgets that a partition is paused when the partition is revoked.
    let paused = consumer.context().membership.paused();
    if !paused.is_empty() {
        let paused = bare_list(&paused)?;
        consumer
            .pause(&paused)
            .map_err(|error| failed("pause partitions", error))?;
    }
    Ok(())
}
