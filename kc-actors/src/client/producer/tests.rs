use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kc_core::backend::{Delivery, TopicSpec};

use super::*;

/// The number of partitions of a topic that the broker does not know.
const UNKNOWN: usize = usize::MAX;
/// The number of partitions of a topic about which the broker never answers.
const SILENT: usize = usize::MAX - 1;

/// A topic that stores the partition of each record that is sent to it. If it has zero partitions, no broker can be
/// reached.
#[derive(Debug, Default)]
struct Topic {
    partitions: AtomicUsize,
    looks: AtomicUsize,
    sent: Mutex<Vec<i32>>,
}

#[derive(Debug)]
struct Client(Arc<Topic>);

#[async_trait]
impl Admin for Client {
    async fn partitions(
        &self,
        _: &str,
        _: bool,
        _: Duration,
    ) -> Result<Option<usize>, BackendError> {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        match self.0.partitions.load(Ordering::Relaxed) {
            0 => Err(BackendError::new(BackendErrorKind::Unreachable, "look")),
            UNKNOWN => Ok(None),
            SILENT => std::future::pending().await,
            partitions => Ok(Some(partitions)),
        }
    }

    async fn topics(&self, _: Duration) -> Result<Vec<String>, BackendError> {
        Ok(Vec::new())
    }

    async fn create_topic(&self, _: &TopicSpec, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

#[async_trait]
impl BackendProducer for Client {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        let partition = record.partition.unwrap();
        let there = self.0.partitions.load(Ordering::Relaxed);
        let delivered = if usize::try_from(partition).unwrap() < there {
            self.0.sent.lock().unwrap().push(partition);
            Ok(Delivery {
                partition,
                offset: 0,
            })
        } else {
            Err(BackendError::new(BackendErrorKind::UnknownTopic, "send"))
        };
        Ok(Box::pin(std::future::ready(delivered)))
    }

    async fn flush(&self, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A producer that has already sent to the topic.
fn producer(partitions: usize) -> (Inner, Arc<Topic>) {
    let topic = Arc::new(Topic::default());
    topic.partitions.store(partitions, Ordering::Relaxed);
    let producer = Inner {
        sealers: None,
        client: ArcSwapOption::from_pointee(
            Box::new(Client(Arc::clone(&topic))) as Box<dyn BackendProducer>
        ),
        admin: Box::new(Client(Arc::clone(&topic))),
        plain_keys: true,
        counts: Arc::new(PartitionCounts::new(Duration::from_mins(5))),
    };
    producer.counts.set("t", partitions);
    (producer, topic)
}

/// Sends a record whose key belongs to partition 1 of 2, and to partition 3 of 4.
async fn send(producer: &Inner) -> Result<Delivery, BackendError> {
    let key = (0..=u8::MAX).find(|key| {
        let partition = |partitions| partition_of(&[*key], partitions);
        (partition(2), partition(4)) == (Some(1), Some(3))
    });
    let record = Record::to("t").key(vec![key.unwrap()]);
    producer.enqueue(record).await.unwrap().await
}

#[tokio::test]
async fn partitions_that_are_added_are_sent_to_once_the_number_is_old() {
    let (producer, topic) = producer(2);
    topic.partitions.store(4, Ordering::Relaxed);
    send(&producer).await.unwrap();
    assert_eq!(topic.looks.load(Ordering::Relaxed), 0, "it is believed");
    producer.counts.age("t");
    send(&producer).await.unwrap();
    send(&producer).await.unwrap();
    assert_eq!(topic.looks.load(Ordering::Relaxed), 1);
    assert_eq!(*topic.sent.lock().unwrap(), [1, 3, 3]);
}

#[tokio::test]
async fn a_topic_made_anew_with_fewer_partitions_fails_once() {
    let (producer, topic) = producer(4);
    topic.partitions.store(2, Ordering::Relaxed);
    let error = send(&producer).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::UnknownTopic);
    send(&producer).await.unwrap();
    assert_eq!(*topic.sent.lock().unwrap(), [1]);
}

#[tokio::test]
async fn an_old_number_is_good_enough_while_the_broker_does_not_answer() {
    let (producer, topic) = producer(2);
    topic.partitions.store(0, Ordering::Relaxed);
    producer.counts.age("t");
    let error = send(&producer).await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::UnknownTopic, "it was sent");
    assert_eq!(topic.looks.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_never_answers_is_told_from_one_that_does_not_know_the_topic() {
    for (partitions, kind) in [
        (UNKNOWN, BackendErrorKind::UnknownTopic),
        (SILENT, BackendErrorKind::Timeout),
    ] {
        let (producer, _) = producer(partitions);
        let error = producer.look_up("t").await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}
