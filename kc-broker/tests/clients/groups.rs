//! Consumer groups.

use std::num::NonZeroU16;

use kc_broker::{Broker, CoordinatorError};
use krafka::Record;
use krafka::consumer::{AutoOffsetReset, Consumer};

use crate::{POLL, connect, read, send};

async fn member(broker: &Broker) -> Consumer {
    let consumer = connect(broker)
        .await
        .consumer("g")
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false)
        .heartbeat_interval(std::time::Duration::from_millis(100))
        .build()
        .await
        .unwrap();
    consumer.subscribe(["t"]).await.unwrap();
    consumer
}

/// One record to each of the first `partitions` partitions of the topic "t".
async fn send_to_each(broker: &Broker, partitions: i32) {
    let producer = connect(broker).await.producer().build().await.unwrap();
    for partition in 0..partitions {
        let record = Record::new("t", "x").partition(partition);
        send(&producer, record).await;
    }
    producer.close().await.unwrap();
}

async fn assigned(consumer: &Consumer) -> usize {
    let assignment = consumer.assignment().await;
    assignment.values().map(Vec::len).sum()
}

/// Polls until the consumer has so many partitions.
async fn until_assigned(consumer: &Consumer, count: usize) {
    let waiting = async {
        while assigned(consumer).await != count {
            consumer.poll(POLL / 100).await.unwrap();
        }
    };
    let minute = std::time::Duration::from_secs(60);
    tokio::time::timeout(minute, waiting).await.unwrap();
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed() {
    let broker = Broker::builder().start().await.unwrap();
    send_to_each(&broker, 1).await;
    let consumer = member(&broker).await;
    assert_eq!(read(&consumer, 1).await[0].offset, 0);
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
    send_to_each(&broker, 1).await;
    let consumer = member(&broker).await;
    assert_eq!(read(&consumer, 1).await[0].offset, 1);
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn partitions_are_shared_and_handed_back() {
    let four = NonZeroU16::new(4).unwrap();
    let broker = Broker::builder()
        .default_partitions(four)
        .start()
        .await
        .unwrap();
    send_to_each(&broker, 4).await;
    let first = member(&broker).await;
    read(&first, 4).await;
    first.commit().await.unwrap();
    assert_eq!(assigned(&first).await, 4);
    let second = member(&broker).await;
    tokio::join!(until_assigned(&first, 2), until_assigned(&second, 2));
    send_to_each(&broker, 4).await;
    let (a, b) = tokio::join!(read(&first, 2), read(&second, 2));
    let mut partitions: Vec<i32> = a.iter().chain(&b).map(|r| r.partition).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2, 3]);
    second.commit().await.unwrap();
    second.close().await.unwrap();
    until_assigned(&first, 4).await;
    first.close().await.unwrap();
}

/// First contact with a broker whose coordinator is not ready.
async fn gets_over(error: CoordinatorError) {
    let broker = Broker::builder().start().await.unwrap();
    broker.faults().answer_like_new(error, 2);
    send_to_each(&broker, 1).await;
    let consumer = member(&broker).await;
    read(&consumer, 1).await;
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn a_group_gets_over_a_coordinator_that_loads() {
    gets_over(CoordinatorError::LoadInProgress).await;
}

#[tokio::test]
async fn a_group_gets_over_a_coordinator_that_is_not_available() {
    gets_over(CoordinatorError::NotAvailable).await;
}

#[tokio::test]
async fn a_group_gets_over_a_coordinator_that_is_none() {
    gets_over(CoordinatorError::NotCoordinator).await;
}
