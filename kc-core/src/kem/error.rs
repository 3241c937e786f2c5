use thiserror::Error;

use super::Suite;
use crate::keys::KeyError;

/// Why a key exchange failed. Always the fault of who sent the other side's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KemError {
    /// The two sides' keys are of different suites.
    #[error("key of {found:?} where {expected:?} is due")]
    SuiteMismatch {
        /// The suite of our key.
        expected: Suite,
        /// The suite of the other side's key.
        found: Suite,
    },
    /// The secret key has encapsulated before; it answers one key only.
    #[error("the secret key is used up")]
    UsedUp,
    /// The X25519 result is all zeros: a point of low order was sent.
    #[error("X25519 key of low order")]
    LowOrder,
    /// The post-quantum public key is not one that key generation gives (FIPS 203 §7.2).
    #[error("invalid {0:?} encapsulation key")]
    InvalidKey(Suite),
    /// The key is malformed.
    #[error(transparent)]
    Key(#[from] KeyError),
}
