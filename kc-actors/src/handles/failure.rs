use kc_core::exchange::Missing;
use kc_core::message::Foreign;
use kc_core::types::KeyId;
use thiserror::Error;

/// Why a Kafka key or value was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenFailure {
    /// Its key is not here.
    #[error("key {id} is not here: {why}")]
    AwaitingKey {
        /// The key.
        id: KeyId,
        /// Why it is not here.
        why: Awaiting,
    },
    /// Keys with its id are known, and none opens it. Worth another try only when another key with the
    /// same id arrives.
    #[error("not authentic under key {id}")]
    Unauthentic {
        /// The id.
        id: KeyId,
        /// Says whether another key with this id may still come: it may while this is
        /// [`NotYet`](Awaiting::NotYet).
        why: Awaiting,
    },
    /// Only nodes that are denied now gave its key, and no other node gives it: see `denied_keys : keep` for how to
    /// read history.
    #[error("only denied nodes gave key {id}")]
    Denied {
        /// The key.
        id: KeyId,
    },
    /// It is no envelope, and never decryptable.
    #[error("{0}")]
    Foreign(Foreign),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}

/// Why a key is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Awaiting {
    /// It is being asked for.
    #[error("asking for the key")]
    NotYet,
    /// This node's chain does not grant it the topic, so no node may give it the key.
    #[error("this node is not authorised for the topic")]
    NotAuthorized,
    /// This node's chain has expired, so no node may give it the key.
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

impl OpenFailure {
    /// Returns a short name for logs and scripts: `awaiting-key`, `unauthentic`, `denied`, `foreign`, `closed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AwaitingKey { .. } => "awaiting-key",
            Self::Unauthentic { .. } => "unauthentic",
            Self::Denied { .. } => "denied",
            Self::Foreign(_) => "foreign",
            Self::Closed => "closed",
        }
    }

    /// Returns whether a key that opens it may still come, without anything being done here.
    #[must_use]
    pub fn may_still_open(&self) -> bool {
        match self {
            Self::AwaitingKey { .. } => true,
            Self::Unauthentic { why, .. } => *why == Awaiting::NotYet,
            _ => false,
        }
    }
}
