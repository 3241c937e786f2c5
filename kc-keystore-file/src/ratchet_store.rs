use kc_core::ratchet::{Seed, SeedError, Step};
use kc_core::store::{RatchetStore, StoreError, StoreErrorKind};

use crate::SecretFile;

/// A producer's ratchet in a `.seed` file. Each step replaces the file, durably, before it is used; the
/// node's lock keeps every other process away.
#[derive(Debug)]
pub struct FileRatchetStore {
    file: SecretFile,
}

impl FileRatchetStore {
    /// The ratchet in this file, for this process alone. Reads it, so that a file that holds none is
    /// noticed before it is needed, and takes no step.
    ///
    /// # Errors
    /// `InUse` if another node of this machine uses the same file; missing, unreadable or malformed.
    pub fn open(file: SecretFile) -> Result<Self, StoreError> {
        file.claim()?;
        let store = Self { file };
        store.seed()?;
        Ok(store)
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
        let context = format!("ratchet in {}", self.file.path().display());
        StoreError::new(kind, context).with_source(error)
    }
}

impl RatchetStore for FileRatchetStore {
    fn step(&mut self) -> Result<Step, StoreError> {
        let pending = self
            .seed()?
            .advance()
            .map_err(|error| self.refused(error))?;
        self.file.replace(pending.next().encode().expose())?;
        let (step, _) = pending.stored();
        Ok(step)
    }
}
