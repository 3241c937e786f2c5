use kc_core::exchange::Missing;
use kc_core::message::Foreign;
use kc_core::types::KeyId;
use thiserror::Error;

/// The reason why a Kafka key or value was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenFailure {
    /// The data key is missing.
    #[error("data key {id} is missing: {why}")]
    AwaitingKey {
        /// The id of the data key.
        id: KeyId,
        /// The reason why the data key is missing.
        why: Awaiting,
    },
    /// Data keys with this id are known, but none of them opens the message. Trying again can succeed only after
    /// another data key with the same id has arrived.
    #[error("the message is not authentic under data key {id}")]
    Unauthentic {
        /// The id of the data keys.
        id: KeyId,
        /// The reason why no other data key with this id has arrived. Another data key may still arrive if the reason
        /// is [`NotYet`](Awaiting::NotYet).
        why: Awaiting,
    },
    /// Only denied nodes have sent the data key, so this node dropped the data key. No other node has sent it in time.
    /// With the setting `denied_keys : keep`, a node keeps such data keys.
    #[error("only denied nodes have sent data key {id}")]
    Denied {
        /// The id of the data key.
        id: KeyId,
    },
    /// The bytes are not an envelope, and can never be opened.
    #[error("{0}")]
    Foreign(Foreign),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}

/// The reason why a data key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Awaiting {
    /// This node is asking for the data key.
    #[error("this node is asking for the key")]
    NotYet,
    /// This node has no valid chain that grants the right to read the topic. Other nodes do not send the data key to
    /// this node.
    #[error("this node is not authorised for the topic")]
    NotAuthorized,
    /// The chain of this node has expired. Other nodes do not send the data key to this node.
    #[error("this node's chain has expired")]
    Expired,
    /// No producer has sent the data key within 20 s of the first request, or within three request intervals
    /// (`crypto_sub_interval`) if these are shorter.
    /// Possibly no producer that has the data key is running, or the running producers do not accept the root of trust
    /// of this node. This node continues to ask.
    #[error("no producer has answered")]
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

    /// Returns the id of the data key that the message needs, or `None` if the message has none or the node is closed.
    #[must_use]
    pub fn key_id(&self) -> Option<&KeyId> {
        match self {
            Self::AwaitingKey { id, .. } | Self::Unauthentic { id, .. } | Self::Denied { id } => {
                Some(id)
            }
            Self::Foreign(_) | Self::Closed => None,
        }
    }

    /// Returns whether the message may be opened later: its data key, or another data key with the same id, may still
    /// arrive.
    #[must_use]
    pub fn may_still_open(&self) -> bool {
        match self {
            Self::AwaitingKey { .. } => true,
            Self::Unauthentic { why, .. } => *why == Awaiting::NotYet,
            _ => false,
        }
    }
}
