use std::sync::Arc;

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
    pub root: RootTopic,
}

/// Turns the ratchet, and gives the new keys of all root topics in use.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<(RootTopic, Arc<SealingKey>)>, RatchetError>")]
pub struct TurnRatchet;

/// Asks for the root topics of all keys that are kept here, each as often as it has keys.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<RootTopic>")]
pub struct HeldRoots;

/// Asks which of these keys of a root topic are kept here.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(KeyId, TopicSecret)>")]
pub struct HeldKeys {
    /// The root topic.
    pub root: RootTopic,
    /// The keys.
    pub ids: Vec<KeyId>,
}
