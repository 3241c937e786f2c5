use std::ops::Deref;

use rand_core::CryptoRng;

use super::KeyStore;
use crate::keys::{KeyError, Signer, VerifyingKey};
use crate::text::with_sources;

/// Signs with a key that stays in its [`KeyStore`]. `S` is a reference or a smart pointer to the store, for
/// example `Arc<dyn KeyStore>`.
#[derive(Debug)]
pub struct KeyStoreSigner<S> {
    store: S,
    key: VerifyingKey,
}

impl<S> KeyStoreSigner<S> {
    /// Creates a signer for one of the store's keys.
    #[must_use]
    pub fn new(store: S, key: VerifyingKey) -> Self {
        Self { store, key }
    }
}

impl<S: Deref<Target: KeyStore>> Signer for KeyStoreSigner<S> {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Signs in the store. The generator is not used, because the store draws its own random numbers.
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        let signed = self.store.sign(&self.key, message);
        signed.map_err(|error| KeyError::Signer(with_sources(&error)))
    }
}
