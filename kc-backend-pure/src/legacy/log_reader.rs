//! Reads partition 0 of topics, from known offsets on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka::error::Result as KafkaResult;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, Committed, LOOK_INTERVAL, LogReader, LogStart,
    Record, TopicPartition, Watermarks, end_of,
};
use kc_core::text::with_sources;
use tokio::time::Instant;

use super::client::Client;
use super::fetcher::Fetcher;
use super::worker::Worker;
use super::{LOOK_TIMEOUT, offset_store};

/// The only partition that is read (protocol §2).
const PARTITION: i32 = 0;

#[derive(Debug)]
pub(super) struct LegacyLogReader {
    fetcher: Fetcher,
    group: Option<String>,
    /// Assigned topics that did not exist at the last lookup.
    awaited: BTreeSet<String>,
    next_look: Instant,
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
            awaited: BTreeSet::new(),
            next_look: Instant::now(),
        })
    }

    /// Returns partition 0 of each topic in `topics` that exists, with its first offset and its end offset.
    async fn existing(
        &self,
        topics: Vec<String>,
        deadline: Duration,
    ) -> Result<Vec<(TopicPartition, Watermarks)>, BackendError> {
        let what = format!("look for topics {}", topics.join(", "));
        let end = end_of(std::time::Instant::now(), deadline);
        let looking = move |client: &mut Client| -> KafkaResult<_> {
            let listed = client.topics()?;
            let mut there: Vec<TopicPartition> = topics.into_iter().map(partition).collect();
            there.retain(|at| listed.contains_key(&at.topic));
            let have = client.watermarks(&there, end)?;
            Ok(have.into_iter().collect())
        };
        self.fetcher.worker().call(deadline, what, looking).await
    }

    /// Looks up the awaited topics, and starts to read those that exist now.
    async fn look(&mut self) -> Result<(), BackendError> {
        let awaited = self.awaited.iter().cloned().collect();
        for (at, have) in self.existing(awaited, LOOK_TIMEOUT).await? {
            tracing::debug!(topic = at.topic, "awaited topic appeared");
            self.awaited.remove(&at.topic);
            self.fetcher.read(at, have.low);
        }
        Ok(())
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
            let Some((at, have)) = existing.iter().find(|(at, _)| at.topic == *topic) else {
                self.awaited.insert(topic.clone());
                continue;
            };
            let offset = have.resolve(*start);
            self.awaited.remove(topic);
            self.fetcher.read(at.clone(), offset);
        }
        Ok(())
    }

    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        for topic in topics {
            self.awaited.remove(topic);
            self.fetcher.forget(&partition(topic.clone()));
        }
        Ok(())
    }

    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError> {
        let end = end_of(Instant::now(), wait);
        loop {
            if !self.awaited.is_empty() && Instant::now() >= self.next_look {
                if let Err(error) = self.look().await {
                    tracing::debug!(error = %with_sources(&error), "lookup of awaited topics failed");
                }
                self.next_look = Instant::now() + LOOK_INTERVAL;
            }
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
    ) -> Result<Option<Watermarks>, BackendError> {
        let found = self.existing(vec![topic.to_owned()], deadline).await?;
        Ok(found.into_iter().next().map(|(_, have)| have))
    }

    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError> {
        let group = self.group()?;
        let what = format!("read the committed positions of group {group}");
        let partitions: Vec<TopicPartition> = topics.iter().cloned().map(partition).collect();
        let end = end_of(std::time::Instant::now(), deadline);
        let asking =
            move |client: &mut Client| offset_store::committed(client, &group, &partitions, end);
        let found = self.fetcher.worker().call(deadline, what, asking).await?;
        let committed = found.into_iter().map(|(at, offset)| Committed {
            topic: at.topic,
            offset,
        });
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
            .map(|at| (partition(at.topic.clone()), at.offset))
            .collect();
        let end = end_of(std::time::Instant::now(), deadline);
        let committing =
            move |client: &mut Client| offset_store::commit(client, &group, &positions, end);
        self.fetcher.worker().call(deadline, what, committing).await
    }

    async fn close(self: Box<Self>) {}
}

fn partition(topic: String) -> TopicPartition {
    TopicPartition {
        topic,
        partition: PARTITION,
    }
}
