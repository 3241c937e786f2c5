use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_core::provision::{ProvisionedNode, RequestedNode};
use kc_core::ratchet::Seed;
use kc_core::store::NodeSecrets;
use kc_core::store::config::NodeConfig;

use crate::{FileConfigStore, FileError, NodeFiles, NodeLock, SecretFile, sealed_index};

/// The content of a new node's files.
#[derive(Clone, Copy, Debug)]
pub struct NewFiles<'a> {
    /// The configuration.
    pub config: &'a NodeConfig,
    /// The content of the `.crypto` file: the signing keys and the opaque key. `None` if they are not stored in a file.
    pub secrets: Option<&'a NodeSecrets>,
    /// The ratchet; `None` if the node has no ratchet, or does not store it in a file.
    pub seed: Option<&'a Seed>,
}

/// The paths of a new node's files, and the lock of the node, which is held as long as this value exists.
#[derive(Debug)]
pub struct NewPlace {
    files: NodeFiles,
    lock: Arc<NodeLock>,
}

impl<'a> From<&'a ProvisionedNode> for NewFiles<'a> {
    fn from(node: &'a ProvisionedNode) -> Self {
        Self {
            config: &node.config,
            secrets: node.secrets.as_ref(),
            seed: node.seed.as_ref(),
        }
    }
}

/// The files of a node that waits for its certificate.
impl<'a> From<&'a RequestedNode> for NewFiles<'a> {
    fn from(node: &'a RequestedNode) -> Self {
        Self {
            config: &node.config,
            secrets: node.secrets.as_ref(),
            seed: node.seed.as_ref(),
        }
    }
}

/// Writes the files of a new node into a folder. Only their owner can read them. An existing node is replaced only if
/// `force` is set.
///
/// # Errors
/// Returns [`FileError::Exists`] if the node exists and `force` is not set, [`FileError::InUse`] if the node is open,
/// and the other errors of [`NewPlace::claim`] and [`NewPlace::write`].
pub fn create_node<'a>(
    folder: &Path,
    node: impl Into<NewFiles<'a>>,
    force: bool,
) -> Result<NodeFiles, FileError> {
    let node = node.into();
    NewPlace::claim(folder, node.config.node_id(), force)?.write(node)
}

impl NewPlace {
    /// Locks the node with this id in a folder. If `force` is set and the node exists, its configuration
    /// is removed at once, so that the old node can no longer be opened.
    ///
    /// # Errors
    /// Returns [`FileError::Exists`] with the path of the first file that already exists, if `force` is not set. The
    /// file of a ratchet that a token has sealed is ignored if its index shows that no step of the ratchet was used.
    /// Returns [`FileError::InUse`] if the node is open, and other errors if the lock file cannot be created or the
    /// configuration cannot be removed.
    pub fn claim(folder: &Path, node_id: &str, force: bool) -> Result<Self, FileError> {
        let files = NodeFiles::in_folder(folder, node_id)?;
        let lock = Arc::new(NodeLock::acquire(&files)?);
        if force {
            remove(&files.config())?;
            return Ok(Self { files, lock });
        }
        match first_taken(&files) {
            Some(path) => Err(FileError::Exists { path }),
            None => Ok(Self { files, lock }),
        }
    }

    /// Returns the paths of the files.
    #[must_use]
    pub fn files(&self) -> &NodeFiles {
        &self.files
    }

    /// Writes the files. The configuration is written last, so that an incomplete node is not found. The files
    /// `.crypto` and `.seed` of the previous node are removed if the new node does not have them.
    ///
    /// The file `.ratchet`, which contains a ratchet that a token has sealed, is removed if the new node has a ratchet
    /// in a `.seed` file. Otherwise it is kept: it may be the ratchet of the new node, or the only record of the
    /// indices that the previous node has used.
    ///
    /// # Errors
    /// Returns [`FileError::LockLost`] if the lock file was deleted or replaced, and other errors if writing fails.
    pub fn write(self, node: NewFiles<'_>) -> Result<NodeFiles, FileError> {
        self.lock.check()?;
        let contents = [
            (self.files.crypto(), node.secrets.map(NodeSecrets::encode)),
            (self.files.seed(), node.seed.map(Seed::encode)),
        ];
        for (path, content) in contents {
            match content {
                Some(content) => {
                    SecretFile::new(path, Arc::clone(&self.lock)).replace(content.expose())?;
                }
                None => remove(&path)?,
            }
        }
        if node.seed.is_some() {
            remove(&self.files.sealed_ratchet())?;
        }
        FileConfigStore::create(self.lock, node.config)?;
        Ok(self.files)
    }
}

/// Returns the first file of a node that exists. The file of a ratchet that a token has sealed is ignored if no step
/// was used, because an interrupted creation leaves such a file.
fn first_taken(files: &NodeFiles) -> Option<PathBuf> {
    let used = files.sealed_ratchet();
    let used = Some(used).filter(|_| sealed_index(files) != Some(0));
    let paths = [files.config(), files.crypto(), files.seed()];
    paths.into_iter().chain(used).find(|path| path.exists())
}

/// Removes a file, if it exists.
fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error))
        }
        _ => Ok(()),
    }
}
