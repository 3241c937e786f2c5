//! What a node leaves in files when it moves onto a token. Until it is destroyed the section `<node>-hsm` says where it is:
//! the node's own section no longer does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_core::store::config::{ConfigError, ConfigStore, NodeConfig, Value};
use kc_keystore_file::{FileConfigStore, NodeLock, SecretFile};

use super::token::{SECTION, unusable};
use crate::open_error::OpenError;

/// The entry of the file of the signing keys.
pub(super) const KEYS: &str = "left_keys";
/// The entry of the ratchet's file.
pub(super) const RATCHET: &str = "left_ratchet";

/// A file of secrets that a node on a token has left behind, and does not read.
#[derive(Debug)]
pub struct LeftFile {
    file: SecretFile,
    entry: &'static str,
    lock: Arc<NodeLock>,
}

impl LeftFile {
    pub(super) fn new(path: PathBuf, entry: &'static str, lock: &Arc<NodeLock>) -> Self {
        Self {
            file: SecretFile::new(path, Arc::clone(lock)),
            entry,
            lock: Arc::clone(lock),
        }
    }

    /// That which a configuration remembers, if it is there. One that was moved by an earlier version remembers none: then
    /// it is where it is by default.
    pub(super) fn of(
        config: &NodeConfig,
        entry: &'static str,
        default: PathBuf,
        lock: &Arc<NodeLock>,
    ) -> Result<Option<Self>, OpenError> {
        let path = match config.load_text(SECTION, entry)? {
            Some(reference) => {
                let path = lock.files().resolve(&reference);
                path.ok_or_else(|| unusable(entry.to_owned()))?
            }
            None => default,
        };
        Ok(path.exists().then(|| Self::new(path, entry, lock)))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn secret(&self) -> &SecretFile {
        &self.file
    }

    /// Has the configuration remember where it is.
    pub(super) fn remember(&self, config: &mut NodeConfig) -> Result<(), ConfigError> {
        if let Some(reference) = self.lock.files().reference(self.path()) {
            config.set(SECTION, self.entry, &Value::from(reference.as_str()))?;
        }
        Ok(())
    }

    /// Destroys it. Then nobody needs to remember it.
    ///
    /// # Errors
    /// [`OpenError::File`], [`OpenError::Config`]: to be done again.
    pub fn shred(self) -> Result<(), OpenError> {
        self.file.shred()?;
        FileConfigStore::new(self.lock).update(&mut |config| {
            config.remove(SECTION, self.entry);
            Ok(())
        })?;
        Ok(())
    }
}
