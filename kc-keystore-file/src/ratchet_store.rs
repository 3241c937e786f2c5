//! Ratchets in files.

use kc_core::ratchet::{Seed, SeedError, Step};
use kc_core::store::{RatchetStore, SealedRatchetHeader, StoreError, StoreErrorKind};

use crate::atomic::read_bounded;
use crate::{MAX_SECRET_BYTES, NodeFiles, SecretFile};

/// A producer's ratchet in a `.seed` file. Before a step is used, the file is durably replaced by the next seed. The
/// lock of the node keeps other processes from using the ratchet. If the lock file is deleted, no further step is
/// taken.
#[derive(Debug)]
pub struct FileRatchetStore {
    file: SecretFile,
}

impl FileRatchetStore {
    /// Opens the ratchet in this file, and ensures that no other process uses it. Reads the file to detect errors
    /// early. Takes no step.
    ///
    /// # Errors
    /// Returns [`StoreErrorKind::InUse`] if another node on this computer uses the same file, and other kinds if the
    /// file is missing, unreadable or malformed.
    pub fn open(file: SecretFile) -> Result<Self, StoreError> {
        file.claim()?;
        let store = Self { file };
        store.seed()?;
        Ok(store)
    }

    /// Takes a step. Calls `stored` after the next seed was stored.
    fn take(&self, stored: impl FnOnce()) -> Result<Step, StoreError> {
        let pending = self
            .seed()?
            .advance()
            .map_err(|error| self.refused(error))?;
        self.file.replace(pending.next().encode().expose())?;
        stored();
        // A process that takes the lock from now on reads the next seed. A process that took the lock before may have
        // read the same seed as this process, so the lock is checked once more.
        self.file.check_lock()?;
        let (step, _) = pending.stored();
        Ok(step)
    }

    fn seed(&self) -> Result<Seed, StoreError> {
        let bytes = self.file.read()?;
        Seed::decode(&bytes).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: SeedError) -> StoreError {
        let kind = match error {
            SeedError::Exhausted => StoreErrorKind::Exhausted,
            _ => StoreErrorKind::Malformed,
        };
        let context = format!("use the ratchet in {}", self.file.path().display());
        StoreError::new(kind, context).with_source(error)
    }
}

impl RatchetStore for FileRatchetStore {
    fn step(&mut self) -> Result<Step, StoreError> {
        self.take(|| {})
    }
}

/// A ratchet in a `.seed` file that is opened when the first step is taken. Nodes that only consume take no step, and can
/// therefore run although the file is missing or cannot be written.
#[derive(Debug)]
pub struct LazyRatchetStore {
    file: SecretFile,
    open: Option<FileRatchetStore>,
}

impl LazyRatchetStore {
    /// Returns the ratchet in this file. Does not access the file.
    pub fn new(file: SecretFile) -> Self {
        Self { file, open: None }
    }
}

impl RatchetStore for LazyRatchetStore {
    fn step(&mut self) -> Result<Step, StoreError> {
        let store = match &mut self.open {
            Some(store) => store,
            None => {
                let store = FileRatchetStore::open(self.file.clone())?;
                self.open.insert(store)
            }
        };
        store.step()
    }
}

/// Returns the index of the next step of a ratchet that a token has sealed. Reads the index from the file of the
/// ratchet, without the token. Returns `None` if the file is missing or malformed.
pub fn sealed_index(files: &NodeFiles) -> Option<u64> {
    let bytes = read_bounded(&files.sealed_ratchet(), MAX_SECRET_BYTES).ok()?;
    Some(SealedRatchetHeader::of(&bytes)?.index)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use kc_core::store::StoreErrorKind;

    use super::*;
    use crate::{LOCK_LOST_ADVICE, NodeFiles, NodeLock, system_rng};

    fn seed_at(path: &Path) -> Vec<u8> {
        let seed = Seed::generate(&mut system_rng().unwrap());
        let bytes = seed.encode().expose().to_vec();
        fs::write(path, &bytes).unwrap();
        bytes
    }

    fn open(files: &NodeFiles, seed: &Path) -> FileRatchetStore {
        let lock = Arc::new(NodeLock::acquire(files).unwrap());
        FileRatchetStore::open(SecretFile::new(seed, lock)).unwrap()
    }

    fn refused(step: Result<Step, StoreError>) {
        let error = step.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InUse);
        assert_eq!(error.advice(), Some(LOCK_LOST_ADVICE));
    }

    #[test]
    fn no_step_is_taken_once_a_lock_file_was_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
        let elsewhere = folder.path().join("elsewhere.seed");
        for (seed, lock) in [
            (files.seed(), files.lock()),
            (elsewhere.clone(), files.lock()),
            (elsewhere.clone(), elsewhere.with_extension("lock")),
        ] {
            let bytes = seed_at(&seed);
            let mut first = open(&files, &seed);
            fs::remove_file(&lock).unwrap();
            refused(first.step());
            assert_eq!(fs::read(&seed).unwrap(), bytes, "{}", lock.display());
            drop(first);
            assert_eq!(open(&files, &seed).step().unwrap().index(), 0);
        }
    }

    /// Two processes read the same seed: the one that lost its lock does not use the step.
    #[test]
    fn a_step_is_not_used_if_the_lock_file_was_deleted_while_it_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        let files = NodeFiles::in_folder(folder.path(), "n1").unwrap();
        seed_at(&files.seed());
        let mut first = open(&files, &files.seed());
        refused(first.take(|| fs::remove_file(files.lock()).unwrap()));
        let mut second = open(&files, &files.seed());
        refused(first.step());
        second.step().unwrap();
    }
}
