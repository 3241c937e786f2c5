//! ListOffsets: the ends of a log, and offsets by time.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::log::TimeQuery;
use crate::protocol::Context;

/// The first version with leader epochs.
const HAS_LEADER_EPOCH: i16 = 4;

pub(crate) fn handle(context: &Context<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
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
            match partition.find(query(asked.timestamp)) {
                None => response,
                Some((offset, timestamp)) => {
                    let epoch = if context.version >= HAS_LEADER_EPOCH {
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

fn query(timestamp: i64) -> TimeQuery {
    match timestamp {
        -1 => TimeQuery::Latest,
        -2 => TimeQuery::Earliest,
        -3 => TimeQuery::MaxTimestamp,
        since => TimeQuery::Since(since),
    }
}
