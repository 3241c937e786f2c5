use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::KafkaError;

/// The folder of a [`Kafka`](super::Kafka).
#[derive(Debug)]
pub(super) enum Folder {
    /// Removed when dropped.
    Temporary(TempDir),
    Given(PathBuf),
}

impl Folder {
    /// Returns the given folder, created if missing, else a temporary one.
    pub(super) fn make(given: Option<PathBuf>) -> Result<Self, KafkaError> {
        let Some(path) = given else {
            let folder = tempfile::Builder::new().prefix("kafka-").tempdir();
            let folder = folder.map_err(KafkaError::file(&std::env::temp_dir()))?;
            return Ok(Self::Temporary(folder));
        };
        let made = fs::create_dir_all(&path).and_then(|()| std::path::absolute(&path));
        made.map(Self::Given).map_err(KafkaError::file(&path))
    }

    /// Keeps a temporary folder.
    pub(super) fn keep(self) {
        if let Self::Temporary(folder) = self {
            let _path = folder.keep();
        }
    }

    /// Returns the path of a temporary folder; `None` for others.
    pub(super) fn temporary(&self) -> Option<&Path> {
        match self {
            Self::Temporary(folder) => Some(folder.path()),
            Self::Given(_) => None,
        }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(super) fn certificates(&self) -> PathBuf {
        self.path().join("certificates")
    }

    pub(super) fn properties(&self) -> PathBuf {
        self.path().join("server.properties")
    }

    pub(super) fn log_settings(&self) -> PathBuf {
        self.path().join("log.properties")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path().join("kafka.log")
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}
