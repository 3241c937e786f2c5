//! Topics whose records were copied from a topic with another root topic, as MirrorMaker 2 does.

use std::time::Duration;

use kc::core::backend::{Backend, LogStart, OutgoingRecord, TopicSpec};
use kc::core::provision::Role;
use kc::{Node, NodeBuilder};

use crate::fleet::{DEADLINE, Fleet, record, take, values};

const COPIES: [&str; 2] = ["src.orders.eu", "orders-dlt"];

/// Sends a sealed record to `orders.eu`, and copies it to other topics. Returns the producer's node.
async fn send_and_copy(fleet: &Fleet) -> Node {
    let node = fleet.open("p").await;
    let producer = node.producer().await.unwrap();
    producer.send(record("orders.eu", "e1")).await.unwrap();
    let mut log = fleet.plain().log_reader(None).await.unwrap();
    let start = [("orders.eu".to_owned(), LogStart::Earliest)];
    log.assign(&start).await.unwrap();
    let polled = log.poll(DEADLINE).await.unwrap();
    let copier = fleet.plain().producer().await.unwrap();
    let admin = fleet.plain().admin().await.unwrap();
    for topic in COPIES {
        let spec = TopicSpec::data(topic, 1);
        admin.create_topic(&spec, DEADLINE).await.unwrap();
        let copy = OutgoingRecord {
            topic: topic.into(),
            value: polled[0].value.clone().map(Vec::from),
            ..OutgoingRecord::default()
        };
        copier.enqueue(copy).await.unwrap().await.unwrap();
    }
    node
}

fn with_copies(node: NodeBuilder) -> NodeBuilder {
    node.root_topic("orders-dlt", "orders")
        .root_topic(r"^src\.(.+)", "$1")
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_opened_and_sealed_with_the_data_keys_of_their_original() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    fleet.provision("q", Role::Producer, "root");
    fleet.provision("c", Role::Consumer, "root");
    let _p = send_and_copy(&fleet).await;
    let q = with_copies(fleet.options("q")).open().await.unwrap();
    let producer = q.producer().await.unwrap();
    producer.send(record("orders-dlt", "e2")).await.unwrap();

    let c = with_copies(fleet.options("c")).open().await.unwrap();
    let reading = c.consumer(COPIES).from_beginning();
    let mut reading = reading.join().await.unwrap();
    let mut read = values(&take(&mut reading, 3).await);
    read.sort();
    assert_eq!(read, ["e1", "e1", "e2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_seal_and_open_copies_with_the_data_keys_of_their_original() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    fleet.provision("c", Role::Consumer, "root");
    let p = with_copies(fleet.options("p")).open().await.unwrap();
    let c = with_copies(fleet.options("c")).open().await.unwrap();
    let opener = c.opener();
    for (sealed_as, opened_as) in [
        ("orders.eu", "orders-dlt"),
        ("orders-dlt", "orders.eu"),
        ("src.orders.eu", "orders"),
    ] {
        let sealer = p.sealer(sealed_as).await.unwrap();
        assert_eq!(sealer.root_topic().as_str(), "orders");
        let sealed = sealer.seal_value(b"e1").unwrap();
        let opened = opener.open_value_within(opened_as, &sealed, DEADLINE).await;
        assert_eq!(opened.unwrap(), b"e1", "{sealed_as} as {opened_as}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_does_not_choose_the_root_topic_of_a_topic_that_it_lists() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    fleet.provision("c", Role::Consumer, "root");
    let _p = send_and_copy(&fleet).await;
    let c = with_copies(fleet.options("c")).open().await.unwrap();
    let reading = c.consumer([r"^src\.orders"]).from_beginning();
    let mut reading = reading.join().await.unwrap();
    let waits = async {
        while c.status().await.unwrap().waiting_records.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        read = reading.next() => panic!("{read:?}"),
        waited = tokio::time::timeout(DEADLINE, waits) => waited.unwrap(),
    }
    let waiting = c.status().await.unwrap().waiting_records;
    assert_eq!(
        Vec::from_iter(waiting.keys().map(|root| root.as_str())),
        ["src"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_is_not_valid_is_refused_when_the_node_is_opened() {
    let fleet = Fleet::start().await;
    fleet.provision("c", Role::Consumer, "root");
    let node = fleet.options("c").setting("root_topics", "a=b, c");
    let error = node.open().await.unwrap_err().to_string();
    assert!(
        error.contains("root_topics") && error.contains(r#""b,""#),
        "{error}"
    );
}
