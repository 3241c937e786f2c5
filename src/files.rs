use std::sync::Arc;

use kc_core::store::config::{NodeConfig, NodeRole};
use kc_keystore_file::{FileConfigStore, NodeFiles, NodeLock, SearchPlaces, find_node};

use crate::keystores::{Keystores, NodePin};
use crate::open_error::OpenError;

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
