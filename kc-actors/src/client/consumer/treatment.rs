use std::collections::BTreeMap;
use std::iter;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kc_core::backend::{OutgoingRecord, Record};
use kc_core::message::{Foreign, Unopened};
use kc_core::ratchet::Component;

use super::record::ConsumerRecord;
use super::threads::Threads;
use super::undecryptable::{Policy, Reason, Undecryptable};
use crate::handles::{OpenFailure, Opener};

/// Size in bytes at which a batch ends. A batch may exceed this size by one record.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// The next step for the first record of a partition.
pub(super) enum Next<'p> {
    /// Wait for the data key. After the patience, with the failure that holds the partition.
    Wait(Reason, Option<OpenFailure>),
    Stop(OpenFailure),
    Take(Treatment<'p>),
}

/// The treatment of a record that is taken from its partition.
pub(super) enum Treatment<'p> {
    HandOut(OpenFailure),
    LeaveOut(Reason),
    Send(&'p str, Reason, OpenFailure),
    Park(Reason, OpenFailure),
}

/// Records for the application, and their size in memory in bytes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<ConsumerRecord>,
    pub(super) bytes: usize,
    /// Records that are not for the application: each must be sent to a topic, and acknowledged then.
    pub(super) letters: Vec<Letter>,
    /// The number of records that were left out or are among `letters`, by topic and reason.
    pub(super) left_out: BTreeMap<(String, Reason), u64>,
    /// Set if more records may be ready to be opened.
    pub(super) more: bool,
}

/// A record that must be sent to a topic for dead letters or parked records.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) record: OutgoingRecord,
    /// The record as it was handed out, without its content.
    pub(super) source: ConsumerRecord,
    /// True if the topic is one for parked records: it is created if it does not exist, and the records of a partition
    /// stay together.
    pub(super) parks: bool,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.letters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts a record that the application does not get.
    pub(super) fn count_left_out(&mut self, topic: &str, reason: Reason) {
        let count = self.left_out.entry((topic.to_owned(), reason));
        *count.or_default() += 1;
    }

    pub(super) fn is_full(&self, max: usize) -> bool {
        let (records, bytes) = self.room(max);
        records == 0 || bytes == 0
    }

    /// Returns the number of records after which the batch is full, and the number of their bytes.
    pub(super) fn room(&self, max: usize) -> (usize, usize) {
        (
            max.saturating_sub(self.len()),
            MAX_BATCH_BYTES.saturating_sub(self.bytes),
        )
    }
}

impl Letter {
    pub(super) fn new(record: OutgoingRecord, source: ConsumerRecord) -> Self {
        Self {
            record,
            source,
            parks: false,
        }
    }

    pub(super) fn parked(record: OutgoingRecord, source: ConsumerRecord) -> Self {
        Self {
            parks: true,
            ..Self::new(record, source)
        }
    }
}

/// Decides what happens next to the first record of a partition or line, which could not be opened.
pub(super) fn next_step(
    failure: OpenFailure,
    policies: &Undecryptable,
    waited_for: impl Fn(Reason) -> Duration,
) -> Next<'_> {
    let Some(reason) = Reason::of(&failure) else {
        return Next::Stop(failure);
    };
    if failure.may_still_open() && waited_for(reason) < policies.patience() {
        return Next::Wait(reason, None);
    }
    match policies.policy(reason) {
        Policy::Hold => Next::Wait(reason, Some(failure)),
        Policy::Fail => Next::Stop(failure),
        Policy::Skip => Next::Take(Treatment::LeaveOut(reason)),
        Policy::Deliver => Next::Take(Treatment::HandOut(failure)),
        Policy::DeadLetter(topic) => Next::Take(Treatment::Send(topic, reason, failure)),
        Policy::Park => Next::Take(Treatment::Park(reason, failure)),
    }
}

/// The contents of the first records of a partition.
pub(super) struct Front {
    /// The contents of records that were opened, up to the first record that was not.
    pub(super) opened: Vec<Content>,
    /// The reason why the record behind them was not opened.
    pub(super) failure: Option<OpenFailure>,
}

impl Front {
    /// Returns the contents of records that nothing opens.
    pub(super) fn unopened<'r>(records: impl Iterator<Item = &'r Record>) -> Self {
        let content = |record: &Record| Content {
            key: record.key.clone(),
            value: record.value.clone(),
        };
        Self {
            opened: records.map(content).collect(),
            failure: None,
        }
    }
}

/// The plaintexts of a record.
pub(super) struct Content {
    key: Option<Bytes>,
    value: Option<Bytes>,
}

impl Content {
    /// Puts the plaintexts into the record.
    pub(super) fn put(self, record: &mut Record) {
        record.key = self.key;
        record.value = self.value;
    }
}

/// Opens records that follow each other in a partition, up to the first that cannot be opened. Requests only the data key of
/// that one: the first record of each partition has precedence. Leaves the records unchanged.
pub(super) fn open_front<'r>(
    opener: &Opener,
    threads: &Threads,
    plain_keys: bool,
    topic: &str,
    records: impl Iterator<Item = &'r Record> + Clone + Send,
) -> Front {
    let mut front = Front {
        opened: Vec::new(),
        failure: None,
    };
    let keys = records.clone().filter(|_| !plain_keys);
    let keys = keys.filter_map(|record| record.key.as_deref());
    let values = records.clone().filter_map(|record| record.value.as_deref());
    let mut keys = open_parts(opener, threads, topic, Component::Key, keys);
    let mut values = open_parts(opener, threads, topic, Component::Value, values);
    for record in records {
        let key = match &record.key {
            key if plain_keys => Ok(key.clone()),
            None => Ok(None),
            Some(_) => next_plaintext(opener, topic, &mut keys),
        };
        let value = match &record.value {
            None => Ok(None),
            Some(_) => next_plaintext(opener, topic, &mut values),
        };
        match (key, value) {
            (Ok(key), Ok(value)) => front.opened.push(Content { key, value }),
            (Err(failure), _) | (_, Err(failure)) => {
                front.failure = Some(failure);
                break;
            }
        }
    }
    front
}

/// Opens Kafka keys or values on several threads. Returns the results in order.
fn open_parts<'s>(
    opener: &Opener,
    threads: &Threads,
    topic: &str,
    component: Component,
    sealed: impl Iterator<Item = &'s [u8]> + Clone + Send,
) -> Result<impl Iterator<Item = Result<Bytes, Unopened>>, OpenFailure> {
    let parts = threads.share(sealed, |part| opener.open_batch(topic, component, part));
    let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(parts.into_iter().flatten())
}

/// Opens a record in place. If opening fails, the record is unchanged.
pub(super) fn open(
    opener: &Opener,
    plain_keys: bool,
    record: &mut Record,
) -> Result<(), OpenFailure> {
    let topic = Arc::clone(&record.topic);
    let own = Threads::new(NonZero::new(1));
    let one = iter::once(&*record);
    let Front { opened, failure } = open_front(opener, &own, plain_keys, &topic, one);
    for content in opened {
        content.put(record);
    }
    failure.map_or(Ok(()), Err)
}

/// Returns the next plaintext of a batch. An empty key or value becomes `None`, because the Python peer sends an empty key or
/// value in place of null.
fn next_plaintext(
    opener: &Opener,
    topic: &str,
    batch: &mut Result<impl Iterator<Item = Result<Bytes, Unopened>>, OpenFailure>,
) -> Result<Option<Bytes>, OpenFailure> {
    match batch.as_mut().map_err(|closed| closed.clone())?.next() {
        None | Some(Err(Unopened::Foreign(Foreign::Empty))) => Ok(None),
        Some(opened) => opened.map(Some).map_err(|why| opener.failure(topic, why)),
    }
}
