//! Produce: record batches into the log.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::{Refusal, text};
use crate::log::{AppendError, BatchError, RecordBatch};
use crate::protocol::Context;
use crate::state::State;

/// The first version with words for people.
const HAS_MESSAGES: i16 = 8;

pub(crate) fn handle(context: &Context<'_>, request: ProduceRequest) -> ProduceResponse {
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

/// Base offset and log start offset.
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
            .with_error_message(message.filter(|_| version >= HAS_MESSAGES).map(text)),
    }
}
