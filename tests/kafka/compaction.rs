//! Compacted topics: side topics, and an encrypted topic with tombstones.

use std::collections::BTreeMap;
use std::time::Duration;

use kc::BackendChoice;
use kc::core::backend::{Backend, Cleanup, LogStart, TopicSpec};
use kc::core::provision::Role;
use kc::{Node, Record};
use kc_testkit::kafka::{Kafka, Listener, Version};
use libtest_mimic::Trial;

use crate::backends::FULL;
use crate::clients::{DEADLINE, consumer, record, take};
use crate::fleet::Fleet;
use crate::trial;

/// Settings with which segments end soon and are cleaned at once.
const EAGER: [(&str, &str); 5] = [
    ("log.roll.ms", "300"),
    ("log.cleaner.backoff.ms", "100"),
    ("log.cleaner.min.cleanable.ratio", "0.001"),
    ("log.cleaner.delete.retention.ms", "100"),
    ("log.segment.delete.delay.ms", "100"),
];
const WAIT: Duration = Duration::from_millis(200);
const ROUNDS: usize = 20;
const KEYS: usize = 10;
/// Keys below this number get a tombstone.
const DELETED: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    let trials = FULL.into_iter().map(|choice| {
        trial(format!("compaction::{choice}"), move || async move {
            let kafka = EAGER
                .into_iter()
                .fold(Kafka::builder(Version::V4), |kafka, (name, value)| {
                    kafka.property(name, value)
                });
            let kafka = kafka.start().unwrap();
            let fleet = Fleet::on(kafka.address(Listener::Plaintext));
            let sender = fleet.open("sender", Role::Producer, choice).await;
            let sender = side_topics(&fleet, choice, sender).await;
            tombstones(&fleet, choice, &sender).await;
        })
    });
    trials.collect()
}

/// Requests and replies are removed by compaction. Data keys still arrive, also from a sender that is started again.
async fn side_topics(fleet: &Fleet, choice: BackendChoice, sender: Node) -> Node {
    let producer = sender.producer().await.unwrap();
    producer
        .enqueue(record("side.a", "x"))
        .await
        .unwrap()
        .await
        .unwrap();
    producer.close_within(DEADLINE).await.unwrap();
    let mut readers = 0;
    let backend = sender.backend().clone();
    for topic in ["side.reqs", "side.keys"] {
        let compacting = async {
            while !is_compacted(&*backend, topic).await {
                read_one(fleet, choice, readers).await;
                readers += 1;
            }
        };
        tokio::time::timeout(4 * DEADLINE, compacting)
            .await
            .unwrap();
    }
    sender.close_within(DEADLINE).await.unwrap();
    let sender = fleet.reopen("sender", choice).await;
    read_one(fleet, choice, readers).await;
    sender
}

/// Reads one record with a node that has no data key yet.
async fn read_one(fleet: &Fleet, choice: BackendChoice, number: usize) {
    let reader = fleet
        .open(&format!("r{number}"), Role::Consumer, choice)
        .await;
    let mut consumer = consumer(&reader, "side.a").await;
    assert_eq!(take(&mut consumer, 1).await.len(), 1);
    consumer.close_within(DEADLINE).await.unwrap();
    reader.close_within(DEADLINE).await.unwrap();
}

/// Returns whether a topic has fewer records than were written. A control topic may not exist yet after the first
/// message.
async fn is_compacted(backend: &dyn Backend, topic: &str) -> bool {
    let count = count(backend, topic).await;
    count.is_some_and(|(records, written)| records < written)
}

/// Returns the number of records that a topic has, and the number that it has had; `None` if there is no such topic.
async fn count(backend: &dyn Backend, topic: &str) -> Option<(i64, i64)> {
    let mut reader = backend.log_reader(None).await.unwrap();
    let have = reader.watermarks(topic, DEADLINE).await.unwrap()?[0];
    let start = [(topic.to_owned(), LogStart::Earliest)];
    reader.assign(&start).await.unwrap();
    let mut count = 0;
    loop {
        let records = reader.poll(WAIT).await.unwrap();
        count += i64::try_from(records.len()).unwrap();
        let last = records.last().map(|record| record.offset);
        if last.is_none_or(|last| last + 1 >= have.high) {
            reader.close().await;
            return Some((count, have.high));
        }
    }
}

/// A compacted topic keeps the last value of each key that was not deleted.
async fn tombstones(fleet: &Fleet, choice: BackendChoice, sender: &Node) {
    let spec = TopicSpec {
        name: "table.a".into(),
        partitions: 1,
        replication: None,
        cleanup: Cleanup::Compact,
    };
    let admin = sender.backend().admin().await.unwrap();
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    let producer = sender.producer().plain_keys().await.unwrap();
    let send = async |key: String, value: Option<String>| {
        let sent = Record::to("table.a").key(key);
        let sent = match value {
            Some(value) => sent.value(value),
            None => sent,
        };
        drop(producer.enqueue(sent).await.unwrap());
    };
    for round in 0..ROUNDS {
        for key in 0..KEYS {
            send(format!("key {key}"), Some(format!("value {round}"))).await;
        }
    }
    for key in 0..DELETED {
        send(format!("key {key}"), None).await;
    }
    let cleaning = async {
        // A segment is cleaned after the next one has begun.
        let records = async || count(&**sender.backend(), "table.a").await.unwrap().0;
        while records().await > 2 * i64::try_from(KEYS).unwrap() {
            send("last".to_owned(), Some("value".to_owned())).await;
            producer.flush_within(DEADLINE).await.unwrap();
        }
    };
    tokio::time::timeout(2 * DEADLINE, cleaning).await.unwrap();

    let reader = fleet.open("table-reader", Role::Consumer, choice).await;
    let consumer = reader.consumer(["table.a"]).from_beginning().plain_keys();
    let mut consumer = consumer.join().await.unwrap();
    let mut table = BTreeMap::new();
    while !table.contains_key("last") {
        for read in take(&mut consumer, 1).await {
            let key = String::from_utf8(read.key().unwrap().to_vec()).unwrap();
            let value = (!read.is_null()).then(|| read.value().to_vec());
            table.insert(key, value);
        }
    }
    table.retain(|key, value| key != "last" && value.is_some());
    let last = Some(format!("value {}", ROUNDS - 1).into_bytes());
    let want = (DELETED..KEYS).map(|key| (format!("key {key}"), last.clone()));
    assert_eq!(table, want.collect());
    consumer.close_within(DEADLINE).await.unwrap();
}
