use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kc_core::store::{StoreError, StoreErrorKind};
use redb::backends::FileBackend;
use redb::{Database, Error, ReadTransaction, ReadableDatabase, StorageError, TableError};

use super::tables::Tables;
use super::{IN_USE_ADVICE, folder};
use crate::FileError;

/// The memory in which the database keeps pages, in bytes.
const CACHE_BYTES: usize = 64 << 20;

/// The database `keys.redb`.
pub(super) struct KeyDatabase {
    database: Database,
    path: PathBuf,
}

/// The failure of a step of a transaction.
pub(super) enum Failure {
    Database(Error),
    /// A row does not have the expected form.
    Row(&'static str),
    Store(StoreError),
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Database(error.into())
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::Database(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl KeyDatabase {
    /// Creates a database with empty tables. The file gets its name once it is complete, so that a crash leaves no
    /// part of a database under this name.
    pub(super) fn create(path: &Path) -> Result<(), StoreError> {
        let failed = |error| failed("create", path, error);
        let unfinished = path.with_extension("redb.new");
        let io_failed = |source| FileError::new("create", &unfinished, source);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io_failed(error).into());
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        folder::private(options.read(true).write(true).create_new(true));
        let file = options.open(&unfinished).map_err(io_failed)?;
        let backend = FileBackend::new(file).map_err(|error| failed(error.into()))?;
        let database = Database::builder().create_with_backend(backend);
        let database = database.map_err(|error| failed(error.into()))?;
        let created = Self {
            database,
            path: unfinished.clone(),
        };
        created.write("create", |mut tables| {
            tables.set_version()?;
            Ok(((), true))
        })?;
        let closed = created.database.close();
        closed.map_err(|error| failed(error.into()))?;
        fs::rename(&unfinished, path).map_err(|source| FileError::new("create", path, source))?;
        Ok(path.parent().map_or(Ok(()), folder::flush)?)
    }

    /// Opens an existing database and checks all of it.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let mut builder = Database::builder();
        builder.set_check_integrity_on_open(true);
        builder.set_cache_size(CACHE_BYTES);
        let database = builder
            .open(&path)
            .map_err(|error| failed("open", &path, error.into()))?;
        let opened = Self { database, path };
        opened.read("open", Tables::check_version)?;
        Ok(opened)
    }

    /// Runs `read` on the state of the database.
    pub(super) fn read<T>(
        &self,
        action: &'static str,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let begun = self.database.begin_read();
        let transaction = begun.map_err(|error| failed(action, &self.path, error.into()))?;
        read(&transaction).map_err(|failure| self.explain(action, failure))
    }

    /// Runs `write` in a transaction, and commits it durably if `write` returns true.
    pub(super) fn write<T>(
        &self,
        action: &'static str,
        write: impl FnOnce(Tables<'_>) -> Result<(T, bool), Failure>,
    ) -> Result<T, StoreError> {
        let failed = |error| failed(action, &self.path, error);
        let begun = self.database.begin_write();
        let transaction = begun.map_err(|error| failed(error.into()))?;
        let outcome = Tables::open(&transaction).and_then(write);
        let (result, is_changed) = outcome.map_err(|failure| self.explain(action, failure))?;
        if is_changed {
            transaction.commit().map_err(|error| failed(error.into()))?;
        } else {
            transaction.abort().map_err(|error| failed(error.into()))?;
        }
        Ok(result)
    }

    /// Returns unused space to the file system.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        let compacted = self.database.compact();
        compacted.map_err(|error| failed("compact", &self.path, error.into()))?;
        Ok(())
    }

    fn explain(&self, action: &'static str, failure: Failure) -> StoreError {
        match failure {
            Failure::Database(error) => failed(action, &self.path, error),
            Failure::Row(problem) => {
                let context = format!("{action} {}", self.path.display());
                StoreError::new(StoreErrorKind::Malformed, context).with_source(problem)
            }
            Failure::Store(error) => error,
        }
    }
}

fn failed(action: &str, path: &Path, error: Error) -> StoreError {
    let (kind, advice) = match &error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => {
            (StoreErrorKind::InUse, Some(IN_USE_ADVICE))
        }
        Error::Io(error) => match error.kind() {
            ErrorKind::NotFound => (StoreErrorKind::Missing, None),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                (StoreErrorKind::Permission, None)
            }
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                (StoreErrorKind::Malformed, Some(DAMAGED_ADVICE))
            }
            _ => (StoreErrorKind::Io, None),
        },
        Error::PreviousIo => (
            StoreErrorKind::Io,
            Some("restart the custodian after an error of the disk"),
        ),
        Error::Backend(_) | Error::Unsupported => (StoreErrorKind::Io, None),
        Error::Corrupted(_)
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TableIsNotMultimap(_)
        | Error::TypeDefinitionChanged { .. }
        | Error::TableDoesNotExist(_)
        | Error::UpgradeRequired(_) => (StoreErrorKind::Malformed, Some(DAMAGED_ADVICE)),
        _ => (StoreErrorKind::Other, None),
    };
    let context = format!("{action} {}", path.display());
    let error = StoreError::new(kind, context).with_source(error);
    match advice {
        Some(advice) => error.with_advice(advice),
        None => error,
    }
}

const DAMAGED_ADVICE: &str =
    "restore keys.redb and secrets of the custodian's store from a backup of the same moment";
