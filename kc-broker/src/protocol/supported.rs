//! The APIs answered, and their versions.

use kafka_protocol::messages::ApiKey;

use super::schema::{self, Field};

/// An API that the broker answers.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// The layout of its requests.
    pub(super) request: &'static [Field],
}

impl Api {
    pub(super) fn find(key: i16, version: i16) -> Option<&'static Self> {
        let mut apis = SUPPORTED.iter();
        apis.find(|a| a.key as i16 == key && (a.min..=a.max).contains(&version))
    }
}

const fn api(key: ApiKey, min: i16, max: i16, request: &'static [Field]) -> Api {
    Api {
        key,
        min,
        max,
        request,
    }
}

/// Produce and Fetch end before topic ids replace names (13); the group APIs end at the classic
/// protocol.
pub(crate) static SUPPORTED: [Api; 22] = [
    api(ApiKey::Produce, 3, 12, schema::PRODUCE),
    api(ApiKey::Fetch, 4, 12, schema::FETCH),
    api(ApiKey::ListOffsets, 1, 7, schema::LIST_OFFSETS),
    api(ApiKey::Metadata, 0, 12, schema::METADATA),
    api(ApiKey::OffsetCommit, 2, 9, schema::OFFSET_COMMIT),
    api(ApiKey::OffsetFetch, 1, 9, schema::OFFSET_FETCH),
    api(ApiKey::FindCoordinator, 0, 5, schema::FIND_COORDINATOR),
    api(ApiKey::JoinGroup, 0, 9, schema::JOIN_GROUP),
    api(ApiKey::Heartbeat, 0, 4, schema::HEARTBEAT),
    api(ApiKey::LeaveGroup, 0, 5, schema::LEAVE_GROUP),
    api(ApiKey::SyncGroup, 0, 5, schema::SYNC_GROUP),
    api(ApiKey::DescribeGroups, 0, 5, schema::DESCRIBE_GROUPS),
    api(ApiKey::ListGroups, 0, 5, schema::LIST_GROUPS),
    api(ApiKey::ApiVersions, 0, 4, schema::API_VERSIONS),
    api(ApiKey::CreateTopics, 2, 7, schema::CREATE_TOPICS),
    api(ApiKey::DeleteTopics, 1, 6, schema::DELETE_TOPICS),
    api(ApiKey::DeleteRecords, 0, 2, schema::DELETE_RECORDS),
    api(ApiKey::InitProducerId, 0, 4, schema::INIT_PRODUCER_ID),
    api(ApiKey::DescribeConfigs, 1, 4, schema::DESCRIBE_CONFIGS),
    api(ApiKey::CreatePartitions, 0, 3, schema::CREATE_PARTITIONS),
    api(ApiKey::DeleteGroups, 0, 2, schema::DELETE_GROUPS),
    api(
        ApiKey::IncrementalAlterConfigs,
        0,
        1,
        schema::INCREMENTAL_ALTER_CONFIGS,
    ),
];
