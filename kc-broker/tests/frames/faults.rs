//! The faults that tests of clients switch on.

use kafka_protocol::messages::*;
use kc_broker::{Broker, CoordinatorError, CoordinatorRequest};

use crate::wire::{Wire, text, topic};

#[tokio::test]
async fn a_new_coordinator_is_not_found_at_first() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    let faults = broker.faults();
    faults.fail_next(
        CoordinatorRequest::FindCoordinator,
        CoordinatorError::NotAvailable,
        2,
    );
    let one = FindCoordinatorRequest::default().with_key(text("g"));
    let several = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    assert_eq!(wire.call(2, &one).await.error_code, 15);
    assert_eq!(wire.call(4, &several).await.coordinators[0].error_code, 15);
    assert_eq!(faults.remaining(CoordinatorRequest::FindCoordinator), 0);
    let found = wire.call(2, &one).await;
    assert_eq!((found.error_code, found.node_id), (0, BrokerId(1)));
    assert_eq!(found.port, i32::from(broker.address().port()));
}

#[tokio::test]
async fn offsets_cannot_be_fetched_at_first() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    let faults = broker.faults();
    faults.fail_next(
        CoordinatorRequest::OffsetFetch,
        CoordinatorError::NotCoordinator,
        3,
    );
    let asked = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(topic("t"))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_topics(Some(vec![asked]));
    let response = wire.call(1, &request).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 16);
    assert_eq!(wire.call(7, &request).await.error_code, 16);
    let group = offset_fetch_request::OffsetFetchRequestGroup::default();
    let several = OffsetFetchRequest::default().with_groups(vec![group]);
    assert_eq!(wire.call(8, &several).await.groups[0].error_code, 16);
    assert_eq!(wire.call(7, &request).await.error_code, 0);
}

#[tokio::test]
async fn groups_cannot_be_joined_nor_offsets_committed_at_first() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    broker
        .faults()
        .answer_like_new(CoordinatorError::LoadInProgress, 1);
    let joined = wire.call(5, &JoinGroupRequest::default()).await;
    assert_eq!(joined.error_code, 14);
    let asked = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic("t"))
        .with_partitions(vec![Default::default()]);
    let commit = OffsetCommitRequest::default().with_topics(vec![asked]);
    let committed = wire.call(7, &commit).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 14);
}

#[tokio::test]
async fn a_member_is_told_its_id_first_unless_switched_off() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let told = wire.call(5, &request).await;
    assert_eq!(told.error_code, 79);
    assert!(told.member_id.starts_with("wire-"));
    let joined = wire
        .call(5, &request.clone().with_member_id(told.member_id.clone()))
        .await;
    assert_eq!((joined.error_code, joined.member_id), (0, told.member_id));
    broker.faults().require_member_id(false);
    let request = request.with_group_id(GroupId(text("other")));
    let joined = wire.call(5, &request).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
}
