//! Reads all partitions of topics, from known offsets on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka::error::Result as KafkaResult;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, Committed, LOOK_INTERVAL, LogReader, LogStart,
    MAX_LOG_PARTITIONS, Record, TopicPartition, Watermarks, end_of,
};
use kc_core::text::with_sources;
use tokio::time::Instant;

use super::client::Client;
use super::fetcher::Fetcher;
use super::worker::Worker;
use super::{LOOK_TIMEOUT, offset_store};

#[derive(Debug)]
pub(super) struct LegacyLogReader {
    fetcher: Fetcher,
    group: Option<String>,
    /// The topics that are read, each with the number of partitions that are read.
    topics: BTreeMap<String, i32>,
    /// Assigned topics that did not exist at the last lookup.
    awaited: BTreeSet<String>,
    next_look: Instant,
    /// The time at which added partitions are looked for.
    next_count: Instant,
}

impl LegacyLogReader {
    pub(super) async fn connect(
        settings: &Arc<ClientSettings>,
        group: Option<&str>,
    ) -> Result<Self, BackendError> {
        let worker = Worker::connect(settings, "log reader").await?;
        Ok(Self {
            fetcher: Fetcher::new(worker),
            group: group.map(str::to_owned),
            topics: BTreeMap::new(),
            awaited: BTreeSet::new(),
            next_look: Instant::now(),
            next_count: Instant::now() + settings.metadata_max_age,
        })
    }

    /// Returns the partitions of the topics that exist, each with its first offset and its end offset.
    async fn existing(
        &self,
        topics: Vec<String>,
        deadline: Duration,
    ) -> Result<Vec<(TopicPartition, Watermarks)>, BackendError> {
        let what = format!("look for topics {}", topics.join(", "));
        let end = end_of(std::time::Instant::now(), deadline);
        let looking = move |client: &mut Client| -> KafkaResult<_> {
            let listed = client.topics()?;
            let there = partitions_of(topics, &listed);
            let have = client.watermarks(&there, end)?;
            Ok(have.into_iter().collect())
        };
        self.fetcher.worker().call(deadline, what, looking).await
    }

    /// Looks up the awaited topics, and starts to read those that exist now.
    async fn look(&mut self) -> Result<(), BackendError> {
        let awaited = self.awaited.iter().cloned().collect();
        for (at, have) in self.existing(awaited, LOOK_TIMEOUT).await? {
            tracing::debug!(
                topic = at.topic,
                partition = at.partition,
                "awaited topic appeared"
            );
            self.read(at, have.low);
        }
        Ok(())
    }

    /// Looks for partitions that were added to the topics that are read.
    async fn count(&mut self) -> Result<(), BackendError> {
        let topics = self.topics.keys().cloned().collect();
        let known = self.topics.clone();
        for (at, have) in self.existing(topics, LOOK_TIMEOUT).await? {
            if at.partition >= known.get(&at.topic).copied().unwrap_or_default() {
                tracing::debug!(
                    topic = at.topic,
                    partition = at.partition,
                    "partition was added"
                );
                self.read(at, have.low);
            }
        }
        Ok(())
    }

    /// Reads a partition of a topic that exists, from this offset on.
    fn read(&mut self, at: TopicPartition, offset: i64) {
        self.awaited.remove(&at.topic);
        let count = self.topics.entry(at.topic.clone()).or_default();
        *count = (*count).max(at.partition + 1);
        self.fetcher.read(at, offset);
    }

    /// Looks up topics and partitions if it is time for that.
    async fn look_around(&mut self) {
        let now = Instant::now();
        if !self.awaited.is_empty() && now >= self.next_look {
            if let Err(error) = self.look().await {
                tracing::debug!(error = %with_sources(&error), "lookup of awaited topics failed");
            }
            self.next_look = Instant::now() + LOOK_INTERVAL;
        }
        if now >= self.next_count {
            if let Err(error) = self.count().await {
                tracing::debug!(error = %with_sources(&error), "lookup of added partitions failed");
            }
            let max_age = self.fetcher.worker().settings().metadata_max_age;
            self.next_count = Instant::now() + max_age;
        }
    }

    fn group(&self) -> Result<String, BackendError> {
        self.group.clone().ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::Unsupported,
                "read or commit positions without a consumer group",
            )
        })
    }
}

#[async_trait]
impl LogReader for LegacyLogReader {
    async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError> {
        let deadline = self.fetcher.worker().settings().request_timeout;
        let names = topics.iter().map(|(topic, _)| topic.clone()).collect();
        let existing = self.existing(names, deadline).await?;
        for (topic, start) in topics {
            self.awaited.insert(topic.clone());
            for (at, have) in existing.iter().filter(|(at, _)| at.topic == *topic) {
                self.read(at.clone(), have.resolve(start, at.partition));
            }
        }
        Ok(())
    }

    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        for topic in topics {
            self.awaited.remove(topic);
            for partition in 0..self.topics.remove(topic).unwrap_or_default() {
                self.fetcher.forget(&TopicPartition {
                    topic: topic.clone(),
                    partition,
                });
            }
        }
        Ok(())
    }

    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError> {
        let end = end_of(Instant::now(), wait);
        loop {
            self.look_around().await;
            let mut slice = end.saturating_duration_since(Instant::now());
            if !self.awaited.is_empty() {
                slice = slice.min(LOOK_INTERVAL);
            }
            let records = self.fetcher.poll(slice).await?;
            if !records.is_empty() || Instant::now() >= end {
                return Ok(records);
            }
        }
    }

    async fn watermarks(
        &mut self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Watermarks>>, BackendError> {
        let found = self.existing(vec![topic.to_owned()], deadline).await?;
        let in_order: BTreeMap<TopicPartition, Watermarks> = found.into_iter().collect();
        Ok((!in_order.is_empty()).then(|| in_order.into_values().collect()))
    }

    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError> {
        let group = self.group()?;
        let what = format!("read the committed positions of group {group}");
        let topics = topics.to_vec();
        let end = end_of(std::time::Instant::now(), deadline);
        let asking = move |client: &mut Client| {
            let partitions = partitions_of(topics, &client.topics()?);
            offset_store::committed(client, &group, &partitions, end)
        };
        let found = self.fetcher.worker().call(deadline, what, asking).await?;
        let committed = found.into_iter();
        let committed = committed.map(|(at, offset)| Committed::new(at, offset));
        Ok(committed.collect())
    }

    async fn commit(
        &mut self,
        positions: &[Committed],
        deadline: Duration,
    ) -> Result<(), BackendError> {
        let group = self.group()?;
        let what = format!("commit positions of group {group}");
        let positions: Vec<(TopicPartition, i64)> = positions
            .iter()
            .map(|position| (position.at(), position.offset))
            .collect();
        let end = end_of(std::time::Instant::now(), deadline);
        let committing =
            move |client: &mut Client| offset_store::commit(client, &group, &positions, end);
        self.fetcher.worker().call(deadline, what, committing).await
    }

    async fn close(self: Box<Self>) {}
}

/// Returns the partitions of those of `topics` that are in `listed`, which contains the number of partitions of each
/// topic.
fn partitions_of(topics: Vec<String>, listed: &BTreeMap<String, i32>) -> Vec<TopicPartition> {
    let mut partitions = Vec::new();
    for topic in topics {
        let count = listed.get(&topic).copied().unwrap_or_default();
        partitions.extend(
            (0..count.min(MAX_LOG_PARTITIONS)).map(|partition| TopicPartition {
                topic: topic.clone(),
                partition,
            }),
        );
    }
    partitions
}
