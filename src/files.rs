use std::sync::Arc;

use kc_core::secret::SecretText;
use kc_core::store::config::{ConfigStore, NodeConfig};
use kc_keystore_file::{FileConfigStore, NodeFiles, NodeLock, SearchPlaces, find_node};

use crate::error::OpenError;
use crate::keystores::Keystores;

/// A node's files while no other process may have them.
#[derive(Debug)]
pub(crate) struct LockedFiles {
    pub(crate) files: NodeFiles,
    pub(crate) lock: Arc<NodeLock>,
    pub(crate) store: FileConfigStore,
    /// The configuration as it was when they were locked.
    pub(crate) config: NodeConfig,
}

impl LockedFiles {
    /// Locks those of a node, found as by [`NodeOptions::new`](crate::NodeOptions::new).
    pub(crate) fn open(node: &str) -> Result<Self, OpenError> {
        let files = find_node(node, &SearchPlaces::from_environment())?;
        let lock = Arc::new(NodeLock::acquire(&files)?);
        let store = FileConfigStore::new(Arc::clone(&lock));
        Ok(Self {
            config: store.load()?,
            files,
            lock,
            store,
        })
    }

    /// The stores of its keys; `pin` is that of the token, if a person was asked for it.
    pub(crate) fn keystores<'n>(&'n self, pin: Option<&'n SecretText>) -> Keystores<'n> {
        Keystores {
            config: &self.config,
            lock: &self.lock,
            pin,
        }
    }
}
