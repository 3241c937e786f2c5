use std::sync::Arc;

use kc_core::kem::Suite;
use kc_core::keys::VerifyingKey;
use kc_core::ratchet::{RetainedKeys, Step};
use kc_core::secret::SecretVec;
use kc_core::store::{KeyStore, RatchetStore, StoreError};

use super::{Store, StoreWatch};
use crate::actors::ratchet::KeyArchive;

/// A store whose outcomes are noted.
#[derive(Debug)]
pub(crate) struct Observed<S> {
    store: S,
    watch: StoreWatch,
}

impl<S> Observed<S> {
    pub(super) fn new(store: S, watch: StoreWatch) -> Self {
        Self { store, watch }
    }
}

impl KeyStore for Observed<Arc<dyn KeyStore>> {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.store.verifying_keys()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        let sign = || self.store.sign(key, message);
        self.watch.using(Store::Keys, sign)
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.store.wrap_opaque(plaintext)
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        self.store.unwrap_opaque(wrapped)
    }

    fn suites(&self) -> Vec<Suite> {
        self.store.suites()
    }

    fn legacy_requests(&self) -> bool {
        self.store.legacy_requests()
    }
}

impl RatchetStore for Observed<Box<dyn RatchetStore>> {
    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    fn step(&mut self) -> Result<Step, StoreError> {
        let step = || self.store.step();
        self.watch.using(Store::Ratchet, step)
    }
}

impl<A: KeyArchive> KeyArchive for Observed<A> {
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError> {
        let save = || self.store.save(keys, used);
        self.watch.using(Store::RetainedKeys, save)
    }
}
