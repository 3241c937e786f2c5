//! The Kafka clients of a node: what is called on them, in order, and where the consumer reads.

use std::time::Duration;

use kc_core::types::Timestamp;
use serde_json::{Value, json};

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

pub(super) struct Kafka {
    effects: Vec<Value>,
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
            *position = offset + 1;
        }
    }

    pub(super) fn poll(&mut self, returned: usize) {
        self.effects.push(json!({
            "do": "poll",
            "timeout_ms": POLL_INTERVAL,
            "max_records": POLL_RECORDS,
            "returned": returned,
        }));
    }

    pub(super) fn send(&mut self, topic: &str, key: &[u8], value: &[u8]) {
        self.effects.push(json!({
            "do": "send",
            "topic": topic,
            "key": hex::encode(key),
            "value": hex::encode(value),
        }));
    }

    pub(super) fn flush(&mut self) {
        self.effects.push(json!({"do": "flush"}));
    }

    pub(super) fn commit(&mut self) {
        self.effects.push(json!({"do": "commit"}));
    }

    /// Tells the consumer what to read, and from where, if topics were added.
    pub(super) fn assign(&mut self) {
        if std::mem::take(&mut self.topics_added) {
            let items = self.positions.iter();
            let items: Vec<_> = items.map(|(topic, next)| json!([topic, 0, next])).collect();
            self.effects
                .push(json!({"do": "assign_and_seek", "items": items}));
        }
    }

    /// Subscribes to the management topics and all topics with this suffix, if it is time to.
    pub(super) fn subscribe(&mut self, suffix: &str, now: Timestamp) {
        let fresh = |since: Timestamp| now.since(since) < SUBSCRIBE_INTERVAL;
        if self.subscribed.is_some_and(fresh) {
            return;
        }
        self.subscribed = Some(now);
        let pattern = format!("(.*{}$)", suffix.replace('.', "\\."));
        self.effects
            .push(json!({"do": "subscribe", "topics": MANAGEMENT, "pattern": pattern}));
    }

    /// The topics that are read, in the order of their names.
    pub(super) fn topics(&self) -> Vec<&str> {
        let mut topics: Vec<_> = self
            .positions
            .iter()
            .map(|(topic, _)| topic.as_str())
            .collect();
        topics.sort_unstable();
        topics
    }

    /// What was called since the last time.
    pub(super) fn take_effects(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.effects)
    }
}
