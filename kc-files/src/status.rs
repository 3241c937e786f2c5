use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::FilesError;
use crate::path::{FilePath, STATE_FOLDER};
use crate::{ledger, registry};

/// The maximum number of files that a status lists of each kind.
pub const MAX_LISTED: usize = 1000;

/// What was sent from a folder, and what arrived in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FolderStatus {
    /// The files that were sent; `None` if no sender ever ran.
    pub sent: Option<SendStatus>,
    /// The files that arrived; `None` if no receiver ever ran.
    pub received: Option<ReceiveStatus>,
}

/// What was sent from a folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SendStatus {
    /// Whether a sender runs.
    pub running: bool,
    /// The number of files that were sent.
    pub sent: u64,
    /// Files on their way.
    pub in_flight: Vec<FilePath>,
    /// Files that cannot be sent, at most [`MAX_LISTED`].
    pub failed: Vec<FailedFile>,
}

/// What arrived in a folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReceiveStatus {
    /// Whether a receiver runs.
    pub running: bool,
    /// The number of complete files.
    pub complete: u64,
    /// Files of which chunks are missing, at most [`MAX_LISTED`].
    pub incomplete: Vec<IncompleteFile>,
    /// Files and records that were refused or could not be completed, at most [`MAX_LISTED`].
    pub failed: Vec<FailedFile>,
}

/// A file of which chunks are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncompleteFile {
    /// The file.
    pub file: FilePath,
    /// The number of chunks that have arrived.
    pub received: u32,
    /// The number of chunks of the file.
    pub chunks: u32,
    /// The first missing chunks, as ranges of numbers from 1 with both ends; at most 20 ranges.
    pub missing: Vec<(u32, u32)>,
}

/// A file that cannot be sent or completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedFile {
    /// The path of the file; or the topic, partition and offset of a record.
    pub file: String,
    /// The reason.
    pub reason: String,
}

impl FolderStatus {
    /// Reads the status of a folder. A process that sends or receives may run: its status is at most a few seconds old.
    ///
    /// # Errors
    /// Returns [`FilesError`] if the state of the folder cannot be read.
    pub fn read(folder: &Path) -> Result<Self, FilesError> {
        let found = fs::metadata(folder);
        found.map_err(|error| FilesError::io("read", folder, error))?;
        let sent = match registry::summary_of(folder) {
            Ok(summary) => summary.map(|(sent, failed)| SendStatus {
                sent,
                failed,
                ..SendStatus::default()
            }),
            Err(FilesError::InUse { .. }) => {
                let told: Option<SendStatus> = told(folder, "send")?;
                Some(SendStatus {
                    running: true,
                    ..told.unwrap_or_default()
                })
            }
            Err(error) => return Err(error),
        };
        let received = match ledger::status_of(folder) {
            Ok(status) => status,
            Err(FilesError::InUse { .. }) => {
                let told: Option<ReceiveStatus> = told(folder, "receive")?;
                Some(ReceiveStatus {
                    running: true,
                    ..told.unwrap_or_default()
                })
            }
            Err(error) => return Err(error),
        };
        Ok(Self { sent, received })
    }
}

/// Writes the status of a process that runs, for [`FolderStatus::read`]. `kind` is `send` or `receive`. A failure is only
/// logged: files arrive without a status.
pub(crate) fn tell(folder: &Path, kind: &str, status: &impl Serialize) {
    if let Err(error) = write(folder, kind, status) {
        tracing::debug!(target: "kc::files", %error, "status not written");
    }
}

fn write(folder: &Path, kind: &str, status: &impl Serialize) -> Result<(), FilesError> {
    let path = folder.join(STATE_FOLDER).join(format!("{kind}.status"));
    let unfinished = path.with_extension("status.new");
    let failed = |error: io::Error| FilesError::io("write", &path, error);
    let text = serde_json::to_vec(status).map_err(|error| failed(error.into()))?;
    fs::write(&unfinished, text).map_err(failed)?;
    fs::rename(&unfinished, &path).map_err(failed)
}

fn told<T: for<'de> Deserialize<'de>>(folder: &Path, kind: &str) -> Result<Option<T>, FilesError> {
    let path = folder.join(STATE_FOLDER).join(format!("{kind}.status"));
    match fs::read(&path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FilesError::io("read", &path, error)),
    }
}
