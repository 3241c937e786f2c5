use std::collections::VecDeque;

use kc_core::backend::Record;

use crate::handles::Deserializer;

/// How many records of a partition wait for a key in memory; beyond, the partition is not fetched from.
pub const MAX_PARKED_RECORDS: usize = 4096;

/// How many bytes of a partition's records wait for a key in memory; beyond, the partition is not
/// fetched from.
pub const MAX_PARKED_BYTES: usize = 16 << 20;

/// How many bytes of a consumer's records wait for keys in memory; beyond, no partition in which a record waits is
/// fetched from.
pub const MAX_ALL_PARKED_BYTES: usize = 256 << 20;

/// The records of a partition that have been fetched and not delivered, in order.
#[derive(Debug, Default)]
pub(super) struct Parked {
    records: VecDeque<Record>,
    bytes: usize,
    /// How many of them, from the first, the exchange has been told to get keys for.
    foreseen: usize,
    /// Whether the first has been seen to wait for its key.
    waits: bool,
    paused: bool,
}

/// What is to be done about fetching a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Pause,
    Resume,
}

impl Parked {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// How many wait for keys: all, if the first does.
    pub(super) fn waiting(&self) -> usize {
        if self.waits { self.len() } else { 0 }
    }

    /// What they take of memory, nearly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn push(&mut self, record: Record) {
        self.bytes += size(&record);
        self.records.push_back(record);
    }

    pub(super) fn first(&self) -> Option<&Record> {
        self.records.front()
    }

    pub(super) fn drop_first(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= size(&record);
            self.foreseen = self.foreseen.saturating_sub(1);
            self.waits = false;
        }
    }

    /// Notes that the first waits for its key. Has the keys of all records asked for, not only that of the first, which
    /// holds the others back.
    pub(super) fn wait(&mut self, deserializer: &Deserializer, plain_keys: bool) {
        self.waits = true;
        for record in self.records.range(self.foreseen..) {
            let key = record.key.as_ref().filter(|_| !plain_keys);
            for part in [key, record.value.as_ref()].into_iter().flatten() {
                deserializer.foresee(&record.topic, part);
            }
        }
        self.foreseen = self.records.len();
    }

    /// Pauses a partition that has more waiting than fits, or anything if there is no room for more of all
    /// partitions; goes on with one that has not.
    pub(super) fn hold_back(&mut self, room: bool) -> Option<Change> {
        let full = self.records.len() >= MAX_PARKED_RECORDS || self.bytes >= MAX_PARKED_BYTES;
        let pause = full || (!room && !self.records.is_empty());
        let before = std::mem::replace(&mut self.paused, pause);
        match (before, pause) {
            (false, true) => Some(Change::Pause),
            (true, false) => Some(Change::Resume),
            _ => None,
        }
    }
}

fn size(record: &Record) -> usize {
    let len = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter();
    let headers =
        headers.map(|header| size_of_val(header) + header.name.len() + len(&header.value));
    size_of_val(record)
        + record.topic.len()
        + len(&record.key)
        + len(&record.value)
        + headers.sum::<usize>()
}
