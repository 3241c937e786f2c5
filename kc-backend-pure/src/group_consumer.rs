//! Members of consumer groups.

mod membership;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, ClientSettings, GroupConsumer, GroupStart, LOOK_INTERVAL, Polled, Processed,
    Subscription, TopicPartition, end_of,
};
use kc_core::text::with_sources;
use krafka::CloseOptions;
use krafka::admin::AdminClient;
use krafka::consumer::{AutoOffsetReset, Consumer, TopicPartition as KrafkaPartition};
use tokio::time::Instant;

use crate::connection::connect;
use crate::error::bounded;
use crate::leaders::Leaders;
use crate::lookup::{self, LOOK_TIMEOUT};
use crate::record::{fetched, isolation, poll, to_krafka};
use membership::Membership;

/// The maximum time for leaving a group in order to join it again.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause between attempts to commit positions.
const COMMIT_BACKOFF: Duration = Duration::from_millis(100);

pub(crate) struct PureGroupConsumer {
    group: String,
    consumer: Arc<Consumer>,
    membership: Arc<Membership>,
    admin: AdminClient,
    leaders: Leaders,
    subscription: Subscription,
    /// The topics of the subscription that exist, each with the lowest number of partitions that was found since this
    /// consumer subscribed to the topic.
    subscribed: BTreeMap<String, i32>,
    next_look: Instant,
    metadata_max_age: Duration,
    next_count: Instant,
    next_anchor: Instant,
}

impl PureGroupConsumer {
    pub(crate) async fn join(
        settings: &ClientSettings,
        group: &str,
        subscription: &Subscription,
        start: GroupStart,
    ) -> Result<Self, BackendError> {
        let deadline = settings.request_timeout;
        let kafka = connect(settings, "group consumer", false).await?;
        let admin = kafka.admin();
        let existing =
            lookup::missing_from(&BTreeMap::new(), subscription, &admin, deadline).await?;
        // `Latest` means the end of each partition that exists now. Topics that appear later are always read from their
        // first record.
        let starts: HashMap<KrafkaPartition, i64> = match start {
            GroupStart::Earliest => HashMap::new(),
            GroupStart::Latest => {
                let partitions: Vec<KrafkaPartition> = existing
                    .iter()
                    .filter(|(topic, _)| subscription.may_start_at_end(topic))
                    .flat_map(|(topic, count)| {
                        (0..*count).map(move |partition| KrafkaPartition::new(topic, partition))
                    })
                    .collect();
                let have = lookup::watermarks(&admin, &partitions, deadline).await?;
                have.into_iter().map(|(at, have)| (at, have.high)).collect()
            }
        };
        let membership = Arc::new(Membership::new(group, kafka.admin(), starts.clone()));
        let building = kafka
            .consumer(group)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .initial_offsets(starts)
            .enable_auto_commit(false)
            .isolation_level(isolation(settings))
            .max_poll_records(settings.max_poll_records)
            .fetch_max_bytes(settings.fetch_max_bytes)
            .max_partition_fetch_bytes(settings.max_partition_fetch_bytes)
            .fetch_max_wait(settings.fetch_max_wait)
            .session_timeout(settings.session_timeout)
            .heartbeat_interval(settings.heartbeat_interval)
            .max_poll_interval(settings.max_poll_interval)
            .metrics_push(false)
            .rebalance_listener(Arc::clone(&membership))
            .build();
        let context = || format!("join group {group} at {}", settings.bootstrap_servers);
        let consumer = Arc::new(bounded(deadline, context, building).await?);
        membership.belongs_to(&consumer);
        let mut joined = Self {
            group: group.to_owned(),
            consumer,
            membership,
            admin,
            leaders: Leaders::new(kafka),
            subscription: subscription.clone(),
            subscribed: BTreeMap::new(),
            next_look: Instant::now() + LOOK_INTERVAL,
            metadata_max_age: settings.metadata_max_age,
            next_count: Instant::now() + settings.metadata_max_age,
            next_anchor: Instant::now(),
        };
        joined.subscribe(existing, deadline).await?;
        Ok(joined)
    }

    /// Adds `appeared`, the new topics of the subscription with their numbers of partitions, to the subscribed topics.
    async fn subscribe(
        &mut self,
        appeared: impl IntoIterator<Item = (String, i32)>,
        deadline: Duration,
    ) -> Result<(), BackendError> {
        let mut topics = self.subscribed.clone();
        topics.extend(appeared);
        if topics.len() == self.subscribed.len() {
            return Ok(());
        }
        let context = || format!("subscribe in group {}", self.group);
        bounded(deadline, context, self.consumer.subscribe(topics.keys())).await?;
        self.subscribed = topics;
        Ok(())
    }

    /// Joins the group again if partitions were added to a subscribed topic, because krafka gives a group new
    /// partitions only when a member joins.
    async fn follow_partitions(&mut self) -> Result<(), BackendError> {
        if self.subscribed.is_empty() || Instant::now() < self.next_count {
            return Ok(());
        }
        self.next_count = Instant::now() + self.metadata_max_age;
        let topics = self.subscribed.keys().map(String::as_str);
        let counts = lookup::existing(&self.admin, topics, LOOK_TIMEOUT).await?;
        let mut grown = false;
        for (topic, count) in &counts {
            if let Some(known) = self.subscribed.get_mut(topic) {
                grown |= *count > *known;
                // A topic that was deleted and created again may have fewer partitions.
                *known = (*known).min(*count);
            }
        }
        if grown {
            // krafka assigns the partitions that are in its metadata.
            lookup::all(&self.admin, LOOK_TIMEOUT).await?;
            self.join_again(counts).await?;
        }
        Ok(())
    }

    /// Leaves the group and joins it again. `counts` holds the numbers of partitions of subscribed topics.
    async fn join_again(&mut self, counts: HashMap<String, i32>) -> Result<(), BackendError> {
        tracing::info!(
            group = self.group,
            "partitions were added: the consumer joins its group again"
        );
        // If this call fails or is dropped, the next lookup of topics finds the topics, and subscribes to them.
        let mut topics = std::mem::take(&mut self.subscribed);
        topics.extend(counts);
        let context = || format!("leave group {} to join it again", self.group);
        if let Err(error) = bounded(LEAVE_TIMEOUT, context, self.consumer.unsubscribe()).await {
            tracing::debug!(error = %with_sources(&error), "group not left; the old membership ends when its session times out");
        }
        self.subscribe(topics, LOOK_TIMEOUT).await
    }

    /// Returns the time between two lookups of topics, or `None` if the subscription cannot gain further topics.
    fn look_interval(&self) -> Option<Duration> {
        let exists = |name: &str| self.subscribed.contains_key(name);
        self.subscription.look_interval(exists)
    }

    async fn look(&mut self) -> Result<(), BackendError> {
        let (admin, subscribed) = (&self.admin, &self.subscribed);
        let appeared =
            lookup::missing_from(subscribed, &self.subscription, admin, LOOK_TIMEOUT).await?;
        self.subscribe(appeared, LOOK_TIMEOUT).await
    }

    async fn commit_stored(&self, deadline: Duration) -> Result<(), BackendError> {
        let context = || format!("commit positions of group {}", self.group);
        self.membership.commit(deadline, context).await
    }

    /// Repeats the checks that failed when partitions were assigned.
    async fn anchor(&mut self) {
        if !self.membership.has_unanchored() || Instant::now() < self.next_anchor {
            return;
        }
        if let Err(error) = self.membership.anchor(LOOK_TIMEOUT).await {
            tracing::debug!(error = %with_sources(&error), "start positions of new partitions not checked; the check will be repeated");
        }
        self.next_anchor = Instant::now() + LOOK_INTERVAL;
    }

    async fn apply_pauses(&self) {
        let (pause, resume) = self.membership.pauses_to_apply();
        for at in pause {
            self.consumer.pause(&at.topic, &[at.partition]).await;
        }
        for at in resume {
            self.consumer.resume(&at.topic, &[at.partition]).await;
        }
    }
}

#[async_trait]
impl GroupConsumer for PureGroupConsumer {
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError> {
        self.apply_pauses().await;
        let context = format!("poll in group {}", self.group);
        self.anchor().await;
        let end = end_of(Instant::now(), wait);
        loop {
            if let Err(error) = self.follow_partitions().await {
                tracing::debug!(error = %with_sources(&error), "lookup of added partitions failed");
            }
            self.leaders.follow(&self.admin).await;
            let mut slice = end.saturating_duration_since(Instant::now());
            slice = slice.min(self.metadata_max_age);
            if let Some(interval) = self.look_interval() {
                if Instant::now() >= self.next_look {
                    if let Err(error) = self.look().await {
                        tracing::debug!(error = %with_sources(&error), "lookup of topics failed");
                    }
                    self.next_look = Instant::now() + interval;
                }
                slice = slice.min(interval);
            }
            let records = poll(&self.consumer, slice, &context).await?;
            let records = self.leaders.polled(records);
            let revoked = self.membership.take_revoked();
            if !records.is_empty() || !revoked.is_empty() || Instant::now() >= end {
                return Ok(Polled {
                    records: records.into_iter().map(fetched).collect(),
                    revoked,
                });
            }
        }
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        self.membership.store(positions);
    }

    fn store_at_rebalance(&mut self, processed: Arc<Processed>) {
        self.membership.store_at_rebalance(processed);
    }

    async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError> {
        self.commit_stored(deadline).await
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.membership.pause(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.membership.resume(partitions);
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        self.membership.seek(at, offset).await
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.membership.assignment()
    }

    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        let end = end_of(Instant::now(), deadline);
        let committed = self.commit_stored(deadline).await;
        let left = end.saturating_duration_since(Instant::now());
        let closing = self.consumer.close_with(CloseOptions::new().timeout(left));
        let context = || format!("leave group {}", self.group);
        let left_group = bounded(left, context, closing).await;
        if let Err(error) = left_group {
            tracing::debug!(error = %with_sources(&error), "group not left; the partitions are reassigned when the session times out");
        }
        committed
    }
}

impl fmt::Debug for PureGroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PureGroupConsumer")
            .field("group", &self.group)
            .field("subscription", &self.subscription)
            .field("subscribed", &self.subscribed)
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
    }
}

impl Drop for PureGroupConsumer {
    fn drop(&mut self) {
        if !self.consumer.is_closed() {
            tracing::warn!(
                group = self.group,
                "group consumer dropped without close: its partitions stay assigned until its session times out"
            );
        }
    }
}

/// Returns krafka's form of a partition and of the position to commit.
fn to_commit(
    (at, offset): (&TopicPartition, &i64),
) -> (KrafkaPartition, krafka::consumer::OffsetAndMetadata) {
    (
        to_krafka(at),
        krafka::consumer::OffsetAndMetadata::new(*offset),
    )
}
