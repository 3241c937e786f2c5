use std::path::Path;

use kc_core::ratchet::Seed;

use super::sealed::Sealed;
use super::{HsmRatchetStore, step};
use crate::keys::aes;
use crate::random::generator;
use crate::token::LoggedIn;
use crate::{HsmError, NodeLabels, Token};

impl HsmRatchetStore {
    /// The first index that no step has used, as far as file and token know; 0 if they know of none.
    ///
    /// # Errors
    /// In use; the token is gone.
    pub fn unused_index(token: Token, labels: &NodeLabels, path: &Path) -> Result<u64, HsmError> {
        // Either knows the index that is next.
        let next = Self::lock(token, labels, path)?.known_indices()?;
        Ok(next.into_iter().max().unwrap_or(0))
    }

    /// A fresh ratchet, beginning at index 0.
    ///
    /// # Errors
    /// [`HsmError::RatchetExists`] if there is a file; [`HsmError::RatchetKeyLeft`] if the token has a ratchet key of
    /// this node, of whatever step; in use; the token is gone.
    pub fn create(token: Token, labels: &NodeLabels, path: &Path) -> Result<Self, HsmError> {
        let store = Self::lock(token, labels, path)?;
        if store.file.read()?.is_some() {
            return Err(HsmError::RatchetExists {
                path: path.to_owned(),
            });
        }
        store.require_no_key()?;
        store.begin(&Seed::generate(&mut generator()?))?;
        Ok(store)
    }

    /// Continues a ratchet that was in a file: its next step is the seed's. A file that is there is of a ratchet before,
    /// and is replaced.
    ///
    /// Two copies of a ratchet are poison: from when a step is taken here, `<node>.seed` must not be used any more.
    /// Destroy it.
    ///
    /// # Errors
    /// [`HsmError::RatchetKeyLeft`] if the token has a ratchet key of this node, of whatever step: its file may be
    /// elsewhere; [`HsmError::RatchetRepeats`] if the file is past the seed already; in use; the token is gone.
    pub fn import(
        token: Token,
        labels: &NodeLabels,
        path: &Path,
        seed: &Seed,
    ) -> Result<Self, HsmError> {
        let store = Self::lock(token, labels, path)?;
        store.require_no_key()?;
        store.require_unused(seed.index())?;
        store.begin(seed)?;
        Ok(store)
    }

    /// Begins anew, with a fresh secret, at `base`: the way out if file or token is lost. Destroys what was.
    ///
    /// No step of `base` may ever have been taken, or of an index past it, or key ids repeat. The time in seconds since
    /// 1970 is such an index for every ratchet that steps less than once a second.
    ///
    /// # Errors
    /// [`HsmError::RatchetRepeats`] if `base` is before the [unused index](Self::unused_index) of file and token; in use;
    /// the token is gone.
    pub fn reinitialise(
        token: Token,
        labels: &NodeLabels,
        path: &Path,
        base: u64,
    ) -> Result<Self, HsmError> {
        let store = Self::lock(token, labels, path)?;
        store.require_unused(base)?;
        store.begin(&Seed::generate_from(base, &mut generator()?))?;
        Ok(store)
    }

    fn require_no_key(&self) -> Result<(), HsmError> {
        let keys = |token: &LoggedIn<'_>| step::keys(token, &self.label);
        let keys = self.token.with_session(keys)?;
        match keys.into_iter().map(|(index, _)| index).max() {
            Some(found) => Err(HsmError::RatchetKeyLeft {
                path: self.file.path().to_owned(),
                found,
            }),
            None => Ok(()),
        }
    }

    /// The indices that file and token know of. A file that is no ratchet knows none.
    fn known_indices(&self) -> Result<Vec<u64>, HsmError> {
        let in_file = match Sealed::read_any(&self.file) {
            Ok(sealed) => sealed.map(|sealed| sealed.index()),
            Err(HsmError::MalformedRatchet { .. }) => None,
            Err(error) => return Err(error),
        };
        let keys = |token: &LoggedIn<'_>| step::keys(token, &self.label);
        let on_token = self.token.with_session(keys)?;
        let on_token = on_token.into_iter().map(|(index, _)| index);
        Ok(in_file.into_iter().chain(on_token).collect())
    }

    fn require_unused(&self, index: u64) -> Result<(), HsmError> {
        match self.known_indices()?.into_iter().max() {
            Some(known) if known > index => Err(HsmError::RatchetRepeats {
                path: self.file.path().to_owned(),
                index,
                known,
            }),
            _ => Ok(()),
        }
    }

    /// Stores this seed, and destroys the keys of all others.
    fn begin(&self, seed: &Seed) -> Result<(), HsmError> {
        self.token.with_session(|token| {
            let before = step::keys(token, &self.label)?;
            let key = aes::generate(token, &self.label, &seed.index().to_be_bytes())?;
            let sealed = Sealed::seal(token, key, seed)?;
            sealed.open(token, key, &self.file)?;
            self.file.replace(sealed.bytes())?;
            before.iter().try_for_each(|(_, key)| token.destroy(*key))
        })
    }
}
