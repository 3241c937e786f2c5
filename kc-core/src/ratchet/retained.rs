use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::data_key::DataKey;
use crate::types::{KeyId, RootTopic, Timestamp};

/// The maximum number of keys that a producer keeps. It also limits the number of root topics that a producer can seal
/// for. When the limit is reached, each new key displaces the oldest key that does not belong to the step in use. Test:
/// `retained_keys_are_pruned_by_age_and_bounded`.
pub const MAX_RETAINED_KEYS: usize = 8192;

/// A data key with which a producer seals, or has sealed before. The producer keeps it, so that late consumers can
/// still ask for it.
#[derive(Debug, PartialEq)]
pub struct RetainedKey {
    /// The root topic of the key.
    pub root_topic: RootTopic,
    /// The id of the key.
    pub id: KeyId,
    /// The secret that consumers need.
    pub secret: DataKey,
    /// The time at which the key was made.
    pub birth: Timestamp,
}

/// The keys that a producer can send to consumers, oldest first (protocol §4: `oldkeys`).
#[derive(Debug, Default, PartialEq)]
pub struct RetainedKeys {
    keys: HashMap<RootTopic, HashMap<KeyId, RetainedKey>>,
    order: VecDeque<(RootTopic, KeyId)>,
}

impl RetainedKeys {
    /// Adds a key. Returns whether the key is kept.
    ///
    /// If there is already a key with the same root topic and id, it is not replaced, because a ratchet makes each
    /// key only once. If there are [`MAX_RETAINED_KEYS`] keys, the oldest key with another id is dropped. If all keys
    /// have this id, which means that they belong to the same step, the new key is not added.
    pub fn insert(&mut self, key: RetainedKey) -> bool {
        if self.get(&key.root_topic, &key.id).is_some() {
            return true;
        }
        if self.order.len() >= MAX_RETAINED_KEYS {
            let oldest = self.order.iter().position(|(_, id)| *id != key.id);
            let Some((root_topic, id)) = oldest.and_then(|oldest| self.order.remove(oldest)) else {
                return false;
            };
            remove(&mut self.keys, &root_topic, &id);
        }
        self.order.push_back((key.root_topic.clone(), key.id));
        let of_root = self.keys.entry(key.root_topic.clone()).or_default();
        of_root.insert(key.id, key);
        true
    }

    /// Forgets the keys that are `max_age` old or older, except those with the id in use. Returns whether any key was
    /// forgotten.
    pub fn prune(&mut self, now: Timestamp, max_age: Duration, in_use: Option<KeyId>) -> bool {
        let before = self.order.len();
        let keys = &mut self.keys;
        self.order.retain(|(root_topic, id)| {
            let birth = keys
                .get(root_topic)
                .and_then(|keys| keys.get(id))
                .map(|key| key.birth);
            let young = birth.is_some_and(|birth| now.since(birth) < max_age);
            let keep = young || in_use == Some(*id);
            if !keep {
                remove(keys, root_topic, id);
            }
            keep
        });
        self.order.len() < before
    }

    /// Forgets a key.
    pub fn remove(&mut self, root_topic: &RootTopic, id: &KeyId) {
        self.order.retain(|(r, i)| (r, i) != (root_topic, id));
        remove(&mut self.keys, root_topic, id);
    }

    /// Returns the key of a root topic with this id.
    #[must_use]
    pub fn get(&self, root_topic: &RootTopic, id: &KeyId) -> Option<&RetainedKey> {
        self.keys.get(root_topic)?.get(id)
    }

    /// Returns all keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &RetainedKey> {
        self.order
            .iter()
            .filter_map(|(root_topic, id)| self.get(root_topic, id))
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

fn remove(
    keys: &mut HashMap<RootTopic, HashMap<KeyId, RetainedKey>>,
    root_topic: &RootTopic,
    id: &KeyId,
) {
    if let Some(of_root) = keys.get_mut(root_topic) {
        of_root.remove(id);
        if of_root.is_empty() {
            keys.remove(root_topic);
        }
    }
}
