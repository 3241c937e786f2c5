//! A ratchet that cannot be rolled back unless its token is rolled back, too.

use std::path::Path;

use cryptoki::object::ObjectHandle;
use kc_core::ratchet::{Seed, Step};
use kc_core::store::{RatchetStore, SealedRatchetHeader, StoreError};

use crate::aead::{self, generate_aes};
use crate::file::RatchetFile;
use crate::keys::bad;
use crate::random::generator;
use crate::token::{Class, LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, Token};

/// A producer's ratchet. It consists of a sealed file, and of the key on the token that opens this file. Each step has
/// a key of its own.
///
/// A step generates the key of the next step, replaces the file durably, destroys its own key, and only then returns
/// its secret. A crash during a step loses at most this step, which was not used. The key of an old file no longer
/// exists, so neither the owner nor an attacker can open an old file that is put back. Therefore the file needs no
/// protection, and a backup of it is useless. If the file or the token is lost, [re-initialise](Self::reinitialise) the
/// ratchet.
///
/// An old file is useless only if the token cannot be copied or restored. A software token consists of files. If these
/// files are restored together with the ratchet's file, the ratchet takes the same steps again, and nothing can detect
/// this.
///
/// The file is `"KCR1" ‖ index (8 bytes, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`; the plaintext is the
/// ratchet's stored form (protocol §4). The key is labelled `kc:<node>:<instance>:ratchet`, and its id is the index.
///
/// The file is durable before the old key is destroyed. Durability of the new key depends on the token: SoftHSM does
/// not flush its files, so a power failure within seconds after a step can lose the ratchet.
///
/// Every call blocks until the token and the disk answer.
#[derive(Debug)]
pub struct HsmRatchetStore {
    token: Token,
    label: String,
    file: RatchetFile,
}

impl HsmRatchetStore {
    /// Opens the ratchet in this file and locks `<file>.lock` until the store is dropped. Takes no step.
    ///
    /// # Errors
    /// Returns [`HsmError::RatchetInUse`] if the ratchet is open already; [`HsmError::File`] if the file is missing or
    /// cannot be read; [`HsmError::MalformedRatchet`] if the file does not hold a ratchet; [`HsmError::RolledBack`] if
    /// the token has no key for the file's step; [`HsmError::ForeignRatchet`], [`HsmError::ObjectAmbiguous`] or
    /// [`HsmError::BadObject`] if the token has other keys with this label; [`HsmError::Exposed`] if the key could
    /// leave the token; [`HsmError::Unauthentic`] if the key does not open the file; and [`HsmError::Gone`] or
    /// [`HsmError::TokenMissing`] if the token is gone.
    pub fn open(token: Token, labels: &NodeLabels, path: &Path) -> Result<Self, HsmError> {
        let store = Self::lock(token, labels, path)?;
        store
            .token
            .with_session(|token| check(token, &store.label, &store.file))?;
        Ok(store)
    }

    /// Returns the index of the next step.
    ///
    /// # Errors
    /// Returns [`HsmError::File`] if the file is missing or cannot be read, and [`HsmError::MalformedRatchet`] if the
    /// file does not hold a ratchet.
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
            .with_session(|token| take(token, &self.label, &self.file));
        Ok(step?)
    }
}

impl HsmRatchetStore {
    /// Returns the first index that no step has used, according to the file and the token; 0 if neither has a ratchet.
    /// A malformed file counts as missing.
    ///
    /// # Errors
    /// Returns [`HsmError::RatchetInUse`] if the ratchet is open; [`HsmError::File`] if the file exists but cannot be
    /// read; and [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
    pub fn unused_index(token: Token, labels: &NodeLabels, path: &Path) -> Result<u64, HsmError> {
        // The index in the file and the index of the key on the token are both that of the next step.
        let next = Self::lock(token, labels, path)?.known_indices()?;
        Ok(next.into_iter().max().unwrap_or(0))
    }

    /// Creates a ratchet that begins at index 0.
    ///
    /// # Errors
    /// Returns [`HsmError::RatchetExists`] if the file exists; [`HsmError::RatchetKeyLeft`] if the token has the key of
    /// any step of this node's ratchet; [`HsmError::RatchetInUse`] if the ratchet is open; [`HsmError::File`] if the
    /// file cannot be written; and [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
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

    /// Moves a ratchet from a `.seed` file to the token. The ratchet continues with the next step of `seed`. If a file
    /// of an earlier ratchet exists at `path`, it is replaced.
    ///
    /// Two copies of a ratchet would use the same keys. Therefore destroy `<node>.seed`: it must not be used any more
    /// after the first step of the new ratchet.
    ///
    /// # Errors
    /// Returns [`HsmError::RatchetKeyLeft`] if the token has the key of any step of this node's ratchet, because the
    /// file of this ratchet may be elsewhere; [`HsmError::RatchetRepeats`] if the existing file is at a later step than
    /// `seed`; [`HsmError::RatchetInUse`] if the ratchet is open; [`HsmError::File`] if the file cannot be read or
    /// written; and [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
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

    /// Destroys the existing ratchet, if any, and begins another with a fresh secret at index `base`. This is the
    /// remedy if the file or the token is lost.
    ///
    /// The node must never have taken a step at or after `base`, because key ids would repeat. The time in seconds
    /// since 1970 is a suitable index for every ratchet that takes less than one step per second on average.
    ///
    /// # Errors
    /// Returns [`HsmError::RatchetRepeats`] if `base` is before the [unused index](Self::unused_index) of file and
    /// token; [`HsmError::RatchetInUse`] if the ratchet is open; [`HsmError::File`] if the file cannot be read or
    /// written; and [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
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
        let keys = |token: &LoggedIn<'_>| keys(token, &self.label);
        let keys = self.token.with_session(keys)?;
        match keys.into_iter().map(|(index, _)| index).max() {
            Some(found) => Err(HsmError::RatchetKeyLeft {
                path: self.file.path().to_owned(),
                found,
            }),
            None => Ok(()),
        }
    }

    /// Returns the index in the file and the indices of the keys on the token. A malformed file counts as missing.
    fn known_indices(&self) -> Result<Vec<u64>, HsmError> {
        let in_file = match Sealed::read_any(&self.file) {
            Ok(sealed) => sealed.map(|sealed| sealed.index()),
            Err(HsmError::MalformedRatchet { .. }) => None,
            Err(error) => return Err(error),
        };
        let keys = |token: &LoggedIn<'_>| keys(token, &self.label);
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

    /// Generates a key on the token, stores the seed sealed by this key, and destroys all keys of the ratchet that the
    /// token had before.
    fn begin(&self, seed: &Seed) -> Result<(), HsmError> {
        self.token.with_session(|token| {
            let before = keys(token, &self.label)?;
            let key = generate_aes(token, &self.label, &seed.index().to_be_bytes())?;
            let sealed = Sealed::seal(token, key, seed)?;
            sealed.open(token, key, &self.file)?;
            self.file.replace(sealed.bytes())?;
            before.iter().try_for_each(|(_, key)| token.destroy(*key))
        })
    }
}

/// Takes a step. A call that was interrupted at any point can be repeated from the beginning.
fn take(token: &LoggedIn<'_>, label: &str, file: &RatchetFile) -> Result<Step, HsmError> {
    let sealed = Sealed::read(file)?;
    let key = clear_up(token, label, file, sealed.index())?;
    let seed = sealed.open(token, key, file)?;
    let exhausted = |_| HsmError::RatchetExhausted {
        path: file.path().to_owned(),
    };
    let pending = seed.advance().map_err(exhausted)?;
    let next = pending.next();
    let next_key = generate_aes(token, label, &next.index().to_be_bytes())?;
    let successor = Sealed::seal(token, next_key, next)?;
    // Check the new file before the old key is destroyed.
    successor.open(token, next_key, file)?;
    file.replace(successor.bytes())?;
    token.destroy(key)?;
    file.check_lock()?;
    let (step, _) = pending.stored();
    Ok(step)
}

/// Checks that the token has the key of the file's step, and that this key opens the file. Changes nothing.
fn check(token: &LoggedIn<'_>, label: &str, file: &RatchetFile) -> Result<(), HsmError> {
    let sealed = Sealed::read(file)?;
    let keys = keys(token, label)?;
    let key = current(&keys, label, file, sealed.index())?;
    token.require_hidden(key, label)?;
    sealed.open(token, key, file).map(drop)
}

/// Returns the key of the file's step. Destroys a key that an interrupted step left behind: the key of the step before
/// the file's step, if the interrupted step had already replaced the file, or else the key of the step after it.
fn clear_up(
    token: &LoggedIn<'_>,
    label: &str,
    file: &RatchetFile,
    index: u64,
) -> Result<ObjectHandle, HsmError> {
    let keys = keys(token, label)?;
    let key = current(&keys, label, file, index)?;
    token.require_hidden(key, label)?;
    for (_, left) in keys.iter().filter(|(found, _)| *found != index) {
        token.destroy(*left)?;
    }
    Ok(key)
}

/// Returns the key of the file's step. Fails if the token has other keys that an interrupted step cannot have left
/// behind.
fn current(
    keys: &[(u64, ObjectHandle)],
    label: &str,
    file: &RatchetFile,
    index: u64,
) -> Result<ObjectHandle, HsmError> {
    let path = || file.path().to_owned();
    let mut of_step = keys.iter().filter(|(found, _)| *found == index);
    let Some((_, key)) = of_step.next() else {
        // Destroy no key: the right file may still be put back.
        return Err(HsmError::RolledBack {
            path: path(),
            index,
            newest: keys.iter().map(|(found, _)| *found).max(),
        });
    };
    let more = of_step.count();
    if more > 0 {
        return Err(HsmError::ObjectAmbiguous {
            what: Class::Secret.name(),
            label: label.to_owned(),
            count: more + 1,
        });
    }
    match keys.iter().find(|(found, _)| found.abs_diff(index) > 1) {
        Some((found, _)) => Err(HsmError::ForeignRatchet {
            path: path(),
            index,
            found: *found,
        }),
        None => Ok(*key),
    }
}

/// Returns the ratchet's keys on the token, each with its step.
fn keys(token: &LoggedIn<'_>, label: &str) -> Result<Vec<(u64, ObjectHandle)>, HsmError> {
    let objects = token.find_all(&Wanted::new(Class::Secret, label.to_owned()))?;
    let with_index = |object| {
        let index = token.id(object)?.try_into().map(u64::from_be_bytes);
        let index = index.map_err(|_| bad(label, "its id is not a ratchet index of 8 bytes"))?;
        Ok((index, object))
    };
    objects.into_iter().map(with_index).collect()
}

/// A ratchet as stored in its file: the index is readable, the secret is sealed.
struct Sealed {
    index: u64,
    bytes: Vec<u8>,
}

impl Sealed {
    /// Reads the file.
    ///
    /// # Errors
    /// Returns [`HsmError::File`] if the file does not exist or cannot be read, and [`HsmError::MalformedRatchet`] if
    /// it does not hold a ratchet.
    fn read(file: &RatchetFile) -> Result<Self, HsmError> {
        Self::read_any(file)?.ok_or_else(|| HsmError::File {
            action: "read",
            path: file.path().to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// Reads the file. Returns `None` if the file does not exist.
    fn read_any(file: &RatchetFile) -> Result<Option<Self>, HsmError> {
        let Some(bytes) = file.read()? else {
            return Ok(None);
        };
        let header = SealedRatchetHeader::of(&bytes).ok_or_else(|| malformed(file))?;
        Ok(Some(Self {
            index: header.index,
            bytes,
        }))
    }

    /// Seals a seed with the key of its step.
    fn seal(token: &LoggedIn<'_>, key: ObjectHandle, seed: &Seed) -> Result<Self, HsmError> {
        let index = seed.index();
        let header = SealedRatchetHeader { index }.encode();
        let bytes = aead::seal(token, key, &header, seed.encode().expose())?;
        Ok(Self { index, bytes })
    }

    fn open(
        &self,
        token: &LoggedIn<'_>,
        key: ObjectHandle,
        file: &RatchetFile,
    ) -> Result<Seed, HsmError> {
        let seed = aead::open(
            token,
            key,
            SealedRatchetHeader::LEN,
            &self.bytes,
            "ratchet file",
        )?;
        match Seed::decode(seed.expose()) {
            Ok(seed) if seed.index() == self.index => Ok(seed),
            _ => Err(malformed(file)),
        }
    }

    /// Returns the step in the file.
    fn index(&self) -> u64 {
        self.index
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn malformed(file: &RatchetFile) -> HsmError {
    HsmError::MalformedRatchet {
        path: file.path().to_owned(),
    }
}
