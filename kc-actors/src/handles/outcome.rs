use kc_core::exchange::Missing;
use kc_core::message::Foreign;
use kc_core::types::KeyId;
use thiserror::Error;

/// What came of opening a Kafka key or value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Outcome {
    /// The plaintext.
    Plaintext(Vec<u8>),
    /// Its key is not here.
    AwaitingKey {
        /// The key.
        id: KeyId,
        /// Why it is not.
        why: Awaiting,
    },
    /// Keys with its id are known, and none opens it. Worth another try only when another key with the
    /// same id arrives.
    Unauthentic {
        /// The id.
        id: KeyId,
        /// Whether another key with this id may still come: it may while this is
        /// [`NotYet`](Awaiting::NotYet).
        why: Awaiting,
    },
    /// Only nodes that are denied now gave its key, and nobody else does: see `denied_keys : keep` for how to read
    /// history.
    Denied {
        /// The key.
        id: KeyId,
    },
    /// It is no envelope, and never decryptable.
    Foreign(Foreign),
    /// The node is closed.
    Closed,
}

/// Why a key is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Awaiting {
    /// It is being asked for.
    #[error("asking for the key")]
    NotYet,
    /// This node's chain does not grant it the topic, so nobody may give it the key.
    #[error("this node is not authorised for the topic")]
    NotAuthorized,
    /// This node's chain has expired, so nobody may give it the key.
    #[error("this node's chain has expired")]
    Expired,
    /// Requests for it have had no answer for 20 s: no producer with this key is running, or none accepts this node's
    /// root of trust. Asking goes on.
    #[error("no producer answers")]
    Unanswered,
}

impl From<Missing> for Awaiting {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::NotAuthorized => Self::NotAuthorized,
            Missing::Expired => Self::Expired,
            Missing::Unanswered => Self::Unanswered,
            _ => Self::NotYet,
        }
    }
}

impl Outcome {
    /// The plaintext, or why there is none.
    ///
    /// # Errors
    /// The outcome itself, if it is no plaintext.
    pub fn into_plaintext(self) -> Result<Vec<u8>, Self> {
        match self {
            Self::Plaintext(plaintext) => Ok(plaintext),
            other => Err(other),
        }
    }

    /// A short name for logs and scripts: `plaintext`, `awaiting-key`, `unauthentic`, `denied`,
    /// `foreign`, `closed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plaintext(_) => "plaintext",
            Self::AwaitingKey { .. } => "awaiting-key",
            Self::Unauthentic { .. } => "unauthentic",
            Self::Denied { .. } => "denied",
            Self::Foreign(_) => "foreign",
            Self::Closed => "closed",
        }
    }
}
