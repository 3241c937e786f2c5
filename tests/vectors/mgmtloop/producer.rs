//! A node's keys as a producer: the ratchet with its file, and the keys kept for late consumers.

use std::time::Duration;

use kc_core::message::seal;
use kc_core::ratchet::{Component, DataKey, KeyIdForm, RetainedKey, RetainedKeys, Seed, StepKeys};
use kc_core::secret::SecretVec;
use kc_core::store::retained_keys;
use kc_core::types::{KeyId, RootTopic, Timestamp};

use crate::draws::zeros;
use crate::operation::{Invalid, invalid};

/// `CRYPTO_RATCHET_INTERVAL`
const RATCHET_INTERVAL: Duration = Duration::from_secs(86_400);

/// `CRYPTO_MAX_PGEN_AGE`
const MAX_AGE: Duration = Duration::from_secs(604_800);

pub(super) struct Producer {
    form: KeyIdForm,
    seed_file: Vec<u8>,
    ratchet: StepKeys,
    turned: Timestamp,
    retained: RetainedKeys,
    /// True if added keys have not been saved.
    unsaved: bool,
}

impl Producer {
    /// Starts the producer, which takes a step of the ratchet.
    pub(super) fn start(
        mut seed_file: Vec<u8>,
        form: KeyIdForm,
        retained: RetainedKeys,
        now: Timestamp,
    ) -> Result<Self, Invalid> {
        Ok(Self {
            ratchet: next_step(&mut seed_file, &form, &retained)?,
            form,
            seed_file,
            turned: now,
            retained,
            unsaved: false,
        })
    }

    pub(super) fn seed_file(&self) -> &[u8] {
        &self.seed_file
    }

    /// Seals a component of a record; a null stays null.
    pub(super) fn seal(
        &mut self,
        root: &RootTopic,
        component: Component,
        plaintext: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Invalid> {
        let key = self.ratchet.sealing_key(root, &mut zeros());
        if self.retained.get(root, &key.id()).is_none() {
            self.retained.insert(RetainedKey {
                root_topic: root.clone(),
                id: key.id(),
                secret: key.data_key().expose_copy(),
                birth: now,
            });
            self.unsaved = true;
        }
        let Some(plaintext) = plaintext else {
            return Ok(None);
        };
        let mut sealed = Vec::new();
        seal(&key, component, plaintext, &mut sealed).map_err(invalid("plaintext"))?;
        Ok(Some(sealed))
    }

    /// Returns the requested keys that the producer has.
    pub(super) fn held(&self, root: &RootTopic, ids: &[KeyId]) -> Vec<(KeyId, DataKey)> {
        let held = ids.iter().filter_map(|id| self.retained.get(root, id));
        held.map(|key| (key.id, key.secret.expose_copy())).collect()
    }

    /// Takes the next step and forgets keys that are too old, if the interval has passed.
    pub(super) fn turn(&mut self, now: Timestamp) -> Result<(), Invalid> {
        if now.since(self.turned) < RATCHET_INTERVAL {
            return Ok(());
        }
        self.ratchet = next_step(&mut self.seed_file, &self.form, &self.retained)?;
        self.turned = now;
        self.retained
            .prune(now, MAX_AGE, Some(self.ratchet.key_id()));
        Ok(())
    }

    /// Returns all retained keys, if some have not been saved.
    pub(super) fn take_unsaved(&mut self) -> Option<SecretVec> {
        std::mem::take(&mut self.unsaved).then(|| retained_keys::encode(&self.retained))
    }
}

/// Returns the next step that did not make any of the retained keys. A step that did means that an old file was
/// restored.
fn next_step(
    seed_file: &mut Vec<u8>,
    form: &KeyIdForm,
    retained: &RetainedKeys,
) -> Result<StepKeys, Invalid> {
    loop {
        let pending = Seed::decode(seed_file).and_then(Seed::advance);
        let pending = pending.map_err(invalid("seed_file"))?;
        *seed_file = pending.next().encode().expose().to_vec();
        let (step, _) = pending.stored();
        let id = step.key_id(form);
        if retained.iter().all(|key| key.id != id) {
            return Ok(StepKeys::new(step, form));
        }
    }
}
