use std::collections::HashMap;
use std::sync::Arc;

use rand_core::CryptoRng;

use super::data_key::SealingKey;
use super::step::{KeyIdForm, Step};
use crate::types::{KeyId, RootTopic};

/// The current step with the keys it has given, one for each root topic.
#[derive(Debug)]
pub struct StepKeys {
    step: Step,
    key_id: KeyId,
    keys: HashMap<RootTopic, Arc<SealingKey>>,
}

impl StepKeys {
    /// Takes a step into use.
    #[must_use]
    pub fn new(step: Step, form: &KeyIdForm) -> Self {
        Self {
            key_id: step.key_id(form),
            step,
            keys: HashMap::new(),
        }
    }

    /// The id of the keys of this step.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The step's index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.step.index()
    }

    /// The key of a root topic, if it was made.
    #[must_use]
    pub fn known(&self, root_topic: &RootTopic) -> Option<Arc<SealingKey>> {
        self.keys.get(root_topic).cloned()
    }

    /// The key that seals for a root topic: the same one each time, so that its counters are. A new one draws 8 bytes
    /// from `rng`: the high half of its salts.
    pub fn sealing_key(
        &mut self,
        root_topic: &RootTopic,
        rng: &mut dyn CryptoRng,
    ) -> Arc<SealingKey> {
        if let Some(key) = self.keys.get(root_topic) {
            return Arc::clone(key);
        }
        let key = Arc::new(SealingKey::new(
            self.key_id,
            self.step.topic_secret(root_topic),
            rng,
        ));
        self.keys.insert(root_topic.clone(), Arc::clone(&key));
        key
    }
}
