use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::backend::BackendError;
use crate::chain::{ChainError, Check, UpdateCheck, UpdateError, ValidatedChain};
use crate::kem::KemError;
use crate::keys::VerifyingKey;
use crate::types::{KeyId, RootTopic, SideTopic};

/// A node whose chain was validated, identified by two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The key that the node signs with.
    pub key: VerifyingKey,
    /// The root of trust at the start of the node's chain.
    pub root: VerifyingKey,
}

impl Party {
    /// Returns the node that signed the last certificate of a chain.
    #[must_use]
    pub fn of(chain: &ValidatedChain) -> Option<Self> {
        Some(Self {
            key: chain.signers().last()?.clone(),
            root: chain.root()?.clone(),
        })
    }
}

/// The sender of a refused record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A node with a validated chain.
    Verified(Party),
    /// The key that the record names as its signer. The signature has not been verified.
    Claimed(VerifyingKey),
    /// The record names no key.
    Unknown,
}

/// A reason why a key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// This node is asking for the key.
    Asking,
    /// This node has no valid chain that grants the topic, so no producer may send it the key.
    NotAuthorized,
    /// This node's chain has expired, so no producer may send it the key.
    Expired,
    /// No producer has sent the key in time: within [`UNANSWERED_AFTER`](super::UNANSWERED_AFTER) of the first request,
    /// or within three request intervals if these are shorter. This node continues to ask.
    Unanswered,
}

/// The reasons why keys of a root topic are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// If this node's own chain is at fault, the reason that concerns all keys of the root topic. Otherwise `None`.
    pub own: Option<Missing>,
    /// The keys that no producer has sent in time.
    pub unanswered: Vec<KeyId>,
}

/// An event of an exchange.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExchangeEvent {
    /// A request for keys was sent.
    Requested {
        /// The root topic.
        root_topic: RootTopic,
        /// The requested keys.
        ids: Vec<KeyId>,
        /// True if the request goes to producers and controllers, false if it goes only to controllers.
        direct: bool,
    },
    /// A signed request could not be sent. The exchange tries again.
    NotSent {
        /// The root topic.
        root_topic: RootTopic,
        /// The error of the Kafka client, or `None` if the job failed for another reason.
        error: Option<BackendError>,
    },
    /// Keys were received.
    Received {
        /// The root topic.
        root_topic: RootTopic,
        /// The received keys.
        ids: Vec<KeyId>,
        /// The node that sent the keys.
        giver: Party,
        /// The time from the request until now. It is zero if this node no longer remembers the request.
        after: Duration,
    },
    /// This node sent keys in reply to a request.
    Answered {
        /// The root topic.
        root_topic: RootTopic,
        /// The sent keys.
        ids: Vec<KeyId>,
        /// The node that signed the request: the requester itself, or the controller that forwarded the request.
        requester: Party,
    },
    /// This controller vouched for a request and forwarded it.
    Forwarded {
        /// The root topic.
        root_topic: RootTopic,
        /// The requested keys.
        ids: Vec<KeyId>,
        /// The node that sent the request.
        requester: Party,
    },
    /// A record of a side topic was refused.
    Refused {
        /// The root topic.
        root_topic: RootTopic,
        /// The side topic of the record.
        side: SideTopic,
        /// The sender of the record.
        sender: Sender,
        /// The reason.
        refusal: Refusal,
        /// The number of records of this topic that the same check has refused since the last report, or `None` if no
        /// report is due now.
        report: Option<u64>,
    },
    /// No producer has sent these keys in time. This node continues to ask.
    Unanswered {
        /// The root topic.
        root_topic: RootTopic,
        /// The missing keys.
        ids: Vec<KeyId>,
    },
    /// This node cannot ask or answer because none of its own chains is valid.
    NoValidChain {
        /// The reason why the last of these chains is not valid.
        error: ChainError,
        /// The number of times that this happened since the last report, or `None` if no report is due now.
        report: Option<u64>,
    },
    /// A side topic cannot be read. The exchange tries again.
    NotRead {
        /// The root topic.
        root_topic: RootTopic,
        /// The side topic.
        side: SideTopic,
        /// The error of the Kafka client, or `None` if the job failed for another reason.
        error: Option<BackendError>,
    },
    /// A limit was reached. Therefore a record of a side topic was dropped, or a missing data key was not requested.
    BoundHit,
}

/// A reason why a request or a reply is refused. The sender is at fault, or the lists or key exchanges of this node do
/// not match the sender's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The chain of the message is not valid, or does not grant the topic or the usage that the message requires.
    #[error("the sender's chain was refused: {0}{hint}", hint = .0.clock_hint())]
    Chain(#[from] ChainError),
    /// The list of key ids is malformed, or too long.
    #[error("the list of key ids is malformed or too long")]
    KeyIds,
    /// The last certificate of a request or reply lacks a required element.
    #[error("malformed request or reply: {0}")]
    Layout(&'static str),
    /// The two sides have no key exchange in common.
    #[error("the sender and this node have no key exchange in common")]
    NoCommonSuite,
    /// The sender's key-exchange key is invalid.
    #[error("key exchange failed: {0}")]
    Exchange(#[from] KemError),
    /// The box (the sealed data keys) of a reply does not open with any of the key-exchange keys in the reply.
    #[error("the sealed keys in the reply do not open")]
    Box,
    /// The box does not contain distinct key ids with secrets of 32 bytes each.
    #[error("malformed keys: {0}")]
    Keys(&'static str),
}

/// The number of a check of a request or a reply, in addition to those of chain validation.
///
/// No [`Refusal`] has the numbers X03, X08, X09 and X10. Messages that fail X03, X08 or X09 are part of normal
/// operation, and are ignored without a report. If X10 fails, the exchange reports [`ExchangeEvent::NoValidChain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ExchangeCheck {
    /// X01: the Kafka key is a list of key ids.
    KeyIds,
    /// X02: the last certificate carries the required elements.
    Layout,
    /// X03: the reply answers a request to which this node still accepts replies.
    NotOutstanding,
    /// X04: both sides have a key exchange in common.
    NoCommonSuite,
    /// X05: the key exchange succeeds.
    Exchange,
    /// X06: the box (the sealed data keys) opens.
    Box,
    /// X07: the keys are well-formed.
    Keys,
    /// X08: the reply contains a wanted key.
    Unwanted,
    /// X09: the request is new.
    Replay,
    /// X10: this node's own chain is valid.
    OwnChain,
}

/// The number of a check of any kind. The numbers of chain validation begin with `C` (`C01`), those of the exchange
/// with `X`, and those of updates of trust with `M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RefusalId {
    /// A check of chain validation.
    Chain(Check),
    /// A check of the exchange.
    Exchange(ExchangeCheck),
    /// A check of an update of trust.
    Update(UpdateCheck),
}

impl From<&ChainError> for RefusalId {
    fn from(error: &ChainError) -> Self {
        Self::Chain(error.check())
    }
}

impl From<&UpdateError> for RefusalId {
    fn from(error: &UpdateError) -> Self {
        match (error, error.check()) {
            (UpdateError::Chain(error), _) => error.into(),
            (_, check) => Self::Update(check.unwrap_or(UpdateCheck::Entry)),
        }
    }
}

impl ExchangeCheck {
    /// All checks, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::KeyIds,
        Self::Layout,
        Self::NotOutstanding,
        Self::NoCommonSuite,
        Self::Exchange,
        Self::Box,
        Self::Keys,
        Self::Unwanted,
        Self::Replay,
        Self::OwnChain,
    ];
}

impl fmt::Display for ExchangeCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X{:02}", *self as u8 + 1)
    }
}

impl fmt::Display for RefusalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(check) => check.fmt(f),
            Self::Exchange(check) => check.fmt(f),
            Self::Update(check) => check.fmt(f),
        }
    }
}

impl Refusal {
    /// Returns the check that refused the message.
    #[must_use]
    pub fn id(&self) -> RefusalId {
        RefusalId::Exchange(match self {
            Self::Chain(error) => return error.into(),
            Self::KeyIds => ExchangeCheck::KeyIds,
            Self::Layout(_) => ExchangeCheck::Layout,
            Self::NoCommonSuite => ExchangeCheck::NoCommonSuite,
            Self::Exchange(_) => ExchangeCheck::Exchange,
            Self::Box => ExchangeCheck::Box,
            Self::Keys(_) => ExchangeCheck::Keys,
        })
    }
}
