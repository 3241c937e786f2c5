//! The offsets that a group committed.

use std::collections::BTreeMap;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// -1 if unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// Committed offsets by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets(BTreeMap<String, BTreeMap<i32, Committed>>);

impl Offsets {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.0.get(topic)?.get(&partition)
    }

    pub(crate) fn insert(&mut self, topic: &str, partition: i32, committed: Committed) {
        let partitions = self.0.entry(topic.to_owned()).or_default();
        partitions.insert(partition, committed);
    }

    pub(crate) fn remove_topic(&mut self, topic: &str) {
        self.0.remove(topic);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Topics and partitions with a committed offset.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&str, Vec<i32>)> {
        let topics = self.0.iter();
        topics.map(|(topic, partitions)| (topic.as_str(), partitions.keys().copied().collect()))
    }
}
