use std::collections::BTreeMap;
use std::time::Duration;

use actix::Message;
use kc_core::chain::ChainError;
use kc_core::exchange::RefusalId;
use kc_core::keys::VerifyingKey;
use kc_core::types::{ManagementTopic, Timestamp};

/// A record from a management topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementRecord {
    /// The topic.
    pub topic: ManagementTopic,
    /// The Kafka key; empty if there is none.
    pub kafka_key: Vec<u8>,
    /// The Kafka value.
    pub value: Vec<u8>,
}

/// Hands over what one poll of the management topics brought. When it is answered, what is to be taken is in
/// force, and stored if that was possible; the next poll may follow.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ManagementRecords(pub Vec<ManagementRecord>);

/// Lets chain validation do what is due: revocations wait to be verified, and chains end. Gives the time after which
/// to ask again.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Duration")]
pub struct TendTrust;

/// Asks whom the node trusts, and who it is itself.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "TrustStatus")]
pub struct AskTrust;

/// Whom a node trusts, and who it is itself.
#[derive(Clone, Debug, Default, PartialEq, actix::MessageResponse)]
pub struct TrustStatus {
    /// The roots of trust in force.
    pub roots: Vec<VerifyingKey>,
    /// How many entries the denylist has.
    pub denied: usize,
    /// How many keys denied themselves and are in use nowhere that this node has seen: beside the entries.
    pub self_denied: usize,
    /// How many messages of keys that deny themselves were dropped for want of room.
    pub dropped_revocations: u64,
    /// The node's own signing keys.
    pub identities: Vec<IdentityStatus>,
    /// How many updates were refused, by check.
    pub refused: BTreeMap<RefusalId, u64>,
}

/// A signing key of a node, and what its chain is worth now.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityStatus {
    /// The public half.
    pub key: VerifyingKey,
    /// When its chain ends, if it is valid; `None` if it does not end. Or why it is not valid.
    pub chain: Result<Option<Timestamp>, ChainError>,
}
