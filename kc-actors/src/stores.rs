//! A node's stores, watched: that one begins to fail is told once, and that it works again.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kc_core::kem::Suite;
use kc_core::keys::VerifyingKey;
use kc_core::ratchet::{RetainedKeys, Step};
use kc_core::secret::SecretVec;
use kc_core::store::{KeyStore, RatchetStore, StoreError};

use crate::actors::KeyArchive;
use crate::events::{Events, NodeEvent};

/// Which of a node's stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Store {
    /// That of the signing keys.
    Keys,
    /// The ratchet's.
    Ratchet,
    /// That of past keys, kept for late consumers.
    PastKeys,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "signing keys",
            Self::Ratchet => "ratchet",
            Self::PastKeys => "past keys",
        })
    }
}

/// Why a store fails, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// The error, and what is behind it.
    pub reason: String,
    /// What can be done about it, if the store knows.
    pub advice: Option<&'static str>,
}

/// Which stores failed when they were last used.
#[derive(Clone, Debug)]
pub(crate) struct StoreWatch {
    failing: Arc<Mutex<BTreeMap<Store, StoreFault>>>,
    events: Events,
}

/// A store whose outcomes are noted.
#[derive(Debug)]
pub(crate) struct Observed<S> {
    store: S,
    watch: StoreWatch,
}

impl StoreWatch {
    pub(crate) fn new(events: Events) -> Self {
        Self {
            failing: Arc::default(),
            events,
        }
    }

    pub(crate) fn over<S>(&self, store: S) -> Observed<S> {
        Observed {
            store,
            watch: self.clone(),
        }
    }

    /// What failed when it was last used.
    pub(crate) fn failing(&self) -> BTreeMap<Store, StoreFault> {
        self.lock().clone()
    }

    /// Notes how the use of a store ended.
    fn noted<T>(&self, store: Store, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => {
                if self.lock().remove(&store).is_some() {
                    tracing::info!(target: "kc::store", %store, "works again");
                    self.events.tell(NodeEvent::StoreWorks { store });
                }
            }
            Err(error) => {
                let fault = StoreFault::of(error);
                if self.lock().insert(store, fault.clone()).is_none() {
                    let StoreFault { reason, advice } = &fault;
                    tracing::error!(target: "kc::store", %store, reason, advice, "fails");
                    self.events.tell(NodeEvent::StoreFails { store, fault });
                }
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Store, StoreFault>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreFault {
    fn of(error: &StoreError) -> Self {
        let mut reason = error.to_string();
        let mut behind = error.source();
        while let Some(error) = behind {
            reason.push_str(&format!(": {error}"));
            behind = error.source();
        }
        Self {
            reason,
            advice: error.advice(),
        }
    }
}

impl KeyStore for Observed<Arc<dyn KeyStore>> {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.store.verifying_keys()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        let signed = self.store.sign(key, message);
        self.watch.noted(Store::Keys, signed)
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
    fn step(&mut self) -> Result<Step, StoreError> {
        let step = self.store.step();
        self.watch.noted(Store::Ratchet, step)
    }
}

impl<A: KeyArchive> KeyArchive for Observed<A> {
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError> {
        let saved = self.store.save(keys, used);
        self.watch.noted(Store::PastKeys, saved)
    }
}
