use std::collections::{HashMap, HashSet};
use std::path::Path;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use crate::database::{Database, state_folder};
use crate::digest::hex;
use crate::error::FilesError;
use crate::path::{FilePath, STATE_FOLDER};
use crate::status::{FailedFile, IncompleteFile, MAX_LISTED, ReceiveStatus};
use crate::wire::{Chunk, Hash};

const FILE_NAME: &str = "receive.redb";
/// Files that have arrived in part: [`FileId`] and [`Incomplete`].
const FILES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("files");
/// Chunks of these files that are on disk: [`FileId`] and the number of the chunk in 4 bytes.
const CHUNKS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("chunks");
/// Files that are complete, or were refused as a whole: the [`FileId::version`] and nothing.
const DONE: TableDefinition<'_, &[u8], ()> = TableDefinition::new("done");
/// Files and records that were refused: the path or position, and the reason.
const FAILED: TableDefinition<'_, &str, &str> = TableDefinition::new("failed");
/// Files that are complete and not yet processed, by the paths under which they were saved.
const UNPROCESSED: TableDefinition<'_, &str, ()> = TableDefinition::new("unprocessed");
/// Counters by name.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");
const COMPLETE: &str = "complete";

/// The maximum number of ranges of missing chunks that a status lists for each file.
const MAX_RANGES: usize = 20;

/// Identifies a version of a file and its division into chunks, 32 bytes. The first 24 bytes identify the version: path,
/// content and time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId([u8; 32]);

impl FileId {
    pub(crate) fn of(chunk: &Chunk<'_>) -> Self {
        let mut hasher = Sha512::new();
        let path = chunk.path.as_str().as_bytes();
        hasher.update((path.len() as u64).to_be_bytes());
        hasher.update(path);
        hasher.update(chunk.file_hash);
        hasher.update(chunk.modified_ns().to_be_bytes());
        let mut id = [0; 32];
        let parts = hasher
            .finalize()
            .into_iter()
            .take(24)
            .chain(chunk.count.to_be_bytes())
            .chain(Self::stride(chunk).to_be_bytes());
        for (byte, part) in id.iter_mut().zip(parts) {
            *byte = part;
        }
        Self(id)
    }

    /// Returns the distance of the chunks; 0 for a file that has one chunk.
    fn stride(chunk: &Chunk<'_>) -> u32 {
        match chunk.count {
            1 => 0,
            _ => chunk.chunk_size(),
        }
    }

    fn version(&self) -> [u8; 24] {
        let mut version = [0; 24];
        for (place, byte) in version.iter_mut().zip(self.0) {
            *place = byte;
        }
        version
    }

    /// Returns the least and the greatest key of the rows of all divisions of this version.
    fn of_version(&self) -> [[u8; 36]; 2] {
        [0, u8::MAX].map(|fill| {
            let mut key = [fill; 36];
            for (place, byte) in key.iter_mut().zip(self.version()) {
                *place = byte;
            }
            key
        })
    }

    fn chunk(&self, index: u32) -> [u8; 36] {
        let mut key = [0; 36];
        let bytes = self.0.into_iter().chain(index.to_be_bytes());
        for (place, byte) in key.iter_mut().zip(bytes) {
            *place = byte;
        }
        key
    }

    /// Returns the name of the temporary file.
    pub(crate) fn file_name(&self) -> String {
        hex(&self.0)
    }
}

/// A file that has arrived in part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Incomplete {
    pub(crate) path: FilePath,
    pub(crate) received: u32,
    pub(crate) count: u32,
    pub(crate) mtime_ns: i64,
    pub(crate) mode: Option<u32>,
    /// The SHA-512 digest of the file, in hexadecimal digits.
    pub(crate) hash: String,
}

impl Incomplete {
    pub(crate) fn of(chunk: &Chunk<'_>) -> Self {
        Self {
            path: chunk.path.clone(),
            received: 0,
            count: chunk.count,
            mtime_ns: chunk.modified_ns(),
            mode: chunk.extras.and_then(|extras| extras.mode),
            hash: hex(&Hash::from(chunk.file_hash)),
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.received == self.count
    }
}

/// What a receiver knows of the files that arrive in its folder. It survives a kill of the process at any time.
#[derive(Debug)]
pub(crate) struct Ledger {
    database: Database,
}

/// A group of changes that become durable together.
pub(crate) struct Draft<'l> {
    ledger: &'l Ledger,
    transaction: redb::WriteTransaction,
    /// Files that changed, as they are now.
    changed: HashMap<FileId, Incomplete>,
    /// The number of files that have arrived in part.
    incomplete: u64,
    /// Versions that became complete.
    done: HashSet<[u8; 24]>,
}

/// What the ledger knows of a chunk that has arrived.
pub(crate) enum Arrival {
    /// The chunk is on disk, or its file is complete.
    Known,
    /// The chunk is new; `first` if it is the first one of its file.
    New { first: bool },
}

impl Ledger {
    pub(crate) fn open(folder: &Path) -> Result<Self, FilesError> {
        let database = Database::open(state_folder(folder)?.join(FILE_NAME))?;
        let transaction = database.begin()?;
        let open = || {
            transaction.open_table(FILES)?;
            transaction.open_table(CHUNKS)?;
            transaction.open_table(DONE)?;
            transaction.open_table(FAILED)?;
            transaction.open_table(UNPROCESSED)?;
            transaction.open_table(COUNTS)?;
            Ok::<_, redb::Error>(())
        };
        open().map_err(|error| database.failed(error))?;
        database.commit(transaction)?;
        Ok(Self { database })
    }

    pub(crate) fn begin(&self) -> Result<Draft<'_>, FilesError> {
        let transaction = self.database.begin()?;
        let incomplete = transaction
            .open_table(FILES)
            .map_err(redb::Error::from)
            .and_then(|files| Ok(files.len()?));
        Ok(Draft {
            ledger: self,
            incomplete: incomplete.map_err(|error| self.database.failed(error))?,
            transaction,
            changed: HashMap::new(),
            done: HashSet::new(),
        })
    }

    /// Returns the names of the temporary files of files that have arrived in part.
    pub(crate) fn parts(&self) -> Result<HashSet<String>, FilesError> {
        self.database.read(|transaction| {
            let mut names = HashSet::new();
            for row in transaction.open_table(FILES)?.iter()? {
                names.insert(hex(row?.0.value()));
            }
            Ok(names)
        })
    }

    /// Returns a file that is complete and not yet processed.
    pub(crate) fn unprocessed(&self) -> Result<Option<FilePath>, FilesError> {
        let first = self.database.read(|transaction| {
            let files = transaction.open_table(UNPROCESSED)?;
            Ok(files.first()?.map(|(path, _)| path.value().to_owned()))
        })?;
        // The ledger has only paths of files.
        Ok(first.and_then(|path| path.parse().ok()))
    }

    pub(crate) fn status(&self) -> Result<ReceiveStatus, FilesError> {
        status(&self.database)
    }
}

impl Draft<'_> {
    fn failed(&self, error: impl Into<redb::Error>) -> FilesError {
        self.ledger.database.failed(error.into())
    }

    /// Adds a chunk.
    pub(crate) fn add(&mut self, id: FileId, chunk: &Chunk<'_>) -> Result<Arrival, FilesError> {
        let add = || {
            if self
                .transaction
                .open_table(DONE)?
                .get(id.version().as_slice())?
                .is_some()
            {
                return Ok(None);
            }
            let files = self.transaction.open_table(FILES)?;
            let known = files.get(id.0.as_slice())?.map(|row| row.value().to_vec());
            let mut chunks = self.transaction.open_table(CHUNKS)?;
            let before = chunks.insert(id.chunk(chunk.index).as_slice(), ())?;
            Ok::<_, redb::Error>(before.is_none().then_some(known))
        };
        let Some(known) = add().map_err(|error| self.failed(error))? else {
            return Ok(Arrival::Known);
        };
        let mut first = false;
        if !self.changed.contains_key(&id) {
            let file = match known {
                Some(row) => self.ledger.database.parse(&row)?,
                None => {
                    first = true;
                    self.incomplete += 1;
                    Incomplete::of(chunk)
                }
            };
            self.changed.insert(id, file);
        }
        if let Some(file) = self.changed.get_mut(&id) {
            file.received = file.received.saturating_add(1);
        }
        Ok(Arrival::New { first })
    }

    /// Returns the number of files that have arrived in part.
    pub(crate) fn incomplete(&self) -> u64 {
        self.incomplete
    }

    /// Returns whether a file has arrived in part or as a whole.
    pub(crate) fn knows(&self, id: FileId) -> Result<bool, FilesError> {
        if self.changed.contains_key(&id) {
            return Ok(true);
        }
        let known = || {
            let done = self.transaction.open_table(DONE)?;
            let files = self.transaction.open_table(FILES)?;
            Ok::<_, redb::Error>(
                done.get(id.version().as_slice())?.is_some()
                    || files.get(id.0.as_slice())?.is_some(),
            )
        };
        known().map_err(|error| self.failed(error))
    }

    /// Returns a file to which chunks were added.
    pub(crate) fn file(&self, id: FileId) -> Option<&Incomplete> {
        self.changed.get(&id)
    }

    /// Ends a version of a file, in all its divisions: it is complete, or it was refused for this reason. Later chunks of
    /// a complete version are known.
    pub(crate) fn end(&mut self, id: FileId, refused: Option<&str>) -> Result<(), FilesError> {
        let Some(file) = self.changed.remove(&id) else {
            return Ok(());
        };
        let end = || {
            let [first, last] = id.of_version();
            let version = first.as_slice()..=last.as_slice();
            let mut files = self.transaction.open_table(FILES)?;
            files.retain_in::<&[u8], _>(version.clone(), |_, _| false)?;
            let mut chunks = self.transaction.open_table(CHUNKS)?;
            chunks.retain_in::<&[u8], _>(version, |_, ()| false)?;
            let mut failed = self.transaction.open_table(FAILED)?;
            match refused {
                Some(reason) => {
                    if failed.len()? < MAX_LISTED as u64 {
                        failed.insert(file.path.as_str(), reason)?;
                    }
                }
                None => {
                    failed.remove(file.path.as_str())?;
                    self.transaction
                        .open_table(DONE)?
                        .insert(id.version().as_slice(), ())?;
                    let mut counts = self.transaction.open_table(COUNTS)?;
                    let complete = counts.get(COMPLETE)?.map_or(0, |count| count.value());
                    counts.insert(COMPLETE, complete + 1)?;
                }
            }
            Ok::<_, redb::Error>(())
        };
        end().map_err(|error| self.failed(error))?;
        self.done.insert(id.version());
        Ok(())
    }

    /// Notes that a file or record was refused.
    pub(crate) fn refuse(&self, name: &str, reason: &str) -> Result<(), FilesError> {
        let refuse = || {
            let mut failed = self.transaction.open_table(FAILED)?;
            if failed.len()? < MAX_LISTED as u64 {
                failed.insert(name, reason)?;
            }
            Ok::<_, redb::Error>(())
        };
        refuse().map_err(|error| self.failed(error))
    }

    /// Notes that a complete file is to be processed.
    pub(crate) fn leave_to_processor(&self, saved: &FilePath) -> Result<(), FilesError> {
        let note = || {
            let mut files = self.transaction.open_table(UNPROCESSED)?;
            files.insert(saved.as_str(), ())?;
            Ok::<_, redb::Error>(())
        };
        note().map_err(|error| self.failed(error))
    }

    /// Notes that a complete file was processed.
    pub(crate) fn processed(&self, saved: &FilePath) -> Result<(), FilesError> {
        let note = || {
            let mut files = self.transaction.open_table(UNPROCESSED)?;
            files.remove(saved.as_str())?;
            Ok::<_, redb::Error>(())
        };
        note().map_err(|error| self.failed(error))
    }

    /// Makes the changes durable.
    pub(crate) fn commit(self) -> Result<(), FilesError> {
        let database = &self.ledger.database;
        let mut rows = Vec::with_capacity(self.changed.len());
        for (id, file) in &self.changed {
            if self.done.contains(&id.version()) {
                continue;
            }
            rows.push((*id, database.row(file)?));
        }
        let write = || {
            let mut files = self.transaction.open_table(FILES)?;
            for (id, row) in &rows {
                files.insert(id.0.as_slice(), row.as_slice())?;
            }
            Ok::<_, redb::Error>(())
        };
        write().map_err(|error| database.failed(error))?;
        database.commit(self.transaction)
    }
}

/// Returns what arrived in a folder, or `None` if no receiver ever ran.
pub(crate) fn status_of(folder: &Path) -> Result<Option<ReceiveStatus>, FilesError> {
    let database = Database::open_existing(folder.join(STATE_FOLDER).join(FILE_NAME))?;
    database.map(|database| status(&database)).transpose()
}

fn status(database: &Database) -> Result<ReceiveStatus, FilesError> {
    let mut rows = Vec::new();
    let mut status = database.read(|transaction| {
        let mut status = ReceiveStatus::default();
        let counts = match transaction.open_table(COUNTS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(status),
            counts => counts?,
        };
        status.complete = counts.get(COMPLETE)?.map_or(0, |count| count.value());
        for row in transaction.open_table(FAILED)?.iter()?.take(MAX_LISTED) {
            let (file, reason) = row?;
            status.failed.push(FailedFile {
                file: file.value().to_owned(),
                reason: reason.value().to_owned(),
            });
        }
        for row in transaction.open_table(FILES)?.iter()?.take(MAX_LISTED) {
            let (id, file) = row?;
            let Ok(id) = <[u8; 32]>::try_from(id.value()) else {
                continue;
            };
            rows.push((FileId(id), file.value().to_vec()));
        }
        Ok(status)
    })?;
    for (id, row) in rows {
        let file: Incomplete = database.parse(&row)?;
        let missing = database.read(|transaction| missing(transaction, id, file.count))?;
        status.incomplete.push(IncompleteFile {
            file: file.path,
            received: file.received,
            chunks: file.count,
            missing,
        });
    }
    Ok(status)
}

/// Returns the first ranges of missing chunks.
fn missing(
    transaction: &ReadTransaction,
    id: FileId,
    count: u32,
) -> Result<Vec<(u32, u32)>, redb::Error> {
    let chunks = transaction.open_table(CHUNKS)?;
    let (first, last) = (id.chunk(0), id.chunk(u32::MAX));
    let mut missing = Vec::new();
    let mut next = 1;
    for row in chunks.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        let (key, _) = row?;
        let number = key.value().get(32..).and_then(|it| it.try_into().ok());
        let number = number.map_or(0, u32::from_be_bytes);
        if number > next {
            missing.push((next, number - 1));
        }
        next = number.saturating_add(1);
        if missing.len() == MAX_RANGES {
            return Ok(missing);
        }
    }
    if next <= count {
        missing.push((next, count));
    }
    Ok(missing)
}
