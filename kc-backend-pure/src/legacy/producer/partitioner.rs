//! Chooses the partition of a record.

use std::collections::{BTreeMap, BTreeSet};

use kc_core::backend::{OutgoingRecord, TopicPartition};

/// The topics and partitions that exist.
#[derive(Default)]
pub(super) struct Places {
    /// The topics, with the numbers of their partitions.
    pub(super) topics: BTreeMap<String, i32>,
    /// A counter that selects the partition of a record without a partition and without a key.
    next: i32,
}

impl Places {
    /// Returns the partition that the record names, or otherwise the partition of its key. Records with neither get
    /// the partitions in turn. Returns `None` if the topic or the partition does not exist.
    pub(super) fn place(&mut self, record: &OutgoingRecord) -> Option<TopicPartition> {
        let count = *self.topics.get(&record.topic)?;
        let partition = match (&record.partition, &record.key) {
            (Some(partition), _) => *partition,
            (None, Some(key)) => partition_of_key(key, count),
            (None, None) => {
                self.next = self.next.wrapping_add(1) & i32::MAX;
                self.next % count
            }
        };
        (0..count).contains(&partition).then(|| TopicPartition {
            topic: record.topic.clone(),
            partition,
        })
    }

    /// Returns those of `topics` that do not exist.
    pub(super) fn missing<'a>(&self, topics: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
        let missing = topics.filter(|topic| !self.topics.contains_key(*topic));
        let missing: BTreeSet<&String> = missing.collect();
        missing.into_iter().collect()
    }

    pub(super) fn exists(&self, at: &TopicPartition) -> bool {
        let count = self.topics.get(&at.topic);
        count.is_some_and(|count| at.partition < *count)
    }
}

/// Returns the partition of a key by the hash that Kafka's own clients use (MurmurHash2, 32 bits), so that all clients
/// send the same key to the same partition.
fn partition_of_key(key: &[u8], partitions: i32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    hash.cast_signed() % partitions
}

fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev();
        hash ^= tail.fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafka() {
        // From UtilsTest.testMurmur2 of Apache Kafka.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_record_goes_where_it_says_or_its_key_or_its_turn() {
        let mut places = Places::default();
        places.topics.insert("t".to_owned(), 3);
        let mut place = |partition, key: Option<&str>| {
            let record = OutgoingRecord {
                topic: "t".to_owned(),
                partition,
                key: key.map(|key| key.as_bytes().to_vec()),
                ..OutgoingRecord::default()
            };
            places.place(&record).map(|at| at.partition)
        };
        assert_eq!(place(Some(2), Some("abc")), Some(2));
        assert_eq!(place(Some(3), None), None);
        assert_eq!(place(Some(-1), None), None);
        assert_eq!(place(None, Some("abc")), Some(479_470_107 % 3));
        let turns: BTreeSet<_> = (0..3).map(|_| place(None, None)).collect();
        assert_eq!(turns.len(), 3);
        let elsewhere = OutgoingRecord::default();
        assert_eq!(places.place(&elsewhere), None);
    }

    #[test]
    fn partitions_are_in_range() {
        for key in 0..1_000_u32 {
            let partition = partition_of_key(&key.to_be_bytes(), 7);
            assert!((0..7).contains(&partition));
        }
        assert_eq!(partition_of_key(b"", 1), 0);
    }
}
