//! Control topics with several partitions, as brokers with `num.partitions=6` create them, and nodes that write to any
//! of these partitions, as the peers do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kc::backend_pure::PureBackend;
use kc::core::backend::{
    Admin, Backend, BackendError, Capabilities, DeliveryFuture, GroupConsumer, GroupStart,
    LogReader, OutgoingRecord, Producer, Subscription, TopicSpec,
};
use kc::core::provision::Role;
use kc::{ClientSettings, Node};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

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

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_replies_arrive_in_whatever_partition_they_are() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    fleet.provision("c", Role::Consumer, "root");
    let admin = fleet.plain().admin().await.unwrap();
    for side in ["t.reqs", "t.keys"] {
        let spec = TopicSpec {
            partitions: 6,
            ..TopicSpec::control(side)
        };
        admin.create_topic(&spec, DEADLINE).await.unwrap();
    }
    let open = async |id| -> Node {
        let elsewhere = |settings: ClientSettings| -> Result<Arc<dyn Backend>, BackendError> {
            Ok(Arc::new(Elsewhere(PureBackend::new(settings)?)))
        };
        let node = fleet.options(id).own_backend(elsewhere);
        node.open().await.unwrap()
    };
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
