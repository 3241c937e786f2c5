use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use kc_core::provision::{ProvisionedNode, RequestedNode};
use kc_core::ratchet::Seed;
use kc_core::store::NodeSecrets;
use kc_core::store::config::NodeConfig;

use crate::{FileConfigStore, FileError, NodeFiles, NodeLock, SecretFile};

/// What a new node's files are to hold.
#[derive(Clone, Copy, Debug)]
pub struct NewFiles<'a> {
    config: &'a NodeConfig,
    secrets: &'a NodeSecrets,
    seed: Option<&'a Seed>,
}

impl<'a> From<&'a ProvisionedNode> for NewFiles<'a> {
    fn from(node: &'a ProvisionedNode) -> Self {
        Self {
            config: &node.config,
            secrets: &node.secrets,
            seed: node.seed.as_ref(),
        }
    }
}

/// A node that waits for its certificate.
impl<'a> From<&'a RequestedNode> for NewFiles<'a> {
    fn from(node: &'a RequestedNode) -> Self {
        Self {
            config: &node.config,
            secrets: &node.secrets,
            seed: node.seed.as_ref(),
        }
    }
}

/// Writes the files of a new node into a folder, private to their owner; the configuration last, so
/// that half a node is none. An existing node is replaced only if `force` says so.
///
/// # Errors
/// [`FileError::Exists`] with the first file that is there already, [`FileError::InUse`] if the node is
/// open, failures to write.
pub fn create_node<'a>(
    folder: &Path,
    node: impl Into<NewFiles<'a>>,
    force: bool,
) -> Result<NodeFiles, FileError> {
    let node = node.into();
    let files = NodeFiles::in_folder(folder, node.config.node_id())?;
    let lock = Arc::new(NodeLock::acquire(&files)?);
    if !force {
        for path in [files.config(), files.crypto(), files.seed()] {
            if path.exists() {
                return Err(FileError::Exists { path });
            }
        }
    }
    if force {
        remove(&files.config())?;
    }
    let secret = |path| SecretFile::new(path, Arc::clone(&lock));
    secret(files.crypto()).replace(node.secrets.encode().expose())?;
    match node.seed {
        Some(seed) => secret(files.seed()).replace(seed.encode().expose())?,
        // Of the node before.
        None => remove(&files.seed())?,
    }
    FileConfigStore::create(Arc::clone(&lock), node.config)?;
    Ok(files)
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
