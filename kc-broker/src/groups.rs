//! Consumer groups: the state machine of one group, its committed offsets, and all groups of the
//! broker.

mod group;
mod member;
mod offsets;
mod registry;

pub(crate) use group::{Assignment, Group, JoinRequest, Joined, SyncRequest, Synced};
pub(crate) use member::Member;
pub(crate) use offsets::Committed;
pub(crate) use registry::{DeleteError, Groups};
