use std::time::Duration;

use actix::Message;
use kc_core::exchange::{MissingKeys, ReceivedKeys};
use kc_core::ratchet::Giver;
use kc_core::types::{KeyId, RootTopic};
use thiserror::Error;

use super::RatchetError;
use crate::slot::SlotClosed;

/// Why a root topic cannot be sealed for.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The ratchet gave no key.
    #[error(transparent)]
    Ratchet(#[from] RatchetError),
    /// The node is closed.
    #[error("the node is closed")]
    Closed(#[from] SlotClosed),
}

/// Makes the key of a root topic ready, so that handles can seal for it without waiting.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), PrepareError>")]
pub struct PrepareRoot {
    /// The root topic.
    pub root_topic: RootTopic,
}

/// Turns the ratchet now, and seals with the new keys from then on. Gives the number of root topics that have one.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<usize, PrepareError>")]
pub struct Rotate;

/// Hands over keys that came through the exchange.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReceivedOpeningKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The keys.
    pub keys: ReceivedKeys,
    /// Who gave them; nobody if they are this node's own.
    pub giver: Option<Giver>,
}

/// Says why keys are not there, for all root topics that await some.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AwaitedKeys(pub Vec<MissingKeys>);

/// Waits until a key is there, at most so long; says whether it is.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct AwaitKey {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The key.
    pub id: KeyId,
    /// How long to wait.
    pub wait: Duration,
}
