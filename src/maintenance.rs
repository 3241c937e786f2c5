//! A node's keys while it does not run: what they are, changing and moving them, signing with them.

pub use crate::keystores::{
    KeyChanges, NodePin, StoredKeys, change_keys, remember_unused, unused_index,
};
#[cfg(feature = "hsm")]
pub use crate::keystores::{
    LeftFile, Moved, NewTokenKeys, SameId, TokenKeys, move_to_token, renew_ratchet, rotate_opaque,
    undo_move,
};
pub use crate::locked::{LockedNode, signing_keys_of};
pub use crate::open_error::OpenError;
