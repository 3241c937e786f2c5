//! A backend of one's own: here one that counts what another sends and reads. It passes the conformance
//! suite (`cargo test --example own_backend`), as every backend must.
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kc::backend_pure::PureBackend;
use kc::core::backend::{
    Admin, Backend, BackendError, Capabilities, DeliveryFuture, GroupConsumer, GroupStart,
    LogReader, OutgoingRecord, Polled, Producer, Subscription, TopicPartition,
};
use kc::{ForeignPolicy, PlainRecord};

/// How many records went each way.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    read: AtomicU64,
}

#[derive(Debug)]
struct Counting<B: ?Sized> {
    counts: Arc<Counts>,
    inner: Box<B>,
}

#[async_trait]
impl Backend for Counting<dyn Backend> {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        self.inner.admin().await
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        let (counts, inner) = (self.counts.clone(), self.inner.producer().await?);
        Ok(Box::new(Counting { counts, inner }))
    }

    // Control topics are not counted.
    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        self.inner.log_reader(group).await
    }

    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        let inner = self.inner.group_consumer(group, topics, start).await?;
        let counts = self.counts.clone();
        Ok(Box::new(Counting { counts, inner }))
    }
}

#[async_trait]
impl Producer for Counting<dyn Producer> {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        let delivery = self.inner.enqueue(record).await?;
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        Ok(delivery)
    }

    async fn flush(&self, deadline: Duration) -> Result<(), BackendError> {
        self.inner.flush(deadline).await
    }

    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.inner.close(deadline).await
    }
}

#[async_trait]
impl GroupConsumer for Counting<dyn GroupConsumer> {
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError> {
        let polled = self.inner.poll(wait).await?;
        let read = u64::try_from(polled.records.len()).unwrap_or(u64::MAX);
        self.counts.read.fetch_add(read, Ordering::Relaxed);
        Ok(polled)
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        self.inner.store(positions);
    }

    async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError> {
        self.inner.commit(deadline).await
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.inner.pause(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.inner.resume(partitions);
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.inner.assignment()
    }

    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.inner.close(deadline).await
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = stage::Stage::set().await?;
    let counts = Arc::new(Counts::default());
    let open = |id| {
        let counts = counts.clone();
        stage.node(id).own_backend(move |settings| {
            let (counts, inner) = (counts.clone(), Box::new(PureBackend::new(settings)?));
            Ok(Arc::new(Counting::<dyn Backend> { counts, inner }))
        })
    };
    let sender = open("sender").open().await?;
    let producer = sender.producer().await?;
    for reading in ["21.5", "22.0"] {
        let record = PlainRecord {
            topic: "readings".into(),
            value: Some(reading.into()),
            ..PlainRecord::default()
        };
        producer.send(record).await?.await?;
    }

    let reader = open("reader").open().await?;
    let (topics, start) = (Subscription::to(["readings"]), GroupStart::Earliest);
    let joined = reader.consumer(None, &topics, start, ForeignPolicy::Fail);
    let mut consumer = joined.await?;
    let mut opened = 0;
    while opened < 2 {
        opened += consumer.poll(100, Duration::from_secs(1)).await?.len();
    }
    consumer.close(Duration::from_secs(10)).await?;
    let read = counts.read.load(Ordering::Relaxed);
    let sent = counts.sent.load(Ordering::Relaxed);
    println!(
        "{sent} records sent, those of the key exchange included; {read} read, {opened} opened"
    );
    Ok(())
}

#[cfg(test)]
mod conformance {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use kc_testkit::backend::impatient;

    use super::*;

    fn counting(bootstrap: &str) -> Box<dyn Backend> {
        let settings = impatient(bootstrap);
        let inner = Box::new(PureBackend::new(settings.unwrap()).unwrap());
        let counts = Arc::default();
        Box::new(Counting::<dyn Backend> { counts, inner })
    }

    kc_testkit::backend_conformance!(counting);
}
