use thiserror::Error;

use super::Foreign;
use crate::types::KeyId;

/// What came of opening a Kafka key or value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// The plaintext.
    Plaintext(Vec<u8>),
    /// There is none.
    Unopened(Unopened),
}

/// Why a component did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unopened {
    /// Its key is not known, yet.
    #[error("awaiting key {0}")]
    AwaitingKey(KeyId),
    /// Keys with its id are known, and none opens it: altered, or sealed by another producer who uses
    /// the same id.
    #[error("not authentic under key {0}")]
    Unauthentic(KeyId),
    /// It is no envelope.
    #[error("foreign: {0}")]
    Foreign(#[from] Foreign),
}

impl Opened {
    /// The plaintext, or why there is none.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn into_plaintext(self) -> Result<Vec<u8>, Unopened> {
        match self {
            Self::Plaintext(plaintext) => Ok(plaintext),
            Self::Unopened(why) => Err(why),
        }
    }
}

impl Unopened {
    /// Whether a key that arrives later may open it: what the peers call *possibly decryptable*.
    #[must_use]
    pub fn may_open_later(&self) -> bool {
        !matches!(self, Self::Foreign(_))
    }
}
