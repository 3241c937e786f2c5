use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kc_core::backend::{OutgoingRecord, Record};
use kc_core::message::Foreign;

use super::record::ConsumerRecord;
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
    HandOut(Option<OpenFailure>),
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
        self.len() >= max || self.bytes >= MAX_BATCH_BYTES
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

/// Decides what happens next to the first record of a partition or line, after the attempt to open it.
pub(super) fn next_step(
    opened: Result<(), OpenFailure>,
    policies: &Undecryptable,
    waited_for: impl Fn(Reason) -> Duration,
) -> Next<'_> {
    let Err(failure) = opened else {
        return Next::Take(Treatment::HandOut(None));
    };
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
        Policy::Deliver => Next::Take(Treatment::HandOut(Some(failure))),
        Policy::DeadLetter(topic) => Next::Take(Treatment::Send(topic, reason, failure)),
        Policy::Park => Next::Take(Treatment::Park(reason, failure)),
    }
}

/// Opens a record in place. If opening fails, the record is unchanged.
pub(super) fn open(
    opener: &Opener,
    plain_keys: bool,
    record: &mut Record,
) -> Result<(), OpenFailure> {
    let open_key = |key: &[u8]| opener.try_open_key(&record.topic, key);
    let open_value = |value: &[u8]| opener.try_open_value(&record.topic, value);
    let key = if plain_keys {
        Ok(None)
    } else {
        plaintext(record.key.as_deref().map(open_key))
    };
    match (key, plaintext(record.value.as_deref().map(open_value))) {
        (Ok(key), Ok(value)) => {
            if !plain_keys {
                record.key = key.map(Bytes::from);
            }
            record.value = value.map(Bytes::from);
            Ok(())
        }
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    }
}

/// Returns the plaintext of a key or value. An empty key or value becomes `None`, because the Python peer sends an
/// empty key or value in place of null.
fn plaintext(opened: Option<Result<Vec<u8>, OpenFailure>>) -> Result<Option<Vec<u8>>, OpenFailure> {
    match opened {
        None | Some(Err(OpenFailure::Foreign(Foreign::Empty))) => Ok(None),
        Some(opened) => opened.map(Some),
    }
}
