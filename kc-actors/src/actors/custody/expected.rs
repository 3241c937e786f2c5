//! The ids of the data keys with which known nodes are likely to seal next.

use std::collections::{HashSet, VecDeque};

use kc_core::ratchet::{Giver, KeyIdForm};
use kc_core::types::{KeyId, RootTopic};

/// Maximum number of expected ids. At this number, the oldest is forgotten for each new one.
const MAX_EXPECTED: usize = 65_536;
/// The number of steps after a kept key whose ids are expected.
const AHEAD: u64 = 16;

/// The ids that follow from kept keys. An id is the hash of the public keys of its node and the index of a step, so
/// only someone who knows the node can invent such an id. They are requested before ids that may be invented.
#[derive(Debug, Default)]
pub(super) struct Expected {
    ids: HashSet<(RootTopic, KeyId)>,
    order: VecDeque<(RootTopic, KeyId)>,
}

impl Expected {
    pub(super) fn contains(&self, root_topic: &RootTopic, id: &KeyId) -> bool {
        !self.ids.is_empty() && self.ids.contains(&(root_topic.clone(), *id))
    }

    /// Adds the ids of the steps that follow the step of a kept key. Adds none if the ids of the giver do not follow from
    /// its last signing key alone: it has several keys, the id is short, or another node has given the key.
    pub(super) fn follow(&mut self, root_topic: &RootTopic, id: &KeyId, giver: &Giver) {
        let form = KeyIdForm::long(giver.last());
        let Some(step) = form.step_of(id) else {
            return;
        };
        for next in step + 1..=step + AHEAD {
            let expected = (root_topic.clone(), form.key_id(next));
            if self.ids.insert(expected.clone()) {
                self.order.push_back(expected);
            }
        }
        while self.order.len() > MAX_EXPECTED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use kc_core::keys::VerifyingKey;

    use super::*;

    #[test]
    fn the_next_ids_of_a_node_follow_from_a_kept_key() {
        let root = VerifyingKey::Ed25519([1; 32]);
        let node = VerifyingKey::Ed25519([2; 32]);
        let form = KeyIdForm::long([&node]);
        let giver: Giver = [root, node].into();
        let mut expected = Expected::default();
        expected.follow(&"a".into(), &form.key_id(5), &giver);
        let steps = 0..30;
        let found = steps.filter(|step| expected.contains(&"a".into(), &form.key_id(*step)));
        assert_eq!(found.collect::<Vec<_>>(), (6..=21).collect::<Vec<_>>());
        assert!(!expected.contains(&"b".into(), &form.key_id(6)));
        expected.follow(&"a".into(), &KeyId::Short(5), &giver);
        assert_eq!(expected.ids.len(), 16);
    }

    #[test]
    fn expected_ids_are_bounded() {
        let mut expected = Expected::default();
        for node in 0..5000_u16 {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&node.to_be_bytes());
            let giver: Giver = [VerifyingKey::Ed25519(key)].into();
            let id = KeyIdForm::long(giver.last()).key_id(0);
            expected.follow(&"a".into(), &id, &giver);
        }
        assert_eq!(expected.ids.len(), MAX_EXPECTED);
        assert_eq!(expected.order.len(), MAX_EXPECTED);
    }
}
