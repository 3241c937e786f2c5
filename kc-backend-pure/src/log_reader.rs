//! Reads partition 0 of topics, from known offsets on.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, Committed, LOOK_INTERVAL, LogReader, LogStart,
    Record, Watermarks, end_of, finite,
};
use kc_core::text::with_sources;
use krafka::admin::{
    AdminClient, AlterConsumerGroupOffsetsOptions, ListConsumerGroupOffsetsOptions,
};
use krafka::consumer::{AutoOffsetReset, Consumer, TopicPartition};
use tokio::time::Instant;

use crate::connection::connect;
use crate::error::{bounded, failed};
use crate::lookup::{self, LOOK_TIMEOUT};
use crate::record::{fetched, isolation, poll};

/// The only partition that is read (protocol §2).
const PARTITION: i32 = 0;

pub(crate) struct PureLogReader {
    consumer: Consumer,
    admin: AdminClient,
    group: Option<String>,
    request_timeout: Duration,
    /// Assigned topics that did not exist at the last lookup.
    awaited: BTreeSet<String>,
    next_look: Instant,
}

impl PureLogReader {
    pub(crate) async fn connect(
        settings: &ClientSettings,
        group: Option<&str>,
    ) -> Result<Self, BackendError> {
        let kafka = connect(settings, "log reader", false).await?;
        let building = kafka
            .consumer_without_group()
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .enable_auto_commit(false)
            .isolation_level(isolation(settings))
            .max_poll_records(settings.max_poll_records)
            .fetch_max_bytes(settings.fetch_max_bytes)
            .max_partition_fetch_bytes(settings.max_partition_fetch_bytes)
            .fetch_max_wait(settings.fetch_max_wait)
            .metrics_push(false)
            .build();
        let context = || format!("connect log reader to {}", settings.bootstrap_servers);
        Ok(Self {
            consumer: bounded(settings.request_timeout, context, building).await?,
            admin: kafka.admin(),
            group: group.map(str::to_owned),
            request_timeout: settings.request_timeout,
            awaited: BTreeSet::new(),
            next_look: Instant::now(),
        })
    }

    /// Starts to read a topic that exists.
    async fn add(&self, topic: &str, start: LogStart, have: Watermarks) -> krafka::Result<()> {
        self.consumer.assign(topic, vec![PARTITION]).await?;
        // Resolve the start here, because krafka would replace an offset after the end of the log with the end.
        let offset = have.resolve(start);
        self.consumer.seek(topic, PARTITION, offset).await
    }

    /// Looks up the awaited topics, and starts to read those that exist now.
    async fn look(&mut self) -> Result<(), BackendError> {
        let awaited = self.awaited.iter().map(String::as_str);
        let appeared = lookup::existing(&self.admin, awaited, LOOK_TIMEOUT).await?;
        for topic in appeared.into_keys() {
            let context = || format!("read topic {topic}");
            let assigning = async {
                self.consumer.assign(&topic, vec![PARTITION]).await?;
                self.consumer.seek_to_beginning(&topic, PARTITION).await
            };
            bounded(LOOK_TIMEOUT, context, assigning).await?;
            tracing::debug!(topic, "awaited topic appeared");
            self.awaited.remove(&topic);
        }
        Ok(())
    }

    fn group(&self) -> Result<&str, BackendError> {
        self.group.as_deref().ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::Unsupported,
                "read or commit positions without a consumer group",
            )
        })
    }
}

#[async_trait]
impl LogReader for PureLogReader {
    async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError> {
        let deadline = self.request_timeout;
        let names = topics.iter().map(|(topic, _)| topic.as_str());
        let existing = lookup::existing(&self.admin, names, deadline).await?;
        let partitions: Vec<TopicPartition> = existing
            .keys()
            .map(|topic| TopicPartition::new(topic, PARTITION))
            .collect();
        let have = lookup::watermarks(&self.admin, &partitions, deadline).await?;
        for (topic, start) in topics {
            let Some(have) = have.get(&TopicPartition::new(topic, PARTITION)) else {
                self.awaited.insert(topic.clone());
                continue;
            };
            let context = || format!("read topic {topic}");
            bounded(deadline, context, self.add(topic, *start, *have)).await?;
        }
        Ok(())
    }

    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        for topic in topics {
            self.awaited.remove(topic);
            let context = || format!("stop reading topic {topic}");
            let nothing = self.consumer.assign(topic, Vec::new());
            bounded(self.request_timeout, context, nothing).await?;
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
            let records = poll(&self.consumer, slice, "poll topics").await?;
            if !records.is_empty() || Instant::now() >= end {
                return Ok(records.into_iter().map(fetched).collect());
            }
        }
    }

    async fn watermarks(
        &mut self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Watermarks>, BackendError> {
        if lookup::existing(&self.admin, [topic], deadline)
            .await?
            .is_empty()
        {
            return Ok(None);
        }
        let partition = TopicPartition::new(topic, PARTITION);
        let mut found =
            lookup::watermarks(&self.admin, std::slice::from_ref(&partition), deadline).await?;
        Ok(found.remove(&partition))
    }

    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError> {
        let group = self.group()?;
        let context = || format!("read the committed positions of group {group}");
        let partitions = topics
            .iter()
            .map(|topic| TopicPartition::new(topic, PARTITION))
            .collect();
        let options = ListConsumerGroupOffsetsOptions::default()
            .timeout(finite(deadline))
            .partitions(partitions);
        let call = self.admin.list_consumer_group_offsets(group, options);
        let mut committed = Vec::new();
        for (partition, position) in bounded(deadline, context, call).await? {
            let position = position.map_err(|error| failed(context(), error))?;
            if let Some(offset) = position.offset {
                committed.push(Committed {
                    topic: partition.topic,
                    offset,
                });
            }
        }
        Ok(committed)
    }

    async fn commit(
        &mut self,
        positions: &[Committed],
        deadline: Duration,
    ) -> Result<(), BackendError> {
        let group = self.group()?;
        let context = || format!("commit positions of group {group}");
        let offsets = positions
            .iter()
            .map(|at| (TopicPartition::new(&at.topic, PARTITION), at.offset));
        let options = AlterConsumerGroupOffsetsOptions::default().timeout(finite(deadline));
        let call = self
            .admin
            .alter_consumer_group_offsets(group, offsets, options);
        for result in bounded(deadline, context, call).await?.into_values() {
            result.map_err(|error| failed(context(), error))?;
        }
        Ok(())
    }

    async fn close(self: Box<Self>) {
        if let Err(error) = self.consumer.close().await {
            tracing::debug!(error = %with_sources(&error), "log reader did not close");
        }
    }
}

impl fmt::Debug for PureLogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PureLogReader")
            .field("group", &self.group)
            .field("awaited", &self.awaited)
            .finish_non_exhaustive()
    }
}
