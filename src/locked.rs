use kc_core::keys::VerifyingKey;
use kc_core::store::KeyStore;
use kc_core::store::config::NodeConfig;
use kc_keystore_file::{NodeFiles, SearchPlaces, find_node, read_config};

use crate::files::LockedFiles;
use crate::keystores::{NodePin, StoredKeys};
use crate::open_error::OpenError;

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
