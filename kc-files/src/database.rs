use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use redb::{Database as Redb, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::FilesError;
use crate::path::STATE_FOLDER;

/// The memory in which the database keeps pages, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// A database in the state folder of a folder. One process at a time can open it.
#[derive(Debug)]
pub(crate) struct Database {
    redb: Redb,
    path: PathBuf,
}

/// Creates the state folder of `folder`, readable only by its owner. Returns its path.
pub(crate) fn state_folder(folder: &Path) -> Result<PathBuf, FilesError> {
    let state = folder.join(STATE_FOLDER);
    let created = fs::DirBuilder::new().mode(0o700).create(&state);
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FilesError::io("create", &state, error));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(&state);
    let found = found.map_err(|error| FilesError::io("read", &state, error))?;
    if found.is_dir() {
        Ok(state)
    } else {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        Err(FilesError::io("use", &state, error))
    }
}

impl Database {
    /// Opens the database, and creates it if it does not exist. A crash leaves no part of a database under its name.
    pub(crate) fn open(path: PathBuf) -> Result<Self, FilesError> {
        if !exists(&path)? {
            let unfinished = path.with_extension("new");
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FilesError::io("replace", &unfinished, error));
                }
                _ => {}
            }
            drop(Redb::create(&unfinished).map_err(|error| failed(&unfinished, error))?);
            let renamed = fs::rename(&unfinished, &path);
            renamed.map_err(|error| FilesError::io("create", &path, error))?;
        }
        let opened = Redb::builder()
            .set_cache_size(CACHE_BYTES)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        Ok(Self { redb: opened, path })
    }

    /// Opens the database if it exists.
    pub(crate) fn open_existing(path: PathBuf) -> Result<Option<Self>, FilesError> {
        match exists(&path)? {
            true => Self::open(path).map(Some),
            false => Ok(None),
        }
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, FilesError> {
        let begun = self.redb.begin_read().map_err(redb::Error::from);
        begun
            .and_then(|transaction| read(&transaction))
            .map_err(|error| self.failed(error))
    }

    pub(crate) fn begin(&self) -> Result<WriteTransaction, FilesError> {
        self.redb
            .begin_write()
            .map_err(|error| self.failed(error.into()))
    }

    pub(crate) fn commit(&self, transaction: WriteTransaction) -> Result<(), FilesError> {
        transaction
            .commit()
            .map_err(|error| self.failed(error.into()))
    }

    pub(crate) fn failed(&self, source: redb::Error) -> FilesError {
        FilesError::State {
            path: self.path.clone(),
            source: Box::new(source),
        }
    }

    /// Parses a row.
    pub(crate) fn parse<T: DeserializeOwned>(&self, row: &[u8]) -> Result<T, FilesError> {
        serde_json::from_slice(row).map_err(|error| FilesError::Damaged {
            path: self.path.clone(),
            what: error.to_string(),
        })
    }

    /// Returns a row.
    pub(crate) fn row(&self, value: &impl Serialize) -> Result<Vec<u8>, FilesError> {
        serde_json::to_vec(value).map_err(|error| FilesError::Damaged {
            path: self.path.clone(),
            what: error.to_string(),
        })
    }
}

fn exists(path: &Path) -> Result<bool, FilesError> {
    path.try_exists()
        .map_err(|error| FilesError::io("read", path, error))
}

fn failed(path: &Path, error: DatabaseError) -> FilesError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => FilesError::InUse {
            path: path.to_owned(),
        },
        error => FilesError::State {
            path: path.to_owned(),
            source: Box::new(error.into()),
        },
    }
}
