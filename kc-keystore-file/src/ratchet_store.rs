use kc_core::ratchet::{Seed, SeedError, Step};
use kc_core::store::{RatchetStore, StoreError, StoreErrorKind};

use crate::{FileError, SecretFile};

/// A producer's ratchet in a `.seed` file. Each step replaces the file, durably, before it is used; the
/// node's lock keeps every other process away.
#[derive(Debug)]
pub struct FileRatchetStore {
    file: SecretFile,
}

impl FileRatchetStore {
    /// The ratchet in this file, for this process alone. Reads nothing yet.
    ///
    /// # Errors
    /// [`FileError::InUse`] if another node of this machine uses the same file.
    pub fn open(file: SecretFile) -> Result<Self, FileError> {
        file.claim()?;
        Ok(Self { file })
    }

    fn refused(&self, error: SeedError) -> StoreError {
        let kind = match error {
            SeedError::Exhausted => StoreErrorKind::Exhausted,
            _ => StoreErrorKind::Malformed,
        };
        let context = format!("ratchet in {}", self.file.path().display());
        StoreError::new(kind, context).with_source(error)
    }
}

impl RatchetStore for FileRatchetStore {
    fn step(&mut self) -> Result<Step, StoreError> {
        let bytes = self.file.read()?;
        let seed = Seed::decode(&bytes).map_err(|error| self.refused(error))?;
        let pending = seed.advance().map_err(|error| self.refused(error))?;
        self.file.replace(pending.next().encode().expose())?;
        let (step, _) = pending.stored();
        Ok(step)
    }
}
