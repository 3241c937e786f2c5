use std::collections::HashMap;
use std::sync::Arc;

use blake2b_simd::Params;
use rand_core::CryptoRng;
use thiserror::Error;

use super::data_key::{SealingKey, TopicSecret};
use super::generator::{Context, KeyGenerator, derive};
use crate::kem::{EncapsulationKey, KemError, sealed};
use crate::keys::VerifyingKey;
use crate::secret::{Secret, SecretVec};
use crate::symmetric::sha256;
use crate::types::{KeyId, RootTopic};
use crate::wire::{Value, WireError, Writer};

/// How a producer names its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyIdForm {
    /// 32 bytes: the hash of the producer's identity and the step's index. The default.
    Long {
        /// The byte forms of the producer's signing public keys, one after the other.
        identity: Vec<u8>,
    },
    /// The step's index: shorter messages, but two producers of one root collide.
    Short,
}

/// One step of the ratchet, stored as used: the source of a data key for each root topic.
#[derive(Debug)]
pub struct Step {
    index: u64,
    secret: Secret<32>,
}

impl KeyIdForm {
    /// The long form for a node with these signing keys.
    #[must_use]
    pub fn long<'a>(signing_keys: impl IntoIterator<Item = &'a VerifyingKey>) -> Self {
        Self::Long {
            identity: signing_keys
                .into_iter()
                .flat_map(VerifyingKey::to_bytes)
                .collect(),
        }
    }
}

impl Step {
    pub(super) fn new(index: u64, secret: Secret<32>) -> Self {
        Self { index, secret }
    }

    /// The step's index.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The id of this step's keys, the same for every root topic.
    #[must_use]
    pub fn key_id(&self, form: &KeyIdForm) -> KeyId {
        let KeyIdForm::Long { identity } = form else {
            return KeyId::Short(self.index);
        };
        let mut id = [0; 32];
        let hash = Params::new()
            .hash_length(id.len())
            .to_state()
            .update(identity)
            .update(&u128::from(self.index).to_be_bytes())
            .finalize();
        id.copy_from_slice(hash.as_bytes());
        KeyId::Long(id)
    }

    /// The secret of a root topic, which consumers of the topic may have.
    #[must_use]
    pub fn topic_secret(&self, root_topic: &RootTopic) -> TopicSecret {
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
        TopicSecret::from(secret)
    }
}

/// Why a ratchet cannot be read or advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The stored form is not what the protocol says: truncated, altered, or another kind of file.
    #[error("malformed ratchet seed: {0}")]
    Encoding(#[from] WireError),
    /// The index is no unsigned integer.
    #[error("ratchet index {0} is out of range")]
    Index(i128),
    /// The secret is not 32 bytes long.
    #[error("ratchet secret of {0} bytes instead of 32")]
    Length(usize),
    /// The secret is all zeros: the file has been wiped.
    #[error("ratchet secret is all zeros")]
    Wiped,
    /// The last index is reached.
    #[error("the ratchet has no index left")]
    Exhausted,
}

/// The stored state of a ratchet: the step to be used next.
#[derive(Debug)]
pub struct Seed {
    index: u64,
    secret: Secret<32>,
}

/// A step that must not be used before the seed that follows it is stored.
#[derive(Debug)]
pub struct PendingStep {
    step: Step,
    next: Seed,
}

impl Seed {
    /// A fresh ratchet: index 0 and 32 random bytes.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::generate_from(0, rng)
    }

    /// A fresh ratchet that begins at `index`: for a node that had another one. Indices that it has used must not come
    /// again, because ids of keys are made of them.
    #[must_use]
    pub fn generate_from(index: u64, rng: &mut dyn CryptoRng) -> Self {
        Self {
            index,
            secret: Secret::random(rng),
        }
    }

    /// Reads the stored form: an array of the index and the secret (protocol §4). Elements after these
    /// are ignored.
    ///
    /// # Errors
    /// Any [`SeedError`] but `Exhausted`.
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

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> SecretVec {
        // One allocation, so that growing leaves no copies behind.
        let mut writer = Writer::append_to(Vec::with_capacity(64));
        writer.array(2).uint(self.index);
        writer.bytes(self.secret.expose());
        writer.into_vec().into()
    }

    /// The secret of the step to be used next, [sealed] to an escrow key (protocol §13): with it,
    /// whoever holds the escrow key reads all that is sealed from this step on.
    ///
    /// # Errors
    /// [`KemError`] if `recipient` is invalid.
    pub fn escrow(
        &self,
        recipient: &EncapsulationKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, KemError> {
        sealed::seal(self.secret.expose(), recipient, rng)
    }

    /// The index of the step to be used next.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Turns the ratchet: the next seed, to be stored, and the step of this one, to be used after that.
    ///
    /// # Errors
    /// [`SeedError::Exhausted`] at the index 2^64 - 1.
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
    /// The seed to store durably.
    #[must_use]
    pub fn next(&self) -> &Seed {
        &self.next
    }

    /// The step, for a caller who has stored [`next`](Self::next) so that no crash can undo it.
    #[must_use]
    pub fn stored(self) -> (Step, Seed) {
        (self.step, self.next)
    }
}

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
