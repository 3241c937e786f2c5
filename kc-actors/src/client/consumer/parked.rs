use std::collections::VecDeque;

use kc_core::backend::Record;

use crate::handles::Opener;

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
    /// Each with its size.
    records: VecDeque<(Record, usize)>,
    bytes: usize,
    /// How many of them, from the first, the exchange has been told to get keys for.
    foreseen: usize,
    /// Whether the first has been seen to wait for its key.
    waits: bool,
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

    /// Returns whether no more is to be fetched.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= MAX_PARKED_RECORDS || self.bytes >= MAX_PARKED_BYTES
    }

    pub(super) fn push(&mut self, record: Record) {
        let bytes = size(&record);
        self.bytes += bytes;
        self.records.push_back((record, bytes));
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Record> {
        self.records.front_mut().map(|(record, _)| record)
    }

    /// Takes the first record out, with its size as it was fetched.
    pub(super) fn take_first(&mut self) -> Option<(Record, usize)> {
        let (record, bytes) = self.records.pop_front()?;
        self.bytes -= bytes;
        self.foreseen = self.foreseen.saturating_sub(1);
        self.waits = false;
        Some((record, bytes))
    }

    /// Notes that the first waits for its key. Has the keys of all records asked for, not only that of the first, which
    /// holds the others back.
    pub(super) fn wait(&mut self, opener: &Opener, plain_keys: bool) {
        self.waits = true;
        for (record, _) in self.records.range(self.foreseen..) {
            let key = record.key.as_ref().filter(|_| !plain_keys);
            for part in [key, record.value.as_ref()].into_iter().flatten() {
                opener.foresee(&record.topic, part);
            }
        }
        self.foreseen = self.records.len();
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
