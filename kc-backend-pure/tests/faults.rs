//! The pure backend on a broker that misbehaves.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kc_backend_pure::PureBackend;
use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, ClientSettings, GroupConsumer, GroupStart, LogStart,
    OutgoingRecord, Record, Subscription, TopicPartition, TopicSpec,
};
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, FakeBroker};

const DEADLINE: Duration = Duration::from_secs(10);

async fn broker() -> (FakeBroker, PureBackend) {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic("t", 1);
    let backend = backend(&broker.bootstrap_servers(), &[]);
    (broker, backend)
}

fn backend(servers: &str, more: &[(&str, &str)]) -> PureBackend {
    let mut settings = vec![
        ("bootstrap_servers", servers),
        ("request_timeout_ms", "1000"),
        ("delivery_timeout_ms", "2000"),
        ("max_block_ms", "1000"),
        ("linger_ms", "0"),
    ];
    settings.extend(more);
    PureBackend::new(ClientSettings::parse(settings).unwrap()).unwrap()
}

fn record(value: &str) -> OutgoingRecord {
    OutgoingRecord {
        topic: "t".to_owned(),
        partition: Some(0),
        value: Some(value.as_bytes().to_vec()),
        ..OutgoingRecord::default()
    }
}

fn new_topic() -> TopicSpec {
    TopicSpec::data("new", 1)
}

async fn send(backend: &PureBackend, value: &str) -> Result<i64, BackendError> {
    let producer = backend.producer().await?;
    let delivery = producer.enqueue(record(value)).await?;
    delivery.await.map(|delivery| delivery.offset)
}

/// Awaits `work`, for a minute at most.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(6 * DEADLINE, work).await.unwrap()
}

/// Polls until records arrive.
async fn first_records(member: &mut dyn GroupConsumer) -> Vec<Record> {
    within(async {
        loop {
            let records = member.poll(DEADLINE).await.unwrap().records;
            if !records.is_empty() {
                return records;
            }
        }
    })
    .await
}

/// Polls until a record arrives, and stores the position after it.
async fn member_with_one_record(
    broker: &FakeBroker,
    backend: &PureBackend,
) -> Box<dyn GroupConsumer> {
    send(backend, "a").await.unwrap();
    let mut member = backend
        .group_consumer("g", &Subscription::to(["t"]), GroupStart::Earliest)
        .await
        .unwrap();
    assert!(!first_records(&mut *member).await.is_empty());
    let at = TopicPartition {
        topic: "t".to_owned(),
        partition: 0,
    };
    member.store(&[(at, 1)]);
    assert_eq!(broker.committed_offset("g", "t", 0), Some(0), "its start");
    member
}

#[tokio::test]
async fn a_moved_leader_is_followed() {
    let (broker, backend) = broker().await;
    broker.on_once(ApiKey::Produce, |_| {
        Control::Error(ErrorCode::NotLeaderForPartition)
    });
    assert_eq!(send(&backend, "a").await.unwrap(), 0);
    assert_eq!(broker.request_count(ApiKey::Produce), 2);
}

#[tokio::test]
async fn the_new_leader_is_found_though_the_old_one_never_answers() {
    // krafka asks any of the brokers for the leaders: seldom the silent one.
    let broker = FakeBroker::start_cluster(5).await.unwrap();
    broker.create_topic("t", 1);
    broker.set_leader("t", 0, 0);
    broker.set_group_coordinator("g", 1);
    // Longer than a poll waits for the silent broker.
    let patient = [
        ("request_timeout_ms", "8000"),
        ("delivery_timeout_ms", "9000"),
    ];
    let backend = backend(&broker.bootstrap_servers(), &patient);
    send(&backend, "a").await.unwrap();
    let mut member = backend
        .group_consumer("g", &Subscription::to(["t"]), GroupStart::Earliest)
        .await
        .unwrap();
    assert_eq!(first_records(&mut *member).await.len(), 1);
    let mut reader = backend.log_reader(None).await.unwrap();
    let start = [("t".to_owned(), LogStart::Earliest)];
    reader.assign(&start).await.unwrap();
    assert_eq!(within(reader.poll(DEADLINE)).await.unwrap().len(), 1);

    broker.on(ApiKey::Fetch, |request| match request.node_id {
        0 => Control::Silence,
        _ => Control::Pass,
    });
    broker.set_leader("t", 0, 1);
    send(&backend, "b").await.unwrap();
    let short = Duration::from_millis(250);
    within(async { while reader.poll(short).await.unwrap().is_empty() {} }).await;
    within(async { while member.poll(short).await.unwrap().records.is_empty() {} }).await;
}

#[tokio::test]
async fn a_lost_acknowledgement_writes_nothing_twice() {
    let (broker, backend) = broker().await;
    broker.on_once(ApiKey::Produce, |_| {
        Control::ApplyThen(Box::new(Control::Disconnect))
    });
    assert_eq!(send(&backend, "a").await.unwrap(), 0);
    assert_eq!(broker.next_offset("t", 0), Some(1));
}

#[tokio::test]
async fn a_refused_timestamp_is_named_as_the_reason() {
    let (broker, backend) = broker().await;
    broker.on(ApiKey::Produce, |_| {
        Control::Error(ErrorCode::InvalidTimestamp)
    });
    let error = send(&backend, "a").await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::InvalidTimestamp);
    assert!(!error.is_retriable());
    assert_eq!(broker.request_count(ApiKey::Produce), 1);
}

#[tokio::test]
async fn silence_ends_a_delivery() {
    let (broker, backend) = broker().await;
    broker.on(ApiKey::Produce, |_| Control::Silence);
    let error = send(&backend, "a").await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Timeout);
    assert!(error.to_string().contains("topic t"), "{error}");
}

#[tokio::test]
async fn a_flush_tells_of_records_that_nobody_awaited_and_only_once() {
    let (broker, backend) = broker().await;
    let producer = backend.producer().await.unwrap();
    broker.on_once(ApiKey::Produce, |_| {
        Control::Error(ErrorCode::TopicAuthorizationFailed)
    });
    drop(producer.enqueue(record("a")).await.unwrap());
    let error = producer.flush(DEADLINE).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Authorization);
    assert!(error.is_fatal());
    drop(producer.enqueue(record("b")).await.unwrap());
    producer.flush(DEADLINE).await.unwrap();
    producer.close(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_flush_ends_at_its_deadline_and_the_records_still_go_out() {
    let (broker, backend) = broker().await;
    let producer = backend.producer().await.unwrap();
    broker.on_once(ApiKey::Produce, |_| {
        Control::Delay(Duration::from_millis(700))
    });
    drop(producer.enqueue(record("a")).await.unwrap());
    let error = producer.flush(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Timeout);
    producer.flush(DEADLINE).await.unwrap();
    assert_eq!(broker.next_offset("t", 0), Some(1));
}

#[tokio::test]
async fn a_server_that_never_answers_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = backend(&address, &[]).admin().await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unreachable);
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_told_as_such() {
    let broker = kc_broker::Broker::builder().start().await.unwrap();
    let address = broker.address().to_string();
    let backend = backend(&address, &[("security_protocol", "SSL")]);
    let error = backend.admin().await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Tls);
    assert!(!error.is_retriable());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_certificate_file_that_is_not_there_is_named() {
    let backend = backend(
        "127.0.0.1:1",
        &[
            ("security_protocol", "SSL"),
            ("ssl_cafile", "/nowhere/ca.pem"),
        ],
    );
    let error = backend.admin().await.unwrap_err();
    assert!(error.is_fatal(), "{error:?}");
    assert!(
        format!("{error:?}").contains("/nowhere/ca.pem"),
        "{error:?}"
    );
}

#[tokio::test]
async fn creation_waits_until_the_topic_is_shown() {
    let (broker, backend) = broker().await;
    let created = Arc::new(AtomicBool::new(false));
    let hidden = Arc::new(AtomicUsize::new(0));
    let then = Arc::clone(&created);
    broker.on(ApiKey::CreateTopics, move |_| {
        then.store(true, Ordering::SeqCst);
        Control::Pass
    });
    let times = Arc::clone(&hidden);
    broker.on(ApiKey::Metadata, move |_| {
        if created.load(Ordering::SeqCst) && times.fetch_add(1, Ordering::SeqCst) < 2 {
            return Control::Error(ErrorCode::UnknownTopicOrPartition);
        }
        Control::Pass
    });
    let admin = backend.admin().await.unwrap();
    admin.create_topic(&new_topic(), DEADLINE).await.unwrap();
    let found = admin.partitions("new", false, DEADLINE).await.unwrap();
    assert_eq!(found, Some(1));
    assert!(hidden.load(Ordering::SeqCst) > 2);
}

#[tokio::test]
async fn silence_ends_a_creation() {
    let (broker, backend) = broker().await;
    broker.on(ApiKey::CreateTopics, |_| Control::Silence);
    let admin = backend.admin().await.unwrap();
    let deadline = Duration::from_millis(100);
    let created = admin.create_topic(&new_topic(), deadline).await;
    let error = created.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Timeout);
}

#[tokio::test]
async fn a_group_that_is_forbidden_says_so() {
    let (broker, backend) = broker().await;
    broker.on(ApiKey::JoinGroup, |_| {
        Control::Error(ErrorCode::GroupAuthorizationFailed)
    });
    let mut member = backend
        .group_consumer("g", &Subscription::to(["t"]), GroupStart::Earliest)
        .await
        .unwrap();
    let error = member.poll(DEADLINE).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Authorization);
}

#[tokio::test]
async fn a_commit_outlasts_a_coordinator_that_loads() {
    let (broker, backend) = broker().await;
    let mut member = member_with_one_record(&broker, &backend).await;
    broker.on_times(ApiKey::OffsetCommit, 7, |_| {
        Control::Error(ErrorCode::CoordinatorLoadInProgress)
    });
    member.commit(DEADLINE).await.unwrap();
    assert_eq!(broker.committed_offset("g", "t", 0), Some(1));
    member.close(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_failed_is_made_up_for() {
    let (broker, backend) = broker().await;
    let mut member = member_with_one_record(&broker, &backend).await;
    // krafka tries three times.
    broker.on_times(ApiKey::OffsetCommit, 3, |_| {
        Control::Error(ErrorCode::RebalanceInProgress)
    });
    let error = member.commit(DEADLINE).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Rebalance);
    assert!(error.is_retriable());
    member.close(DEADLINE).await.unwrap();
    assert_eq!(broker.committed_offset("g", "t", 0), Some(1));
}

#[tokio::test]
async fn a_start_that_was_not_committed_is_made_up_for() {
    let (broker, backend) = broker().await;
    send(&backend, "a").await.unwrap();
    broker.on_times(ApiKey::OffsetCommit, 3, |_| {
        Control::Error(ErrorCode::RebalanceInProgress)
    });
    let mut member = backend
        .group_consumer("g", &Subscription::to(["t"]), GroupStart::Earliest)
        .await
        .unwrap();
    assert!(!first_records(&mut *member).await.is_empty());
    assert_eq!(broker.committed_offset("g", "t", 0), None);
    // Polls alone commit it.
    let short = Duration::from_millis(50);
    within(async {
        while broker.committed_offset("g", "t", 0) != Some(0) {
            member.poll(short).await.unwrap();
        }
    })
    .await;
    member.close(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn what_is_committed_is_not_committed_again() {
    let (broker, backend) = broker().await;
    let mut member = member_with_one_record(&broker, &backend).await;
    member.commit(DEADLINE).await.unwrap();
    member.commit(DEADLINE).await.unwrap();
    member.close(DEADLINE).await.unwrap();
    let (start, stored) = (1, 1);
    assert_eq!(broker.request_count(ApiKey::OffsetCommit), start + stored);
}

#[tokio::test]
async fn positions_of_partitions_of_others_are_not_committed() {
    let (broker, backend) = broker().await;
    let mut member = member_with_one_record(&broker, &backend).await;
    let foreign = TopicPartition {
        topic: "t".to_owned(),
        partition: 7,
    };
    member.store(&[(foreign, 3)]);
    member.close(DEADLINE).await.unwrap();
    assert_eq!(broker.committed_offset("g", "t", 0), Some(1));
    assert_eq!(broker.committed_offset("g", "t", 7), None);
}

#[tokio::test]
async fn a_damaged_batch_is_an_error_and_not_skipped() {
    let (broker, backend) = broker().await;
    send(&backend, "a").await.unwrap();
    let mut reader = backend.log_reader(None).await.unwrap();
    reader
        .assign(&[("t".to_owned(), LogStart::Earliest)])
        .await
        .unwrap();
    broker.on_once(ApiKey::Fetch, |_| Control::CorruptRecords);
    let error = reader.poll(DEADLINE).await.unwrap_err();
    assert!(!error.is_retriable(), "{error}");
    let records = reader.poll(DEADLINE).await.unwrap();
    assert_eq!(records[0].offset, 0);
    reader.close().await;
}

#[tokio::test]
async fn an_assignment_that_failed_can_be_repeated() {
    let (broker, backend) = broker().await;
    send(&backend, "a").await.unwrap();
    let mut reader = backend.log_reader(None).await.unwrap();
    let start = [("t".to_owned(), LogStart::offset(0))];
    broker.on_times(ApiKey::ListOffsets, 2, |_| {
        Control::Error(ErrorCode::TopicAuthorizationFailed)
    });
    let error = reader.assign(&start).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Authorization);
    reader.assign(&start).await.unwrap();
    assert_eq!(reader.poll(DEADLINE).await.unwrap().len(), 1);
    reader.close().await;
}
