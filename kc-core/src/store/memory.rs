use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand_core::CryptoRng;

use super::{KeyStore, NodeSecrets, RatchetStore, StoreError, StoreErrorKind, opaque};
use crate::kem::Suite;
use crate::keys::{KeyType, Signer, VerifyingKey};
use crate::ratchet::{Seed, Step};
use crate::secret::SecretVec;

/// A [`KeyStore`] over secrets in memory: what a keystore of files becomes once they are read.
pub struct MemoryKeyStore {
    secrets: NodeSecrets,
    key_types: Option<Vec<KeyType>>,
    rng: Mutex<Box<dyn CryptoRng + Send>>,
}

/// A [`RatchetStore`] that forgets with the process. For tests and demonstrations: a node that starts
/// again from the same seed would repeat keys.
#[derive(Debug)]
pub struct MemoryRatchetStore {
    seed: Option<Seed>,
}

impl MemoryKeyStore {
    /// With these secrets; `key_types` restricts which signing keys are used (`keytypes` in the
    /// configuration).
    #[must_use]
    pub fn new(
        secrets: NodeSecrets,
        key_types: Option<Vec<KeyType>>,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Self {
        Self {
            secrets,
            key_types,
            rng: Mutex::new(rng),
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
        let missing = || StoreError::new(StoreErrorKind::Missing, format!("signing key {key:?}"));
        let mut keys = self.secrets.signing_keys();
        let signer = keys.find(|signer| signer.verifying_key() == key && self.is_used(key));
        let signer = signer.ok_or_else(missing)?;
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        signer.sign(message, &mut **rng).map_err(|error| {
            StoreError::new(StoreErrorKind::Other, format!("sign with {key:?}")).with_source(error)
        })
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(opaque::wrap(
            plaintext,
            self.secrets.opaque_key(),
            &mut **rng,
        ))
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        opaque::unwrap(wrapped, self.secrets.opaque_key())
            .ok_or_else(|| StoreError::new(StoreErrorKind::Unauthentic, "opaque value"))
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
    /// From this seed.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self { seed: Some(seed) }
    }
}

impl RatchetStore for MemoryRatchetStore {
    fn step(&mut self) -> Result<Step, StoreError> {
        let exhausted = || StoreError::new(StoreErrorKind::Exhausted, "ratchet in memory");
        let pending = self.seed.take().ok_or_else(exhausted)?.advance();
        let (step, next) = pending.map_err(|_| exhausted())?.stored();
        self.seed = Some(next);
        Ok(step)
    }
}
