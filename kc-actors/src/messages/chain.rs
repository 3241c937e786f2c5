use actix::Message;
use kc_core::chain::{ChainError, Usage, ValidIdentity, ValidatedChain};
use kc_core::ratchet::Giver;
use kc_core::types::RootTopic;

/// Asks whether a chain, as received, is valid now for a root topic and a usage.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<ValidatedChain, ChainError>")]
pub struct ValidateChain {
    /// The chain's bytes.
    pub chain: Vec<u8>,
    /// The root topic that must be granted.
    pub root_topic: RootTopic,
    /// The usage that must be granted.
    pub usage: Usage,
}

/// Asks whether any of the node's own chains grants a usage for a root topic now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), ChainError>")]
pub struct OwnGrant {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The usages; one of them is enough.
    pub usages: Vec<Usage>,
}

/// Asks which of these givers of keys the lists deny: for each, whether they do.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<bool>")]
pub struct JudgeGivers(pub Vec<Giver>);

/// Asks which of the node's own identities have a valid chain now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<ValidIdentity>, ChainError>")]
pub struct OwnIdentities;
