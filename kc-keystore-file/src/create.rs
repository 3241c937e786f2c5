use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_core::provision::{ProvisionedNode, RequestedNode};
use kc_core::ratchet::Seed;
use kc_core::store::NodeSecrets;
use kc_core::store::config::NodeConfig;

use crate::{FileConfigStore, FileError, NodeFiles, NodeLock, SecretFile, sealed_index};

/// What a new node's files are to hold.
#[derive(Clone, Copy, Debug)]
pub struct NewFiles<'a> {
    /// The configuration.
    pub config: &'a NodeConfig,
    /// The signing keys, unless they are elsewhere.
    pub secrets: Option<&'a NodeSecrets>,
    /// The ratchet, unless the node has none, or has it elsewhere.
    pub seed: Option<&'a Seed>,
}

/// The place of a new node's files, locked.
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

/// A node that waits for its certificate.
impl<'a> From<&'a RequestedNode> for NewFiles<'a> {
    fn from(node: &'a RequestedNode) -> Self {
        Self {
            config: &node.config,
            secrets: node.secrets.as_ref(),
            seed: node.seed.as_ref(),
        }
    }
}

/// Writes the files of a new node into a folder, private to their owner. An existing node is replaced only if `force`
/// says so.
///
/// # Errors
/// Those of [`NewPlace::claim`] and [`NewPlace::write`].
pub fn create_node<'a>(
    folder: &Path,
    node: impl Into<NewFiles<'a>>,
    force: bool,
) -> Result<NodeFiles, FileError> {
    let node = node.into();
    NewPlace::claim(folder, node.config.node_id(), force)?.write(node)
}

impl NewPlace {
    /// Locks the place in a folder of the node with this id. The node that is there, if any, is none from now on if
    /// `force` says so.
    ///
    /// # Errors
    /// [`FileError::Exists`] with the first file that is there already, also a ratchet on a token of which a step can
    /// have been used; [`FileError::InUse`] if the node is open, failures to write.
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

    /// Where the files will be.
    #[must_use]
    pub fn files(&self) -> &NodeFiles {
        &self.files
    }

    /// Writes the files, the configuration last, so that half a node is none. Those of the node before that the new
    /// one does not have are removed; but a ratchet on a token only if another takes its place, because nothing else may
    /// tell which indices were used.
    ///
    /// # Errors
    /// Failures to write; [`FileError::LockLost`].
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

/// The first file of a node that is there. A ratchet on a token of which no step was used is what an interrupted beginning
/// leaves.
fn first_taken(files: &NodeFiles) -> Option<PathBuf> {
    let used = files.sealed_ratchet();
    let used = Some(used).filter(|_| sealed_index(files) != Some(0));
    let paths = [files.config(), files.crypto(), files.seed()];
    paths.into_iter().chain(used).find(|path| path.exists())
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error))
        }
        _ => Ok(()),
    }
}
