use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::super::supported::{Api, SUPPORTED};
use super::*;

fn text() -> StrBytes {
    StrBytes::from_static_str("name")
}

fn topic() -> TopicName {
    TopicName(text())
}

fn group() -> GroupId {
    GroupId(text())
}

/// Bodies of requests of this kind and version: one empty, one with an element in every array.
fn bodies(key: ApiKey, v: i16) -> Vec<Bytes> {
    fn encode<R: Encodable + Default>(full: R, v: i16) -> Vec<Bytes> {
        let one = |request: R| {
            let mut body = BytesMut::new();
            request.encode(&mut body, v).unwrap();
            body.freeze()
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
        other => panic!("no sample of {other:?}"),
    }
}

fn each_body(mut f: impl FnMut(&Api, i16, bool, &Bytes)) {
    for api in &SUPPORTED {
        for version in api.min..=api.max {
            let flexible = api.key.request_header_version(version) >= 2;
            for body in bodies(api.key, version) {
                f(api, version, flexible, &body);
            }
        }
    }
}

#[test]
fn every_request_that_the_codec_writes_has_the_layout() {
    each_body(|api, version, flexible, body| {
        let checked = check(api.request, version, flexible, body);
        assert_eq!(checked, Ok(()), "{:?} version {version}", api.key);
    });
}

#[test]
fn a_shortened_request_is_refused_and_what_follows_one_is_ignored() {
    each_body(|api, version, flexible, body| {
        let name = format!("{:?} version {version}", api.key);
        for end in 0..body.len() {
            let cut = check(api.request, version, flexible, &body[..end]);
            assert_eq!(cut, Err(BadShape), "{name} cut to {end}");
        }
        let longer = [&body[..], &[0]].concat();
        let checked = check(api.request, version, flexible, &longer);
        assert_eq!(checked, Ok(()), "{name} with a byte more");
    });
}

#[test]
fn an_array_that_only_claims_to_be_long_is_refused() {
    let api = Api::find(ApiKey::Metadata as i16, 1).unwrap();
    assert_eq!(
        check(api.request, 1, false, &i32::MAX.to_be_bytes()),
        Err(BadShape)
    );
    assert_eq!(
        check(api.request, 1, false, &(-2_i32).to_be_bytes()),
        Err(BadShape)
    );
    let null = (-1_i32).to_be_bytes();
    assert_eq!(check(api.request, 1, false, &null), Ok(()));
}

#[test]
fn the_elements_of_a_request_are_bounded() {
    let api = Api::find(ApiKey::DeleteGroups as i16, 0).unwrap();
    let names = |count: usize| {
        let mut body = i32::try_from(count).unwrap().to_be_bytes().to_vec();
        body.extend(std::iter::repeat_n(0, 2 * count));
        body
    };
    let most = names(MAX_REQUEST_ELEMENTS);
    assert_eq!(check(api.request, 0, false, &most), Ok(()));
    let too_many = names(MAX_REQUEST_ELEMENTS + 1);
    assert_eq!(check(api.request, 0, false, &too_many), Err(BadShape));
}
