//! Custodians: keys outlive the nodes that made them.

use std::time::Duration;

use kc::core::backend::{Backend, OutgoingRecord};
use kc::core::provision::Role;
use kc::core::types::{KeyId, RootTopic};
use kc::{Custodian, EventListener, Node, NodeEvent};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

async fn fleet() -> Fleet {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    fleet.provision("custodian", Role::Prodcon, "root");
    fleet
}

async fn custodian(fleet: &Fleet) -> Node {
    let options = fleet.options("custodian").custodian(Custodian::new());
    options.open().await.unwrap()
}

/// Waits until the custodian keeps a key. Returns its root topic and its id.
async fn kept(events: &mut EventListener) -> (RootTopic, KeyId) {
    let keeping = async {
        loop {
            match events.next().await.unwrap() {
                NodeEvent::Kept { root_topic, id } => return (root_topic, id),
                _ => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, keeping).await.unwrap()
}

async fn send(node: &Node, topic: &str, value: &str) {
    let producer = node.producer().await.unwrap();
    let queued = producer.enqueue(record(topic, value)).await.unwrap();
    queued.await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
}

async fn close(node: Node) {
    node.close_within(DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_reads_what_a_producer_sealed_that_is_gone() {
    let fleet = fleet().await;
    let keeper = custodian(&fleet).await;
    let mut events = keeper.events();
    let sender = fleet.open("sender").await;
    send(&sender, "orders.paid", "1").await;
    send(&sender, "events", "2").await;
    let mut roots = [kept(&mut events).await.0, kept(&mut events).await.0];
    roots.sort();
    assert_eq!(roots, ["events".into(), "orders".into()]);
    close(sender).await;
    // The keys outlive a restart of the custodian, too.
    close(keeper).await;
    let keeper = custodian(&fleet).await;

    let reader = fleet.open("reader").await;
    for (topic, value) in [("orders.paid", "1"), ("events", "2")] {
        let mut consumer = consumer(&reader, topic).await;
        assert_eq!(values(&take(&mut consumer, 1).await), [value]);
    }
    let status = keeper.status().await.unwrap();
    let custody = status.custody.unwrap();
    let kept = custody
        .iter()
        .map(|root| (root.root_topic.as_str(), root.kept));
    assert_eq!(kept.collect::<Vec<_>>(), [("events", 1), ("orders", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_after_a_restart_is_proven_by_the_old_record() {
    let fleet = fleet().await;
    let sender = fleet.open("sender").await;
    send(&sender, "t", "1").await;
    close(sender).await;
    let keeper = custodian(&fleet).await;
    let pending = async {
        loop {
            let custody = keeper.status().await.unwrap().custody.unwrap();
            if custody.iter().any(|root| root.pending == 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, pending).await.unwrap();
    close(keeper).await;

    let keeper = custodian(&fleet).await;
    let mut events = keeper.events();
    let sender = fleet.open("sender").await;
    kept(&mut events).await;
    close(sender).await;
    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["1"]);
    close(keeper).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_no_key_opens_do_not_spoil_a_key() {
    let fleet = fleet().await;
    let sender = fleet.open("sender").await;
    send(&sender, "t", "1").await;
    // The broker, or anyone who can write to the topic, repeats the id with other bytes, before and after.
    let plain = fleet.plain();
    let mut reader = plain.log_reader(None).await.unwrap();
    let start = kc::core::backend::LogStart::Earliest;
    reader.assign(&[("t".to_owned(), start)]).await.unwrap();
    let sealed = loop {
        let records = reader.poll(DEADLINE).await.unwrap();
        if let Some(record) = records.into_iter().next() {
            break record.value.unwrap();
        }
    };
    let mut forged = sealed.clone();
    *forged.last_mut().unwrap() ^= 1;
    let producer = plain.producer().await.unwrap();
    for value in [&forged, &forged, &sealed, &forged] {
        let record = OutgoingRecord {
            topic: "t".to_owned(),
            value: Some(value.clone()),
            ..OutgoingRecord::default()
        };
        producer.enqueue(record).await.unwrap().await.unwrap();
    }
    let keeper = custodian(&fleet).await;
    let mut events = keeper.events();
    kept(&mut events).await;
    close(sender).await;
    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["1"]);
    close(keeper).await;
}
