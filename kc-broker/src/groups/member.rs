//! One member of a consumer group, its requests and their answers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

/// Names an answer that a group owes; the group's owner knows who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// An answer that the member waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Nothing,
    Join(Ticket),
    Sync(Ticket),
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// Names and subscriptions, the one preferred first; never empty.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(super) waiting: Waiting,
    /// When the member is taken for dead unless it is heard of or waits for an answer.
    pub(super) expires: Instant,
}

impl Member {
    /// The subscription for a protocol; empty if the member does not know it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|(name, _)| name == protocol);
        known.map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(super) fn heard_of(&mut self, now: Instant) {
        self.expires = now + self.session_timeout;
    }
}

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
