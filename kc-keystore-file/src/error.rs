use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use kc_core::store::{StoreError, StoreErrorKind};
use thiserror::Error;

/// What a person can do about [`FileError::LockLost`].
pub const LOCK_LOST_ADVICE: &str =
    "stop all processes that use this node, start one again, and let nothing delete its .lock file";

/// What went wrong with a file. Every message names the path.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file or folder.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refuses this user.
    #[error("no permission to {action} {}", path.display())]
    Permission {
        /// What was tried: "read", "write", …
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another process, or another part of this one, has the node open.
    #[error("node is in use by {} ({})", holder(*.process), path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it has left its id already.
        process: Option<u32>,
    },
    /// The lock file was deleted or replaced while this process held it, so that nothing keeps another process away.
    #[error("lock file {} was deleted or replaced while the node was open; another process may have opened the node since", path.display())]
    LockLost {
        /// The lock file.
        path: PathBuf,
    },
    /// The file is larger than anything it could hold.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The bound, in bytes.
        limit: u64,
    },
    /// A folder, a pipe or a device where a file should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A symbolic link where the file itself should be.
    #[error("{} is a symbolic link", path.display())]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// The file exists and must not be overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A node id that cannot be part of a file name.
    #[error("the node id {node_id:?} cannot be part of a file name")]
    BadNodeId {
        /// The node id.
        node_id: String,
    },
    /// Anything else: a full disk, a failing device.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: "read", "write", …
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
            FileError::Link { .. } | FileError::Exists { .. } | FileError::BadNodeId { .. } => {
                StoreErrorKind::Other
            }
            FileError::Io { .. } => StoreErrorKind::Io,
        };
        let advice = matches!(error, FileError::LockLost { .. }).then_some(LOCK_LOST_ADVICE);
        let store_error = Self::new(kind, "secret file").with_source(error);
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
