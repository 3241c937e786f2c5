use std::time::Duration;

use super::Refusal;
use crate::backend::BackendError;
use crate::chain::{ChainError, ValidatedChain};
use crate::keys::VerifyingKey;
use crate::types::{KeyId, RootTopic, SideTopic};

/// A node whose chain was validated, by its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The key that it signs with.
    pub key: VerifyingKey,
    /// The root of trust that its chain begins with.
    pub root: VerifyingKey,
}

impl Party {
    /// Who signed the last certificate of a chain.
    #[must_use]
    pub fn of(chain: &ValidatedChain) -> Option<Self> {
        Some(Self {
            key: chain.path().last()?.clone(),
            root: chain.root()?.clone(),
        })
    }
}

/// Who sent what was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A node whose chain was validated.
    Verified(Party),
    /// The key that the record names; nothing has verified it.
    Claimed(VerifyingKey),
    /// The record names none.
    Unknown,
}

/// Why a key is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// It is being asked for.
    Asking,
    /// This node's chain does not grant it the topic, so nobody may give it the key.
    NotAuthorized,
    /// This node's chain has expired, so nobody may give it the key.
    Expired,
    /// Nobody has given it since it was first asked for, [`UNANSWERED_AFTER`](super::UNANSWERED_AFTER) ago. Asking
    /// goes on.
    Unanswered,
}

/// Why the keys of a root topic are not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// Why none of them can come, if that is this node's own fault.
    pub own: Option<Missing>,
    /// Those that are unanswered.
    pub unanswered: Vec<KeyId>,
}

/// What happened in an exchange.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExchangeEvent {
    /// A request for keys was sent.
    Requested {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
        /// Whether it went to producers directly, not only to controllers.
        direct: bool,
    },
    /// A signed request could not be sent; it is tried again.
    NotSent {
        /// The root topic.
        root_topic: RootTopic,
        /// Why, if the Kafka client said so.
        error: Option<BackendError>,
    },
    /// Keys came in.
    Received {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
        /// Who gave them.
        giver: Party,
        /// The time since they were requested.
        after: Duration,
    },
    /// Keys were handed out.
    Answered {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
        /// Who got them.
        requester: Party,
    },
    /// A controller vouched for a request.
    Forwarded {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys that it asks for.
        ids: Vec<KeyId>,
        /// Who asked.
        requester: Party,
    },
    /// A record of a side topic was refused.
    Refused {
        /// The root topic.
        root_topic: RootTopic,
        /// Which of its side topics.
        side: SideTopic,
        /// Who sent it.
        sender: Sender,
        /// Why.
        refusal: Refusal,
        /// How often this topic and check have refused since they were last reported, if this is to be reported.
        report: Option<u64>,
    },
    /// Nobody answers for these keys; asking goes on.
    Unanswered {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
    },
    /// This node cannot ask or answer: its own chain is not valid.
    NoValidChain {
        /// Why.
        error: ChainError,
        /// How often since this was last reported, if it is to be reported.
        report: Option<u64>,
    },
    /// A side topic cannot be read; it is tried again.
    NotRead {
        /// The root topic.
        root_topic: RootTopic,
        /// Which of its side topics.
        side: SideTopic,
        /// Why, if the Kafka client said so.
        error: Option<BackendError>,
    },
    /// A bound kept something out.
    BoundHit,
}
