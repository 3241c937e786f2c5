//! Every API in every version it is offered in.

use std::num::NonZeroU16;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use kc_broker::Broker;

use crate::wire::{NO_PRODUCER, Wire, batch, produce_request, text, topic};

/// Sends a request in all versions offered; what makes it fit a version is up to `fit`.
async fn in_all_versions<Q: Request>(wire: &mut Wire, fit: impl Fn(i16) -> Q) -> Vec<Q::Response> {
    let offered = wire.call(3, &ApiVersionsRequest::default()).await;
    let api = offered
        .api_keys
        .iter()
        .find(|a| a.api_key == Q::KEY)
        .unwrap();
    let mut responses = Vec::new();
    for version in api.min_version..=api.max_version {
        responses.push(wire.call(version, &fit(version)).await);
    }
    responses
}

#[tokio::test]
async fn records_go_in_and_out_in_all_versions() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    let produce = |_| produce_request("t", batch(NO_PRODUCER, b"value"), -1);
    let produced = in_all_versions(&mut wire, produce).await;
    for (offset, response) in (0..).zip(&produced) {
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset));
    }
    let fetched = in_all_versions(&mut wire, |_| {
        let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
        let asked = fetch_request::FetchTopic::default()
            .with_topic(topic("t"))
            .with_partitions(vec![partition]);
        FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_topics(vec![asked])
    });
    for response in fetched.await {
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let size = partition.records.as_ref().unwrap().len();
        assert_eq!(size, produced.len() * batch(NO_PRODUCER, b"value").len());
    }
    let listed = in_all_versions(&mut wire, |_| {
        let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
        let asked = list_offsets_request::ListOffsetsTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![asked])
    });
    for response in listed.await {
        assert_eq!(
            response.topics[0].partitions[0].offset,
            produced.len() as i64
        );
    }
}

#[tokio::test]
async fn offsets_are_committed_and_fetched_in_all_versions() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    let committed = in_all_versions(&mut wire, |_| {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default()
            .with_committed_offset(7)
            .with_committed_metadata(Some(text("note")));
        let asked = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![asked])
    });
    for response in committed.await {
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }
    let group = || GroupId(text("g"));
    let named = in_all_versions(&mut wire, |version| {
        if version < 8 {
            let asked = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic("t"))
                .with_partition_indexes(vec![0, 9]);
            let request = OffsetFetchRequest::default().with_group_id(group());
            return request.with_topics(Some(vec![asked]));
        }
        let asked = offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(topic("t"))
            .with_partition_indexes(vec![0, 9]);
        let asked = offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_topics(Some(vec![asked]));
        OffsetFetchRequest::default().with_groups(vec![asked])
    });
    assert_eq!(offsets(&named.await), [[7, -1]; 9]);
    // Null: all that is committed. Version 1 cannot say so.
    for version in 2..=9 {
        let request = if version < 8 {
            let request = OffsetFetchRequest::default().with_group_id(group());
            request.with_topics(None)
        } else {
            let asked = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(None);
            OffsetFetchRequest::default().with_groups(vec![asked])
        };
        let response = wire.call(version, &request).await;
        assert_eq!(offsets(&[response]), [[7]]);
    }
}

fn offsets(responses: &[OffsetFetchResponse]) -> Vec<Vec<i64>> {
    let one = |response: &OffsetFetchResponse| match response.groups.first() {
        None => {
            let partitions = &response.topics[0].partitions;
            partitions.iter().map(|p| p.committed_offset).collect()
        }
        Some(group) => {
            let partitions = &group.topics[0].partitions;
            partitions.iter().map(|p| p.committed_offset).collect()
        }
    };
    responses.iter().map(one).collect()
}

#[tokio::test]
async fn all_else_is_answered_in_all_versions() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    let wire = &mut wire;
    wire.metadata("t", true).await;
    in_all_versions(wire, |_| ApiVersionsRequest::default()).await;
    in_all_versions(wire, |_| MetadataRequest::default()).await;
    in_all_versions(wire, |_| FindCoordinatorRequest::default()).await;
    in_all_versions(wire, |_| JoinGroupRequest::default()).await;
    in_all_versions(wire, |_| SyncGroupRequest::default()).await;
    in_all_versions(wire, |_| HeartbeatRequest::default()).await;
    in_all_versions(wire, |_| LeaveGroupRequest::default()).await;
    in_all_versions(wire, |_| ListGroupsRequest::default()).await;
    in_all_versions(wire, |_| InitProducerIdRequest::default()).await;
    in_all_versions(wire, |_| {
        DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))])
    })
    .await;
    in_all_versions(wire, |_| {
        DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))])
    })
    .await;
    in_all_versions(wire, |_| {
        let asked = describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"));
        DescribeConfigsRequest::default()
            .with_resources(vec![asked])
            .with_include_synonyms(true)
    })
    .await;
    in_all_versions(wire, |_| {
        let asked = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"));
        IncrementalAlterConfigsRequest::default().with_resources(vec![asked])
    })
    .await;
    in_all_versions(wire, |_| {
        let partition = delete_records_request::DeleteRecordsPartition::default();
        let asked = delete_records_request::DeleteRecordsTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![asked])
    })
    .await;
}

/// Three topics with three partitions each, described in pages of two partitions.
#[tokio::test]
async fn topics_are_described_in_pages() {
    let broker = Broker::builder()
        .default_partitions(const { NonZeroU16::new(3).unwrap() })
        .start()
        .await
        .unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    for name in ["c", "a", "b"] {
        wire.metadata(name, true).await;
    }
    let asked = ["b", "missing", "a", "c", "a"].map(|name| {
        describe_topic_partitions_request::TopicRequest::default().with_name(topic(name))
    });
    for asked in [asked.to_vec(), Vec::new()] {
        let mut described = Vec::new();
        let mut missing = Vec::new();
        let mut cursor = None;
        loop {
            let request = DescribeTopicPartitionsRequest::default()
                .with_topics(asked.clone())
                .with_response_partition_limit(2)
                .with_cursor(cursor);
            let response = wire.call(0, &request).await;
            let page = response.topics.iter().flat_map(|topic| {
                let name = topic.name.as_ref().unwrap().to_string();
                let indexes = topic.partitions.iter().map(|one| one.partition_index);
                indexes.map(move |index| (name.clone(), index))
            });
            let page: Vec<_> = page.collect();
            assert!(page.len() <= 2, "{page:?}");
            described.extend(page);
            let refused = response.topics.iter().filter(|topic| topic.error_code != 0);
            missing.extend(refused.map(|topic| topic.name.as_ref().unwrap().to_string()));
            let Some(next) = response.next_cursor else {
                break;
            };
            cursor = Some(
                describe_topic_partitions_request::Cursor::default()
                    .with_topic_name(next.topic_name)
                    .with_partition_index(next.partition_index),
            );
        }
        let all = ["a", "b", "c"].map(|name| [0, 1, 2].map(|index| (name.to_owned(), index)));
        assert_eq!(described, all.concat());
        assert_eq!(missing.len(), usize::from(!asked.is_empty()));
    }
}

#[tokio::test]
async fn topics_are_made_changed_and_deleted_in_all_versions() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    let wire = &mut wire;
    for valid in [true, false] {
        let name = |version| {
            if valid {
                format!("t{version}")
            } else {
                "not a topic".into()
            }
        };
        let created = in_all_versions(wire, |version| {
            let asked = create_topics_request::CreatableTopic::default()
                .with_name(topic(&name(version)))
                .with_num_partitions(1)
                .with_replication_factor(1);
            CreateTopicsRequest::default().with_topics(vec![asked])
        });
        for response in created.await {
            let expected = if valid { 0 } else { 17 };
            assert_eq!(response.topics[0].error_code, expected);
        }
    }
    let grown = in_all_versions(wire, |version| {
        let asked = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic("t7"))
            .with_count(i32::from(version) + 2)
            .with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![asked])
    });
    for response in grown.await {
        assert_eq!(response.results[0].error_code, 0);
    }
    for missing in [false, true] {
        let deleted = in_all_versions(wire, |version| {
            let name = topic(&format!("t{}", version + 1));
            if version < 6 {
                return DeleteTopicsRequest::default().with_topic_names(vec![name]);
            }
            let asked = delete_topics_request::DeleteTopicState::default().with_name(Some(name));
            DeleteTopicsRequest::default().with_topics(vec![asked])
        });
        for response in deleted.await {
            let expected = if missing { 3 } else { 0 };
            assert_eq!(response.responses[0].error_code, expected);
        }
    }
}

#[tokio::test]
async fn a_topic_has_an_id_to_ask_for_it_by() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    let all = wire
        .call(12, &MetadataRequest::default().with_topics(None))
        .await;
    let id = all.topics[0].topic_id;
    let by_id = |id| {
        let asked = metadata_request::MetadataRequestTopic::default()
            .with_topic_id(id)
            .with_name(None);
        MetadataRequest::default().with_topics(Some(vec![asked]))
    };
    let found = wire.call(12, &by_id(id)).await;
    assert_eq!(found.topics[0].name, Some(topic("t")));
    let other = wire.call(12, &by_id(uuid::Uuid::from_u128(1))).await;
    assert_eq!(other.topics[0].error_code, 100);
}
