//! The state and the work of the thread of a log reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, LOOK_INTERVAL, LogStart, MAX_LOG_PARTITIONS,
    Record, TopicPartition, Watermarks,
};
use kc_core::text::with_sources;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::assignment;
use crate::config::{self, Role};
use crate::connection::await_broker;
use crate::error::failed;
use crate::events::{Events, serve};
use crate::lookup::{LOOK_TIMEOUT, Lookup, left};
use crate::record::{Fetched, bare_list, list};
use crate::worker::{SLICE, retire};

/// The group name of a log reader without a group. librdkafka requires a name, but no positions are committed under
/// this name.
const NO_GROUP: &str = "kc-none";

/// Records that were fetched and not returned yet.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Vec<Record>>);

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.with(|records| records.is_empty())
    }

    pub(super) fn take(&self) -> Vec<Record> {
        self.with(std::mem::take)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Record>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Reading {
    consumer: BaseConsumer<Events>,
    lookup: Lookup,
    outbox: Arc<Outbox>,
    max_poll_records: usize,
    /// The topics that are read, each with the partitions that are read.
    topics: BTreeMap<String, BTreeSet<TopicPartition>>,
    /// Assigned topics that did not exist at the last lookup.
    awaited: BTreeSet<String>,
    /// `true` if one of `topics` may have been deleted.
    doubtful: bool,
    next_look: Instant,
    metadata_max_age: Duration,
    /// The time at which added partitions are looked for.
    next_count: Instant,
}

impl Reading {
    pub(super) fn connect(
        settings: &ClientSettings,
        group: Option<&str>,
        outbox: Arc<Outbox>,
    ) -> Result<Self, BackendError> {
        let role = Role::Reader(group.unwrap_or(NO_GROUP));
        let events = Events::of_group(group.is_some());
        let consumer: BaseConsumer<Events> = config::client(settings, role, events)?;
        let serve = || serve(&consumer);
        let events = consumer.context();
        if let Err(error) = await_broker(settings, "log reader", consumer.client(), events, serve) {
            retire(consumer);
            return Err(error);
        }
        Ok(Self {
            consumer,
            lookup: Lookup::new(settings)?,
            outbox,
            max_poll_records: usize::try_from(settings.max_poll_records).unwrap_or(usize::MAX),
            topics: BTreeMap::new(),
            awaited: BTreeSet::new(),
            doubtful: false,
            next_look: Instant::now(),
            metadata_max_age: settings.metadata_max_age,
            next_count: Instant::now() + settings.metadata_max_age,
        })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Events> {
        &self.consumer
    }

    pub(super) fn explain(&self, error: BackendError) -> BackendError {
        self.consumer.context().explain(error)
    }

    pub(super) fn assign(
        &mut self,
        topics: Vec<(String, LogStart)>,
        end: Instant,
    ) -> Result<(), BackendError> {
        let names = topics.iter().map(|(topic, _)| topic);
        let partitions = self.partitions(names, end)?;
        let have = self.watermarks_of(&partitions, end)?;
        for (topic, start) in topics {
            self.remove(&topic)?;
            let of_topic = have.iter().filter(|(at, _)| at.topic == topic);
            let offsets = of_topic.map(|(at, have)| {
                let offset = have.resolve(&start, at.partition);
                (at.clone(), Offset::Offset(offset))
            });
            let offsets: Vec<_> = offsets.collect();
            if offsets.is_empty() {
                self.awaited.insert(topic);
            } else {
                self.drop_fetched(&topic);
                self.add(&topic, offsets)?;
            }
        }
        Ok(())
    }

    /// Returns the partitions of the topics that exist, with or without a leader: a partition that has none yet must
    /// not be forgotten.
    pub(super) fn partitions(
        &self,
        topics: impl IntoIterator<Item = impl AsRef<str>>,
        end: Instant,
    ) -> Result<BTreeSet<TopicPartition>, BackendError> {
        let most = usize::try_from(MAX_LOG_PARTITIONS).unwrap_or(usize::MAX);
        let mut partitions = BTreeSet::new();
        for topic in topics {
            let topic = topic.as_ref();
            let count = self.lookup.count(topic, end)?.unwrap_or_default();
            partitions.extend((0..).take(count.min(most)).map(|partition| TopicPartition {
                topic: topic.to_owned(),
                partition,
            }));
        }
        Ok(partitions)
    }

    pub(super) fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        for topic in topics {
            self.awaited.remove(topic);
            self.remove(topic)?;
            self.drop_fetched(topic);
        }
        Ok(())
    }

    pub(super) fn watermarks(
        &self,
        topic: &str,
        end: Instant,
    ) -> Result<Option<Vec<Watermarks>>, BackendError> {
        let partitions = self.partitions([topic], end)?;
        if partitions.is_empty() {
            return Ok(None);
        }
        let found = self.watermarks_of(&partitions, end)?;
        Ok(Some(found.into_values().collect()))
    }

    /// Returns the watermarks of all of the partitions. If one of them has no leader, returns a retriable error.
    fn watermarks_of(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        end: Instant,
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, BackendError> {
        let found = self.lookup.watermarks(partitions, end)?;
        match partitions.iter().find(|at| !found.contains_key(at)) {
            None => Ok(found),
            Some(at) => {
                let context = format!("list offsets of topic {}", at.topic);
                let source = format!("partition {} has no leader", at.partition);
                let error = BackendError::new(BackendErrorKind::Other, context);
                Err(error.with_source(source).retriable(true))
            }
        }
    }

    /// Fetches until there are records, or until `end`, or until the caller stops waiting.
    pub(super) fn poll(
        &mut self,
        end: Instant,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(), BackendError> {
        // A poll whose caller no longer waits must not delay other calls.
        while wanted() && self.outbox.is_empty() {
            self.look();
            self.count();
            self.lookup.tend();
            self.fetch(left(end).min(SLICE));
            if !self.outbox.is_empty() {
                break;
            }
            if let Some(error) = self.consumer.context().failure("poll topics") {
                return Err(error);
            }
            if Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }

    /// Waits for a record, and takes all further records that have arrived.
    fn fetch(&mut self, mut wait: Duration) {
        let mut records = Vec::new();
        let mut fetched = Fetched::default();
        while records.len() < self.max_poll_records {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => records.push(fetched.record(&message)),
                // The context has recorded the error.
                Some(Err(_)) => {}
                None => break,
            }
            wait = Duration::ZERO;
        }
        if !records.is_empty() {
            self.consumer.context().success();
            self.outbox.with(|outbox| outbox.append(&mut records));
        }
    }

    /// Starts to read awaited topics that exist now. Stops reading topics that no longer exist, and awaits them again.
    fn look(&mut self) {
        self.doubtful |= self.consumer.context().take_missing_topic();
        let idle = self.awaited.is_empty() && !self.doubtful;
        if idle || Instant::now() < self.next_look {
            return;
        }
        if let Err(error) = self.look_now() {
            tracing::debug!(error = %with_sources(&error), "lookup of topics failed");
        }
        self.next_look = Instant::now() + LOOK_INTERVAL;
    }

    fn look_now(&mut self) -> Result<(), BackendError> {
        let end = Instant::now() + LOOK_TIMEOUT;
        if self.doubtful {
            let there = self.lookup.existing(self.topics.keys(), end)?;
            let read: BTreeSet<String> = self.topics.keys().cloned().collect();
            for topic in read.difference(&there).cloned() {
                tracing::warn!(topic, "topic does not exist any more");
                self.remove(&topic)?;
                self.awaited.insert(topic);
            }
            self.doubtful = false;
        }
        for topic in self.lookup.existing(&self.awaited, end)? {
            tracing::debug!(topic, "awaited topic appeared");
            self.drop_fetched(&topic);
            self.add_missing(&topic, end)?;
        }
        Ok(())
    }

    /// Looks for partitions that were added to the topics that are read, if it is time for that.
    fn count(&mut self) {
        if Instant::now() < self.next_count {
            return;
        }
        let end = Instant::now() + LOOK_TIMEOUT;
        let topics: Vec<String> = self.topics.keys().cloned().collect();
        for topic in topics {
            if let Err(error) = self.add_missing(&topic, end) {
                tracing::debug!(error = %with_sources(&error), "lookup of added partitions failed");
            }
        }
        self.next_count = Instant::now() + self.metadata_max_age;
    }

    /// Starts to read those partitions of a topic that are not read yet, from their first records on.
    fn add_missing(&mut self, topic: &str, end: Instant) -> Result<(), BackendError> {
        let mut missing = self.partitions([topic], end)?;
        if let Some(read) = self.topics.get(topic) {
            missing.retain(|at| !read.contains(at));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let offsets = missing.into_iter().map(|at| (at, Offset::Beginning));
        self.add(topic, offsets.collect())
    }

    /// Starts to read partitions of a topic that exists, each from its offset in `offsets` on.
    fn add(
        &mut self,
        topic: &str,
        offsets: Vec<(TopicPartition, Offset)>,
    ) -> Result<(), BackendError> {
        // Request the leader now, without waiting for the answer: librdkafka would look for it only once a second.
        let _ = self.consumer.fetch_metadata(Some(topic), Duration::ZERO);
        let partitions = list(offsets.iter().map(|(at, offset)| (at, *offset)))?;
        assignment::add(&self.consumer, &partitions)
            .map_err(|error| failed(format!("read topic {topic}"), error))?;
        self.awaited.remove(topic);
        let read = self.topics.entry(topic.to_owned()).or_default();
        read.extend(offsets.into_iter().map(|(at, _)| at));
        Ok(())
    }

    fn drop_fetched(&self, topic: &str) {
        self.outbox
            .with(|records| records.retain(|record| *record.topic != *topic));
    }

    fn remove(&mut self, topic: &str) -> Result<(), BackendError> {
        if let Some(read) = self.topics.remove(topic) {
            assignment::remove(&self.consumer, &bare_list(&read)?)
                .map_err(|error| failed(format!("stop reading topic {topic}"), error))?;
        }
        Ok(())
    }
}
