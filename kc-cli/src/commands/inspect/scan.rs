//! The records of a topic, by partition and by the data key that they need.

use std::collections::{BTreeMap, BTreeSet};

use kc::core::backend::Record;
use kc::core::message::Envelope;
use kc::core::types::KeyId;

/// The largest number of different data keys that are distinguished. A broker can invent any number of ids.
const MAX_KEYS: usize = 100_000;
/// The largest size of all samples together, in bytes.
const MAX_SAMPLES: usize = 64 << 20;

/// What a consumer needs to open a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// A data key.
    Key(KeyId),
    /// One of the data keys beyond the first [`MAX_KEYS`].
    OtherKey,
    /// Nothing can open the record, because it is not sealed.
    NotSealed,
    /// Nothing: the record has neither a sealed key nor a value.
    Nothing,
}

/// Records of one partition that need the same.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) first: Place,
    pub(super) last: Place,
}

/// The offset of a record, and its time in milliseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: i64,
    pub(super) timestamp: Option<i64>,
}

/// A sealed component of a record. A node can try to open it.
#[derive(Clone, Debug)]
pub(in crate::commands) enum Sample {
    Key(Vec<u8>),
    Value(Vec<u8>),
}

#[derive(Debug, Default)]
pub(in crate::commands) struct Scan {
    pub(super) partitions: BTreeMap<i32, BTreeMap<Need, Span>>,
    /// A sample for each data key, as long as there is room.
    pub(in crate::commands) samples: BTreeMap<KeyId, Sample>,
    keys: BTreeSet<KeyId>,
    sampled: usize,
}

impl Scan {
    /// Counts a record.
    pub(in crate::commands) fn add(&mut self, record: &Record) {
        let (mut need, sealed) = need_of(record);
        if let Need::Key(id) = need {
            if self.keys.len() < MAX_KEYS || self.keys.contains(&id) {
                if self.keys.insert(id) {
                    self.sample(id, sealed);
                }
            } else {
                need = Need::OtherKey;
            }
        }
        let place = Place {
            offset: record.offset,
            timestamp: record.timestamp,
        };
        let spans = self.partitions.entry(record.partition).or_default();
        let span = spans.entry(need).or_insert(Span {
            records: 0,
            bytes: 0,
            first: place,
            last: place,
        });
        span.records += 1;
        span.bytes += size(record) as u64;
        span.last = place;
    }

    fn sample(&mut self, id: KeyId, sealed: Option<Sample>) {
        let Some(sealed) = sealed else { return };
        let (Sample::Key(bytes) | Sample::Value(bytes)) = &sealed;
        if self.sampled + bytes.len() <= MAX_SAMPLES {
            self.sampled += bytes.len();
            self.samples.insert(id, sealed);
        }
    }

    pub(in crate::commands) fn keys(&self) -> &BTreeSet<KeyId> {
        &self.keys
    }
}

/// Returns the size of the Kafka key and value of a record, in bytes.
pub(super) fn size(record: &Record) -> usize {
    let parts = [record.key.as_deref(), record.value.as_deref()];
    parts.into_iter().flatten().map(<[u8]>::len).sum()
}

/// Returns what a consumer needs to open a record, and the part of the record that is sealed. The value decides; if there
/// is none, the Kafka key decides.
fn need_of(record: &Record) -> (Need, Option<Sample>) {
    if let Some(value) = record.value.as_deref().filter(|value| !value.is_empty()) {
        return match Envelope::parse(value) {
            Ok(envelope) => (
                Need::Key(envelope.key_id),
                Some(Sample::Value(value.to_vec())),
            ),
            Err(_) => (Need::NotSealed, None),
        };
    }
    let key = record.key.as_deref().filter(|key| !key.is_empty());
    match key.map(|key| (Envelope::parse(key), key)) {
        Some((Ok(envelope), key)) => (Need::Key(envelope.key_id), Some(Sample::Key(key.to_vec()))),
        // The producer may leave Kafka keys unsealed.
        Some((Err(_), _)) | None => (Need::Nothing, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
        Record {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp: Some(offset * 1000),
            key: key.map(|key| key.to_vec().into()),
            value: value.map(|value| value.to_vec().into()),
            headers: Vec::new(),
        }
    }

    fn sealed(id: u8) -> Vec<u8> {
        let mut sealed = vec![0x01, 0x93, id, 0xc4, 16];
        sealed.extend([0; 16]);
        sealed.extend([0xc4, 16]);
        sealed.extend([0; 16]);
        sealed
    }

    #[test]
    fn records_are_grouped_by_what_they_need() {
        let mut scan = Scan::default();
        for (offset, key, value) in [
            (0, Some(sealed(1)), Some(sealed(1))),
            (1, Some(sealed(2)), None),
            (2, Some(b"plain".to_vec()), Some(sealed(1))),
            (3, None, Some(b"plain".to_vec())),
            (4, Some(b"plain".to_vec()), None),
            (5, None, Some(Vec::new())),
        ] {
            scan.add(&record(offset, key.as_deref(), value.as_deref()));
        }
        let spans = &scan.partitions[&0];
        let found: Vec<_> = spans
            .iter()
            .map(|(need, span)| (*need, span.records, span.first.offset, span.last.offset))
            .collect();
        assert_eq!(
            found,
            [
                (Need::Key(KeyId::Short(1)), 2, 0, 2),
                (Need::Key(KeyId::Short(2)), 1, 1, 1),
                (Need::NotSealed, 1, 3, 3),
                (Need::Nothing, 2, 4, 5),
            ]
        );
        assert!(matches!(scan.samples[&KeyId::Short(1)], Sample::Value(_)));
        assert!(matches!(scan.samples[&KeyId::Short(2)], Sample::Key(_)));
        assert_eq!(
            spans[&Need::Key(KeyId::Short(1))].last.timestamp,
            Some(2000)
        );
    }

    #[test]
    fn invented_keys_are_counted_together() {
        let mut scan = Scan::default();
        for id in 0..MAX_KEYS as u64 + 10 {
            let mut value = vec![0x01, 0x93, 0xcf];
            value.extend(id.to_be_bytes());
            value.extend([0xc4, 16]);
            value.extend([0; 16]);
            value.extend([0xc4, 0]);
            scan.add(&record(id as i64, None, Some(&value)));
        }
        assert_eq!(scan.keys().len(), MAX_KEYS);
        assert_eq!(scan.partitions[&0][&Need::OtherKey].records, 10);
    }
}
