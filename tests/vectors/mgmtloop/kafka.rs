//! The Kafka clients of a node: what is called on them, in order, and where the consumer reads.

use std::time::Duration;

use kc_core::types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::values::Hex;

/// The management topic of new chains.
pub(super) const CHAINS: &str = "chains";

/// The management topics, in the order in which they are read.
const MANAGEMENT: [&str; 3] = [CHAINS, "allowlist", "denylist"];

/// The offset that means the beginning of a log.
const BEGINNING: i64 = -2;

/// Where a side topic without a position is read from: its beginning, too.
const FIRST: i64 = 0;

/// The offsets that mean the beginning.
pub(super) const BEGINNINGS: [i64; 2] = [BEGINNING, FIRST];

/// `MGMT_POLL_INTERVAL`, in milliseconds.
const POLL_INTERVAL: u32 = 500;

/// `MGMT_POLL_RECORDS`
const POLL_RECORDS: u32 = 8;

/// `MGMT_SUBSCRIBE_INTERVAL`
const SUBSCRIBE_INTERVAL: Duration = Duration::from_secs(300);

/// A call.
#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Effect {
    Poll {
        timeout_ms: u32,
        max_records: u32,
        returned: usize,
    },
    Send {
        topic: String,
        key: Option<Hex>,
        value: Option<Hex>,
    },
    Flush {},
    /// Topic, partition and offset of each.
    AssignAndSeek {
        items: Vec<(String, i32, i64)>,
    },
    SeekToBeginning {},
    Subscribe {
        topics: Vec<String>,
        pattern: Option<String>,
    },
    Commit {},
}

pub(super) struct Kafka {
    effects: Vec<Effect>,
    /// The topics, each with the offset that comes next in its partition 0.
    positions: Vec<(String, i64)>,
    /// Topics were added that the consumer does not know of.
    topics_added: bool,
    /// When the consumer subscribed.
    subscribed: Option<Timestamp>,
}

impl Kafka {
    /// Reads the management topics.
    pub(super) fn new() -> Self {
        Self {
            effects: Vec::new(),
            positions: MANAGEMENT.map(|topic| (topic.to_owned(), BEGINNING)).into(),
            topics_added: true,
            subscribed: None,
        }
    }

    /// Also reads a side topic.
    pub(super) fn read(&mut self, topic: String) {
        if self.positions.iter().all(|(known, _)| *known != topic) {
            self.positions.push((topic, FIRST));
            self.topics_added = true;
        }
    }

    /// A record of this offset has been handled.
    pub(super) fn handled(&mut self, topic: &str, offset: i64) {
        let mut positions = self.positions.iter_mut();
        if let Some((_, position)) = positions.find(|(known, _)| known == topic) {
            *position = offset.saturating_add(1);
        }
    }

    pub(super) fn poll(&mut self, returned: usize) {
        self.effects.push(Effect::Poll {
            timeout_ms: POLL_INTERVAL,
            max_records: POLL_RECORDS,
            returned,
        });
    }

    pub(super) fn send(&mut self, topic: &str, key: &[u8], value: &[u8]) {
        self.effects.push(Effect::Send {
            topic: topic.to_owned(),
            key: Some(key.into()),
            value: Some(value.into()),
        });
    }

    pub(super) fn flush(&mut self) {
        self.effects.push(Effect::Flush {});
    }

    pub(super) fn commit(&mut self) {
        self.effects.push(Effect::Commit {});
    }

    /// Tells the consumer what to read, and from where, if topics were added.
    pub(super) fn assign(&mut self) {
        if std::mem::take(&mut self.topics_added) {
            let items = self.positions.iter();
            let items = items.map(|(topic, next)| (topic.clone(), 0, *next));
            let items = items.collect();
            self.effects.push(Effect::AssignAndSeek { items });
        }
    }

    /// Subscribes to the management topics and all topics with this suffix, if it is time to.
    pub(super) fn subscribe(&mut self, suffix: &str, now: Timestamp) {
        let fresh = |since: Timestamp| now.since(since) < SUBSCRIBE_INTERVAL;
        if self.subscribed.is_some_and(fresh) {
            return;
        }
        self.subscribed = Some(now);
        self.effects.push(Effect::Subscribe {
            topics: MANAGEMENT.map(str::to_owned).into(),
            pattern: Some(format!("(.*{}$)", suffix.replace('.', "\\."))),
        });
    }

    /// The topics that are read, in the order of their names.
    pub(super) fn topics(&self) -> Vec<String> {
        let topics = self.positions.iter().map(|(topic, _)| topic.clone());
        let mut topics: Vec<_> = topics.collect();
        topics.sort_unstable();
        topics
    }

    pub(super) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// What was called since the last time.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
