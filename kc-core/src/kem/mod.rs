//! Key exchange (protocol §5): X25519 alone, or together with a post-quantum KEM.
//!
//! A requester offers an [`EncapsulationKey`] and keeps the [`DecapsulationKey`]. A replier
//! [encapsulates](EncapsulationKey::encapsulate) to it and sends the [`Encapsulation`] back. Both then hold the
//! same shared secret. [`sealed`] uses the same keys to seal a value for a recipient that is not online.

mod primitives;
mod public;
pub mod sealed;
mod secret;

use thiserror::Error;

use crate::keys::KeyError;

use self::primitives::{ml_kem, sntrup761};
pub use public::{Encapsulation, EncapsulationKey, PublicKey};
pub use secret::DecapsulationKey;
#[cfg(feature = "vectors")]
pub use secret::{CompletedKey, SecretKey};

/// A reason why a key exchange failed. The cause of [`UsedUp`](Self::UsedUp) is this side's key. The cause of all
/// other errors is the key that the other side sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KemError {
    /// The two sides' keys are of different suites.
    #[error("the other side's key is of the suite {found:?} instead of {expected:?}")]
    SuiteMismatch {
        /// The suite of this side's key.
        expected: Suite,
        /// The suite of the other side's key.
        found: Suite,
    },
    /// This side's secret key was already used for an encapsulation. After that, a secret key of a post-quantum suite
    /// must not be used again.
    #[error("the secret key was already used for an encapsulation, and must not be used again")]
    UsedUp,
    /// The X25519 result is all zeros: the other side sent a point of low order.
    #[error("the other side's X25519 key is a point of low order")]
    LowOrder,
    /// The post-quantum part of the other side's key cannot be read, or fails the check of FIPS 203 §7.2 (ML-KEM).
    #[error("the other side's {0:?} encapsulation key is invalid")]
    InvalidKey(Suite),
    /// The other side's key is malformed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The algorithms of an exchange. X25519 is always one of them, so that a broken KEM does not weaken the exchange
/// below X25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    /// X25519 (RFC 7748) alone. Requesters' keys and replies have the version 1.
    X25519,
    /// X25519 and Streamlined NTRU Prime 761. Requesters' keys have the version 2, and replies have the version 3.
    Sntrup761,
    /// X25519 and ML-KEM-1024 (FIPS 203). Requesters' keys have the version 5, and replies have the version 6.
    MlKem1024,
}

impl Suite {
    /// All suites, in the order of preference of new nodes.
    pub const ALL: [Self; 3] = [Self::MlKem1024, Self::Sntrup761, Self::X25519];

    /// Returns the version number of a requester's key: 1, 2 or 5.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Self::X25519 => 1,
            Self::Sntrup761 => 2,
            Self::MlKem1024 => 5,
        }
    }

    /// Returns the version number of a reply: 1, 3 or 6.
    #[must_use]
    fn reply_version(self) -> u8 {
        match self {
            Self::X25519 => 1,
            Self::Sntrup761 => 3,
            Self::MlKem1024 => 6,
        }
    }

    /// Returns the suites of a list without repetitions, in the order of their first occurrence.
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

    /// Returns the suite of a requester's key with this version number, or `None` for any other number.
    #[must_use]
    pub fn from_version(version: i128) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| i128::from(suite.version()) == version)
    }

    /// Returns the suite of a reply with this version number, or `None` for any other number.
    #[must_use]
    fn from_reply_version(version: i128) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| i128::from(suite.reply_version()) == version)
    }

    /// Returns the length of the KEM's public key: 0, 1158 or 1568 bytes.
    fn public_len(self) -> usize {
        match self {
            Self::X25519 => 0,
            Self::Sntrup761 => sntrup761::PUBLIC_LEN,
            Self::MlKem1024 => ml_kem::PUBLIC_LEN,
        }
    }

    /// Returns the length of the KEM's ciphertext: 0, 1039 or 1568 bytes.
    fn ciphertext_len(self) -> usize {
        match self {
            Self::X25519 => 0,
            Self::Sntrup761 => sntrup761::CIPHERTEXT_LEN,
            Self::MlKem1024 => ml_kem::CIPHERTEXT_LEN,
        }
    }
}

#[cfg(test)]
mod tests;
