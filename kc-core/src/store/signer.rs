use rand_core::CryptoRng;

use super::KeyStore;
use crate::keys::{KeyError, Signer, VerifyingKey};

/// Signs with a key that stays in its [`KeyStore`].
#[derive(Debug)]
pub struct KeyStoreSigner<'a> {
    store: &'a dyn KeyStore,
    key: VerifyingKey,
}

impl<'a> KeyStoreSigner<'a> {
    /// With one of the store's keys.
    #[must_use]
    pub fn new(store: &'a dyn KeyStore, key: VerifyingKey) -> Self {
        Self { store, key }
    }
}

impl Signer for KeyStoreSigner<'_> {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The store has random numbers of its own.
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        let signed = self.store.sign(&self.key, message);
        signed.map_err(|_| KeyError::Signer)
    }
}
