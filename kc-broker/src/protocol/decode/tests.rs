//! Decodes requests of each kind and version: intact requests, truncated requests, and requests with wrong lengths.

use std::alloc::System;

use bytes::{BufMut, BytesMut};
use cap::Cap;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::super::SUPPORTED;
use super::*;

/// An allocation beyond this limit ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 1 << 30);

fn text() -> StrBytes {
    StrBytes::from_static_str("name")
}

fn topic() -> TopicName {
    TopicName(text())
}

fn group() -> GroupId {
    GroupId(text())
}

/// A request without its header.
struct Sample {
    body: Bytes,
    /// Decodes a request of this kind and version. Returns the number of bytes that are left.
    decode: fn(&[u8], i16) -> Result<usize, ProtocolError>,
}

/// Requests of this kind and version: a request in which all arrays are empty, and a request with an element in each
/// array.
fn samples(key: ApiKey, v: i16) -> Vec<Sample> {
    fn encode<R: Encodable + Decodable + Default>(full: R, v: i16) -> Vec<Sample> {
        let one = |request: R| {
            let mut body = BytesMut::new();
            request.encode(&mut body, v).unwrap();
            let body = body.freeze();
            let decode = |body: &[u8], v| {
                let mut rest = Bytes::copy_from_slice(body);
                decode::<R>(&mut rest, v).map(|_| rest.len())
            };
            Sample { body, decode }
        };
        vec![one(R::default()), one(full)]
    }
    match key {
        ApiKey::Produce => {
            use produce_request::*;
            let partition = PartitionProduceData::default().with_records(Some(Bytes::from("x")));
            let data = TopicProduceData::default()
                .with_name(topic())
                .with_partition_data(vec![partition]);
            encode(ProduceRequest::default().with_topic_data(vec![data]), v)
        }
        ApiKey::Fetch => {
            use fetch_request::*;
            let fetched = FetchTopic::default()
                .with_topic(topic())
                .with_partitions(vec![FetchPartition::default()]);
            let forgotten = ForgottenTopic::default()
                .with_topic(topic())
                .with_partitions(vec![1]);
            let forgotten = if v >= 7 { vec![forgotten] } else { vec![] };
            let request = FetchRequest::default()
                .with_topics(vec![fetched])
                .with_forgotten_topics_data(forgotten);
            encode(request, v)
        }
        ApiKey::ListOffsets => {
            use list_offsets_request::*;
            let asked = ListOffsetsTopic::default()
                .with_name(topic())
                .with_partitions(vec![ListOffsetsPartition::default()]);
            encode(ListOffsetsRequest::default().with_topics(vec![asked]), v)
        }
        ApiKey::Metadata => {
            use metadata_request::*;
            let asked = MetadataRequestTopic::default().with_name(Some(topic()));
            encode(MetadataRequest::default().with_topics(Some(vec![asked])), v)
        }
        ApiKey::OffsetCommit => {
            use offset_commit_request::*;
            let asked = OffsetCommitRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![OffsetCommitRequestPartition::default()]);
            let request = OffsetCommitRequest::default()
                .with_group_id(group())
                .with_topics(vec![asked]);
            encode(request, v)
        }
        ApiKey::OffsetFetch if v < 8 => {
            use offset_fetch_request::*;
            let asked = OffsetFetchRequestTopic::default()
                .with_name(topic())
                .with_partition_indexes(vec![1, 2]);
            encode(
                OffsetFetchRequest::default().with_topics(Some(vec![asked])),
                v,
            )
        }
        ApiKey::OffsetFetch => {
            use offset_fetch_request::*;
            let asked = OffsetFetchRequestTopics::default()
                .with_name(topic())
                .with_partition_indexes(vec![1, 2]);
            let asked = OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![asked]));
            encode(OffsetFetchRequest::default().with_groups(vec![asked]), v)
        }
        ApiKey::FindCoordinator if v < 4 => {
            encode(FindCoordinatorRequest::default().with_key(text()), v)
        }
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text()]);
            encode(request, v)
        }
        ApiKey::JoinGroup => {
            use join_group_request::*;
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text())
                .with_metadata(Bytes::from("x"));
            encode(
                JoinGroupRequest::default().with_protocols(vec![protocol]),
                v,
            )
        }
        ApiKey::Heartbeat => encode(HeartbeatRequest::default().with_group_id(group()), v),
        ApiKey::LeaveGroup if v < 3 => {
            encode(LeaveGroupRequest::default().with_member_id(text()), v)
        }
        ApiKey::LeaveGroup => {
            use leave_group_request::*;
            let member = MemberIdentity::default().with_member_id(text());
            encode(LeaveGroupRequest::default().with_members(vec![member]), v)
        }
        ApiKey::SyncGroup => {
            use sync_group_request::*;
            let assignment = SyncGroupRequestAssignment::default()
                .with_member_id(text())
                .with_assignment(Bytes::from("x"));
            encode(
                SyncGroupRequest::default().with_assignments(vec![assignment]),
                v,
            )
        }
        ApiKey::DescribeGroups => encode(
            DescribeGroupsRequest::default().with_groups(vec![group()]),
            v,
        ),
        ApiKey::ListGroups => {
            let states = if v >= 4 { vec![text()] } else { vec![] };
            let types = if v >= 5 { vec![text()] } else { vec![] };
            let request = ListGroupsRequest::default()
                .with_states_filter(states)
                .with_types_filter(types);
            encode(request, v)
        }
        ApiKey::ApiVersions => encode(
            ApiVersionsRequest::default().with_client_software_name(text()),
            v,
        ),
        ApiKey::CreateTopics => {
            use create_topics_request::*;
            let assignment =
                CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1)]);
            let config = CreatableTopicConfig::default()
                .with_name(text())
                .with_value(Some(text()));
            let asked = CreatableTopic::default()
                .with_name(topic())
                .with_assignments(vec![assignment])
                .with_configs(vec![config]);
            encode(CreateTopicsRequest::default().with_topics(vec![asked]), v)
        }
        ApiKey::DeleteTopics if v < 6 => encode(
            DeleteTopicsRequest::default().with_topic_names(vec![topic()]),
            v,
        ),
        ApiKey::DeleteTopics => {
            use delete_topics_request::*;
            let asked = DeleteTopicState::default().with_name(Some(topic()));
            encode(DeleteTopicsRequest::default().with_topics(vec![asked]), v)
        }
        ApiKey::DeleteRecords => {
            use delete_records_request::*;
            let asked = DeleteRecordsTopic::default()
                .with_name(topic())
                .with_partitions(vec![DeleteRecordsPartition::default()]);
            encode(DeleteRecordsRequest::default().with_topics(vec![asked]), v)
        }
        ApiKey::InitProducerId => {
            let id = TransactionalId(text());
            encode(
                InitProducerIdRequest::default().with_transactional_id(Some(id)),
                v,
            )
        }
        ApiKey::DescribeConfigs => {
            use describe_configs_request::*;
            let asked = DescribeConfigsResource::default()
                .with_resource_name(text())
                .with_configuration_keys(Some(vec![text()]));
            encode(
                DescribeConfigsRequest::default().with_resources(vec![asked]),
                v,
            )
        }
        ApiKey::CreatePartitions => {
            use create_partitions_request::*;
            let assignment =
                CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
            let asked = CreatePartitionsTopic::default()
                .with_name(topic())
                .with_assignments(Some(vec![assignment]));
            encode(
                CreatePartitionsRequest::default().with_topics(vec![asked]),
                v,
            )
        }
        ApiKey::DeleteGroups => encode(
            DeleteGroupsRequest::default().with_groups_names(vec![group()]),
            v,
        ),
        ApiKey::IncrementalAlterConfigs => {
            use incremental_alter_configs_request::*;
            let config = AlterableConfig::default()
                .with_name(text())
                .with_value(Some(text()));
            let asked = AlterConfigsResource::default()
                .with_resource_name(text())
                .with_configs(vec![config]);
            encode(
                IncrementalAlterConfigsRequest::default().with_resources(vec![asked]),
                v,
            )
        }
        ApiKey::DescribeTopicPartitions => {
            use describe_topic_partitions_request::*;
            let cursor = Cursor::default().with_topic_name(topic());
            let request = DescribeTopicPartitionsRequest::default()
                .with_topics(vec![TopicRequest::default().with_name(topic())])
                .with_cursor(Some(cursor));
            encode(request, v)
        }
        other => panic!("no sample of {other:?}"),
    }
}

fn each_sample(mut f: impl FnMut(&str, i16, &Sample)) {
    for api in &SUPPORTED {
        for version in api.min..=api.max {
            let name = format!("{:?} version {version}", api.key);
            for sample in samples(api.key, version) {
                f(&name, version, &sample);
            }
        }
    }
}

#[test]
fn what_the_codec_writes_is_decoded() {
    each_sample(|name, version, sample| {
        let left = (sample.decode)(&sample.body, version).unwrap();
        assert_eq!(left, 0, "{name}");
        let longer = [&sample.body[..], &[0]].concat();
        let left = (sample.decode)(&longer, version).unwrap();
        assert_eq!(left, 1, "{name} with a byte more");
    });
}

#[test]
fn what_is_cut_off_is_refused() {
    each_sample(|name, version, sample| {
        for end in 0..sample.body.len() {
            let cut = (sample.decode)(&sample.body[..end], version);
            assert!(cut.is_err(), "{name} cut to {end}");
        }
    });
}

#[test]
fn no_length_makes_the_codec_allocate() {
    let lies: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x02, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0xff, 0xff, 0x7f],
    ];
    each_sample(|_, version, sample| {
        for at in 0..sample.body.len() {
            for lie in lies {
                let longest = at + lie.len();
                let mut body = sample.body.to_vec();
                body.splice(at..longest.min(body.len()), lie.iter().copied());
                let _ = (sample.decode)(&body, version);
                body.resize(longest + 1_000, 0);
                let _ = (sample.decode)(&body, version);
            }
        }
    });
}

#[test]
fn numbers_and_bytes_are_kept_however_large() {
    let records = Bytes::from(vec![1; 4 * MAX_REQUEST_VALUES]);
    for version in [3, 9] {
        let partition = produce_request::PartitionProduceData::default()
            .with_index(i32::MAX)
            .with_records(Some(records.clone()));
        let data = produce_request::TopicProduceData::default()
            .with_name(topic())
            .with_partition_data(vec![partition; 3]);
        let request = ProduceRequest::default()
            .with_timeout_ms(i32::MAX)
            .with_topic_data(vec![data; 2]);
        let mut body = BytesMut::new();
        request.encode(&mut body, version).unwrap();
        let decoded: ProduceRequest = decode(&mut body.freeze(), version).unwrap();
        assert_eq!(decoded, request);
    }
}

#[test]
fn a_large_value_of_a_tag_is_kept() {
    let value = Bytes::from(vec![1; 2 * MAX_REQUEST_VALUES]);
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_unknown_tagged_fields([(300, value)].into());
    let mut body = BytesMut::new();
    request.encode(&mut body, 4).unwrap();
    let decoded: HeartbeatRequest = decode(&mut body.freeze(), 4).unwrap();
    assert_eq!(decoded, request);
}

#[test]
fn the_values_of_a_request_are_bounded() {
    let names = |count: usize| {
        let mut body = BytesMut::new();
        body.put_i32(i32::try_from(count).unwrap());
        body.put_bytes(0, 2 * count);
        decode::<DeleteGroupsRequest>(&mut body.freeze(), 0)
    };
    // The values of the request are the number of names, and for each name its length and its bytes.
    let most = MAX_REQUEST_VALUES / 2;
    assert_eq!(names(most).unwrap().groups_names.len(), most);
    assert!(names(most + 1).is_err());
}
