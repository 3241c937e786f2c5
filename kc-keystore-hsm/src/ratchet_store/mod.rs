//! A ratchet that cannot be rolled back unless its token is.

mod create;
mod file;
mod sealed;
mod step;

use std::path::Path;

use kc_core::ratchet::Step;
use kc_core::store::{RatchetStore, StoreError};

use crate::{HsmError, NodeLabels, Token};

use file::RatchetFile;
use sealed::Sealed;

/// A producer's ratchet: a sealed file, and on the token one key for each step, which opens it.
///
/// A step makes the key of the next one, replaces the file durably, destroys its own key, and only then gives out its
/// secret. A crash in between loses at most a step that nobody has used. Whatever old file is put back, its key is
/// gone: it opens no more, for its owner as little as for a thief. So the file needs no protection, and no backup helps:
/// if file or token is lost, the ratchet is [re-initialised](Self::reinitialise).
///
/// That is true of tokens that nobody can copy or put back. A software token is files: put back together with the ratchet's,
/// it takes the same steps again, and nothing can notice that.
///
/// The file is `"KCR1" ‖ index (8, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`; inside is the ratchet's stored
/// form (protocol §4). The key is labelled `kc:<node>:<instance>:ratchet`, and its id is the index.
///
/// The file is durable before the old key goes. Whether the new key is, is up to the token: SoftHSM does not flush its
/// files, so that a loss of power within seconds after a step can cost the ratchet.
///
/// Every call blocks for as long as token and disk take.
#[derive(Debug)]
pub struct HsmRatchetStore {
    token: Token,
    label: String,
    file: RatchetFile,
}

impl HsmRatchetStore {
    /// The ratchet in this file, for this opener alone: `<file>.lock` is locked until this is dropped. Takes no
    /// step.
    ///
    /// # Errors
    /// [`HsmError::RatchetInUse`]; [`HsmError::RolledBack`] if the token has no key for the file's step; no file,
    /// or one that is no ratchet; the token is gone.
    pub fn open(token: Token, labels: &NodeLabels, path: &Path) -> Result<Self, HsmError> {
        let store = Self::lock(token, labels, path)?;
        store
            .token
            .with_session(|token| step::check(token, &store.label, &store.file))?;
        Ok(store)
    }

    /// The index of the step to be used next.
    ///
    /// # Errors
    /// The file is missing or no ratchet.
    pub fn next_index(&self) -> Result<u64, HsmError> {
        Ok(self.read()?.index())
    }

    fn lock(token: Token, labels: &NodeLabels, path: &Path) -> Result<Self, HsmError> {
        Ok(Self {
            token,
            label: labels.ratchet(),
            file: RatchetFile::lock(path)?,
        })
    }

    fn read(&self) -> Result<Sealed, HsmError> {
        Sealed::read(&self.file)
    }
}

impl RatchetStore for HsmRatchetStore {
    fn step(&mut self) -> Result<Step, StoreError> {
        let step = self
            .token
            .with_session(|token| step::take(token, &self.label, &self.file));
        Ok(step?)
    }
}
