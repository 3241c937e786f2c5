use std::collections::BTreeMap;

use actix::Message;
use kc_core::exchange::{MissingKeys, Party, RefusalId, Sender};
use kc_core::ratchet::Candidates;
use kc_core::types::{KeyId, RootTopic, SideTopic};

/// A record from a side topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRecord {
    /// The root topic.
    pub root_topic: RootTopic,
    /// Which of its side topics.
    pub side: SideTopic,
    /// The Kafka key.
    pub kafka_key: Vec<u8>,
    /// The Kafka value.
    pub value: Vec<u8>,
}

/// Hands over what one poll of the side topics brought. When it is answered, everything that the
/// records ask for is done, or cannot be done now and will be asked for again; the next poll may follow.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SideRecords(pub Vec<SideRecord>);

/// Says that a record needs a key.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct KeyWanted {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The key.
    pub id: KeyId,
    /// The keys with this id that are here and do not do.
    pub known: Candidates,
}

/// Says that this node seals for a root topic, whose requests are to be answered from now on: those that came
/// before are, too, and none is waited for.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ServeRoot {
    /// The root topic.
    pub root_topic: RootTopic,
}

/// Asks how the exchange stands.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ExchangeStatus")]
pub struct AskExchange;

/// How the exchange stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
pub struct ExchangeStatus {
    /// How many keys are wanted, by root topic.
    pub wanted: BTreeMap<RootTopic, usize>,
    /// Why keys are missing, for all root topics of which some are.
    pub missing: Vec<MissingKeys>,
    /// How often a wanted key could not be noted because a bound was hit.
    pub bounds_hit: u64,
    /// How many requests wait for their replies.
    pub outstanding: usize,
    /// How many requests have been answered.
    pub answered: u64,
    /// How many requests have been vouched for.
    pub forwarded: u64,
    /// How many requests and replies were refused, by check.
    pub refused: BTreeMap<RefusalId, u64>,
    /// Whose were refused of late, and why; at most 64.
    pub refusals: Vec<RefusedSender>,
    /// Who was given keys of late; at most 64.
    pub given: Vec<GivenKeys>,
}

/// A sender whose requests or replies were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSender {
    /// The root topic.
    pub root_topic: RootTopic,
    /// Which of its side topics.
    pub side: SideTopic,
    /// The sender.
    pub sender: Sender,
    /// The check that refused.
    pub check: RefusalId,
    /// How often.
    pub times: u64,
}

/// A node that was given keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The node.
    pub requester: Party,
    /// How many of its requests were answered.
    pub times: u64,
}
