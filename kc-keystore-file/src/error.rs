use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use kc_core::store::config::ConfigError;
use kc_core::store::{StoreError, StoreErrorKind};
use thiserror::Error;

/// The advice for the operator on [`FileError::LockLost`].
pub const LOCK_LOST_ADVICE: &str = "stop all processes that use this node, make sure that nothing deletes its \
     .lock file, and start one of these processes again";

/// The error of an operation on a file. Each message names the path, or the node id from which no path can be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file or folder does not exist.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The operating system denies access.
    #[error("no permission to {action} {}", path.display())]
    Permission {
        /// The action that failed: "read", "write", …
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another process, or another part of this process, has the node open.
    #[error("node is in use by {} (lock file {})", holder(*.process), path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// The id of the process that holds the lock; `None` if that process has not written its id yet.
        process: Option<u32>,
    },
    /// The lock file was deleted or replaced while this process held it or was locking it. Another process may have
    /// opened the node since then.
    #[error(
        "the lock file {} was deleted or replaced while the node was open; another process may have opened the node \
         since then",
        path.display()
    )]
    LockLost {
        /// The lock file.
        path: PathBuf,
    },
    /// The file is larger than a valid file can be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The maximum size, in bytes.
        limit: u64,
    },
    /// The path names a folder, a pipe or a device instead of a regular file, or is not the path of a `.config` file
    /// where such a path is required.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The path of the lock file is a symbolic link, which is not followed.
    #[error("{} is a symbolic link", path.display())]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// The file exists and must not be overwritten.
    #[error("{} already exists", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The entry `state_dir` of a configuration contains a reference that cannot be resolved.
    #[error("the entry `state_dir` in {} cannot be read", path.display())]
    StateDir {
        /// The configuration.
        path: PathBuf,
        /// The reason.
        source: Box<ConfigError>,
    },
    /// The node id cannot be part of a file name.
    #[error("the node id {node_id:?} cannot be part of a file name")]
    BadNodeId {
        /// The node id.
        node_id: String,
    },
    /// Another error of the operating system, such as a full disk.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that failed: "read", "write", …
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => Self::Missing { path },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Permission {
                action,
                path,
                source,
            },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        let kind = match &error {
            FileError::Missing { .. } => StoreErrorKind::Missing,
            FileError::Permission { .. } => StoreErrorKind::Permission,
            FileError::InUse { .. } | FileError::LockLost { .. } => StoreErrorKind::InUse,
            FileError::TooLarge { .. } | FileError::NotAFile { .. } => StoreErrorKind::Malformed,
            FileError::Link { .. }
            | FileError::Exists { .. }
            | FileError::StateDir { .. }
            | FileError::BadNodeId { .. } => StoreErrorKind::Other,
            FileError::Io { .. } => StoreErrorKind::Io,
        };
        let advice = matches!(error, FileError::LockLost { .. }).then_some(LOCK_LOST_ADVICE);
        let store_error = Self::new(kind, "access to a secret file of the node").with_source(error);
        match advice {
            Some(advice) => store_error.with_advice(advice),
            None => store_error,
        }
    }
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(
        || "another process".to_owned(),
        |id| format!("process {id}"),
    )
}
