//! What a group is asked and what it answers.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use crate::groups::member::Ticket;

/// A member's wish to join, validated as to sizes and time-outs.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    /// Empty for a new member.
    pub(crate) member_id: String,
    /// The id for a new member.
    pub(crate) new_id: String,
    /// A new member is to join again with the id it is given.
    pub(crate) id_required: bool,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    Member {
        generation: i32,
        protocol_type: String,
        protocol: String,
        leader: String,
        member_id: String,
        /// Member ids, instance ids and subscriptions, for the leader only.
        members: Vec<(String, Option<String>, Bytes)>,
    },
    /// Join again with this member id.
    IdRequired(String),
}

/// The leader's assignment for one member.
pub(crate) type Assignment = (String, Bytes);

#[derive(Clone, Debug)]
pub(crate) struct SyncRequest {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    /// Checked if given.
    pub(crate) protocol_type: Option<String>,
    /// Checked if given.
    pub(crate) protocol: Option<String>,
    /// Of the leader only.
    pub(crate) assignments: Vec<Assignment>,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// An answer that became due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Join(Ticket, Result<Joined, ResponseError>),
    Sync(Ticket, Result<Synced, ResponseError>),
}
