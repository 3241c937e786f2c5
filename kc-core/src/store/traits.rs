use std::fmt::Debug;

use super::StoreError;
use crate::chain::{TrustEntry, TrustList};
use crate::chain_server::ChainKey;
use crate::kem::Suite;
use crate::keys::VerifyingKey;
use crate::ratchet::{RetainedKeys, Step};
use crate::secret::SecretVec;

/// Holds and uses a node's signing keys and its opaque key. The keys never leave it.
pub trait KeyStore: Debug + Send + Sync {
    /// Returns the public halves of the signing keys in use, in order.
    fn verifying_keys(&self) -> Vec<VerifyingKey>;

    /// Signs `message` with `key`. Returns the signature followed by the message (protocol §5).
    ///
    /// Blocks: for about 0.1 s with a hybrid key, for a round trip with a token.
    ///
    /// # Errors
    /// Returns a [`StoreError`] of the kind `Missing` if `key` is not among the [keys in
    /// use](Self::verifying_keys), and of another kind if the store fails.
    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Seals a value for the configuration file.
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

    /// Returns whether the node also sends requests in the bare form of old peers.
    fn legacy_requests(&self) -> bool;
}

/// Holds a producer's ratchet.
pub trait RatchetStore: Debug + Send {
    /// Returns whether a restart continues with the next step. If not, each start uses another ratchet, and
    /// retained keys are only kept in memory.
    fn is_durable(&self) -> bool {
        true
    }

    /// Takes the next step: reads the ratchet, stores its successor durably, and only then returns the step.
    ///
    /// This is one operation under an exclusive lock: no step is ever returned twice, even after a crash.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the ratchet cannot be read or stored, or has no step left; no step is used then.
    fn step(&mut self) -> Result<Step, StoreError>;
}

/// Keeps the keys that a producer retains for late consumers, between runs.
pub trait RetainedKeysArchive: Debug + Send {
    /// Stores the keys, and the index of the latest step that was used, durably before it returns. They take the place of
    /// those stored before; without an index, the one stored before stays.
    ///
    /// # Errors
    /// [`StoreError`]; the keys must then not be used.
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError>;
}

/// Keeps changes of a node's lists and chains between runs.
pub trait TrustArchive: Debug + Send {
    /// Stores an entry of a list durably before it returns. An entry that is stored already is stored once.
    ///
    /// # Errors
    /// [`StoreError`]; the entry is in force all the same, until the node closes.
    fn add_entry(&mut self, list: TrustList, entry: &TrustEntry) -> Result<(), StoreError>;

    /// Stores the chain of the node's signing key with this index, counted from 0, durably before it returns. It takes
    /// the place of the chain that the key had.
    ///
    /// # Errors
    /// [`StoreError`]; the chain is in use all the same, until the node closes.
    fn replace_chain(&mut self, index: usize, chain: &[u8]) -> Result<(), StoreError>;
}

/// Keeps the keys that a chain server renews chains for.
pub trait ChainKeyArchive: Debug + Send + Sync {
    /// Returns the keys as they are stored now, by name; keys may be added while the server runs.
    ///
    /// # Errors
    /// [`StoreError`].
    fn load(&self) -> Result<Vec<(String, ChainKey)>, StoreError>;

    /// Stores a renewed key under its name, in place of the one stored before, durably before it returns.
    ///
    /// # Errors
    /// [`StoreError`].
    fn store(&self, name: &str, key: &ChainKey) -> Result<(), StoreError>;
}
