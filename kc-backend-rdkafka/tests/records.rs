//! Records: cancelled polls lose none, and concurrent sends keep their order.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use kc_backend_rdkafka::RdkafkaBackend;
use kc_broker::Broker;
use kc_core::backend::{
    Backend, BackendErrorKind, ClientSettings, GroupStart, LogStart, OutgoingRecord, Record,
    Subscription, TopicPartition, TopicSpec,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// The time between polls that are cancelled as soon as they wait.
const PAUSE: Duration = Duration::from_millis(1);

async fn broker(more: &[(&str, &str)]) -> (Broker, RdkafkaBackend) {
    let broker = Broker::builder().start().await.unwrap();
    let address = broker.address().to_string();
    let mut settings = vec![("bootstrap_servers", address.as_str())];
    settings.extend(more);
    let settings = ClientSettings::parse(settings).unwrap();
    (broker, RdkafkaBackend::new(settings).unwrap())
}

async fn create(backend: &RdkafkaBackend, topic: &str) {
    let spec = TopicSpec::data(topic, 1);
    let admin = backend.admin().await.unwrap();
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    admin.close().await;
}

fn record(topic: &str, value: u32) -> OutgoingRecord {
    OutgoingRecord {
        topic: topic.to_owned(),
        partition: Some(0),
        value: Some(value.to_string().into_bytes()),
        ..OutgoingRecord::default()
    }
}

async fn send(backend: &RdkafkaBackend, topic: &str, count: u32) {
    let producer = backend.producer().await.unwrap();
    for value in 0..count {
        drop(producer.enqueue(record(topic, value)).await.unwrap());
    }
    producer.close(DEADLINE).await.unwrap();
}

/// Awaits `work`, for a minute at most.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .unwrap()
}

fn assert_all_once(records: &[Record], count: u32) {
    let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
    let want: Vec<i64> = (0..i64::from(count)).collect();
    assert_eq!(offsets, want);
}

#[tokio::test]
async fn cancelled_polls_of_a_log_lose_nothing() {
    const COUNT: u32 = 2_000;
    let (broker, backend) = broker(&[("max_poll_records", "100")]).await;
    create(&backend, "t").await;
    let mut reader = backend.log_reader(None).await.unwrap();
    reader
        .assign(&[("t".to_owned(), LogStart::Earliest)])
        .await
        .unwrap();
    let cancelled = tokio::time::timeout(Duration::ZERO, reader.poll(DEADLINE)).await;
    assert!(cancelled.is_err());
    send(&backend, "t", COUNT).await;
    let mut records = Vec::new();
    within(async {
        while records.len() < 2_000 {
            match tokio::time::timeout(Duration::ZERO, reader.poll(DEADLINE)).await {
                Ok(polled) => records.extend(polled.unwrap()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    })
    .await;
    assert_all_once(&records, COUNT);
    reader.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn cancelled_polls_of_a_member_lose_nothing() {
    const COUNT: u32 = 2_000;
    let (broker, backend) = broker(&[("max_poll_records", "100")]).await;
    create(&backend, "t").await;
    let topics = Subscription::to(["t"]);
    let mut member = backend
        .group_consumer("g", &topics, GroupStart::Earliest)
        .await
        .unwrap();
    let cancelled = tokio::time::timeout(Duration::ZERO, member.poll(DEADLINE)).await;
    assert!(cancelled.is_err());
    send(&backend, "t", COUNT).await;
    let mut records = Vec::new();
    within(async {
        while records.len() < 2_000 {
            match tokio::time::timeout(Duration::ZERO, member.poll(DEADLINE)).await {
                Ok(polled) => records.extend(polled.unwrap().records),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    })
    .await;
    assert_all_once(&records, COUNT);
    member.close(DEADLINE).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn a_poll_has_no_more_records_than_wanted() {
    let (broker, backend) = broker(&[("max_poll_records", "7")]).await;
    create(&backend, "t").await;
    send(&backend, "t", 20).await;
    let mut reader = backend.log_reader(None).await.unwrap();
    reader
        .assign(&[("t".to_owned(), LogStart::Earliest)])
        .await
        .unwrap();
    let mut left: usize = 20;
    within(async {
        while left > 0 {
            let polled = reader.poll(DEADLINE).await.unwrap().len();
            assert!(polled <= 7, "{polled}");
            left -= polled;
        }
    })
    .await;
    reader.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn records_keep_their_order_while_their_topic_is_awaited() {
    let (broker, backend) = broker(&[]).await;
    let producer = backend.producer().await.unwrap();
    let soon = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        create(&backend, "t").await;
    };
    let (first, second, third, ()) = tokio::join!(
        producer.enqueue(record("t", 0)),
        producer.enqueue(record("t", 1)),
        producer.enqueue(record("t", 2)),
        soon,
    );
    for (offset, delivery) in (0..).zip([first, second, third]) {
        assert_eq!(delivery.unwrap().await.unwrap().offset, offset);
    }
    producer.close(DEADLINE).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn sending_creates_topics_if_it_may() {
    let (broker, backend) = broker(&[("allow_auto_create_topics", "true")]).await;
    let producer = backend.producer().await.unwrap();
    let delivery = producer.enqueue(record("new", 0)).await.unwrap();
    assert_eq!(delivery.await.unwrap().offset, 0);
    producer.close(DEADLINE).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn a_flush_tells_of_records_that_nobody_awaited_and_only_once() {
    let (broker, backend) = broker(&[("max_request_size", "4000000")]).await;
    create(&backend, "t").await;
    let producer = backend.producer().await.unwrap();
    let mut too_large = record("t", 0);
    too_large.value = Some(vec![b'x'; 3_000_000]);
    drop(producer.enqueue(too_large).await.unwrap());
    let error = producer.flush(DEADLINE).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::RecordTooLarge);
    drop(producer.enqueue(record("t", 1)).await.unwrap());
    producer.flush(DEADLINE).await.unwrap();
    producer.close(DEADLINE).await.unwrap();
    broker.shutdown().await;
}

/// With this setting, the refusal of a record is a fatal error.
#[tokio::test]
async fn after_a_fatal_error_a_producer_is_closed() {
    let broker = Broker::builder().start().await.unwrap();
    let address = broker.address().to_string();
    let settings = [
        ("bootstrap_servers", address.as_str()),
        ("max_request_size", "4000000"),
    ];
    let mut settings = ClientSettings::parse(settings).unwrap();
    let gapless = ["enable.idempotence", "enable.gapless.guarantee"];
    let gapless = gapless.map(|name| (name.to_owned(), "true".to_owned()));
    settings.librdkafka.extend(gapless);
    let backend = RdkafkaBackend::new(settings).unwrap();
    create(&backend, "t").await;
    let producer = backend.producer().await.unwrap();
    let mut too_large = record("t", 0);
    too_large.value = Some(vec![b'x'; 3_000_000]);
    let refused = producer.enqueue(too_large).await.unwrap().await;
    assert!(refused.is_err());
    let closed = match producer.enqueue(record("t", 1)).await {
        Ok(delivery) => delivery.await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(closed.kind(), BackendErrorKind::Closed, "{closed:?}");
    drop(producer.close(DEADLINE).await);
    let another = backend.producer().await.unwrap();
    another
        .enqueue(record("t", 1))
        .await
        .unwrap()
        .await
        .unwrap();
    another.close(DEADLINE).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn polls_that_nobody_waits_for_hold_up_no_commit() {
    const ABANDONED: usize = 200;
    let (broker, backend) = broker(&[]).await;
    create(&backend, "t").await;
    send(&backend, "t", 1).await;
    let topics = Subscription::to(["t"]);
    let mut member = backend
        .group_consumer("g", &topics, GroupStart::Earliest)
        .await
        .unwrap();
    let mut records = Vec::new();
    while records.is_empty() {
        records = member.poll(DEADLINE).await.unwrap().records;
    }
    for _ in 0..ABANDONED {
        let poll = tokio::time::timeout(Duration::ZERO, member.poll(DEADLINE)).await;
        assert!(poll.is_err(), "there is no more");
    }
    let at = &records[0];
    let position = TopicPartition {
        topic: at.topic.to_string(),
        partition: at.partition,
    };
    member.store(&[(position, at.offset + 1)]);
    // Half of the time that these polls would take if each waited as long as a thread waits in librdkafka.
    member.commit(DEADLINE).await.unwrap();
    member.close(DEADLINE).await.unwrap();
    broker.shutdown().await;
}
