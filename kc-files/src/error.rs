use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::path::FilePath;

/// The reason why files cannot be sent or received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilesError {
    /// A file or folder cannot be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process sends or receives the files of the folder.
    #[error("{} is in use: another process sends or receives the files of this folder", path.display())]
    InUse {
        /// The file that holds the state.
        path: PathBuf,
    },
    /// The state in the folder cannot be read or written.
    #[error("cannot use the state in {}", path.display())]
    State {
        /// The file that holds the state.
        path: PathBuf,
        /// The cause.
        source: Box<redb::Error>,
    },
    /// The state in the folder is not what this crate wrote.
    #[error("the state in {} is damaged: {what}", path.display())]
    Damaged {
        /// The file that holds the state.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The disk has too little room for further chunks. They are not acknowledged, so that they arrive again.
    #[error("the disk of {} is full: {free} bytes are free, and {reserve} must stay free", path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// The free bytes.
        free: u64,
        /// The bytes that must stay free.
        reserve: u64,
    },
    /// A pattern of file names is invalid.
    #[error("invalid pattern")]
    Pattern(#[from] globset::Error),
    /// The folder cannot be watched.
    #[error("cannot watch {}", path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: notify::Error,
    },
    /// The node or the broker failed.
    #[error(transparent)]
    Kafka(#[from] kc::Error),
    /// A [`FileProcessor`](crate::FileProcessor) has failed. The next run repeats the processing of the file.
    #[error("cannot process {file}")]
    Processing {
        /// The file, as it is named in the folder.
        file: FilePath,
        /// The cause.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A thread of this crate has ended early.
    #[error("a thread has ended early")]
    Thread,
}

impl FilesError {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// Returns advice on the failure, if there is any.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, and start the command again: it continues where it stopped")
            }
            Self::Io { .. } => Some("check that the folder exists and that this user may use it"),
            Self::InUse { .. } => {
                Some("end the other process first; each receiver needs a folder of its own")
            }
            Self::State { .. } | Self::Damaged { .. } => Some(
                "check the disk; if the file is damaged, delete it: a sender then sends all files again, and a \
                 receiver forgets the files that it had in part",
            ),
            Self::DiskFull { .. } => {
                Some("free some space, and start the command again: it continues where it stopped")
            }
            Self::Pattern(_) => Some("a pattern is a glob, for example *.csv or runs/**/*.dat"),
            Self::Watch { .. } => Some(
                "if the system has reached its limit of watched folders, or does not report changes (a network file \
                 system), look for changes at intervals with --poll 10s",
            ),
            Self::Kafka(error) => error.advice(),
            Self::Processing { .. } | Self::Thread => None,
        }
    }
}
