//! Fetch: records out of the log, with a long poll.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use tokio::time::{Instant, timeout_at};

use crate::limits::{MAX_FETCH_BYTES, MAX_FETCH_WAIT};
use crate::protocol::Context;
use crate::state::State;

/// Waits until there is enough to return, or an error, or time is up.
pub(crate) async fn handle(context: &Context<'_>, request: FetchRequest) -> FetchResponse {
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(MAX_FETCH_WAIT);
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    loop {
        let changed = context.shared.log_changed.notified();
        let round = Round::read(&context.shared.state(), &request);
        let done = round.failed || round.size >= enough.min(round.limit);
        if done || timeout_at(deadline, changed).await.is_err() {
            return FetchResponse::default().with_responses(round.topics);
        }
    }
}

/// One look at the log.
struct Round {
    limit: usize,
    size: usize,
    failed: bool,
    topics: Vec<FetchableTopicResponse>,
}

impl Round {
    fn read(state: &State, request: &FetchRequest) -> Self {
        let mut round = Self {
            limit: byte_limit(request.max_bytes).min(MAX_FETCH_BYTES),
            size: 0,
            failed: false,
            topics: Vec::new(),
        };
        for topic in &request.topics {
            let partitions = topic.partitions.iter();
            let partitions = partitions
                .map(|p| round.partition(state, &topic.topic, p))
                .collect();
            let response = FetchableTopicResponse::default().with_topic(topic.topic.clone());
            round.topics.push(response.with_partitions(partitions));
        }
        round
    }

    fn partition(&mut self, state: &State, topic: &str, asked: &FetchPartition) -> PartitionData {
        let response = PartitionData::default()
            .with_partition_index(asked.partition)
            .with_records(Some(Bytes::new()));
        let Some(partition) = state.topics.partition(topic, asked.partition) else {
            self.failed = true;
            return response
                .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                .with_high_watermark(-1);
        };
        let response = response
            .with_high_watermark(partition.end())
            .with_last_stable_offset(partition.end())
            .with_log_start_offset(partition.start())
            .with_preferred_read_replica(BrokerId(-1));
        let left = self.limit.saturating_sub(self.size);
        let max = byte_limit(asked.partition_max_bytes).min(left);
        match partition.read(asked.fetch_offset, max, self.size == 0) {
            Ok(records) => {
                self.size = self.size.saturating_add(records.len());
                response.with_records(Some(records))
            }
            Err(_) => {
                self.failed = true;
                response.with_error_code(ResponseError::OffsetOutOfRange.code())
            }
        }
    }
}

fn byte_limit(asked: i32) -> usize {
    usize::try_from(asked).unwrap_or(0)
}
