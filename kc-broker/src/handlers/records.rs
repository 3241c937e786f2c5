//! Produce, Fetch, ListOffsets, DeleteRecords: these requests write, read, find and delete records.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, DeleteRecordsResponse, FetchRequest, FetchResponse,
    ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse,
};
use tokio::time::{Instant, timeout_at};

use super::{Refusal, text};
use crate::limits::{MAX_FETCH_BYTES, MAX_FETCH_WAIT};
use crate::log::{AppendError, BatchError, RecordBatch, TimeQuery};
use crate::protocol::Context;
use crate::state::State;

/// The first Produce version with error messages.
const PRODUCE_HAS_MESSAGES: i16 = 8;
/// The first ListOffsets version with leader epochs.
const LIST_HAS_LEADER_EPOCH: i16 = 4;

pub(crate) fn produce(context: &Context<'_>, request: ProduceRequest) -> ProduceResponse {
    let refused = if request.transactional_id.is_some() {
        Some(ResponseError::TransactionalIdAuthorizationFailed)
    } else if !(-1..=1).contains(&request.acks) {
        Some(ResponseError::InvalidRequiredAcks)
    } else {
        None
    };
    let mut state = context.shared.state();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let partitions = topic.partition_data.into_iter().map(|partition| {
            let (name, index) = (topic.name.as_str(), partition.index);
            let result = match refused {
                Some(error) => Err((error, None)),
                None => append(&mut state, name, index, partition.records),
            };
            answer(context.version, index, result)
        });
        let partitions = partitions.collect();
        let response = TopicProduceResponse::default().with_partition_responses(partitions);
        topics.push(response.with_name(topic.name));
    }
    drop(state);
    context.shared.log_changed.notify_waiters();
    ProduceResponse::default().with_responses(topics)
}

/// The offset of the first appended record, and the log start offset of the partition.
type Appended = (i64, i64);

fn append(
    state: &mut State,
    topic: &str,
    index: i32,
    records: Option<Bytes>,
) -> Result<Appended, Refusal> {
    let missing = || (ResponseError::UnknownTopicOrPartition, None);
    let limit = state
        .topics
        .get(topic)
        .ok_or_else(missing)?
        .config
        .max_batch_bytes();
    let partition = state
        .topics
        .partition_mut(topic, index)
        .ok_or_else(missing)?;
    let records = records.unwrap_or_default();
    if records.len() > limit {
        let message = format!("the record batch is larger than {limit} bytes");
        return Err((ResponseError::MessageTooLarge, Some(message)));
    }
    let batch = RecordBatch::parse(records).map_err(refuse_batch)?;
    let base = partition.append(&batch, &mut state.memory);
    Ok((base.map_err(refuse_append)?, partition.start()))
}

fn refuse_batch(error: BatchError) -> Refusal {
    let code = match error {
        BatchError::Checksum | BatchError::Length => ResponseError::CorruptMessage,
        BatchError::Magic(_) => ResponseError::UnsupportedForMessageFormat,
        BatchError::Transactional | BatchError::Count => ResponseError::InvalidRecord,
    };
    (code, Some(error.to_string()))
}

fn refuse_append(error: AppendError) -> Refusal {
    use crate::log::SequenceError::{OutOfOrder, StaleEpoch};
    let code = match error {
        AppendError::Memory(_) => ResponseError::PolicyViolation,
        AppendError::Sequence(StaleEpoch { .. }) => ResponseError::InvalidProducerEpoch,
        AppendError::Sequence(OutOfOrder { .. }) => ResponseError::OutOfOrderSequenceNumber,
    };
    (code, Some(error.to_string()))
}

fn answer(version: i16, index: i32, result: Result<Appended, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default()
        .with_index(index)
        .with_log_append_time_ms(-1);
    match result {
        Ok((base, start)) => response.with_base_offset(base).with_log_start_offset(start),
        Err((error, message)) => response
            .with_error_code(error.code())
            .with_base_offset(-1)
            .with_error_message(
                message
                    .filter(|_| version >= PRODUCE_HAS_MESSAGES)
                    .map(text),
            ),
    }
}

/// Answers a fetch request as soon as there are enough bytes to return, an error has occurred, or the maximum wait of
/// the request has passed. The wait is at most [`MAX_FETCH_WAIT`].
pub(crate) async fn fetch(context: &Context<'_>, request: FetchRequest) -> FetchResponse {
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(MAX_FETCH_WAIT);
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    loop {
        let changed = context.shared.log_changed.notified();
        let round = Round::read(&context.shared.state(), &request);
        let done = round.failed || round.size >= enough.min(round.limit);
        if done || Instant::now() >= deadline {
            return FetchResponse::default().with_responses(round.topics);
        }
        // A waiting request holds no records.
        drop(round);
        let _ = timeout_at(deadline, changed).await;
    }
}

/// The result of reading the log once.
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

pub(crate) fn list_offsets(
    context: &Context<'_>,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let state = context.shared.state();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_timestamp(-1)
                .with_offset(-1);
            let Some(partition) = state.topics.partition(&topic.name, asked.partition_index) else {
                return response.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            match partition.find(time_query(asked.timestamp)) {
                None => response,
                Some((offset, timestamp)) => {
                    let epoch = if context.version >= LIST_HAS_LEADER_EPOCH {
                        0
                    } else {
                        -1
                    };
                    response
                        .with_offset(offset)
                        .with_timestamp(timestamp)
                        .with_leader_epoch(epoch)
                }
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    let topics = topics.collect();
    ListOffsetsResponse::default().with_topics(topics)
}

fn time_query(timestamp: i64) -> TimeQuery {
    match timestamp {
        -1 => TimeQuery::Latest,
        -2 => TimeQuery::Earliest,
        -3 => TimeQuery::MaxTimestamp,
        since => TimeQuery::Since(since),
    }
}

pub(crate) fn delete_records(
    context: &Context<'_>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut state = context.shared.state();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let (index, offset) = (asked.partition_index, asked.offset);
            let response = DeleteRecordsPartitionResult::default().with_partition_index(index);
            match delete_before(&mut state, &topic.name, index, offset) {
                Ok(start) => response.with_low_watermark(start),
                Err(error) => response
                    .with_low_watermark(-1)
                    .with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

/// Deletes the records before `offset`, or all records if `offset` is -1. Returns the new log start offset.
fn delete_before(
    state: &mut State,
    topic: &str,
    index: i32,
    offset: i64,
) -> Result<i64, ResponseError> {
    let partition = state.topics.partition_mut(topic, index);
    let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
    let offset = (offset != -1).then_some(offset);
    let deleted = partition.delete_before(offset, &mut state.memory);
    deleted.map_err(|_| ResponseError::OffsetOutOfRange)
}
