//! Encrypted clients on a broker: slow applications, acknowledgements, closing.

use std::time::Duration;

use kc::core::backend::Backend;
use kc::core::provision::Role;
use kc::{ErrorKind, Record};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

/// A member that does not poll for longer than this leaves its group.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// More records than fit into the read-ahead.
const LARGE: usize = 45;
const LARGE_BYTES: usize = 900_000;

/// Returns the position that a group has committed in partition 0.
async fn committed(fleet: &Fleet, group: &str) -> Option<i64> {
    let mut reader = fleet.plain().log_reader(Some(group)).await.unwrap();
    let committed = reader.committed(&["t".to_owned()], DEADLINE).await.unwrap();
    reader.close().await;
    committed.first().map(|committed| committed.offset)
}

async fn until_committed(fleet: &Fleet, group: &str, offset: i64) {
    let committing = async {
        while committed(fleet, group).await != Some(offset) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, committing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_work_longer_than_a_member_may_be_silent() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    for number in 0..LARGE {
        let value = vec![u8::try_from(number).unwrap(); LARGE_BYTES];
        drop(
            producer
                .enqueue(Record::to("t").value(value))
                .await
                .unwrap(),
        );
    }
    producer.flush().await.unwrap();

    let millis = POLL_INTERVAL.as_millis().to_string();
    let reader = fleet
        .options("reader")
        .kafka("max_poll_interval_ms", &millis)
        .kafka("heartbeat_interval_ms", "100");
    let reader = reader.open().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    for number in 0..LARGE {
        let record = consumer.next().await.unwrap().unwrap();
        assert_eq!(record.value()[0], u8::try_from(number).unwrap());
        if number == 0 {
            // The application works on the record.
            tokio::time::sleep(3 * POLL_INTERVAL).await;
        }
        assert!(record.ack(), "membership was lost at {number}");
        if number == 0 {
            until_committed(&fleet, "reader", 1).await;
        }
    }
    reader.close().await.unwrap();
    let all = i64::try_from(LARGE).unwrap();
    assert_eq!(committed(&fleet, "reader").await, Some(all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sent_and_read_as_its_records_are() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    let numbered = |number: usize| {
        // Runs of two topics; keys and values that are null, empty, short, or longer than what batches share.
        let topic = ["t", "t.other"][number / 7 % 2];
        let record = Record::to(topic).header("number", number.to_string());
        let record = match number % 3 {
            0 => record,
            _ => record.key(format!("key {}", number % 5)),
        };
        match number % 4 {
            0 => record,
            1 => record.value(vec![7; 5000]),
            _ => record.value("v".repeat(number)),
        }
    };
    let sent = producer.send_batch((0..100).map(numbered)).await.unwrap();
    assert_eq!(sent.len(), 100);
    assert!(producer.send_batch([]).await.unwrap().is_empty());

    let reader = fleet.open("reader").await;
    let topics = ["t", "t.other"];
    let mut consumer = reader
        .consumer(topics)
        .from_beginning()
        .join()
        .await
        .unwrap();
    let mut read = Vec::new();
    while read.len() < 100 {
        read.extend(consumer.next_batch().await.unwrap().unwrap());
    }
    for record in &read {
        let number = record.headers()[0].value.as_deref().unwrap();
        let number: usize = str::from_utf8(number).unwrap().parse().unwrap();
        let delivery = sent[number];
        assert_eq!(
            (record.partition(), record.offset()),
            (delivery.partition, delivery.offset)
        );
        let key = (!number.is_multiple_of(3)).then(|| format!("key {}", number % 5));
        assert_eq!(record.key(), key.as_ref().map(String::as_bytes));
        assert_eq!(record.is_null(), number.is_multiple_of(4));
        let length = if number % 4 == 1 { 5000 } else { number };
        assert!(record.is_null() || record.value().len() == length);
    }
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_comes_again() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    for value in ["a", "b", "c"] {
        producer.send(record("t", value)).await.unwrap();
    }
    let reader = fleet.open("reader").await;
    let read = async |acknowledged: &[usize]| {
        let mut consumer = consumer(&reader, "t").await;
        let mut read = Vec::new();
        while read
            .last()
            .is_none_or(|last: &kc::ConsumerRecord| last.offset() < 2)
        {
            read.push(consumer.next().await.unwrap().unwrap());
        }
        for index in acknowledged {
            assert!(read[*index].ack());
        }
        consumer.close().await.unwrap();
        assert!(!read[0].ack(), "it is too late");
        values(&read)
    };
    // The first record is not acknowledged, so the others do not count.
    assert_eq!(read(&[2, 1]).await, ["a", "b", "c"]);
    assert_eq!(read(&[1, 0]).await, ["a", "b", "c"]);
    assert_eq!(read(&[]).await, ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_node_sends_commits_and_leaves() {
    let fleet = Fleet::start().await;
    fleet.provision("relay", Role::Prodcon, "root");
    let relay = fleet.open("relay").await;
    let producer = relay.producer().await.unwrap();
    let mut reading = consumer(&relay, "t").await;
    producer.send(record("t", "a")).await.unwrap();
    take(&mut reading, 1).await;
    let delivery = producer.enqueue(record("t", "b")).await.unwrap();

    let waiting = tokio::spawn(async move { reading.next().await.is_none() });
    let twin = relay.clone();
    let (closed, closed_twin) = tokio::join!(relay.close(), twin.close());
    closed.unwrap();
    closed_twin.unwrap();
    delivery.await.unwrap();
    // The consumer may have received the second record just before.
    let _ = tokio::time::timeout(DEADLINE, waiting).await.unwrap();
    assert_eq!(committed(&fleet, "relay").await, Some(1));
    assert!(producer.enqueue(record("t", "c")).await.is_err());
    let no_producer = relay.producer().await.map(drop);
    let no_consumer = relay.consumer(["t"]).join().await.map(drop);
    for refused in [no_producer, no_consumer] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    }

    // The consumer has left the group, so another member gets the partition at once.
    let relay = fleet.open("relay").await;
    let read = take(&mut consumer(&relay, "t").await, 1).await;
    assert_eq!(values(&read), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_clients_neither_seal_nor_open() {
    let fleet = Fleet::start().await;
    fleet.provision("node", Role::Prodcon, "root");
    let node = fleet.open("node").await;
    let plain = node.producer().plain().await.unwrap();
    let sealing = node.producer().await.unwrap();
    plain.send(record("t", "plain")).await.unwrap();
    sealing.send(record("t", "sealed")).await.unwrap();
    let consumer = node.consumer(["t"]).from_beginning().plain();
    let read = take(&mut consumer.join().await.unwrap(), 2).await;
    assert_eq!(read[0].value(), b"plain");
    assert!(!read[1].value().windows(6).any(|bytes| bytes == b"sealed"));
    let opened = node.opener().open_value("t", read[1].value()).await;
    assert_eq!(opened.unwrap(), b"sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_its_keys_until_none_is_asked_for() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    producer.send(record("t", "secret")).await.unwrap();
    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    let quiet = Duration::from_secs(5);
    let ((), read) = tokio::join!(sender.serve_keys(quiet), take(&mut consumer, 1));
    assert_eq!(values(&read), ["secret"]);
    sender.close().await.unwrap();
}
