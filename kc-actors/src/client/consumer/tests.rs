use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kc_core::exchange::MissingKeys;
use kc_core::secret::Secret;
use kc_core::types::{KeyId, TopicScheme};

use super::*;
use crate::handles::CryptoTables;
use crate::slot::Slot;

/// A member of a group that gives what it is told to, and remembers what it was asked.
#[derive(Debug, Default)]
struct Member {
    polls: VecDeque<Polled>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl GroupConsumer for Member {
    async fn poll(&mut self, _: Duration) -> Result<Polled, BackendError> {
        Ok(self.polls.pop_front().unwrap_or_default())
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        let offsets = positions.iter().map(|(_, offset)| offset);
        let stored = offsets.map(|offset| format!("store {offset}"));
        self.asked.lock().unwrap().extend(stored);
    }

    async fn commit(&mut self, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    fn pause(&mut self, _: &[TopicPartition]) {
        self.asked.lock().unwrap().push("pause".into());
    }

    fn resume(&mut self, _: &[TopicPartition]) {
        self.asked.lock().unwrap().push("resume".into());
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        Vec::new()
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }
}

fn consumer(
    polls: Vec<Polled>,
    policy: ForeignPolicy,
) -> (EncryptedConsumer, Arc<Mutex<Vec<String>>>) {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    consumer_over(tables, polls, policy)
}

fn consumer_over(
    tables: Arc<CryptoTables>,
    polls: Vec<Polled>,
    policy: ForeignPolicy,
) -> (EncryptedConsumer, Arc<Mutex<Vec<String>>>) {
    let member = Member {
        polls: polls.into(),
        ..Member::default()
    };
    let asked = Arc::clone(&member.asked);
    let deserializer = Deserializer::new(tables, Slot::unconnected(), Duration::ZERO);
    let consumer = EncryptedConsumer {
        plain_keys: false,
        waiting: deserializer.waiting_records(),
        deserializer,
        consumer: Box::new(member),
        policy,
        parked: BTreeMap::new(),
        last: None,
        room: MAX_ALL_PARKED_BYTES,
        next_poll: Instant::now(),
        delivered: BTreeMap::new(),
    };
    (consumer, asked)
}

fn record(offset: i64, value: Vec<u8>) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset,
        timestamp: None,
        key: None,
        value: Some(value),
        headers: Vec::new(),
    }
}

/// A record under a key that nobody has.
fn sealed(offset: i64, len: usize) -> Record {
    sealed_under(7, offset, len)
}

fn sealed_under(key: u8, offset: i64, len: usize) -> Record {
    let mut value = vec![0x01, 0x93, key, 0xc4, 16];
    value.extend([0; 16]);
    value.extend([0xc6]);
    value.extend(u32::try_from(len).unwrap().to_be_bytes());
    value.resize(value.len() + len, 0);
    record(offset, value)
}

/// One that opens without a key.
fn null(partition: i32, offset: i64) -> Record {
    Record {
        partition,
        value: None,
        ..record(offset, Vec::new())
    }
}

/// That partition 0 is another member's from now on.
fn revoked() -> Polled {
    Polled {
        records: Vec::new(),
        revoked: vec![TopicPartition {
            topic: "t".into(),
            partition: 0,
        }],
    }
}

fn given(records: Vec<Record>) -> Polled {
    Polled {
        records,
        revoked: Vec::new(),
    }
}

#[tokio::test]
async fn a_pause_does_not_outlive_the_records_it_was_for() {
    let many = (0..i64::try_from(MAX_PARKED_RECORDS).unwrap()).map(|offset| sealed(offset, 16));
    let polls = vec![given(many.collect()), revoked()];
    let (mut consumer, asked) = consumer(polls, ForeignPolicy::Fail);
    let wait = Duration::from_millis(1);
    while asked.lock().unwrap().len() < 2 {
        assert!(consumer.poll(10, wait).await.unwrap().is_empty());
    }
    assert_eq!(*asked.lock().unwrap(), ["pause", "resume"]);
}

#[tokio::test]
async fn a_few_large_records_pause_a_partition_as_many_small_ones_do() {
    let large = (0..18).map(|offset| sealed(offset, 1_000_000));
    let (mut consumer, asked) = consumer(vec![given(large.collect())], ForeignPolicy::Fail);
    let opened = consumer.poll(10, Duration::from_millis(1)).await.unwrap();
    assert!(opened.is_empty());
    assert_eq!(*asked.lock().unwrap(), ["pause"]);
}

#[tokio::test]
async fn a_poll_that_does_not_wait_takes_what_is_there() {
    let (mut consumer, _) = consumer(vec![given(vec![null(0, 0)])], ForeignPolicy::Fail);
    let opened = consumer.poll(10, Duration::ZERO).await.unwrap();
    assert_eq!(opened.len(), 1);
}

#[tokio::test]
async fn a_poll_may_wait_for_ever() {
    let (mut consumer, _) = consumer(vec![given(vec![null(0, 0)])], ForeignPolicy::Fail);
    let opened = consumer.poll(10, Duration::MAX).await.unwrap();
    assert_eq!(opened.len(), 1);
}

#[tokio::test]
async fn many_partitions_with_little_each_are_paused_once_they_have_too_much_together() {
    let in_partition = |partition| Record {
        partition,
        ..sealed(0, 1_000)
    };
    let records = (0..4).map(in_partition).chain([null(9, 0)]).collect();
    let (mut consumer, asked) = consumer(vec![given(records), revoked()], ForeignPolicy::Fail);
    consumer.room = 4_000;
    let wait = Duration::from_millis(1);
    let opened = consumer.poll(10, wait).await.unwrap();
    assert_eq!(
        opened.len(),
        1,
        "a partition in which nothing waits goes on"
    );
    assert_eq!(*asked.lock().unwrap(), ["pause"; 4]);
    asked.lock().unwrap().clear();

    while !consumer.poll(10, wait).await.unwrap().is_empty() {}
    let asked = asked.lock().unwrap();
    assert_eq!(*asked, ["store 1", "resume", "resume", "resume", "resume"]);
}

#[tokio::test]
async fn delivering_what_waited_does_not_keep_from_polling() {
    let polls = vec![
        given((0..9).map(|offset| null(0, offset)).collect()),
        revoked(),
    ];
    let (mut consumer, asked) = consumer(polls, ForeignPolicy::Fail);
    let wait = Duration::from_mins(1);
    assert_eq!(consumer.poll(1, wait).await.unwrap().len(), 1);
    assert_eq!(consumer.poll(1, wait).await.unwrap().len(), 1);
    assert_eq!(parked(&consumer), 7, "not polled again so soon");
    assert_eq!(consumer.waiting(), 0, "their keys are there");

    consumer.next_poll = Instant::now();
    let opened = consumer.poll(1, Duration::ZERO).await.unwrap();
    assert!(opened.is_empty(), "they are another member's now");
    assert_eq!(parked(&consumer), 0);
    assert_eq!(*asked.lock().unwrap(), ["store 1", "store 2"]);
}

fn parked(consumer: &EncryptedConsumer) -> usize {
    consumer.parked.values().map(Parked::len).sum()
}

#[tokio::test]
async fn a_busy_partition_takes_turns_with_the_others() {
    let of_busy = |from: i64| (from..from + 9).map(move |offset| null(0, offset));
    let others = [null(1, 0), null(1, 1), null(2, 0)];
    let polls = (0..4).map(|turn| given(of_busy(9 * turn).collect()));
    let mut polls: Vec<_> = polls.collect();
    polls[0].records.extend(others);
    let (mut consumer, _) = consumer(polls, ForeignPolicy::Fail);
    let mut delivered = Vec::new();
    for _ in 0..5 {
        // As if the application took its time, so that the busy partition gets more and more.
        consumer.next_poll = Instant::now();
        let opened = consumer.poll(2, Duration::ZERO).await.unwrap();
        delivered.extend(opened.iter().map(|record| record.partition));
    }
    assert_eq!(delivered, [0, 0, 1, 1, 2, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn nothing_is_committed_past_a_record_that_awaits_its_key() {
    let plain = |offset| record(offset, b"plain".to_vec());
    let records = vec![plain(0), sealed(1, 16), plain(2)];
    let (mut consumer, asked) = consumer(vec![given(records)], ForeignPolicy::Deliver);
    let wait = Duration::from_millis(1);
    let opened = consumer.poll(10, wait).await.unwrap();
    assert_eq!(opened.len(), 1);
    assert_eq!(consumer.waiting(), 2);
    consumer.commit(wait).await.unwrap();
    assert!(consumer.poll(10, wait).await.unwrap().is_empty());
    consumer.commit(wait).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["store 1"]);
}

#[tokio::test]
async fn a_broker_that_counts_to_the_end_stops_nothing() {
    let polls = vec![given(vec![null(0, i64::MAX)])];
    let (mut consumer, asked) = consumer(polls, ForeignPolicy::Fail);
    let wait = Duration::from_millis(1);
    assert_eq!(consumer.poll(10, wait).await.unwrap().len(), 1);
    consumer.commit(wait).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), [format!("store {}", i64::MAX)]);
}

#[tokio::test]
async fn a_foreign_record_fails_after_what_stands_before_it_and_stays() {
    let records = vec![null(0, 0), record(1, b"slipped in".to_vec())];
    let (mut consumer, asked) = consumer(vec![given(records)], ForeignPolicy::Fail);
    let wait = Duration::from_millis(1);
    assert_eq!(consumer.poll(10, wait).await.unwrap().len(), 1);
    for _ in 0..2 {
        let error = consumer.poll(10, wait).await.unwrap_err();
        assert!(
            matches!(error, ConsumeError::Foreign { offset: 1, .. }),
            "{error}"
        );
    }
    assert_eq!(*asked.lock().unwrap(), ["store 1"]);
}

#[tokio::test]
async fn the_keys_of_all_waiting_records_are_asked_for_at_once() {
    let (tables, signals) = CryptoTables::new(TopicScheme::default());
    let first = [3, 3, 4].map(|key| sealed_under(key, 0, 16));
    let then = [5].map(|key| sealed_under(key, 3, 16));
    let polls = vec![given(first.into()), given(then.into())];
    let (mut consumer, _) = consumer_over(tables, polls, ForeignPolicy::Fail);
    consumer.poll(10, Duration::from_millis(1)).await.unwrap();
    consumer.poll(10, Duration::from_millis(1)).await.unwrap();
    drop(consumer);
    let asked = Mutex::new(Vec::new());
    signals
        .forward(|_, id| {
            asked.lock().unwrap().push(id.to_string());
            std::future::ready(())
        })
        .await;
    assert_eq!(*asked.lock().unwrap(), ["#3", "#4", "#5"]);
}

/// Tables with a key that has the id of [`sealed`]'s records and does not open them.
fn tables_with_another_key() -> Arc<CryptoTables> {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    let secret = Secret::fill_with(|secret| secret.fill(1)).into();
    tables.publish_opening(|ring| {
        ring.add(&"t".into(), KeyId::Short(7), secret, None);
    });
    tables
}

#[tokio::test]
async fn what_a_known_key_does_not_open_waits_for_another_until_nobody_has_one() {
    let tables = tables_with_another_key();
    let polls = vec![given(vec![sealed(0, 16)])];
    let (mut consumer, asked) = consumer_over(Arc::clone(&tables), polls, ForeignPolicy::Fail);
    let wait = Duration::from_millis(1);
    assert!(consumer.poll(10, wait).await.unwrap().is_empty());
    assert_eq!(consumer.waiting(), 1);

    tables.publish_awaiting(vec![MissingKeys {
        root_topic: "t".into(),
        own: None,
        unanswered: vec![KeyId::Short(7)],
    }]);
    let error = consumer.poll(10, wait).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Foreign { offset: 0, .. }));
    assert!(asked.lock().unwrap().is_empty(), "nothing is committed");
}

#[tokio::test]
async fn what_was_opened_before_the_node_closed_is_given_out() {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    let polls = vec![given(vec![null(0, 0), sealed(1, 16)])];
    let (mut consumer, _) = consumer_over(Arc::clone(&tables), polls, ForeignPolicy::Fail);
    tables.close();
    let wait = Duration::from_millis(1);
    assert_eq!(consumer.poll(10, wait).await.unwrap().len(), 1);
    let error = consumer.poll(10, wait).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Closed));
}
