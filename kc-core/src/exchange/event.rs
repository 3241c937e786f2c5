use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::backend::BackendError;
use crate::chain::{ChainError, Check, UpdateCheck, UpdateError, ValidatedChain};
use crate::kem::KemError;
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

/// Why a request or a reply is refused. Except for [`Refusal::OwnChain`], the fault of its sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender's chain does not grant what the message needs.
    #[error("sender's chain: {0}")]
    Chain(#[from] ChainError),
    /// The list of key ids is malformed, or too long.
    #[error("malformed list of key ids")]
    KeyIds,
    /// The last certificate of a request or reply lacks what it must carry.
    #[error("malformed request or reply: {0}")]
    Layout(&'static str),
    /// A reply to something that was not asked, or that has been answered.
    #[error("reply to no outstanding request")]
    NotOutstanding,
    /// No key-exchange key in common.
    #[error("no key exchange in common")]
    NoCommonSuite,
    /// The sender's key-exchange key is invalid.
    #[error("key exchange failed: {0}")]
    Exchange(#[from] KemError),
    /// The reply's box opens under none of its keys.
    #[error("the box of keys does not open")]
    Box,
    /// The box does not hold key ids, each once, with secrets of 32 bytes.
    #[error("malformed keys: {0}")]
    Keys(&'static str),
    /// A reply names none of the wanted keys.
    #[error("no wanted key in the reply")]
    Unwanted,
    /// The request has been answered before.
    #[error("request answered before")]
    Replay,
    /// This node has no valid chain of its own to answer or ask with.
    #[error("this node's own chain: {0}")]
    OwnChain(ChainError),
}

/// The number of a step that handles a request or a reply, beside those of chain validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ExchangeCheck {
    /// X01: the Kafka key lists key ids.
    KeyIds,
    /// X02: the last certificate carries what it must.
    Layout,
    /// X03: the reply answers an outstanding request.
    NotOutstanding,
    /// X04: both sides have a key exchange in common.
    NoCommonSuite,
    /// X05: the key exchange succeeds.
    Exchange,
    /// X06: the box of keys opens.
    Box,
    /// X07: the keys are well-formed.
    Keys,
    /// X08: the reply names a wanted key.
    Unwanted,
    /// X09: the request is new.
    Replay,
    /// X10: this node's own chain is valid.
    OwnChain,
}

/// The number of any check that can refuse: `C01`... of chains, `X01`... of the exchange, `M01`... of
/// updates of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RefusalId {
    /// A step of chain validation.
    Chain(Check),
    /// A step of the exchange.
    Exchange(ExchangeCheck),
    /// A step that looks at an update of trust.
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
    /// The check that refused.
    #[must_use]
    pub fn id(&self) -> RefusalId {
        RefusalId::Exchange(match self {
            Self::Chain(error) => return error.into(),
            Self::KeyIds => ExchangeCheck::KeyIds,
            Self::Layout(_) => ExchangeCheck::Layout,
            Self::NotOutstanding => ExchangeCheck::NotOutstanding,
            Self::NoCommonSuite => ExchangeCheck::NoCommonSuite,
            Self::Exchange(_) => ExchangeCheck::Exchange,
            Self::Box => ExchangeCheck::Box,
            Self::Keys(_) => ExchangeCheck::Keys,
            Self::Unwanted => ExchangeCheck::Unwanted,
            Self::Replay => ExchangeCheck::Replay,
            Self::OwnChain(_) => ExchangeCheck::OwnChain,
        })
    }
}
