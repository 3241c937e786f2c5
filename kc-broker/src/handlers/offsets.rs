//! OffsetCommit and OffsetFetch: the committed positions of consumer groups.

use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};

use super::groups::group_name;
use super::{code, text};
use crate::faults::CoordinatorRequest;
use crate::groups::{Committed, Groups};
use crate::limits::MAX_OFFSET_METADATA_BYTES;
use crate::protocol::Context;
use crate::state::State;

/// The first OffsetFetch version with several groups.
const FETCH_SEVERAL: i16 = 8;
/// The first OffsetFetch version with an error for the whole group.
const FETCH_HAS_ERROR: i16 = 2;

pub(crate) fn commit(context: &Context<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut state = context.shared.state();
    let allowed = may_commit(context, &mut state, &request);
    let group = request.group_id.as_str();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let result =
                allowed.and_then(|()| commit_one(&mut state, group, &topic.name, partition));
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&result))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn may_commit(
    context: &Context<'_>,
    state: &mut State,
    request: &OffsetCommitRequest,
) -> Result<(), ResponseError> {
    if let Some(error) = context.shared.faults.take(CoordinatorRequest::OffsetCommit) {
        return Err(error);
    }
    let group = group_name(&request.group_id)?;
    let (member, generation) = (&request.member_id, request.generation_id_or_member_epoch);
    state
        .groups
        .may_commit(Instant::now(), group, member, generation)
}

fn commit_one(
    state: &mut State,
    group: &str,
    topic: &str,
    asked: &OffsetCommitRequestPartition,
) -> Result<(), ResponseError> {
    let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
    if metadata.len() > MAX_OFFSET_METADATA_BYTES {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    let partition = state.topics.partition(topic, asked.partition_index);
    partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
    let committed = Committed {
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: metadata.to_owned(),
    };
    state
        .groups
        .commit(group, topic, asked.partition_index, committed)
}

pub(crate) fn fetch(context: &Context<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let state = context.shared.state();
    let fault = context.shared.faults.take(CoordinatorRequest::OffsetFetch);
    let error_code = fault.map_or(0, |error| error.code());
    if context.version >= FETCH_SEVERAL {
        let groups = request.groups.into_iter().map(|asked| {
            let topics = asked.topics.map(|topics| {
                let topics = topics.into_iter();
                topics
                    .map(|t| (t.name.to_string(), t.partition_indexes))
                    .collect()
            });
            let response = OffsetFetchResponseGroup::default().with_error_code(error_code);
            let topics = if error_code == 0 {
                found(&state.groups, &asked.group_id, topics)
            } else {
                Vec::new()
            };
            response
                .with_group_id(asked.group_id)
                .with_topics(topics.into_iter().map(Found::for_several).collect())
        });
        let groups = groups.collect();
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let asked = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|t| (t.name.to_string(), t.partition_indexes))
            .collect()
    });
    let found = found(&state.groups, &request.group_id, asked);
    let (partition_code, group_code) = if context.version < FETCH_HAS_ERROR {
        (error_code, 0)
    } else {
        (error_code, error_code)
    };
    let topics = found.into_iter().map(|f| f.for_one(partition_code));
    OffsetFetchResponse::default()
        .with_error_code(group_code)
        .with_topics(topics.collect())
}

/// The partitions of a topic and their committed offsets.
struct Found {
    topic: TopicName,
    partitions: Vec<(i32, Committed)>,
}

/// Returns the committed offsets of a group in the partitions `asked`, with the offset -1 for a partition without a
/// committed offset. If `asked` is `None`, returns all committed offsets of the group.
fn found(groups: &Groups, group: &str, asked: Option<Vec<(String, Vec<i32>)>>) -> Vec<Found> {
    let offsets = groups.get(group).map(|entry| &entry.offsets);
    let asked = asked.unwrap_or_else(|| {
        let all = offsets.into_iter().flat_map(|o| o.partitions());
        all.map(|(topic, partitions)| (topic.to_owned(), partitions))
            .collect()
    });
    let committed = |topic: &str, partition: i32| {
        let known = offsets.and_then(|o| o.get(topic, partition));
        known.cloned().unwrap_or(Committed {
            offset: -1,
            leader_epoch: -1,
            metadata: String::new(),
        })
    };
    let topics = asked.into_iter().map(|(topic, partitions)| Found {
        partitions: partitions
            .into_iter()
            .map(|p| (p, committed(&topic, p)))
            .collect(),
        topic: TopicName(text(topic)),
    });
    topics.collect()
}

impl Found {
    fn for_one(self, error_code: i16) -> OffsetFetchResponseTopic {
        let partitions = self.partitions.into_iter().map(|(index, committed)| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(error_code)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(committed.metadata)))
        });
        OffsetFetchResponseTopic::default()
            .with_name(self.topic)
            .with_partitions(partitions.collect())
    }

    fn for_several(self) -> OffsetFetchResponseTopics {
        let partitions = self.partitions.into_iter().map(|(index, committed)| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(committed.metadata)))
        });
        OffsetFetchResponseTopics::default()
            .with_name(self.topic)
            .with_partitions(partitions.collect())
    }
}
