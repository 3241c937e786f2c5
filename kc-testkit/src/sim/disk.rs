//! The durable state of a node.

use std::collections::BTreeSet;

use kc_core::chain::{TrustEntry, TrustList, TrustStore};
use kc_core::ratchet::{RetainedKey, RetainedKeys, Seed};
use kc_core::secret::Secret;
use kc_core::types::{KeyId, RootTopic, Timestamp};

use super::core::Dice;
use super::custodian::Custody;

/// The durable state of a node, which survives crashes.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) seed: Vec<u8>,
    /// An earlier seed, which an operator puts back by mistake.
    pub(super) old_seed: Vec<u8>,
    pub(super) used: Option<u64>,
    pub(super) retained: Vec<(RootTopic, KeyId, [u8; 32], Timestamp)>,
    pub(super) allowed: Vec<TrustEntry>,
    pub(super) denied: Vec<TrustEntry>,
    pub(super) chain: Vec<u8>,
    pub(super) custody: Custody,
    /// The steps that were used for sealing, for the invariants: no node reads it, and no crash loses it.
    pub(super) history: BTreeSet<u64>,
}

impl Disk {
    pub(super) fn new(allowed: Vec<TrustEntry>, chain: Vec<u8>, dice: &mut Dice) -> Self {
        let seed = Seed::generate(&mut dice.0).encode().expose().to_vec();
        Self {
            old_seed: seed.clone(),
            seed,
            allowed,
            chain,
            ..Self::default()
        }
    }

    pub(super) fn trust(&self) -> TrustStore {
        TrustStore::new(Some(self.allowed.clone()), self.denied.clone())
    }

    pub(super) fn add(&mut self, list: TrustList, entry: TrustEntry) {
        match list {
            TrustList::Allow => self.allowed.push(entry),
            TrustList::Deny => self.denied.push(entry),
        }
    }

    pub(super) fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) {
        let stored = keys.iter().map(|key| {
            let secret = *key.secret.expose();
            (key.root_topic.clone(), key.id, secret, key.birth)
        });
        self.retained = stored.collect();
        self.used = used;
    }

    pub(super) fn retained_keys(&self) -> RetainedKeys {
        let mut keys = RetainedKeys::default();
        for (root_topic, id, secret, birth) in &self.retained {
            keys.insert(RetainedKey {
                root_topic: root_topic.clone(),
                id: *id,
                secret: Secret::fill_with(|bytes| *bytes = *secret).into(),
                birth: *birth,
            });
        }
        keys
    }

    pub(super) fn retains(&self, root_topic: &RootTopic, id: &KeyId) -> bool {
        let mut keys = self.retained.iter();
        keys.any(|(of, key, ..)| of == root_topic && key == id)
    }
}
