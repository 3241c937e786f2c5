//! The Kafka clients of a node: the calls on them, in order, and the positions of the consumer.

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

/// The start of a side topic without a position: also its beginning.
const FIRST: i64 = 0;

/// The offsets that mean the beginning.
pub(super) const BEGINNINGS: [i64; 2] = [BEGINNING, FIRST];

/// `MGMT_POLL_INTERVAL`, in milliseconds.
const POLL_INTERVAL: u32 = 500;

/// `MGMT_POLL_RECORDS`
const POLL_RECORDS: u32 = 8;

/// `MGMT_SUBSCRIBE_INTERVAL`
const SUBSCRIBE_INTERVAL: Duration = Duration::from_secs(300);

/// A call of a Kafka client.
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
    /// The topic, partition and offset of each assignment.
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
    /// The topics, each with the next offset in its partition 0.
    positions: Vec<(String, i64)>,
    /// True if the consumer does not know all topics yet.
    topics_added: bool,
    /// The time of the last subscription.
    subscribed: Option<Timestamp>,
}

impl Kafka {
    /// Returns clients that read the management topics.
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

    /// Records that the record with this offset has been handled.
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

    /// Assigns the topics and their positions to the consumer, if topics were added.
    pub(super) fn assign(&mut self) {
        if std::mem::take(&mut self.topics_added) {
            let items = self.positions.iter();
            let items = items.map(|(topic, next)| (topic.clone(), 0, *next));
            let items = items.collect();
            self.effects.push(Effect::AssignAndSeek { items });
        }
    }

    /// Subscribes to the management topics and to all topics with this suffix, if the interval has passed.
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

    /// Returns the topics that are read, in the order of their names.
    pub(super) fn topics(&self) -> Vec<String> {
        let topics = self.positions.iter().map(|(topic, _)| topic.clone());
        let mut topics: Vec<_> = topics.collect();
        topics.sort_unstable();
        topics
    }

    pub(super) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Returns the calls since the last time.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
