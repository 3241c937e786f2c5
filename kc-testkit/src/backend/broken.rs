//! Backends with a selected fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, Capabilities, Committed, GroupConsumer, GroupStart, LogReader,
    LogStart, Polled, Processed, Producer, Record, Retention, Subscription, TopicPartition,
    TopicSpec, Watermarks,
};

use super::bench::{WEEK, behind};

/// Makes the groups of [`Fault::ForgetsTheGroup`] unique.
static FRESH_GROUPS: AtomicU64 = AtomicU64::new(0);

/// A fault of [`Broken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Each seventh record of a partition is missing.
    DropsRecords,
    /// The first two records of a poll are swapped.
    SwapsOrder,
    /// Headers are missing.
    LosesHeaders,
    /// Null keys and values are received as empty ones.
    EmptiesNulls,
    /// Polled positions are stored before the records are processed.
    CommitsTooEarly,
    /// Stored positions are not committed when partitions are revoked, nor on close.
    ForgetsToCommit,
    /// A group has no memory of earlier members: neither of their start nor of their commits.
    ForgetsTheGroup,
    /// Paused partitions are still read.
    IgnoresPauses,
    /// Reading goes on where it was.
    IgnoresSeeks,
    /// Paused partitions are read again after they were revoked and assigned again.
    ForgetsPauses,
    /// Revoked partitions are not reported.
    HidesRevocations,
    /// A request for a topic creates it.
    CreatesTopics,
    /// A log is always read from its beginning.
    StartsAtBeginning,
    /// "Latest" is treated as "earliest".
    TakesLatestAsEarliest,
    /// The retention of compacted topics is that of data topics.
    ExpiresCompacted,
}

/// A backend with one fault.
#[derive(Debug)]
pub struct Broken {
    inner: Box<dyn Backend>,
    fault: Fault,
}

impl Broken {
    /// Adds a fault to a backend.
    #[must_use]
    pub fn new(inner: Box<dyn Backend>, fault: Fault) -> Self {
        Self { inner, fault }
    }
}

#[async_trait]
impl Backend for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        Ok(Box::new(BrokenAdmin {
            inner: self.inner.admin().await?,
            fault: self.fault,
        }))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        self.inner.producer().await
    }

    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        Ok(Box::new(BrokenReader {
            inner: self.inner.log_reader(group).await?,
            fault: self.fault,
        }))
    }

    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        let start = match self.fault {
            Fault::TakesLatestAsEarliest => GroupStart::Earliest,
            _ => start,
        };
        let fresh = format!("{group}-{}", FRESH_GROUPS.fetch_add(1, Ordering::Relaxed));
        let group = match self.fault {
            Fault::ForgetsTheGroup => &fresh,
            _ => group,
        };
        Ok(Box::new(BrokenConsumer {
            inner: self.inner.group_consumer(group, topics, start).await?,
            fault: self.fault,
            stored: Vec::new(),
        }))
    }
}

fn spoil(fault: Fault, mut records: Vec<Record>) -> Vec<Record> {
    match fault {
        Fault::DropsRecords => records.retain(|record| record.offset % 7 != 6),
        Fault::SwapsOrder if records.len() > 1 => records.swap(0, 1),
        Fault::LosesHeaders => {
            for record in &mut records {
                record.headers.clear();
            }
        }
        Fault::EmptiesNulls => {
            for record in &mut records {
                record.key.get_or_insert_default();
                record.value.get_or_insert_default();
            }
        }
        _ => {}
    }
    records
}

#[derive(Debug)]
struct BrokenAdmin {
    inner: Box<dyn Admin>,
    fault: Fault,
}

#[async_trait]
impl Admin for BrokenAdmin {
    async fn partitions(
        &self,
        topic: &str,
        auto_create: bool,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError> {
        let auto_create = auto_create || self.fault == Fault::CreatesTopics;
        self.inner.partitions(topic, auto_create, deadline).await
    }

    async fn topics(&self, deadline: Duration) -> Result<Vec<String>, BackendError> {
        self.inner.topics(deadline).await
    }

    async fn create_topic(&self, spec: &TopicSpec, deadline: Duration) -> Result<(), BackendError> {
        self.inner.create_topic(spec, deadline).await
    }

    async fn add_partitions(
        &self,
        topic: &str,
        count: i32,
        deadline: Duration,
    ) -> Result<(), BackendError> {
        self.inner.add_partitions(topic, count, deadline).await
    }

    async fn retention(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Retention>, BackendError> {
        let retention = self.inner.retention(topic, deadline).await?;
        Ok(match self.fault {
            Fault::ExpiresCompacted => retention.map(|_| Retention::For(WEEK)),
            _ => retention,
        })
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }
}

#[derive(Debug)]
struct BrokenReader {
    inner: Box<dyn LogReader>,
    fault: Fault,
}

#[async_trait]
impl LogReader for BrokenReader {
    async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError> {
        if self.fault == Fault::StartsAtBeginning {
            let from_beginning: Vec<(String, LogStart)> = topics
                .iter()
                .map(|(topic, _)| (topic.clone(), LogStart::Earliest))
                .collect();
            return self.inner.assign(&from_beginning).await;
        }
        self.inner.assign(topics).await
    }

    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        self.inner.unassign(topics).await
    }

    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError> {
        Ok(spoil(self.fault, self.inner.poll(wait).await?))
    }

    async fn watermarks(
        &mut self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Watermarks>>, BackendError> {
        self.inner.watermarks(topic, deadline).await
    }

    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError> {
        self.inner.committed(topics, deadline).await
    }

    async fn commit(
        &mut self,
        positions: &[Committed],
        deadline: Duration,
    ) -> Result<(), BackendError> {
        self.inner.commit(positions, deadline).await
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }
}

#[derive(Debug)]
struct BrokenConsumer {
    inner: Box<dyn GroupConsumer>,
    fault: Fault,
    /// The positions that [`Fault::ForgetsToCommit`] keeps from the backend.
    stored: Vec<(TopicPartition, i64)>,
}

#[async_trait]
impl GroupConsumer for BrokenConsumer {
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError> {
        let mut polled = self.inner.poll(wait).await?;
        match self.fault {
            Fault::CommitsTooEarly => self.inner.store(&behind(&polled.records)),
            Fault::HidesRevocations => polled.revoked.clear(),
            Fault::ForgetsPauses => self.inner.resume(&polled.revoked),
            _ => {}
        }
        polled.records = spoil(self.fault, polled.records);
        Ok(polled)
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        match self.fault {
            Fault::CommitsTooEarly => {}
            Fault::ForgetsToCommit => self.stored.extend_from_slice(positions),
            _ => self.inner.store(positions),
        }
    }

    fn store_at_rebalance(&mut self, processed: Arc<Processed>) {
        self.inner.store_at_rebalance(processed);
    }

    async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError> {
        if self.fault == Fault::ForgetsToCommit {
            self.inner.store(&self.stored);
        }
        self.inner.commit(deadline).await
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        if self.fault != Fault::IgnoresPauses {
            self.inner.pause(partitions);
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.inner.resume(partitions);
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        if self.fault == Fault::IgnoresSeeks {
            return Ok(());
        }
        self.inner.seek(at, offset).await
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.inner.assignment()
    }

    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.inner.close(deadline).await
    }
}
