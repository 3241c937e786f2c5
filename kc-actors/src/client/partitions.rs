//! The number of partitions of topics, and the choice of a partition by the Kafka key.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The number of partitions of each topic, as the broker last reported it.
#[derive(Debug)]
pub(super) struct PartitionCounts {
    counts: Mutex<HashMap<String, Count>>,
    /// Maximum age of a number.
    max_age: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    partitions: usize,
    since: Instant,
    believed: bool,
}

/// The result of looking up the stored number of partitions of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Count(usize),
    /// The number is old or doubtful. The caller must ask the broker again.
    OldCount(usize),
}

impl PartitionCounts {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            counts: Mutex::default(),
            max_age,
        }
    }

    /// Returns the stored number for a topic. If the number is old or doubtful, the first caller gets
    /// [`Known::OldCount`] and must ask the broker. Later callers get the same number as [`Known::Count`], so that only
    /// one caller asks.
    pub(super) fn get(&self, topic: &str) -> Known {
        let mut counts = self.lock();
        let Some(count) = counts.get_mut(topic) else {
            return Known::Nothing;
        };
        if count.believed && count.since.elapsed() < self.max_age {
            return Known::Count(count.partitions);
        }
        count.believed = true;
        count.since = Instant::now();
        Known::OldCount(count.partitions)
    }

    pub(super) fn set(&self, topic: &str, partitions: usize) {
        let count = Count {
            partitions,
            since: Instant::now(),
            believed: true,
        };
        self.lock().insert(topic.to_owned(), count);
    }

    pub(super) fn forget(&self, topic: &str) {
        self.lock().remove(topic);
    }

    /// Marks the number of a topic as doubtful: the next caller of [`get`](Self::get) must ask the broker.
    pub(super) fn doubt(&self, topic: &str) {
        if let Some(count) = self.lock().get_mut(topic) {
            count.believed = false;
        }
    }

    /// Marks the numbers of all topics as doubtful.
    pub(super) fn doubt_all(&self) {
        for count in self.lock().values_mut() {
            count.believed = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn age(&self, topic: &str) {
        self.lock().get_mut(topic).unwrap().since -= self.max_age;
    }
}

/// Returns the partition for a plaintext Kafka key as Kafka's own clients choose it: murmur2 of the key, modulo the
/// number of partitions. Returns `None` if there are no partitions. The plaintext key is hashed, because sealing equal
/// keys gives different bytes.
pub(super) fn partition_of(key: &[u8], partitions: usize) -> Option<i32> {
    let positive = murmur2(key) & 0x7fff_ffff;
    let partition = usize::try_from(positive).ok()?.checked_rem(partitions)?;
    i32::try_from(partition).ok()
}

/// Computes the 32-bit MurmurHash2 with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        let mixed = (mixed ^ (mixed >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    if !rest.is_empty() {
        let last = rest
            .iter()
            .rev()
            .fold(0, |last, byte| (last << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_apache_kafka() {
        // From Kafka's own UtilsTest.
        for (key, hash) in [
            (&b"21"[..], -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key).cast_signed(), hash);
        }
    }

    #[test]
    fn without_partitions_there_is_none() {
        assert_eq!(partition_of(b"key", 0), None);
        assert_eq!(partition_of(b"key", 1), Some(0));
    }
}
