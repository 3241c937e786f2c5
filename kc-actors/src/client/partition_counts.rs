use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a number of partitions is believed: as long as Kafka's own clients do.
const MAX_AGE: Duration = Duration::from_mins(5);

/// How many partitions topics have, as far as is known.
#[derive(Debug, Default)]
pub(super) struct PartitionCounts(Mutex<HashMap<String, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    partitions: usize,
    since: Instant,
    believed: bool,
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Count(usize),
    /// It was so, and whoever is told must look again.
    OldCount(usize),
}

impl PartitionCounts {
    /// Of those who ask for an old one only the first is told that it is old.
    pub(super) fn get(&self, topic: &str) -> Known {
        let mut counts = self.lock();
        let Some(count) = counts.get_mut(topic) else {
            return Known::Nothing;
        };
        if count.believed && count.since.elapsed() < MAX_AGE {
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

    /// Has it looked up again before it is used again.
    pub(super) fn doubt(&self, topic: &str) {
        if let Some(count) = self.lock().get_mut(topic) {
            count.believed = false;
        }
    }

    /// As [`doubt`](Self::doubt), for all topics.
    pub(super) fn doubt_all(&self) {
        for count in self.lock().values_mut() {
            count.believed = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn age(&self, topic: &str) {
        self.lock().get_mut(topic).unwrap().since -= MAX_AGE;
    }
}
