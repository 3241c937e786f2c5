use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use kc_core::backend::{
    Admin, Capabilities, GroupConsumer, LogReader, Polled, Producer, TopicPartition,
};
use kc_core::backend::{Delivery, DeliveryFuture, OutgoingRecord, Record};
use kc_core::types::TopicScheme;
use tokio::time::timeout;

use super::*;
use crate::client::MAX_UNACKNOWLEDGED;
use crate::events::NodeEvent;
use crate::handles::CryptoTables;
use crate::slot::Slot;

const DEADLINE: Duration = Duration::from_secs(60);

/// A topic with one partition. Its records are created when they are polled.
#[derive(Debug)]
struct Topic {
    record_bytes: usize,
    /// The number of records that a poll returns.
    batch: usize,
    /// The results of the first polls.
    first: Mutex<VecDeque<Result<Polled, BackendError>>>,
    /// Set if the broker takes records.
    takes: AtomicBool,
    seen: watch::Sender<Seen>,
}

/// The calls that the group member received.
#[derive(Clone, Debug, Default)]
struct Seen {
    polls: usize,
    records: usize,
    paused: bool,
    stored: Option<i64>,
    committed: Option<i64>,
    closed: bool,
    /// The number of records that were sent.
    sent: usize,
}

#[derive(Debug)]
struct Kafka(Arc<Topic>);

#[async_trait]
impl Backend for Kafka {
    fn name(&self) -> &'static str {
        "made"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        Err(unsupported())
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        Ok(Box::new(Sink(Arc::clone(&self.0))))
    }

    async fn log_reader(&self, _: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        Err(unsupported())
    }

    async fn group_consumer(
        &self,
        _: &str,
        _: &Subscription,
        _: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        Ok(Box::new(Member(Arc::clone(&self.0))))
    }
}

fn unsupported() -> BackendError {
    BackendError::new(BackendErrorKind::Unsupported, "connect")
}

#[derive(Debug)]
struct Sink(Arc<Topic>);

#[async_trait]
impl Producer for Sink {
    async fn enqueue(&self, _: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        if !self.0.takes.load(Ordering::Relaxed) {
            return Err(BackendError::new(BackendErrorKind::Timeout, "send"));
        }
        self.0.seen.send_modify(|seen| seen.sent += 1);
        let delivery = Delivery {
            partition: 0,
            offset: 0,
        };
        Ok(Box::pin(std::future::ready(Ok(delivery))))
    }

    async fn flush(&self, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Member(Arc<Topic>);

fn partition() -> TopicPartition {
    TopicPartition {
        topic: "t".into(),
        partition: 0,
    }
}

#[async_trait]
impl GroupConsumer for Member {
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError> {
        self.0.seen.send_modify(|seen| seen.polls += 1);
        if let Some(polled) = self.0.first.lock().unwrap().pop_front() {
            return polled;
        }
        if self.0.seen.borrow().paused {
            tokio::time::sleep(wait).await;
            return Ok(Polled::default());
        }
        let from = self.0.seen.borrow().records;
        let records = (from..from + self.0.batch).map(|number| {
            let value = vec![0; self.0.record_bytes];
            record(i64::try_from(number).unwrap(), value)
        });
        let records = records.collect();
        self.0.seen.send_modify(|seen| seen.records += self.0.batch);
        tokio::task::yield_now().await;
        Ok(Polled {
            records,
            revoked: Vec::new(),
        })
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        let stored = positions.last().map(|(_, offset)| *offset);
        self.0.seen.send_modify(|seen| seen.stored = stored);
    }

    async fn commit(&mut self, _: Duration) -> Result<(), BackendError> {
        self.0.seen.send_modify(|seen| seen.committed = seen.stored);
        Ok(())
    }

    fn pause(&mut self, _: &[TopicPartition]) {
        self.0.seen.send_modify(|seen| seen.paused = true);
    }

    fn resume(&mut self, _: &[TopicPartition]) {
        self.0.seen.send_modify(|seen| seen.paused = false);
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        vec![partition()]
    }

    async fn close(mut self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.commit(deadline).await?;
        self.0.seen.send_modify(|seen| seen.closed = true);
        Ok(())
    }
}

/// Creates a consumer of records with `record_bytes` bytes. Also returns the calls to its group member.
async fn consumer(
    record_bytes: usize,
    batch: usize,
    first: Vec<Result<Polled, BackendError>>,
) -> (Consumer, watch::Receiver<Seen>, Events) {
    let topic = Arc::new(Topic {
        record_bytes,
        batch,
        first: Mutex::new(first.into()),
        takes: AtomicBool::new(true),
        seen: watch::Sender::default(),
    });
    let (consumer, events) = consumer_of(&topic, None).await;
    (consumer, topic.seen.subscribe(), events)
}

/// A record in partition 0 of the topic `t`.
pub(super) fn record(offset: i64, value: impl Into<Bytes>) -> Record {
    Record {
        topic: "t".into(),
        partition: 0,
        offset,
        timestamp: None,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// Returns the options of a member of the group `g` that reads the topic `t`.
pub(super) fn options(undecryptable: Undecryptable) -> ConsumerOptions {
    ConsumerOptions {
        group: "g".into(),
        topics: Subscription::to(["t"]),
        start: GroupStart::Earliest,
        assignment: None,
        undecryptable,
        plain_keys: false,
        plain: false,
        no_commit: false,
        skip_until: BTreeMap::new(),
        threads: None,
    }
}

/// Creates a consumer that opens records and treats those that are not sealed by `foreign`, or one that opens nothing.
async fn consumer_of(topic: &Arc<Topic>, foreign: Option<Policy>) -> (Consumer, Events) {
    let (tables, _) = CryptoTables::new(TopicScheme::default());
    let opener = Opener::new(tables, Slot::unconnected(), Duration::ZERO);
    let undecryptable = Undecryptable::default();
    let options = ConsumerOptions {
        plain: foreign.is_none(),
        ..options(undecryptable.with_all(&foreign.unwrap_or(Policy::Fail)))
    };
    let events = Events::default();
    let kafka = Arc::new(Kafka(Arc::clone(topic)));
    let joined = Consumer::join(kafka, opener, options, events.clone());
    (joined.await.unwrap(), events)
}

async fn until(seen: &mut watch::Receiver<Seen>, is: impl FnMut(&Seen) -> bool) -> Seen {
    let found = timeout(DEADLINE, seen.wait_for(is)).await;
    found.unwrap().unwrap().clone()
}

#[tokio::test]
async fn a_slow_application_holds_fetching_back_and_stays_in_the_group() {
    const BATCH: usize = 8;
    let (mut consumer, mut seen, _) = consumer(1 << 20, BATCH, vec![]).await;
    let at_pause = until(&mut seen, |seen| seen.paused).await;
    let bound = MAX_BUFFERED_BYTES >> 20;
    assert!(
        (bound - BATCH..=bound + 2 * BATCH).contains(&at_pause.records),
        "{at_pause:?}"
    );
    // The consumer continues to poll.
    until(&mut seen, |seen| seen.polls > at_pause.polls + 2).await;
    assert_eq!(seen.borrow().records, at_pause.records);

    for _ in 0..at_pause.records {
        let record = consumer.next().await.unwrap().unwrap();
        assert!(record.ack());
    }
    until(&mut seen, |seen| seen.records > at_pause.records).await;
    let all = i64::try_from(at_pause.records).unwrap();
    until(&mut seen, |seen| seen.committed >= Some(all)).await;
}

#[tokio::test]
async fn too_many_unacknowledged_records_pause_their_partition_and_name_the_first() {
    let (mut consumer, mut seen, events) = consumer(8, 500, vec![]).await;
    let mut events = events.listen();
    let first = consumer.next().await.unwrap().unwrap();
    for _ in 0..MAX_UNACKNOWLEDGED {
        // Acknowledging later records does not resume the partition.
        consumer.next().await.unwrap().unwrap().ack();
    }
    let told = timeout(DEADLINE, events.next()).await.unwrap();
    let unacknowledged = NodeEvent::Unacknowledged {
        topic: "t".into(),
        partition: 0,
        offset: 0,
    };
    assert_eq!(told, Some(unacknowledged));
    until(&mut seen, |seen| seen.paused).await;
    first.ack();
    until(&mut seen, |seen| !seen.paused).await;
}

#[tokio::test]
async fn outages_are_events_and_an_error_ends() {
    let fails = |kind| Err(BackendError::new(kind, "poll"));
    let first = vec![
        fails(BackendErrorKind::Unreachable),
        fails(BackendErrorKind::Rebalance),
        Ok(Polled::default()),
        fails(BackendErrorKind::Authorization),
    ];
    let (mut consumer, mut seen, events) = consumer(8, 1, first).await;
    let mut events = events.listen();
    let error = timeout(DEADLINE, consumer.next()).await.unwrap();
    let error = error.unwrap().unwrap_err();
    assert!(matches!(error, ConsumeError::Backend(_)), "{error:?}");
    assert!(consumer.next().await.is_none());
    let told = std::iter::from_fn(|| events.try_next());
    let told: Vec<_> = told.collect();
    assert!(
        matches!(
            told.as_slice(),
            [NodeEvent::ConsumerFails { .. }, NodeEvent::ConsumerWorks { .. }]
                // The listener may have missed the first event.
                | [NodeEvent::ConsumerWorks { .. }]
        ),
        "{told:?}"
    );
    consumer.close().await.unwrap();
    until(&mut seen, |seen| seen.closed).await;
}

#[tokio::test]
async fn closing_commits_what_is_acknowledged_and_nothing_after_it() {
    let (mut consumer, seen, _) = consumer(8, 1, vec![]).await;
    let control = Arc::clone(consumer.control());
    let mut records = Vec::new();
    for _ in 0..3 {
        records.push(consumer.next().await.unwrap().unwrap());
    }
    records[1].ack();
    control.stop();
    assert!(consumer.next().await.is_none(), "it is stopped");
    assert!(records[0].ack(), "and can still be told");
    consumer.close().await.unwrap();
    assert_eq!(seen.borrow().committed, Some(2));
    assert!(!records[2].ack(), "it is closed");
}

#[tokio::test]
async fn a_dropped_consumer_leaves_its_group() {
    let (mut consumer, mut seen, _) = consumer(8, 1, vec![]).await;
    consumer.next().await.unwrap().unwrap().ack();
    drop(consumer);
    let seen = until(&mut seen, |seen| seen.closed).await;
    assert_eq!(seen.committed, Some(1));
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_no_record() {
    let (mut consumer, _, _) = consumer(8, 3, vec![]).await;
    let mut next = 0;
    while next < 1000 {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            record = consumer.next() => {
                let record = record.unwrap().unwrap();
                assert_eq!(record.offset(), next);
                record.ack();
                next += 1;
            }
        }
        if next % 10 == 0 {
            let rest = consumer.next_batch().await.unwrap().unwrap();
            for record in rest {
                assert_eq!(record.offset(), next);
                next += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_gives_the_same_records() {
    use futures_util::StreamExt;
    let (mut consumer, _, _) = consumer(8, 3, vec![]).await;
    let first: Vec<_> = consumer.stream().take(4).collect().await;
    let offsets = first.into_iter().map(|record| record.unwrap().offset());
    assert_eq!(offsets.collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(consumer.next().await.unwrap().unwrap().offset(), 4);
}

#[tokio::test]
async fn dead_letters_that_cannot_be_sent_hold_fetching_back_and_nothing_is_lost() {
    const BYTES: usize = 1 << 20;
    let topic = Arc::new(Topic {
        record_bytes: BYTES,
        batch: 8,
        first: Mutex::default(),
        takes: AtomicBool::new(false),
        seen: watch::Sender::default(),
    });
    let mut seen = topic.seen.subscribe();
    let to = Policy::DeadLetter("lost".into());
    let (consumer, events) = consumer_of(&topic, Some(to)).await;
    let mut events = events.listen();
    let told = timeout(DEADLINE, events.next()).await.unwrap();
    assert!(
        matches!(told, Some(NodeEvent::ProducerFails { .. })),
        "{told:?}"
    );
    let at_pause = until(&mut seen, |seen| seen.paused).await;
    assert!(
        at_pause.records * BYTES <= MAX_BUFFERED_BYTES,
        "{at_pause:?}"
    );
    // The consumer stays in its group, and fetches nothing more.
    until(&mut seen, |seen| seen.polls > at_pause.polls + 2).await;
    assert_eq!(seen.borrow().records, at_pause.records);
    assert_eq!(seen.borrow().stored, None, "nothing was sent");

    topic.takes.store(true, Ordering::Relaxed);
    let all = at_pause.records;
    let position = Some(i64::try_from(all).unwrap());
    until(&mut seen, |seen| seen.committed >= position).await;
    assert!(seen.borrow().sent >= all);
    assert!(consumer.left_out() >= all as u64);
    let told = timeout(DEADLINE, events.next()).await.unwrap();
    assert!(
        matches!(told, Some(NodeEvent::ProducerWorks { .. })),
        "{told:?}"
    );
}
