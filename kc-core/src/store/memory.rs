use std::fmt;

use rand_core::CryptoRng;

use super::{KeyStore, NodeSecrets, RatchetStore, StoreError, StoreErrorKind, opaque};
use crate::kem::Suite;
use crate::keys::{KeyType, Signer, VerifyingKey};
use crate::ratchet::{Seed, Step};
use crate::secret::SecretVec;

/// A [`KeyStore`] with secrets in memory. The keystore in files reads the secrets, and then uses this type.
pub struct MemoryKeyStore {
    secrets: NodeSecrets,
    key_types: Option<Vec<KeyType>>,
    generators: Box<Generators>,
}

/// Creates a random number generator for one use.
///
/// Each generator should be seeded from the operating system. Then copies of a process, such as a fork or a restored
/// snapshot of a virtual machine, draw different numbers.
pub type Generators = dyn Fn() -> Result<Box<dyn CryptoRng>, StoreError> + Send + Sync;

/// A [`RatchetStore`] in memory, for nodes without durable storage (`ratchet : memory`). Each start of the node needs a
/// new seed, which [`drawn`](Self::drawn) generates.
#[derive(Debug)]
pub struct MemoryRatchetStore {
    seed: Option<Seed>,
}

impl MemoryKeyStore {
    /// Creates a keystore with these secrets.
    ///
    /// If `key_types` is given (`keytypes` in the configuration), only signing keys of these types are used. Each
    /// operation that needs random numbers calls `generators`.
    #[must_use]
    pub fn new(
        secrets: NodeSecrets,
        key_types: Option<Vec<KeyType>>,
        generators: Box<Generators>,
    ) -> Self {
        Self {
            secrets,
            key_types,
            generators,
        }
    }

    fn is_used(&self, key: &VerifyingKey) -> bool {
        let types = self.key_types.as_ref();
        types.is_none_or(|types| types.contains(&key.key_type()))
    }
}

impl KeyStore for MemoryKeyStore {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        let keys = self.secrets.signing_keys().map(Signer::verifying_key);
        keys.filter(|key| self.is_used(key)).cloned().collect()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        let missing = || {
            StoreError::new(
                StoreErrorKind::Missing,
                format!("find the signing key {key:?}"),
            )
        };
        let mut keys = self.secrets.signing_keys();
        let signer = keys.find(|signer| signer.verifying_key() == key && self.is_used(key));
        let signer = signer.ok_or_else(missing)?;
        let mut rng = (self.generators)()?;
        signer.sign(message, &mut *rng).map_err(|error| {
            StoreError::new(StoreErrorKind::Other, format!("sign with {key:?}")).with_source(error)
        })
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut rng = (self.generators)()?;
        let opaque_key = self.secrets.opaque_key();
        Ok(opaque::wrap(plaintext, opaque_key, &mut *rng))
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        opaque::unwrap(wrapped, self.secrets.opaque_key()).ok_or_else(|| {
            StoreError::new(
                StoreErrorKind::Unauthentic,
                "open a value with the opaque key of the node",
            )
        })
    }

    fn suites(&self) -> Vec<Suite> {
        self.secrets.suites().collect()
    }

    fn legacy_requests(&self) -> bool {
        self.secrets.legacy_requests()
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore")
            .field("secrets", &self.secrets)
            .field("key_types", &self.key_types)
            .finish_non_exhaustive()
    }
}

impl MemoryRatchetStore {
    /// Creates a ratchet with a random secret and a random index below 2^63, so that each start of the node uses
    /// another secret and other indices.
    #[must_use]
    pub fn drawn(rng: &mut dyn CryptoRng) -> Self {
        let mut index = [0; 8];
        rng.fill_bytes(&mut index);
        Self::new(Seed::generate_from(u64::from_be_bytes(index) >> 1, rng))
    }

    /// Creates a ratchet from a seed. The seed must not have been used by an earlier start of the node.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self { seed: Some(seed) }
    }
}

impl RatchetStore for MemoryRatchetStore {
    fn is_durable(&self) -> bool {
        false
    }

    fn step(&mut self) -> Result<Step, StoreError> {
        let exhausted = || {
            StoreError::new(
                StoreErrorKind::Exhausted,
                "take a step of the ratchet in memory",
            )
        };
        let pending = self.seed.take().ok_or_else(exhausted)?.advance();
        let (step, next) = pending.map_err(|_| exhausted())?.stored();
        self.seed = Some(next);
        Ok(step)
    }
}
