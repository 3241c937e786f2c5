use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use kc_core::provision::ProvisionedNode;

use crate::{FileConfigStore, FileError, NodeFiles, NodeLock, SecretFile};

/// Writes the files of a new node into a folder, private to their owner; the configuration last, so
/// that half a node is none. An existing node is replaced only if `force` says so.
///
/// # Errors
/// [`FileError::Exists`] with the first file that is there already, [`FileError::InUse`] if the node is
/// open, failures to write.
pub fn create_node(
    folder: &Path,
    node: &ProvisionedNode,
    force: bool,
) -> Result<NodeFiles, FileError> {
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
    match &node.seed {
        Some(seed) => secret(files.seed()).replace(seed.encode().expose())?,
        // Of the node before.
        None => remove(&files.seed())?,
    }
    FileConfigStore::create(Arc::clone(&lock), &node.config)?;
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
