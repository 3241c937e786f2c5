//! The broker and a real client: the pure Rust `krafka`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail like tests"
)]

mod admin;
mod groups;
mod records;

use std::time::Duration;

use kc_broker::Broker;
use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerRecord};
use krafka::producer::Producer;
use krafka::{Kafka, Record};

/// How long a poll may wait for records; tests go on as soon as some come.
const POLL: Duration = Duration::from_secs(5);

async fn connect(broker: &Broker) -> Kafka {
    Kafka::builder(broker.address().to_string())
        .allow_auto_create_topics(true)
        .connect()
        .await
        .unwrap()
}

/// Sends a record and waits until it is stored.
async fn send(producer: &Producer, record: Record) {
    let stored = producer.send(record).await.unwrap();
    assert!(stored.offset >= 0);
}

/// A consumer of all partitions named, from their beginning, without a group.
async fn reader(broker: &Broker, topic: &str, partitions: &[i32]) -> Consumer {
    let kafka = connect(broker).await;
    let consumer = kafka
        .consumer_without_group()
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .await
        .unwrap();
    consumer.assign(topic, partitions.to_vec()).await.unwrap();
    consumer
}

/// Polls until `count` records came.
async fn read(consumer: &Consumer, count: usize) -> Vec<ConsumerRecord> {
    let mut records = Vec::new();
    while records.len() < count {
        let polled = consumer.poll(POLL).await.unwrap();
        assert!(
            !polled.is_empty(),
            "{} of {count} records came",
            records.len()
        );
        records.extend(polled);
    }
    assert_eq!(records.len(), count);
    records
}
