use rand_core::CryptoRng;
use thiserror::Error;

use super::generator::{Context, KeyGenerator};
use super::step::Step;
use crate::kem::{EncapsulationKey, KemError, sealed};
use crate::secret::{Secret, SecretVec};
use crate::wire::{Value, WireError, Writer};

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
