//! Control topics with several partitions, as brokers with `num.partitions=6` create them, and nodes that write to any
//! of these partitions, as the peers do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kc::backend_pure::PureBackend;
use kc::core::backend::{
    Admin, Backend, BackendError, Capabilities, DeliveryFuture, GroupConsumer, GroupStart,
    LogReader, LogStart, OutgoingRecord, Producer, Subscription, TopicSpec,
};
use kc::core::chain::TrustList;
use kc::core::provision::Role;
use kc::{ClientSettings, NodeBuilder, NodeEvent};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};
use crate::roles::{key_of, publish, start_controller};

/// Sends records for partition 0 to partition 4.
#[derive(Debug)]
struct Elsewhere<T>(T);

#[async_trait]
impl Backend for Elsewhere<PureBackend> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        self.0.admin().await
    }
    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        Ok(Box::new(Elsewhere(self.0.producer().await?)))
    }
    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        self.0.log_reader(group).await
    }
    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        self.0.group_consumer(group, topics, start).await
    }
}

#[async_trait]
impl Producer for Elsewhere<Box<dyn Producer>> {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        let partition = record.partition.map(|_| 4);
        self.0
            .enqueue(OutgoingRecord {
                partition,
                ..record
            })
            .await
    }
    async fn flush(&self, deadline: Duration) -> Result<(), BackendError> {
        self.0.flush(deadline).await
    }
    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.0.close(deadline).await
    }
}

/// The number of partitions of control topics.
const PARTITIONS: i32 = 6;

/// Creates control topics with several partitions.
async fn create(fleet: &Fleet, topics: &[&str]) {
    let admin = fleet.plain().admin().await.unwrap();
    for topic in topics {
        let spec = TopicSpec {
            partitions: PARTITIONS,
            ..TopicSpec::control(*topic)
        };
        admin.create_topic(&spec, DEADLINE).await.unwrap();
    }
}

/// Returns options for a node that writes to partition 4 of control topics.
fn elsewhere(fleet: &Fleet, id: &str) -> NodeBuilder {
    let elsewhere = |settings: ClientSettings| -> Result<Arc<dyn Backend>, BackendError> {
        Ok(Arc::new(Elsewhere(PureBackend::new(settings)?)))
    };
    fleet.options(id).own_backend(elsewhere)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_replies_arrive_in_whatever_partition_they_are() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    fleet.provision("c", Role::Consumer, "root");
    create(&fleet, &["t.reqs", "t.keys"]).await;
    let open = async |id| elsewhere(&fleet, id).open().await.unwrap();
    let (p, c) = (open("p").await, open("c").await);
    p.producer()
        .await
        .unwrap()
        .send(record("t", "a"))
        .await
        .unwrap();
    let mut reading = consumer(&c, "t").await;
    assert_eq!(values(&take(&mut reading, 1).await), ["a"]);

    // The positions in all partitions are committed: a restarted node answers no request again.
    c.close().await.unwrap();
    p.close().await.unwrap();
    let p = open("p").await;
    p.producer()
        .await
        .unwrap()
        .send(record("t", "b"))
        .await
        .unwrap();
    let c = open("c").await;
    let mut reading = consumer(&c, "t").await;
    assert_eq!(values(&take(&mut reading, 1).await), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_requests_arrive_in_whatever_partition_they_are() {
    let written = exchange_through_a_controller(elsewhere).await;
    assert_eq!(written, BTreeSet::from([4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_write_to_the_first_partition_of_control_topics() {
    let written = exchange_through_a_controller(Fleet::options).await;
    assert_eq!(written, BTreeSet::from([0]));
}

/// A limited consumer gets a data key through a controller. Returns the partitions of all records in the side topics.
async fn exchange_through_a_controller(options: fn(&Fleet, &str) -> NodeBuilder) -> BTreeSet<i32> {
    const SIDES: [&str; 3] = ["t.reqs", "t.keys", "t.subs"];
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    fleet.provision("c", Role::ConsumerLimited, "root");
    create(&fleet, &SIDES).await;
    let _controller = start_controller(&fleet, options(&fleet, "controller")).await;
    let p = options(&fleet, "p").open().await.unwrap();
    let producer = p.producer().await.unwrap();
    producer.send(record("t", "a")).await.unwrap();
    let c = options(&fleet, "c").open().await.unwrap();
    let mut reading = consumer(&c, "t").await;
    assert_eq!(values(&take(&mut reading, 1).await), ["a"]);

    let mut log = fleet.plain().log_reader(None).await.unwrap();
    let mut written = BTreeSet::new();
    for side in SIDES {
        let start = [(side.to_owned(), LogStart::Earliest)];
        log.assign(&start).await.unwrap();
        let records = log.poll(DEADLINE).await.unwrap();
        assert!(!records.is_empty(), "{side}");
        written.extend(records.iter().map(|record| record.partition));
    }
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_of_lists_arrive_in_whatever_partition_they_are() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    let listed: Vec<_> = (0..8).map(|n| format!("listed{n}")).collect();
    for id in &listed {
        fleet.provision(id, Role::Consumer, "root");
    }
    create(&fleet, &["denylist"]).await;
    let p = fleet.open("p").await;
    let mut events = p.events();
    let mut denied = BTreeSet::new();
    for id in &listed {
        let key = key_of(&fleet, id);
        // The Kafka key determines the partition.
        publish(&fleet, fleet.key_type, TrustList::Deny, &key).await;
        denied.insert(key.fingerprint());
    }
    let learning = async {
        while !denied.is_empty() {
            if let Some(NodeEvent::Listed { key, .. }) = events.next().await {
                denied.remove(&key.fingerprint());
            }
        }
    };
    let learned = tokio::time::timeout(DEADLINE, learning).await;
    learned.expect("the node learns of all keys");
}
