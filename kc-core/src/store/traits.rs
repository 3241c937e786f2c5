use std::fmt::Debug;

use super::StoreError;
use crate::kem::Suite;
use crate::keys::VerifyingKey;
use crate::ratchet::Step;
use crate::secret::SecretVec;

/// Holds a node's signing keys and its opaque key, and uses them. Keys never leave it.
pub trait KeyStore: Debug + Send + Sync {
    /// The public halves of the signing keys in use, in order.
    fn verifying_keys(&self) -> Vec<VerifyingKey>;

    /// Signs with one of these keys: the signature, then the message (protocol §5). May take long:
    /// 0.1 s for a hybrid key, a round trip for a token.
    ///
    /// # Errors
    /// [`StoreError`]; `Missing` for a key that is none of these.
    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Seals a value for the configuration file.
    ///
    /// # Errors
    /// [`StoreError`].
    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Opens a value sealed by [`wrap_opaque`](Self::wrap_opaque).
    ///
    /// # Errors
    /// [`StoreError`]; `Unauthentic` if it was sealed by another key or altered.
    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError>;

    /// The key exchanges that the node offers and accepts, in order of preference.
    fn suites(&self) -> Vec<Suite>;

    /// Whether requests go out in the bare form of old peers, too.
    fn legacy_requests(&self) -> bool;
}

/// Holds a producer's ratchet.
pub trait RatchetStore: Debug + Send {
    /// Returns whether the next start goes on where this one stopped. If not, each start begins elsewhere, and retained keys
    /// are kept in memory alone.
    fn is_durable(&self) -> bool {
        true
    }

    /// Takes the next step: reads the ratchet, stores its successor durably, and only then gives the
    /// step out. One operation, under an exclusive lock: no step is ever given out twice, whatever
    /// crashes.
    ///
    /// # Errors
    /// [`StoreError`]; the step is then not used.
    fn step(&mut self) -> Result<Step, StoreError>;
}
