//! Members of consumer groups.

mod member;
mod membership;
mod rebalancing;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, ClientSettings, GroupConsumer, GroupStart, Polled, Processed, Subscription,
    TopicPartition, end_of,
};

use crate::worker::Worker;
use member::Member;
use membership::Membership;

/// The maximum time for continuing at another offset.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct RdkafkaGroupConsumer {
    group: String,
    worker: Worker<Member>,
    membership: Arc<Membership>,
    max_poll_records: usize,
}

impl RdkafkaGroupConsumer {
    pub(crate) async fn join(
        settings: Arc<ClientSettings>,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Self, BackendError> {
        let membership = Arc::new(Membership::default());
        let max_poll_records = usize::try_from(settings.max_poll_records).unwrap_or(usize::MAX);
        let worker = Worker::start("kc group consumer", {
            let (group, topics) = (group.to_owned(), topics.clone());
            let membership = Arc::clone(&membership);
            move || Member::join(&settings, group, topics, start, membership)
        });
        Ok(Self {
            group: group.to_owned(),
            worker: worker.await?,
            membership,
            max_poll_records,
        })
    }
}

#[async_trait]
impl GroupConsumer for RdkafkaGroupConsumer {
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError> {
        // An earlier poll that was dropped may have fetched records.
        if !self.membership.has_news() {
            let context = format!("poll in group {}", self.group);
            let end = end_of(Instant::now(), wait);
            let poll = self.worker.poll(wait, &context, move |member, wanted| {
                member.poll(end, wanted)
            });
            poll.await?;
        }
        Ok(self.membership.take(self.max_poll_records))
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        self.membership.store(positions);
    }

    fn store_at_rebalance(&mut self, processed: Arc<Processed>) {
        self.membership.store_at_rebalance(processed);
    }

    async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError> {
        let context = format!("commit positions of group {}", self.group);
        let end = end_of(Instant::now(), deadline);
        let job = move |member: &mut Member| member.commit(end);
        self.worker.call(deadline, &context, job).await?
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.membership.pause(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.membership.resume(partitions);
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        let context = format!("continue at another offset in group {}", self.group);
        let at = at.clone();
        let job = move |member: &mut Member| member.seek(&at, offset);
        self.worker.call(SEEK_TIMEOUT, &context, job).await?
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.membership.assignment()
    }

    async fn close(mut self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        let end = end_of(Instant::now(), deadline);
        let committed = self.commit(deadline).await;
        if committed.is_err() {
            self.membership.give_up_stored();
        }
        // The thread leaves the group when it ends.
        let left = end.saturating_duration_since(Instant::now());
        self.worker.end(left).await;
        committed
    }
}

impl fmt::Debug for RdkafkaGroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaGroupConsumer")
            .field("group", &self.group)
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
    }
}
