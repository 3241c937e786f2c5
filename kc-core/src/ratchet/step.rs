use std::collections::HashMap;
use std::sync::Arc;

use blake2b_simd::Params;
use rand_core::CryptoRng;
use thiserror::Error;

use super::data_key::{DataKey, SealingKey};
use super::generator::{Context, KeyGenerator, derive};
use crate::kem::{EncapsulationKey, KemError, sealed};
use crate::keys::VerifyingKey;
use crate::secret::{Secret, SecretVec};
use crate::symmetric::sha256;
use crate::types::{KeyId, RootTopic};
use crate::wire::{Value, WireError, Writer};

/// The form of a producer's key ids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyIdForm {
    /// The default form: 32 bytes, a hash of the producer's public signing keys and the step's index.
    Long {
        /// The concatenated byte forms of the producer's public signing keys.
        identity: Vec<u8>,
    },
    /// The step's index. Envelopes are shorter than with the long form, but producers of the same root topic use the
    /// same ids.
    Short,
}

/// The number of steps of a ratchet, from its first one, by which the node of a data key is recognised.
pub const MAX_RECOGNISED_STEPS: u64 = 1024;

/// One step of the ratchet. A caller gets a step only after it has stored the next one, so no step is used twice. The
/// data keys of all root topics are derived from the step.
#[derive(Debug)]
pub struct Step {
    index: u64,
    secret: Secret<32>,
}

impl KeyIdForm {
    /// Creates the long form for a node with these signing keys.
    #[must_use]
    pub fn long<'a>(signing_keys: impl IntoIterator<Item = &'a VerifyingKey>) -> Self {
        Self::Long {
            identity: signing_keys
                .into_iter()
                .flat_map(VerifyingKey::to_bytes)
                .collect(),
        }
    }

    /// Returns the id of the data keys of the step with this index (protocol §4, "key index").
    #[must_use]
    pub fn key_id(&self, index: u64) -> KeyId {
        let Self::Long { identity } = self else {
            return KeyId::Short(index);
        };
        let mut id = [0; 32];
        let hash = Params::new()
            .hash_length(id.len())
            .to_state()
            .update(identity)
            .update(&u128::from(index).to_be_bytes())
            .finalize();
        id.copy_from_slice(hash.as_bytes());
        KeyId::Long(id)
    }

    /// Returns the index below [`MAX_RECOGNISED_STEPS`] of the step whose data keys have this id, or `None` if there is none.
    #[must_use]
    pub fn step_of(&self, id: &KeyId) -> Option<u64> {
        (0..MAX_RECOGNISED_STEPS).find(|index| self.key_id(*index) == *id)
    }
}

impl Step {
    pub(super) fn new(index: u64, secret: Secret<32>) -> Self {
        Self { index, secret }
    }

    /// Returns the step's index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns the id of this step's data keys. It is the same for all root topics.
    #[must_use]
    pub fn key_id(&self, form: &KeyIdForm) -> KeyId {
        form.key_id(self.index)
    }

    /// Returns the data key of a root topic at this step. Consumers of the root topic may receive it.
    #[must_use]
    pub fn data_key(&self, root_topic: &RootTopic) -> DataKey {
        let digest = sha256(&[root_topic.as_str().as_bytes()]);
        let (mut salt, mut context) = ([0; 16], [0; 16]);
        for (half, chunk) in [&mut salt, &mut context]
            .into_iter()
            .zip(digest.chunks_exact(16))
        {
            half.copy_from_slice(chunk);
        }
        let secret = Secret::fill_with(|secret| {
            derive(secret, self.secret.expose(), &salt, Context(context), &[]);
        });
        DataKey::from(secret)
    }
}

/// A reason why a ratchet cannot be read or advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The stored form does not have the layout that the protocol requires: it is truncated, altered, or another
    /// kind of file.
    #[error("malformed ratchet seed: {0}")]
    Encoding(#[from] WireError),
    /// The index is not an unsigned integer of 64 bits.
    #[error("ratchet index {0} is out of range")]
    Index(i128),
    /// The secret does not have 32 bytes.
    #[error("the ratchet secret has {0} bytes instead of 32")]
    Length(usize),
    /// The secret is all zeros: the file has been wiped.
    #[error("the ratchet secret consists of zeros: the file was wiped")]
    Wiped,
    /// The last index, 2^64 - 1, has been reached.
    #[error("the ratchet has reached its last index, and cannot advance")]
    Exhausted,
}

/// The stored state of a ratchet: the next step.
#[derive(Debug)]
pub struct Seed {
    index: u64,
    secret: Secret<32>,
}

/// A step that must not be used until the next seed has been stored.
#[derive(Debug)]
pub struct PendingStep {
    step: Step,
    next: Seed,
}

impl Seed {
    /// Creates a new ratchet with index 0 and a random secret of 32 bytes.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::generate_from(0, rng)
    }

    /// Creates a new ratchet that begins at `index`, for a node that had a ratchet before. `index` must be greater
    /// than all indices that the node has used, because key ids are derived from indices and must not repeat.
    #[must_use]
    pub fn generate_from(index: u64, rng: &mut dyn CryptoRng) -> Self {
        Self {
            index,
            secret: Secret::random(rng),
        }
    }

    /// Reads the stored form: an array of the index and the secret (protocol §4). Further elements are ignored.
    ///
    /// # Errors
    /// Returns a [`SeedError`] if the layout, the index or the secret is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, SeedError> {
        let value = Value::decode(bytes)?;
        let [index, secret, ..] = value.array()? else {
            return Err(WireError::Expected("an index and a secret").into());
        };
        let index = index.int()?;
        let secret = secret.bytes()?;
        let secret = Secret::from_slice(secret).ok_or(SeedError::Length(secret.len()))?;
        if secret == Secret::fill_with(|_| {}) {
            return Err(SeedError::Wiped);
        }
        Ok(Self {
            index: u64::try_from(index).map_err(|_| SeedError::Index(index))?,
            secret,
        })
    }

    /// Encodes the ratchet for storage.
    #[must_use]
    pub fn encode(&self) -> SecretVec {
        // The capacity is sufficient from the start, because a buffer that grows leaves copies of secrets in memory.
        let mut writer = Writer::append_to(Vec::with_capacity(64));
        writer.array(2).uint(self.index);
        writer.bytes(self.secret.expose());
        writer.into_vec().into()
    }

    /// Returns the secret of the next step, [sealed] to an escrow key (protocol §13).
    ///
    /// The holder of the escrow key can read everything that is sealed from this step on.
    ///
    /// # Errors
    /// Returns a [`KemError`] if `recipient` is invalid.
    pub fn escrow(
        &self,
        recipient: &EncapsulationKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, KemError> {
        sealed::seal(self.secret.expose(), recipient, rng)
    }

    /// Returns the index of the next step.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Turns the ratchet. Returns the next seed, which the caller must store, and the step of the current seed, which
    /// may be used after the next seed was stored.
    ///
    /// # Errors
    /// Returns [`SeedError::Exhausted`] at the index 2^64 - 1.
    pub fn advance(self) -> Result<PendingStep, SeedError> {
        let index = self.index.checked_add(1).ok_or(SeedError::Exhausted)?;
        let mut generator = KeyGenerator::new(self.secret.expose_copy(), Context::RATCHET);
        let mut result = Ok(());
        let secret = Secret::fill_with(|next| result = generator.generate(next));
        result.map_err(|_| SeedError::Exhausted)?;
        Ok(PendingStep {
            step: Step::new(self.index, self.secret),
            next: Self { index, secret },
        })
    }
}

impl PendingStep {
    /// Returns the seed to store durably.
    #[must_use]
    pub fn next(&self) -> &Seed {
        &self.next
    }

    /// Returns the step, and the seed after it. By this call, the caller states that [`next`](Self::next) has been
    /// stored durably.
    #[must_use]
    pub fn stored(self) -> (Step, Seed) {
        (self.step, self.next)
    }
}

/// The step in use with its keys, one for each root topic.
#[derive(Debug)]
pub struct StepKeys {
    step: Step,
    key_id: KeyId,
    keys: HashMap<RootTopic, Arc<SealingKey>>,
}

impl StepKeys {
    /// Creates the container for the keys of a step that is used from now on. [`sealing_key`](Self::sealing_key) makes
    /// the keys.
    #[must_use]
    pub fn new(step: Step, form: &KeyIdForm) -> Self {
        Self {
            key_id: step.key_id(form),
            step,
            keys: HashMap::new(),
        }
    }

    /// Returns the id of this step's keys.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Returns the step's index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.step.index()
    }

    /// Returns the key of a root topic, if it has been made.
    #[must_use]
    pub fn known(&self, root_topic: &RootTopic) -> Option<Arc<SealingKey>> {
        self.keys.get(root_topic).cloned()
    }

    /// Returns the sealing key of a root topic: the same key each time, because it contains the counters. A new key
    /// draws 8 bytes from `rng`, the high half of its salts.
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
            self.step.data_key(root_topic),
            rng,
        ));
        self.keys.insert(root_topic.clone(), Arc::clone(&key));
        key
    }
}
