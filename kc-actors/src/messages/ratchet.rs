use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use kc_core::ratchet::{MAX_RETAINED_KEYS, SealingKey, TopicSecret};
use kc_core::store::StoreError;
use kc_core::types::{KeyId, RootTopic};
use thiserror::Error;

/// Why the ratchet gives no key.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// The node has no ratchet: it was not opened as a producer.
    #[error("this node has no ratchet")]
    NoRatchet,
    /// The ratchet could not be turned; nothing was used.
    #[error("the ratchet cannot be turned")]
    Ratchet(#[source] Arc<StoreError>),
    /// The key could not be stored for late consumers, so it is not used.
    #[error("the key cannot be stored for late consumers")]
    Archive(#[source] Arc<StoreError>),
    /// The node seals for as many root topics as it can keep keys of.
    #[error("the node seals for {MAX_RETAINED_KEYS} root topics already")]
    TooManyRoots,
}

/// Asks for the key that seals for a root topic. When the answer comes, the key is stored for late
/// consumers.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Arc<SealingKey>, RatchetError>")]
pub struct SealingKeyFor {
    /// The root topic.
    pub root_topic: RootTopic,
}

/// Turns the ratchet if it is to be turned.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Turned")]
pub struct TurnRatchet(pub TurnReason);

/// Why a ratchet may have to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnReason {
    /// It may be time.
    Due,
    /// A person asks for it.
    Requested,
    /// A key came onto the denylist.
    Denied {
        /// Whether it was in use, as far as this node has seen.
        in_use: bool,
    },
}

/// How turning a ratchet ended.
#[derive(Debug, actix::MessageResponse)]
pub struct Turned {
    /// The new keys of all root topics in use, stored for late consumers; none if it did not turn.
    pub keys: Result<Vec<(RootTopic, Arc<SealingKey>)>, RatchetError>,
    /// The time after which to ask whether it is due.
    pub next: Duration,
}

/// Asks for the root topics of all keys that are kept here, each as often as it has keys.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<RootTopic>")]
pub struct RetainedRoots;

/// Asks which of these keys of a root topic are kept here.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(KeyId, TopicSecret)>")]
pub struct RetainedKeysFor {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The keys.
    pub ids: Vec<KeyId>,
}
