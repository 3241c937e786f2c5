//! The supported APIs, and the processing of a request frame into a response frame.

mod decode;
mod dispatch;

use kafka_protocol::messages::ApiKey;

pub(crate) use dispatch::{Context, ProtocolError, answer};

/// An API and its supported versions.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Api {
    /// Returns the API if the broker supports this version of it.
    fn find(key: i16, version: i16) -> Option<&'static Self> {
        let mut apis = SUPPORTED.iter();
        apis.find(|a| a.key as i16 == key && (a.min..=a.max).contains(&version))
    }
}

const fn api(key: ApiKey, min: i16, max: i16) -> Api {
    Api { key, min, max }
}

/// The supported APIs and versions. For Produce and Fetch, the last supported version is 12, because topic ids replace
/// names in version 13. For consumer groups, only the APIs of the classic protocol are supported.
pub(crate) static SUPPORTED: [Api; 23] = [
    api(ApiKey::Produce, 3, 12),
    api(ApiKey::Fetch, 4, 12),
    api(ApiKey::ListOffsets, 1, 7),
    api(ApiKey::Metadata, 0, 12),
    api(ApiKey::OffsetCommit, 2, 9),
    api(ApiKey::OffsetFetch, 1, 9),
    api(ApiKey::FindCoordinator, 0, 5),
    api(ApiKey::JoinGroup, 0, 9),
    api(ApiKey::Heartbeat, 0, 4),
    api(ApiKey::LeaveGroup, 0, 5),
    api(ApiKey::SyncGroup, 0, 5),
    api(ApiKey::DescribeGroups, 0, 5),
    api(ApiKey::ListGroups, 0, 5),
    api(ApiKey::ApiVersions, 0, 4),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 4),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::DeleteGroups, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::DescribeTopicPartitions, 0, 0),
];
