//! The topics of a simulated broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kc_core::types::{KeyId, ManagementTopic, RootTopic, SideTopic};

/// The maximum number of records in a poll.
pub(super) const MAX_POLLED: usize = 512;

/// A control topic. Management topics come first, as they do when a node hands over what it has read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Management(ManagementTopic),
    Side(RootTopic, SideTopic),
    /// The data topic of a root topic. Its records are kept elsewhere; consumers only learn of new ones.
    Data(RootTopic),
}

/// A record of a control topic.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) value: Arc<[u8]>,
}

/// A sealed record.
#[derive(Clone, Debug)]
pub(super) struct DataRecord {
    pub(super) value: Arc<[u8]>,
    /// The key under which an honest producer sealed it; `None` if it opens nowhere.
    pub(super) sealed: Option<Sealed>,
}

/// The key that an honest producer sealed with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) id: KeyId,
    pub(super) secret: [u8; 32],
    /// The identity that owns the key.
    pub(super) owner: usize,
    pub(super) at: Duration,
}

/// All topics.
#[derive(Default)]
pub(super) struct Network {
    /// The records of each topic; compacted ones are `None`.
    logs: BTreeMap<Topic, Vec<Option<Record>>>,
    data: BTreeMap<RootTopic, Vec<DataRecord>>,
    /// The committed position of each identity's group.
    committed: BTreeMap<(usize, Topic), usize>,
}

impl Network {
    pub(super) fn append(&mut self, topic: &Topic, key: &[u8], value: &Arc<[u8]>) {
        let log = self.logs.entry(topic.clone()).or_default();
        log.push(Some(Record {
            key: key.to_vec(),
            value: Arc::clone(value),
        }));
    }

    pub(super) fn append_data(&mut self, root_topic: &RootTopic, record: DataRecord) {
        self.data
            .entry(root_topic.clone())
            .or_default()
            .push(record);
    }

    /// Returns the data of a root topic.
    pub(super) fn data(&self, root_topic: &RootTopic) -> &[DataRecord] {
        self.data
            .get(root_topic)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    pub(super) fn len(&self, topic: &Topic) -> usize {
        self.logs.get(topic).map_or(0, Vec::len)
    }

    /// Returns at most `most` records of a topic from an offset on, and the offset after them.
    pub(super) fn read(&self, topic: &Topic, from: usize, most: usize) -> (Vec<Record>, usize) {
        let Some(log) = self.logs.get(topic) else {
            return (Vec::new(), from);
        };
        let end = log.len().min(from + most);
        let records = log.get(from..end).unwrap_or_default();
        (records.iter().flatten().cloned().collect(), end.max(from))
    }

    /// Returns a record of a topic; `None` if it was compacted.
    pub(super) fn record(&self, topic: &Topic, offset: usize) -> Option<&Record> {
        self.logs.get(topic)?.get(offset)?.as_ref()
    }

    /// Keeps only the last record of each key.
    pub(super) fn compact(&mut self, topic: &Topic) {
        let mut seen = std::collections::BTreeSet::new();
        for record in self.logs.get_mut(topic).into_iter().flatten().rev() {
            if record
                .as_ref()
                .is_some_and(|record| !seen.insert(record.key.clone()))
            {
                *record = None;
            }
        }
    }

    pub(super) fn topics(&self) -> Vec<Topic> {
        self.logs.keys().cloned().collect()
    }

    pub(super) fn commit(&mut self, identity: usize, topic: &Topic, offset: usize) {
        self.committed.insert((identity, topic.clone()), offset);
    }

    pub(super) fn committed(&self, identity: usize, topic: &Topic) -> usize {
        let position = self.committed.get(&(identity, topic.clone()));
        position.copied().unwrap_or_default()
    }
}
