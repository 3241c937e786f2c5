use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::database::{Database, state_folder};
use crate::error::FilesError;
use crate::event::SendEvent;
use crate::path::FilePath;
use crate::status::{FailedFile, MAX_LISTED};

const FILE_NAME: &str = "send.redb";
/// Files that were sent: `<topic> NUL <path>` and an [`Entry`].
const SENT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sent");
/// Files that cannot be sent: `<topic> NUL <path>` and the reason.
const FAILED: TableDefinition<'_, &str, &str> = TableDefinition::new("failed");

/// The maximum number of changes that wait for the disk, and the maximum number in a transaction.
const MAX_WAITING: usize = 1024;

/// What the registry knows of a file that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    /// The SHA-512 digest of the file, in hexadecimal digits.
    pub(crate) hash: String,
}

/// A change of the registry.
#[derive(Debug)]
pub(crate) enum Change {
    /// A file was sent. The event is emitted when the change is durable.
    Sent(FilePath, Entry, SendEvent),
    /// A file that was sent has a new time, but the same content.
    Touched(FilePath, Entry),
    /// A file cannot be sent.
    Failed(String, String),
}

/// The files of a folder that were sent to a topic. It survives a kill of the process at any time.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    database: Arc<Database>,
    topic: Arc<str>,
}

/// The thread that writes to a registry. Many changes share a transaction.
#[derive(Debug)]
pub(crate) struct Writer {
    changes: mpsc::Sender<Change>,
    thread: JoinHandle<Result<(), FilesError>>,
}

impl Registry {
    /// Opens the registry of a folder.
    pub(crate) fn open(folder: &Path, topic: &str) -> Result<Self, FilesError> {
        let database = Database::open(state_folder(folder)?.join(FILE_NAME))?;
        let transaction = database.begin()?;
        let opened = transaction
            .open_table(SENT)
            .and_then(|_| transaction.open_table(FAILED).map(drop));
        opened.map_err(|error| database.failed(error.into()))?;
        database.commit(transaction)?;
        Ok(Self {
            database: Arc::new(database),
            topic: topic.into(),
        })
    }

    fn key(&self, path: &str) -> String {
        format!("{}\0{path}", self.topic)
    }

    /// Returns what is known of a file that was sent.
    pub(crate) fn get(&self, path: &FilePath) -> Result<Option<Entry>, FilesError> {
        let row = self.database.read(|transaction| {
            let table = transaction.open_table(SENT)?;
            let row = table.get(self.key(path.as_str()).as_str())?;
            Ok(row.map(|row| row.value().to_vec()))
        })?;
        row.map(|row| self.database.parse(&row)).transpose()
    }

    /// Starts the thread that writes. `emit` is called with the events of durable changes.
    pub(crate) fn writer(
        &self,
        emit: impl Fn(&SendEvent) + Send + 'static,
    ) -> Result<Writer, FilesError> {
        let (changes, mut waiting) = mpsc::channel(MAX_WAITING);
        let registry = self.clone();
        let write = move || {
            let mut together = Vec::new();
            while waiting.blocking_recv_many(&mut together, MAX_WAITING) > 0 {
                registry.apply(&together)?;
                for change in together.drain(..) {
                    if let Change::Sent(_, _, event) = change {
                        emit(&event);
                    }
                }
            }
            Ok(())
        };
        let thread = thread::Builder::new()
            .name("kc-files-registry".into())
            .spawn(write)
            .map_err(|error| FilesError::io("start a thread for", Path::new(FILE_NAME), error))?;
        Ok(Writer { changes, thread })
    }

    fn apply(&self, changes: &[Change]) -> Result<(), FilesError> {
        let transaction = self.database.begin()?;
        let write = || {
            let mut sent = transaction.open_table(SENT)?;
            let mut failed = transaction.open_table(FAILED)?;
            for change in changes {
                match change {
                    Change::Sent(path, entry, _) | Change::Touched(path, entry) => {
                        let key = self.key(path.as_str());
                        let Ok(row) = serde_json::to_vec(entry) else {
                            continue;
                        };
                        sent.insert(key.as_str(), row.as_slice())?;
                        failed.remove(key.as_str())?;
                    }
                    Change::Failed(path, reason) => {
                        failed.insert(self.key(path).as_str(), reason.as_str())?;
                    }
                }
            }
            Ok::<_, redb::Error>(())
        };
        write().map_err(|error| self.database.failed(error))?;
        self.database.commit(transaction)
    }

    /// Returns the number of files that were sent, and some of those that cannot be sent.
    pub(crate) fn summary(&self) -> Result<(u64, Vec<FailedFile>), FilesError> {
        summary(&self.database)
    }
}

/// Returns the number of files of a folder that were sent, and some of those that cannot be sent. Returns `None` if none
/// was ever sent.
pub(crate) fn summary_of(folder: &Path) -> Result<Option<(u64, Vec<FailedFile>)>, FilesError> {
    let database = Database::open_existing(folder.join(crate::STATE_FOLDER).join(FILE_NAME))?;
    database.map(|database| summary(&database)).transpose()
}

fn summary(database: &Database) -> Result<(u64, Vec<FailedFile>), FilesError> {
    database.read(|transaction| {
        let sent = match transaction.open_table(SENT) {
            Ok(table) => table.len()?,
            Err(TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut failed = Vec::new();
        match transaction.open_table(FAILED) {
            Ok(table) => {
                for row in table.iter()?.take(MAX_LISTED) {
                    let (key, reason) = row?;
                    let path = key.value().split_once('\0').map_or("", |(_, path)| path);
                    failed.push(FailedFile {
                        file: path.to_owned(),
                        reason: reason.value().to_owned(),
                    });
                }
            }
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((sent, failed))
    })
}

impl Writer {
    /// Queues a change. Waits while many changes wait for the disk.
    pub(crate) fn changes(&self) -> &mpsc::Sender<Change> {
        &self.changes
    }

    /// Returns whether the thread has ended, because the disk failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until all changes are durable. Other senders of changes must be gone.
    pub(crate) fn close(self) -> Result<(), FilesError> {
        drop(self.changes);
        self.thread.join().unwrap_or(Err(FilesError::Thread))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_was_sent_is_durable_before_it_is_told_and_belongs_to_its_topic() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path(), "t").unwrap();
        assert!(matches!(
            Registry::open(folder.path(), "t"),
            Err(FilesError::InUse { .. })
        ));
        let path: FilePath = "sub/a".parse().unwrap();
        let entry = Entry {
            size: 3,
            mtime_ns: -1,
            hash: "00".into(),
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let (telling, watched, of) = (Arc::clone(&told), registry.clone(), path.clone());
        let writer = registry.writer(move |event| {
            let known = watched.get(&of).unwrap();
            telling.lock().unwrap().push((event.clone(), known));
        });
        let writer = writer.unwrap();
        let failed = Change::Failed("sub/a".into(), "unreadable".into());
        writer.changes().blocking_send(failed).unwrap();
        let event = SendEvent::Sent {
            file: path.clone(),
            bytes: 3,
            chunks: 1,
        };
        let sent = Change::Sent(path.clone(), entry.clone(), event.clone());
        writer.changes().blocking_send(sent).unwrap();
        writer.close().unwrap();
        assert_eq!(*told.lock().unwrap(), [(event, Some(entry.clone()))]);
        drop((told, registry));

        assert_eq!(summary_of(folder.path()).unwrap(), Some((1, Vec::new())));
        let again = Registry::open(folder.path(), "t").unwrap();
        assert_eq!(again.get(&path).unwrap(), Some(entry));
        drop(again);
        let other = Registry::open(folder.path(), "u").unwrap();
        assert_eq!(other.get(&path).unwrap(), None);
    }
}
