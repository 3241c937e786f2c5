//! One member of a consumer group, its requests and their answers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

/// The number of a request that waits for its answer. The [`Reply`] to the request has the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// The request that a member has sent and that the broker has not answered yet, if there is one.
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
    /// The name and the subscription of each protocol of the member, in the member's order of preference. The list is
    /// never empty.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(super) waiting: Waiting,
    /// The end of the member's session. A request of the member extends the session. The session does not end while the
    /// member waits for an answer.
    pub(super) expires: Instant,
}

impl Member {
    /// Returns the member's subscription for a protocol. The result is empty if the member does not support this
    /// protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|(name, _)| name == protocol);
        known.map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Extends the member's session.
    pub(super) fn heard_of(&mut self, now: Instant) {
        self.expires = now + self.session_timeout;
    }
}

/// A member's request to join. Sizes and time-outs are already checked.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    /// The member's id; empty for a new member.
    pub(crate) member_id: String,
    /// The id that the member gets if it is new.
    pub(crate) new_id: String,
    /// True if a new member without an instance id must join again with the id that it gets.
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
        /// The member id, instance id and subscription of each member. Empty unless the answer is for the leader.
        members: Vec<(String, Option<String>, Bytes)>,
    },
    /// The member must join again with this id.
    IdRequired(String),
}

/// A member's id, and the assignment that the leader made for this member.
pub(crate) type Assignment = (String, Bytes);

#[derive(Clone, Debug)]
pub(crate) struct SyncRequest {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    /// If present, it must be the protocol type of the group.
    pub(crate) protocol_type: Option<String>,
    /// If present, it must be the protocol of the group.
    pub(crate) protocol: Option<String>,
    /// The assignments of all members. Only the leader sends them.
    pub(crate) assignments: Vec<Assignment>,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// An answer to a waiting request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Join(Ticket, Result<Joined, ResponseError>),
    Sync(Ticket, Result<Synced, ResponseError>),
}
