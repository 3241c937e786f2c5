//! A consumer group of one member, which reads all partitions and keeps its positions under the group's name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka::error::Result as KafkaResult;
use kc_core::backend::{
    BackendError, ClientSettings, GroupConsumer, GroupStart, LOOK_INTERVAL, Polled, Subscription,
    TopicPartition, end_of, not_assigned,
};
use kc_core::text::with_sources;
use tokio::time::Instant;

use super::client::Client;
use super::fetcher::Fetcher;
use super::worker::Worker;
use super::{LOOK_TIMEOUT, offset_store};

#[derive(Debug)]
pub(super) struct LegacyGroupConsumer {
    group: String,
    subscription: Subscription,
    fetcher: Fetcher,
    /// Positions that are stored and not committed.
    stored: BTreeMap<TopicPartition, i64>,
    /// Partitions that have disappeared since the last poll.
    gone: Vec<TopicPartition>,
    next_look: Instant,
}

impl LegacyGroupConsumer {
    pub(super) async fn join(
        settings: &Arc<ClientSettings>,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Self, BackendError> {
        let worker = Worker::connect(settings, "group consumer").await?;
        let mut joined = Self {
            group: group.to_owned(),
            subscription: topics.clone(),
            fetcher: Fetcher::new(worker),
            stored: BTreeMap::new(),
            gone: Vec::new(),
            next_look: Instant::now(),
        };
        joined.look(start, settings.request_timeout).await?;
        Ok(joined)
    }

    /// Adds partitions that have appeared, and removes partitions that have disappeared. New partitions without a
    /// committed position start at `start`.
    async fn look(&mut self, start: GroupStart, deadline: Duration) -> Result<(), BackendError> {
        let what = format!("look for the topics of group {}", self.group);
        let end = end_of(std::time::Instant::now(), deadline);
        let known: BTreeSet<TopicPartition> = self.fetcher.partitions().cloned().collect();
        let (group, subscription) = (self.group.clone(), self.subscription.clone());
        let looking = move |client: &mut Client| -> KafkaResult<_> {
            let wanted = wanted(client, &subscription)?;
            let new: Vec<TopicPartition> = wanted.difference(&known).cloned().collect();
            let start = |topic: &str| match subscription.may_start_at_end(topic) {
                true => start,
                false => GroupStart::Earliest,
            };
            let starts = starts(client, &group, &new, start, end)?;
            let gone: Vec<TopicPartition> = known.difference(&wanted).cloned().collect();
            Ok((starts, gone))
        };
        let (starts, gone) = self.fetcher.worker().call(deadline, what, looking).await?;
        for (at, offset) in starts {
            self.fetcher.read(at, offset);
        }
        for at in gone {
            self.fetcher.forget(&at);
            self.stored.remove(&at);
            self.gone.push(at);
        }
        self.next_look = Instant::now() + self.look_interval();
        Ok(())
    }

    fn look_interval(&self) -> Duration {
        let there: BTreeSet<&str> = self
            .fetcher
            .partitions()
            .map(|at| at.topic.as_str())
            .collect();
        let interval = self.subscription.look_interval(|name| there.contains(name));
        // Partitions may be added to topics that exist.
        interval.unwrap_or(self.fetcher.worker().settings().metadata_max_age)
    }
}

/// Returns all partitions of the subscribed topics that exist.
fn wanted(client: &mut Client, to: &Subscription) -> KafkaResult<BTreeSet<TopicPartition>> {
    let topics = client.topics()?.into_iter();
    let topics = topics.filter(|(topic, _)| to.wants(topic));
    Ok(topics
        .flat_map(|(topic, count)| {
            (0..count).map(move |partition| TopicPartition {
                topic: topic.clone(),
                partition,
            })
        })
        .collect())
}

/// Returns the offsets at which partitions start. A partition starts at its committed position, if the log contains
/// this position. If the group has no committed position, the partition starts where `start` says for its topic. If the log does not
/// contain the committed position, the partition starts at the beginning of the log. In the last two cases the start is
/// committed, so that later members begin at the same position even if they request another start.
fn starts(
    client: &mut Client,
    group: &str,
    partitions: &[TopicPartition],
    start: impl Fn(&str) -> GroupStart,
    end: std::time::Instant,
) -> KafkaResult<Vec<(TopicPartition, i64)>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let have = client.watermarks(partitions, end)?;
    let committed = offset_store::committed(client, group, partitions, end)?;
    let (mut starts, mut new) = (Vec::new(), Vec::new());
    for (at, have) in have {
        let committed = committed.get(&at).copied();
        let end = (start(&at.topic) == GroupStart::Latest).then_some(have.high);
        let offset = have.resolve_for_group(committed, end);
        if committed == Some(offset) {
            starts.push((at, offset));
            continue;
        }
        if let Some(lost) = committed {
            tracing::warn!(
                topic = at.topic,
                partition = at.partition,
                offset = lost,
                "committed position is not in the log; the partition is read from its beginning"
            );
        }
        new.push((at, offset));
    }
    offset_store::commit(client, group, &new, end)?;
    starts.extend(new);
    Ok(starts)
}

#[async_trait]
impl GroupConsumer for LegacyGroupConsumer {
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError> {
        let end = end_of(Instant::now(), wait);
        loop {
            if Instant::now() >= self.next_look
                && let Err(error) = self.look(GroupStart::Earliest, LOOK_TIMEOUT).await
            {
                tracing::debug!(error = %with_sources(&error), "lookup of topics failed");
                self.next_look = Instant::now() + LOOK_INTERVAL;
            }
            let slice = end.min(self.next_look);
            let slice = slice.saturating_duration_since(Instant::now());
            let records = self.fetcher.poll(slice).await?;
            if !records.is_empty() || !self.gone.is_empty() || Instant::now() >= end {
                return Ok(Polled {
                    records,
                    revoked: std::mem::take(&mut self.gone),
                });
            }
        }
    }

    fn store(&mut self, positions: &[(TopicPartition, i64)]) {
        let mine: BTreeSet<&TopicPartition> = self.fetcher.partitions().collect();
        let mine = positions.iter().filter(|(at, _)| mine.contains(at));
        self.stored.extend(mine.cloned());
    }

    async fn commit(&mut self, deadline: Duration) -> Result<(), BackendError> {
        let what = format!("commit positions of group {}", self.group);
        let group = self.group.clone();
        let stored: Vec<(TopicPartition, i64)> = self.stored.clone().into_iter().collect();
        let positions = stored.clone();
        let end = end_of(std::time::Instant::now(), deadline);
        let committing =
            move |client: &mut Client| offset_store::commit(client, &group, &positions, end);
        self.fetcher
            .worker()
            .call(deadline, what, committing)
            .await?;
        // Positions stay stored until they are committed, even if this call is dropped.
        for (at, offset) in stored {
            if self.stored.get(&at) == Some(&offset) {
                self.stored.remove(&at);
            }
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.fetcher.pause(at);
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.fetcher.resume(at);
        }
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        if !self.fetcher.partitions().any(|mine| mine == at) {
            return Err(not_assigned(at));
        }
        self.fetcher.read(at.clone(), offset);
        self.stored.remove(at);
        Ok(())
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.fetcher.partitions().cloned().collect()
    }

    async fn close(mut self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.commit(deadline).await
    }
}
