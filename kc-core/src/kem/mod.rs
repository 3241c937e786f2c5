//! Key exchange (protocol §5): X25519 alone, or with a post-quantum KEM beside it.
//!
//! A requester offers an [`EncapsulationKey`] and keeps the [`DecapsulationKey`]; a replier
//! [encapsulates](EncapsulationKey::encapsulate) to it and sends the [`Encapsulation`] back. Both then
//! hold the same shared secret. [`sealed`] uses the same keys to seal a value to somebody offline.

mod primitives;
mod public;
pub mod sealed;
mod secret;

use thiserror::Error;

use crate::keys::KeyError;

use self::primitives::{ml_kem, sntrup761};
pub use public::{Encapsulation, EncapsulationKey, PublicKey};
pub use secret::{CompletedKey, DecapsulationKey, SecretKey};

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

/// What an exchange is made of. X25519 is always part of it, so that a broken KEM costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    /// X25519 (RFC 7748) alone; version 1 both ways.
    X25519,
    /// X25519 and Streamlined NTRU Prime 761; version 2, reply 3.
    Sntrup761,
    /// X25519 and ML-KEM-1024 (FIPS 203); version 5, reply 6.
    MlKem1024,
}

impl Suite {
    /// All suites, in the order that new nodes prefer.
    pub const ALL: [Self; 3] = [Self::MlKem1024, Self::Sntrup761, Self::X25519];

    /// The version number of a requester's key: 1, 2 or 5.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Self::X25519 => 1,
            Self::Sntrup761 => 2,
            Self::MlKem1024 => 5,
        }
    }

    /// The version number of a reply: 1, 3 or 6.
    #[must_use]
    pub fn reply_version(self) -> u8 {
        match self {
            Self::X25519 => 1,
            Self::Sntrup761 => 3,
            Self::MlKem1024 => 6,
        }
    }

    /// The suites of a list, each where it stands first.
    #[must_use]
    pub fn each_once(suites: &[Self]) -> Vec<Self> {
        let mut once = Vec::new();
        for suite in suites {
            if !once.contains(suite) {
                once.push(*suite);
            }
        }
        once
    }

    /// The suite whose requester's key has this version number.
    #[must_use]
    pub fn from_version(version: i128) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| i128::from(suite.version()) == version)
    }

    /// The suite whose reply has this version number.
    #[must_use]
    pub fn from_reply_version(version: i128) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| i128::from(suite.reply_version()) == version)
    }

    /// Length in bytes of the KEM's public key: 0, 1158 or 1568.
    fn public_len(self) -> usize {
        match self {
            Self::X25519 => 0,
            Self::Sntrup761 => sntrup761::PUBLIC_LEN,
            Self::MlKem1024 => ml_kem::PUBLIC_LEN,
        }
    }

    /// Length in bytes of the KEM's ciphertext: 0, 1039 or 1568.
    fn ciphertext_len(self) -> usize {
        match self {
            Self::X25519 => 0,
            Self::Sntrup761 => sntrup761::CIPHERTEXT_LEN,
            Self::MlKem1024 => ml_kem::CIPHERTEXT_LEN,
        }
    }

    /// Length in bytes of the KEM's secret key: 0, 1763 or 3168.
    fn secret_len(self) -> usize {
        match self {
            Self::X25519 => 0,
            Self::Sntrup761 => sntrup761::SECRET_LEN,
            Self::MlKem1024 => ml_kem::SECRET_LEN,
        }
    }
}

#[cfg(test)]
mod tests;
