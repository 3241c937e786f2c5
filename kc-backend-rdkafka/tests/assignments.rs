//! Assignments that change faster than librdkafka stops to read partitions.
//!
//! librdkafka up to 2.15.0 aborts the process if a partition is removed, added and removed again before its thread has
//! handled the first removal ([issue 5573](https://github.com/confluentinc/librdkafka/issues/5573)).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use kc_backend_rdkafka::RdkafkaBackend;
use kc_broker::Broker;
use kc_core::backend::{
    Backend, ClientSettings, GroupStart, Subscription, TopicPartition, TopicSpec,
};

const DEADLINE: Duration = Duration::from_secs(10);

const PARTITIONS: i32 = 16;

/// Without the wait for stops, one seek of some dozens ended the process.
const CHANGES: usize = 200;

#[tokio::test]
async fn a_member_seeks_quickly() {
    let broker = Broker::builder().start().await.unwrap();
    let address = broker.address().to_string();
    let settings = ClientSettings::parse([("bootstrap_servers", address.as_str())]).unwrap();
    let backend = RdkafkaBackend::new(settings).unwrap();
    let admin = backend.admin().await.unwrap();
    let spec = TopicSpec::data("seeks", PARTITIONS);
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    admin.close().await;
    let topics = Subscription::to(["seeks"]);
    let mut member = backend
        .group_consumer("group", &topics, GroupStart::Earliest)
        .await
        .unwrap();
    while member.assignment().is_empty() {
        member.poll(Duration::from_millis(100)).await.unwrap();
    }
    for partition in (0..PARTITIONS).cycle().take(CHANGES) {
        let at = TopicPartition {
            topic: "seeks".to_owned(),
            partition,
        };
        member.seek(&at, 0).await.unwrap();
    }
    member.close(DEADLINE).await.unwrap();
}
