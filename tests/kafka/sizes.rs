//! Records of 0 B to 900 KB, sealed by a node with one backend and opened by a node with another.

use kc::core::provision::Role;
use kc::{BackendChoice, Record};
use kc_testkit::kafka::{Listener, Version};
use libtest_mimic::Trial;

use crate::brokers::shared;
use crate::clients::{DEADLINE, consumer, record, take};
use crate::fleet::{Fleet, create_root};
use crate::trial;

const SIZES: [usize; 7] = [0, 1, 100, 10_000, 100_000, 500_000, 900_000];

pub(crate) fn trials() -> Vec<Trial> {
    use BackendChoice::{Legacy, Pure, Rdkafka};
    let pairs = [
        (Version::V4, Pure, Pure),
        (Version::V4, Pure, Rdkafka),
        (Version::V4, Rdkafka, Pure),
        (Version::V4, Rdkafka, Rdkafka),
        (Version::V3_9, Legacy, Legacy),
        (Version::V3_9, Legacy, Pure),
        (Version::V3_9, Rdkafka, Legacy),
    ];
    let trials = pairs.into_iter().map(|(version, sending, reading)| {
        let name = format!("sizes::{sending}_to_{reading}_on_{version}");
        trial(name, move || all_sizes(version, sending, reading))
    });
    trials.collect()
}

async fn all_sizes(version: Version, sending: BackendChoice, reading: BackendChoice) {
    let fleet = Fleet::on(shared(version).address(Listener::Plaintext));
    let root = format!("sizes-{sending}-{reading}");
    let topic = format!("{root}.a");
    create(&fleet, &root).await;
    let sender = fleet
        .open(&format!("{root}-s"), Role::Producer, sending)
        .await;
    let reader = fleet
        .open(&format!("{root}-r"), Role::Consumer, reading)
        .await;

    let producer = sender.producer().await.unwrap();
    let value = |size: usize| -> Vec<u8> { (0..size).map(|at| at.to_le_bytes()[0]).collect() };
    let null = Record::to(&topic).key("key");
    drop(producer.enqueue(null).await.unwrap());
    for size in SIZES {
        drop(producer.enqueue(record(&topic, value(size))).await.unwrap());
    }
    producer.close_within(DEADLINE).await.unwrap();

    let mut consumer = consumer(&reader, &topic).await;
    let read = take(&mut consumer, 1 + SIZES.len()).await;
    assert_eq!(read.len(), 1 + SIZES.len(), "{} wait", consumer.waiting());
    assert_eq!(read[0].key(), Some(&b"key"[..]));
    assert!(read[0].is_null());
    for (read, size) in read[1..].iter().zip(SIZES) {
        assert!(read.value() == value(size), "{size} bytes have changed");
    }
    consumer.close_within(DEADLINE).await.unwrap();
    sender.close_within(DEADLINE).await.unwrap();
    reader.close_within(DEADLINE).await.unwrap();
}

/// Creates topics with another client, because the old one cannot.
async fn create(fleet: &Fleet, root: &str) {
    let id = format!("{root}-admin");
    let node = fleet.open(&id, Role::Producer, BackendChoice::Pure).await;
    create_root(&node, root).await;
    node.close_within(DEADLINE).await.unwrap();
}
