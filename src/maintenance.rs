//! A node's keys while it does not run: what they are, changing and moving them, signing with them.

use std::sync::Arc;

use kc_core::keys::VerifyingKey;
use kc_core::store::KeyStore;
use kc_core::store::config::{NodeConfig, NodeRole};
use kc_keystore_file::{
    FileConfigStore, NodeFiles, NodeLock, SearchPlaces, find_node, read_config,
};

use crate::keystores::Keystores;

pub use crate::keystores::{
    KeyChanges, NodePin, StoredKeys, change_keys, remember_unused, unused_index,
};
#[cfg(feature = "hsm")]
pub use crate::keystores::{
    LeftFile, Moved, NewTokenKeys, SameId, TokenKeys, move_to_token, renew_ratchet, rotate_opaque,
    undo_move,
};
pub use crate::open_error::OpenError;

/// A node of which nothing runs, locked so that nothing does: to sign with its keys.
#[derive(Debug)]
pub struct LockedNode {
    locked: LockedFiles,
    keys: Box<dyn KeyStore>,
}

impl LockedNode {
    /// Locks a node, found as by [`Node::open`](crate::Node::open), and opens its keys. `pin` says
    /// where that of the token comes from, if not from where the configuration says.
    ///
    /// # Errors
    /// [`OpenError`], also if another process has the node open.
    pub fn open(node: &str, pin: Option<&NodePin>) -> Result<Self, OpenError> {
        let locked = LockedFiles::open(node)?;
        let keys = locked.keystores(pin).keys(None)?;
        Ok(Self { locked, keys })
    }

    /// Where the node's files are.
    #[must_use]
    pub fn files(&self) -> &NodeFiles {
        &self.locked.files
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.locked.config
    }

    /// The node's keys, those that its configuration does not use, too: what was stolen is revoked whether it is
    /// in use or not.
    #[must_use]
    pub fn keys(&self) -> &dyn KeyStore {
        self.keys.as_ref()
    }
}

/// The public halves of a node's signing keys, of those that its configuration does not use, too. Takes no
/// lock: the node may be running.
///
/// # Errors
/// [`OpenError`].
pub fn signing_keys_of(node: &str) -> Result<Vec<VerifyingKey>, OpenError> {
    let files = find_node(node, &SearchPlaces::from_environment())?;
    let config = read_config(&files.config())?;
    Ok(StoredKeys::of(&config, &files)?.signing)
}

/// A node's files while no other process may have them.
#[derive(Debug)]
pub(crate) struct LockedFiles {
    pub(crate) files: NodeFiles,
    pub(crate) lock: Arc<NodeLock>,
    pub(crate) store: FileConfigStore,
    /// The configuration as it was when they had been locked.
    pub(crate) config: Arc<NodeConfig>,
}

impl LockedFiles {
    /// Locks those of a node, found as by [`Node::open`](crate::Node::open).
    pub(crate) fn open(node: &str) -> Result<Self, OpenError> {
        Self::open_as(node, NodeRole::Node)
    }

    /// As [`open`](Self::open); entries that old versions wrote for such a node are moved to where they belong now.
    pub(crate) fn open_as(node: &str, role: NodeRole) -> Result<Self, OpenError> {
        let files = find_node(node, &SearchPlaces::from_environment())?;
        let lock = Arc::new(NodeLock::acquire(&files)?);
        let store = FileConfigStore::new(Arc::clone(&lock));
        Ok(Self {
            config: Arc::new(store.migrated(role)?),
            files,
            lock,
            store,
        })
    }

    /// The stores of its keys; `pin` says where that of the token comes from, if not from where the configuration says.
    pub(crate) fn keystores<'n>(&'n self, pin: Option<&'n NodePin>) -> Keystores<'n> {
        Keystores {
            config: &self.config,
            lock: &self.lock,
            pin,
        }
    }
}
