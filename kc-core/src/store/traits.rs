use std::fmt::Debug;

use super::StoreError;
use crate::chain::{TrustEntry, TrustList};
use crate::chain_server::ChainKey;
use crate::kem::Suite;
use crate::keys::VerifyingKey;
use crate::ratchet::{RetainedKeys, Step};
use crate::secret::SecretVec;

/// Holds and uses a node's signing keys and its opaque key. The keys never leave the store.
pub trait KeyStore: Debug + Send + Sync {
    /// Returns the public halves of the signing keys in use, in the order in which the store holds them.
    fn verifying_keys(&self) -> Vec<VerifyingKey>;

    /// Signs `message` with `key`. Returns the signature followed by the message (protocol §5).
    ///
    /// Blocks the calling thread for about 0.1 s if the key is a hybrid key. If a token holds the key, also waits for
    /// the answer of the token.
    ///
    /// # Errors
    /// Returns a [`StoreError`] of the kind `Missing` if `key` is not among the [keys in
    /// use](Self::verifying_keys) or was removed from the store, and of another kind if the store fails.
    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Seals a value with the opaque key, so that it can be stored in the configuration.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store fails.
    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Opens a value that [`wrap_opaque`](Self::wrap_opaque) sealed.
    ///
    /// # Errors
    /// Returns a [`StoreError`] of the kind `Unauthentic` if the value was altered or sealed with another key, and
    /// of another kind if the store fails.
    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError>;

    /// Returns the key exchanges that the node offers and accepts, in order of preference.
    fn suites(&self) -> Vec<Suite>;

    /// Returns whether the node also sends requests in the legacy form, which old peers understand.
    fn legacy_requests(&self) -> bool;
}

/// Holds a producer's ratchet.
pub trait RatchetStore: Debug + Send {
    /// Returns whether the ratchet continues with the next step after a restart. If it does not, each start uses
    /// another ratchet, and retained keys are kept only in memory.
    fn is_durable(&self) -> bool {
        true
    }

    /// Takes the next step of the ratchet: reads the step, stores the step after it durably, and only then returns the
    /// step that was read.
    ///
    /// This is one operation under an exclusive lock: no step is ever returned twice, even after a crash.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the ratchet cannot be read or stored, or has no step left. After an error, the next
    /// call may skip a step.
    fn step(&mut self) -> Result<Step, StoreError>;
}

/// Keeps the keys that a producer retains for late consumers, between runs.
pub trait RetainedKeysArchive: Debug + Send {
    /// Stores the keys, and the index of the latest used step, durably before it returns. The keys replace all keys
    /// that were stored before. If `used` is `None`, the stored index does not change.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the keys cannot be stored. In this case, the caller must not use them.
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError>;
}

/// Keeps changes of a node's lists and chains between runs.
pub trait TrustArchive: Debug + Send {
    /// Stores an entry of a list durably before it returns. An entry that is already stored is not stored twice.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the entry cannot be stored. The running node applies the entry nevertheless, until
    /// it closes.
    fn add_entry(&mut self, list: TrustList, entry: &TrustEntry) -> Result<(), StoreError>;

    /// Stores the chain of one of the node's signing keys durably before it returns. `index` is the position of the key
    /// among the [keys in use](KeyStore::verifying_keys), counted from 0. The chain replaces the stored chain of the
    /// key.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the chain cannot be stored. The running node uses the chain nevertheless, until it
    /// closes.
    fn replace_chain(&mut self, index: usize, chain: &[u8]) -> Result<(), StoreError>;
}

/// Keeps the keys whose chains a chain server renews.
pub trait ChainKeyArchive: Debug + Send + Sync {
    /// Returns the keys that are stored now, each with its name. An operator may add keys while the server runs.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the keys cannot be read.
    fn load(&self) -> Result<Vec<(String, ChainKey)>, StoreError>;

    /// Stores the new entry of a key under the key's name, durably before it returns. The new entry replaces the stored
    /// one.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the entry cannot be stored.
    fn store(&self, name: &str, key: &ChainKey) -> Result<(), StoreError>;
}
