//! Consumer groups in real time.

use kafka_protocol::messages::*;
use kc_broker::Broker;

use crate::wire::{Wire, text};

fn join(session_timeout_ms: i32) -> JoinGroupRequest {
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(session_timeout_ms)
        .with_rebalance_timeout_ms(600_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn sync(joined: &JoinGroupResponse) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
}

#[tokio::test]
async fn a_member_that_died_without_a_word_makes_way() {
    let broker = Broker::builder().start().await.unwrap();
    broker.faults().require_member_id(false);
    let mut mortal = Wire::connect(broker.address()).await;
    let first = mortal.call(5, &join(300)).await;
    mortal.call(3, &sync(&first)).await;
    drop(mortal);
    // Answered when the first is taken for dead, long before the rebalance times out.
    let mut heir = Wire::connect(broker.address()).await;
    let second = heir.call(5, &join(60_000)).await;
    assert_eq!((second.error_code, second.generation_id), (0, 2));
    assert_eq!(second.members.len(), 1);
    assert_eq!(second.leader, second.member_id);
}

#[tokio::test]
async fn time_outs_beyond_reason_are_refused() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    for timeout in [-1, 0, i32::MAX] {
        assert_eq!(wire.call(5, &join(timeout)).await.error_code, 26);
    }
    let nameless = join(1_000).with_group_id(GroupId(text("")));
    assert_eq!(wire.call(5, &nameless).await.error_code, 24);
}

#[tokio::test]
async fn a_group_is_described_listed_and_deleted() {
    let broker = Broker::builder().start().await.unwrap();
    broker.faults().require_member_id(false);
    let mut wire = Wire::connect(broker.address()).await;
    let joined = wire.call(5, &join(60_000)).await;
    let describe = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]);
    let described = wire.call(5, &describe).await;
    assert_eq!(described.groups[0].group_state, text("CompletingRebalance"));
    assert_eq!(described.groups[0].members[0].client_id, text("wire"));
    assert_eq!(
        described.groups[0].members[0].client_host,
        text("/127.0.0.1")
    );
    wire.call(3, &sync(&joined)).await;
    let list = |state| ListGroupsRequest::default().with_states_filter(vec![text(state)]);
    assert_eq!(wire.call(4, &list("Empty")).await.groups, []);
    assert_eq!(wire.call(4, &list("Stable")).await.groups.len(), 1);
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]);
    assert_eq!(wire.call(1, &delete).await.results[0].error_code, 68);
    let leave = LeaveGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(joined.member_id);
    assert_eq!(wire.call(2, &leave).await.error_code, 0);
    assert_eq!(wire.call(1, &delete).await.results[0].error_code, 69);
    let described = wire.call(5, &describe).await;
    assert_eq!(described.groups[0].group_state, text("Dead"));
}
