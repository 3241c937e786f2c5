use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::FileError;

const CONFIG_EXTENSION: &str = "config";
/// What names a file in a value of the configuration.
const FILE_REFERENCE: &str = "file#";

/// Where a node's files are: `<node>.config`, `<node>.crypto`, `<node>.seed` and `<node>.lock`, in one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFiles {
    folder: PathBuf,
    stem: OsString,
}

impl NodeFiles {
    /// The files of the node `node_id` in `folder`, which must exist; the files need not.
    ///
    /// # Errors
    /// A node id that is not a plain file name; a folder that does not exist.
    pub fn in_folder(folder: &Path, node_id: &str) -> Result<Self, FileError> {
        let mut components = Path::new(node_id).components();
        let plain = matches!((components.next(), components.next()), (Some(Component::Normal(name)), None) if name == node_id);
        if !plain || node_id.contains('\0') {
            return Err(FileError::BadNodeId {
                node_id: node_id.to_owned(),
            });
        }
        Ok(Self {
            folder: existing_folder(folder)?,
            stem: node_id.into(),
        })
    }

    /// The files beside a `.config` file, which need not exist.
    ///
    /// # Errors
    /// A path that does not end in `<node>.config`, in an existing folder.
    pub fn beside(config: &Path) -> Result<Self, FileError> {
        let stem = config.file_stem().filter(|_| is_config(config));
        let stem = stem.ok_or_else(|| FileError::NotAFile {
            path: config.to_owned(),
        })?;
        Ok(Self {
            folder: existing_folder(config.parent().unwrap_or(Path::new("")))?,
            stem: stem.to_owned(),
        })
    }

    /// The folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `<node>.config`: the configuration.
    pub fn config(&self) -> PathBuf {
        self.with_extension(CONFIG_EXTENSION)
    }

    /// `<node>.crypto`: the signing keys, secret.
    pub fn crypto(&self) -> PathBuf {
        self.with_extension("crypto")
    }

    /// `<node>.seed`: the ratchet, secret.
    pub fn seed(&self) -> PathBuf {
        self.with_extension("seed")
    }

    /// `<node>.ratchet`: the ratchet, sealed by a token, of a node whose keys are on one.
    pub fn sealed_ratchet(&self) -> PathBuf {
        self.with_extension("ratchet")
    }

    /// `<node>.refused`: salted hashes of the PINs that the token of such a node has refused.
    pub fn refused_pins(&self) -> PathBuf {
        self.with_extension("refused")
    }

    /// `<node>.lock`: what [`NodeLock`](crate::NodeLock) locks. It stays when the node is closed.
    pub fn lock(&self) -> PathBuf {
        self.with_extension("lock")
    }

    /// `<node>.sock`: where the process that has the node open says how it is.
    pub fn socket(&self) -> PathBuf {
        self.with_extension("sock")
    }

    /// The path that a value such as `file#n1.seed` names, relative to the folder of the configuration; `None` if
    /// the value does not begin with `file#`.
    pub fn resolve(&self, reference: &str) -> Option<PathBuf> {
        reference
            .strip_prefix(FILE_REFERENCE)
            .map(|path| self.folder.join(path))
    }

    /// What names a path in a value of the configuration: [`resolve`](Self::resolve) the other way round. `None` for
    /// a path that is not UTF-8.
    pub fn reference(&self, path: &Path) -> Option<String> {
        let path = path.strip_prefix(&self.folder).unwrap_or(path).to_str()?;
        Some(format!("{FILE_REFERENCE}{path}"))
    }

    fn with_extension(&self, extension: &str) -> PathBuf {
        let mut name = self.stem.clone();
        name.push(".");
        name.push(extension);
        self.folder.join(name)
    }
}

/// Whether a path ends in `<name>.config`.
pub(crate) fn is_config(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(CONFIG_EXTENSION))
}

fn existing_folder(folder: &Path) -> Result<PathBuf, FileError> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    fs::canonicalize(folder).map_err(|source| FileError::new("open", folder, source))
}
