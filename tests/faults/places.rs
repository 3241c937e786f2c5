//! Faults of the positions at which reading begins.

use kc::Node;
use kc::core::provision::Role;
use kc_broker::{CoordinatorError, CoordinatorRequest};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};
use crate::wire::Wire;

#[tokio::test(flavor = "multi_thread")]
async fn fault_15_on_a_brand_new_broker_no_request_is_missed() {
    for error in [
        CoordinatorError::NotCoordinator,
        CoordinatorError::NotAvailable,
        CoordinatorError::LoadInProgress,
    ] {
        let fleet = Fleet::start().await;
        fleet.provision("sender", Role::Producer, "root");
        fleet.provision("reader", Role::Consumer, "root");
        let faults = fleet.broker.faults();
        // More errors than a backend retries by itself.
        faults.answer_like_new(error, 12);
        assert_eq!(first_value(&fleet).await, ["secret"], "{error:?}");
        // The nodes did receive these errors.
        assert_eq!(faults.remaining(CoordinatorRequest::OffsetFetch), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_15_a_request_that_is_older_than_its_reader_is_read_even_with_latest() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = latest(&fleet, "sender").await;
    send(&sender).await;
    sender.close_within(DEADLINE).await.unwrap();

    let reader = latest(&fleet, "reader").await;
    let mut consumer = consumer(&reader, "t").await;
    let reading = take(&mut consumer, 1);
    let returning = async {
        let wire = Wire::to(&fleet.broker).await;
        // The record exists before its reader, which has never read the topic.
        wire.read("t.reqs").await.next().await;
        latest(&fleet, "sender").await
    };
    let (read, _sender) = tokio::join!(reading, returning);
    assert_eq!(values(&read), ["secret"]);
}

async fn first_value(fleet: &Fleet) -> Vec<String> {
    let (sender, reader) = (latest(fleet, "sender").await, latest(fleet, "reader").await);
    send(&sender).await;
    values(&take(&mut consumer(&reader, "t").await, 1).await)
}

/// Opens a node with a setting that starts at the end of topics; it must not apply to side topics.
async fn latest(fleet: &Fleet, id: &str) -> Node {
    let options = fleet.options(id).kafka("auto_offset_reset", "latest");
    options.open().await.unwrap()
}

async fn send(sender: &Node) {
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("t", "secret")).await.unwrap();
    sent.await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
}
