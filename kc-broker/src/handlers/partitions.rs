//! CreatePartitions and DeleteRecords.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
};

use super::{Refusal, code_and_message};
use crate::log::Partition;
use crate::protocol::Context;
use crate::state::State;

pub(crate) fn create(
    context: &Context<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let state = &mut *context.shared.state();
    let results = request.topics.into_iter().map(|topic| {
        let result = create_in_topic(state, &topic, request.validate_only);
        let (code, message) = code_and_message(result);
        CreatePartitionsTopicResult::default()
            .with_name(topic.name)
            .with_error_code(code)
            .with_error_message(message)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn create_in_topic(
    state: &mut State,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let missing = (ResponseError::UnknownTopicOrPartition, None);
    let present = state
        .topics
        .get(&asked.name)
        .ok_or(missing)?
        .partitions
        .len();
    let count = usize::try_from(asked.count).unwrap_or(0);
    if count <= present {
        let message = format!("the topic has {present} partitions, it can only get more");
        return Err((ResponseError::InvalidPartitions, Some(message)));
    }
    let full = "the broker's limit of partitions is reached";
    state
        .topics
        .check_room(count - present)
        .map_err(|error| (error, Some(full.to_owned())))?;
    if let Some(topic) = state.topics.get_mut(&asked.name)
        && !validate_only
    {
        topic.partitions.resize_with(count, Partition::default);
    }
    Ok(())
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

/// Deletes the records before `offset`; -1 means all.
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
