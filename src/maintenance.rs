//! Maintenance of a node that does not run: reading, changing, moving and using its keys.

#[cfg(feature = "custody")]
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "custody")]
use kc_core::custody::CustodyArchive;
use kc_core::keys::VerifyingKey;
use kc_core::store::KeyStore;
use kc_core::store::config::{NodeConfig, NodeRole};
#[cfg(feature = "custody")]
use kc_core::store::{StoreError, StoreErrorKind};
#[cfg(feature = "custody")]
use kc_keystore_file::FileCustody;
use kc_keystore_file::{
    FileConfigStore, NodeFiles, NodeLock, SearchPlaces, find_node, read_config,
};

use crate::error::Error;
use crate::keystores::Keystores;

pub use crate::keystores::{
    KeyChanges, NodePin, StoredKeys, change_keys, remember_unused, unused_index,
};
#[cfg(feature = "hsm")]
pub use crate::keystores::{
    LeftFile, Moved, NewTokenKeys, SameId, TokenKeys, move_to_token, renew_ratchet, rotate_opaque,
    undo_move,
};
pub use crate::node::groups;
pub use crate::token_error::TokenError;

/// A node that is locked and does not run. Its keys can be used to sign.
#[derive(Debug)]
pub struct LockedNode {
    locked: LockedFiles,
    keys: Box<dyn KeyStore>,
}

impl LockedNode {
    /// Locks a node, and opens its keys. The node is found as [`Node::open`](crate::Node::open) finds it. `pin`
    /// overrides the source of the token's PIN that the configuration names.
    ///
    /// # Errors
    /// Returns [`Error`] if the node is not found, another process has it open, or its keys cannot be opened.
    pub fn open(node: &str, pin: Option<&NodePin>) -> Result<Self, Error> {
        let locked = LockedFiles::open(node)?;
        let keys = locked.keystores(pin).keys(None)?;
        Ok(Self { locked, keys })
    }

    /// Returns the paths of the node's files.
    #[must_use]
    pub fn files(&self) -> &NodeFiles {
        &self.locked.files
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.locked.config
    }

    /// Opens the store of the node's data keys of other nodes, in `folder` or in `<node>.custody`. The node stays locked
    /// as long as the store is open.
    ///
    /// # Errors
    /// Returns [`Error`] if the store does not exist or cannot be opened.
    #[cfg(feature = "custody")]
    pub fn into_custody(self, folder: Option<&Path>) -> Result<LockedCustody, Error> {
        let own = self.locked.files.custody();
        let folder = folder.unwrap_or(&own);
        if !FileCustody::exists(folder) {
            let context = format!("open the store of a custodian in {}", folder.display());
            return Err(StoreError::new(StoreErrorKind::Missing, context).into());
        }
        Ok(LockedCustody {
            archive: FileCustody::open(folder, Arc::from(self.keys))?,
            _locked: self.locked,
        })
    }

    /// Returns the keys of the node, including keys that its configuration does not use. A stolen key must be revoked
    /// even if it is not in use.
    #[must_use]
    pub fn keys(&self) -> &dyn KeyStore {
        self.keys.as_ref()
    }
}

/// The store of a custodian that is locked and does not run.
#[cfg(feature = "custody")]
#[derive(Debug)]
pub struct LockedCustody {
    /// Dropped before the lock is released.
    archive: FileCustody,
    _locked: LockedFiles,
}

#[cfg(feature = "custody")]
impl LockedCustody {
    /// Returns the store.
    pub fn archive(&mut self) -> &mut dyn CustodyArchive {
        &mut self.archive
    }
}

/// Returns the public keys of a node's signing keys, including signing keys that its configuration does not use. Takes
/// no lock, because the node may be running.
///
/// # Errors
/// Returns [`Error`] if the node is not found, or its files cannot be read.
pub fn signing_keys_of(node: &str) -> Result<Vec<VerifyingKey>, Error> {
    let files = find_node(node, &SearchPlaces::from_environment())?;
    let config = read_config(&files)?;
    Ok(StoredKeys::of(&config, &files)?.signing)
}

/// The files of a node, locked against other processes.
#[derive(Debug)]
pub(crate) struct LockedFiles {
    pub(crate) files: NodeFiles,
    pub(crate) lock: Arc<NodeLock>,
    pub(crate) store: FileConfigStore,
    /// The configuration at the time of locking.
    pub(crate) config: Arc<NodeConfig>,
}

impl LockedFiles {
    /// Locks the files of a node. The node is found as [`Node::open`](crate::Node::open) finds it.
    pub(crate) fn open(node: &str) -> Result<Self, Error> {
        Self::open_as(node, NodeRole::Node)
    }

    /// Locks the files as [`open`](Self::open) does. Moves entries that old versions of kc wrote in other sections to
    /// their current sections. If `role` is [`NodeRole::Controller`], this includes the provisioners that the
    /// controller trusts.
    pub(crate) fn open_as(node: &str, role: NodeRole) -> Result<Self, Error> {
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

    /// Returns the stores of the node's keys. `pin` overrides the source of the token's PIN that the configuration
    /// names.
    pub(crate) fn keystores<'n>(&'n self, pin: Option<&'n NodePin>) -> Keystores<'n> {
        Keystores {
            config: &self.config,
            lock: &self.lock,
            pin,
        }
    }
}
