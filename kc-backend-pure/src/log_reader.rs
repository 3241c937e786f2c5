//! Reads all partitions of topics, from known offsets on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, Committed, LOOK_INTERVAL, LogReader, LogStart,
    MAX_LOG_PARTITIONS, Record, Watermarks, end_of, finite,
};
use kc_core::text::with_sources;
use krafka::admin::{
    AdminClient, AlterConsumerGroupOffsetsOptions, ListConsumerGroupOffsetsOptions,
};
use krafka::consumer::{AutoOffsetReset, Consumer, TopicPartition};
use tokio::time::Instant;

use crate::connection::connect;
use crate::error::{bounded, failed};
use crate::leaders::Leaders;
use crate::lookup::{self, LOOK_TIMEOUT};
use crate::record::{fetched, isolation, poll};

pub(crate) struct PureLogReader {
    consumer: Consumer,
    admin: AdminClient,
    leaders: Leaders,
    group: Option<String>,
    request_timeout: Duration,
    metadata_max_age: Duration,
    /// The topics that are read, each with the number of partitions that are read.
    topics: BTreeMap<String, i32>,
    /// Assigned topics that did not exist at the last lookup.
    awaited: BTreeSet<String>,
    next_look: Instant,
    /// The time at which added partitions are looked for.
    next_count: Instant,
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
            leaders: Leaders::new(kafka),
            group: group.map(str::to_owned),
            request_timeout: settings.request_timeout,
            metadata_max_age: settings.metadata_max_age,
            topics: BTreeMap::new(),
            awaited: BTreeSet::new(),
            next_look: Instant::now(),
            next_count: Instant::now() + settings.metadata_max_age,
        })
    }

    /// Starts to read the partitions of a topic that exists, each from its offset in `offsets` on.
    async fn add(
        &mut self,
        topic: &str,
        offsets: Vec<(TopicPartition, i64)>,
        deadline: Duration,
    ) -> Result<(), BackendError> {
        let partitions = offsets.iter().map(|(at, _)| at.partition).collect();
        let context = || format!("read topic {topic}");
        let assigning = async {
            self.consumer.assign(topic, partitions).await?;
            let seeks = offsets.iter().map(|(at, offset)| (at, offset));
            self.consumer.seek_many(seeks).await
        };
        bounded(deadline, context, assigning).await?;
        self.awaited.remove(topic);
        let count = i32::try_from(offsets.len()).unwrap_or(MAX_LOG_PARTITIONS);
        self.topics.insert(topic.to_owned(), count);
        Ok(())
    }

    /// Looks up the awaited topics, and starts to read those that exist now.
    async fn look(&mut self) -> Result<(), BackendError> {
        let awaited = self.awaited.iter().map(String::as_str);
        let appeared = lookup::existing(&self.admin, awaited, LOOK_TIMEOUT).await?;
        for (topic, count) in appeared {
            self.extend(&topic, 0, count).await?;
            tracing::debug!(topic, "awaited topic appeared");
        }
        Ok(())
    }

    /// Looks for partitions that were added to the topics that are read.
    async fn count(&mut self) -> Result<(), BackendError> {
        let topics = self.topics.keys().map(String::as_str);
        let counts = lookup::existing(&self.admin, topics, LOOK_TIMEOUT).await?;
        for (topic, count) in counts {
            let known = self.topics.get(&topic).copied().unwrap_or_default();
            if count.min(MAX_LOG_PARTITIONS) > known {
                self.extend(&topic, known, count).await?;
                tracing::debug!(topic, count, "partitions were added");
            }
        }
        Ok(())
    }

    /// Starts to read the partitions `known..count` of a topic at their first available records. Continues to read the
    /// partitions before `known`.
    async fn extend(&mut self, topic: &str, known: i32, count: i32) -> Result<(), BackendError> {
        let count = count.min(MAX_LOG_PARTITIONS);
        let context = || format!("read topic {topic}");
        let assigning = async {
            self.consumer.assign(topic, (0..count).collect()).await?;
            for partition in known..count {
                self.consumer.seek_to_beginning(topic, partition).await?;
            }
            Ok(())
        };
        bounded(LOOK_TIMEOUT, context, assigning).await?;
        self.awaited.remove(topic);
        self.topics.insert(topic.to_owned(), count);
        Ok(())
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
            self.next_count = Instant::now() + self.metadata_max_age;
        }
    }

    /// Returns the partitions of the topics that exist.
    async fn partitions<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a str>,
        deadline: Duration,
    ) -> Result<Vec<TopicPartition>, BackendError> {
        let existing = lookup::existing(&self.admin, topics, deadline).await?;
        let partitions = existing.into_iter().flat_map(|(topic, count)| {
            let numbers = 0..count.min(MAX_LOG_PARTITIONS);
            numbers.map(move |number| TopicPartition::new(&topic, number))
        });
        Ok(partitions.collect())
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
        let partitions = self.partitions(names, deadline).await?;
        let have = lookup::watermarks(&self.admin, &partitions, deadline).await?;
        for (topic, start) in topics {
            let of_topic = have.iter().filter(|(at, _)| at.topic == *topic);
            // Resolve the start here, because krafka would replace an offset after the end of the log with the end.
            let offsets: Vec<_> = of_topic
                .map(|(at, have)| (at.clone(), have.resolve(start, at.partition)))
                .collect();
            if offsets.is_empty() {
                self.awaited.insert(topic.clone());
                continue;
            }
            self.add(topic, offsets, deadline).await?;
        }
        Ok(())
    }

    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        for topic in topics {
            self.awaited.remove(topic);
            self.topics.remove(topic);
            let context = || format!("stop reading topic {topic}");
            let nothing = self.consumer.assign(topic, Vec::new());
            bounded(self.request_timeout, context, nothing).await?;
        }
        Ok(())
    }

    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError> {
        let end = end_of(Instant::now(), wait);
        loop {
            self.look_around().await;
            self.leaders.follow(&self.admin).await;
            let mut slice = end.saturating_duration_since(Instant::now());
            if !self.awaited.is_empty() {
                slice = slice.min(LOOK_INTERVAL);
            }
            let records = poll(&self.consumer, slice, "poll topics").await?;
            let records = self.leaders.polled(records);
            if !records.is_empty() || Instant::now() >= end {
                return Ok(records.into_iter().map(fetched).collect());
            }
        }
    }

    async fn watermarks(
        &mut self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Watermarks>>, BackendError> {
        let partitions = self.partitions([topic], deadline).await?;
        if partitions.is_empty() {
            return Ok(None);
        }
        let found = lookup::watermarks(&self.admin, &partitions, deadline).await?;
        let in_order = partitions.iter().filter_map(|at| found.get(at).copied());
        Ok(Some(in_order.collect()))
    }

    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError> {
        let group = self.group()?;
        let context = || format!("read the committed positions of group {group}");
        let names = topics.iter().map(String::as_str);
        let partitions = self.partitions(names, deadline).await?;
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
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
                    partition: partition.partition,
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
            .map(|at| (TopicPartition::new(&at.topic, at.partition), at.offset));
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
