//! The state and the work of the thread of a log reader.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, ClientSettings, LOOK_INTERVAL, LogStart, Record, Watermarks};
use kc_core::text::with_sources;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::first;
use crate::config::{self, Role};
use crate::connection::await_broker;
use crate::error::failed;
use crate::events::{Events, serve};
use crate::lookup::{LOOK_TIMEOUT, Lookup, left};
use crate::record::{bare_list, fetched, list};
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
    /// The topics that are read.
    topics: BTreeSet<String>,
    /// Assigned topics that did not exist at the last lookup.
    awaited: BTreeSet<String>,
    /// `true` if one of `topics` may have been deleted.
    doubtful: bool,
    next_look: Instant,
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
            topics: BTreeSet::new(),
            awaited: BTreeSet::new(),
            doubtful: false,
            next_look: Instant::now(),
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
        let existing = self.lookup.existing(names, end)?;
        let partitions = existing.iter().map(|topic| first(topic)).collect();
        let have = self.lookup.watermarks(&partitions, end)?;
        for (topic, start) in topics {
            let Some(have) = have.get(&first(&topic)) else {
                self.remove(&topic)?;
                self.awaited.insert(topic);
                continue;
            };
            let offset = have.resolve(start);
            self.add(topic, Offset::Offset(offset))?;
        }
        Ok(())
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
    ) -> Result<Option<Watermarks>, BackendError> {
        if self.lookup.count(topic, end)?.is_none() {
            return Ok(None);
        }
        let found = self.lookup.watermarks(&[first(topic)].into(), end)?;
        Ok(found.into_values().next())
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
        while records.len() < self.max_poll_records {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => records.push(fetched(&message)),
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
            let there = self.lookup.existing(&self.topics, end)?;
            let gone: Vec<String> = self.topics.difference(&there).cloned().collect();
            for topic in gone {
                tracing::warn!(topic, "topic does not exist any more");
                self.remove(&topic)?;
                self.awaited.insert(topic);
            }
            self.doubtful = false;
        }
        for topic in self.lookup.existing(&self.awaited, end)? {
            tracing::debug!(topic, "awaited topic appeared");
            self.add(topic, Offset::Beginning)?;
        }
        Ok(())
    }

    /// Reads a topic that exists, from this offset on.
    fn add(&mut self, topic: String, offset: Offset) -> Result<(), BackendError> {
        self.remove(&topic)?;
        self.drop_fetched(&topic);
        // Request the leader now, without waiting for the answer: librdkafka would look for it only once a second.
        let _ = self.consumer.fetch_metadata(Some(&topic), Duration::ZERO);
        self.consumer
            .incremental_assign(&list([(&first(&topic), offset)])?)
            .map_err(|error| failed(format!("read topic {topic}"), error))?;
        self.awaited.remove(&topic);
        self.topics.insert(topic);
        Ok(())
    }

    fn drop_fetched(&self, topic: &str) {
        self.outbox
            .with(|records| records.retain(|record| record.topic != topic));
    }

    fn remove(&mut self, topic: &str) -> Result<(), BackendError> {
        if self.topics.remove(topic) {
            self.consumer
                .incremental_unassign(&bare_list([&first(topic)])?)
                .map_err(|error| failed(format!("stop reading topic {topic}"), error))?;
        }
        Ok(())
    }
}
