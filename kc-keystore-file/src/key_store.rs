//! Secret files, and the keystore in a `.crypto` file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_core::keys::KeyType;
use kc_core::store::{Decoded, MemoryKeyStore, NodeSecrets, StoreError, StoreErrorKind};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use zeroize::Zeroizing;

use crate::atomic::read_bounded;
use crate::{FileError, NodeLock, write_atomic};

/// The maximum size of a secret file, in bytes. An Ed25519 key pair takes about 130 bytes, hybrid keys about 300.
pub const MAX_SECRET_BYTES: u64 = 1 << 16;

/// A secret file, `.crypto` or `.seed`: private, replaced atomically and durably.
#[derive(Debug)]
pub struct SecretFile {
    path: PathBuf,
    lock: Arc<NodeLock>,
}

impl SecretFile {
    /// Returns the secret file at `path`, of the node that `lock` covers. Does not access the file.
    pub fn new(path: impl Into<PathBuf>, lock: Arc<NodeLock>) -> Self {
        Self {
            path: path.into(),
            lock,
        }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ensures that no other node of this machine uses the same file: locks the lock file next to it, unless that is
    /// the node's own. Must be called before a ratchet is read; not needed for keys that are only read.
    ///
    /// # Errors
    /// [`FileError::InUse`] if another node uses the file; other [`FileError`]s if the lock file cannot be created.
    pub fn claim(&self) -> Result<(), FileError> {
        let real = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        self.lock.extend(real.with_extension("lock"))
    }

    /// Returns whether the file exists.
    ///
    /// # Errors
    /// [`FileError::Permission`] if its folder may not be searched.
    pub fn exists(&self) -> Result<bool, FileError> {
        self.path
            .try_exists()
            .map_err(|source| FileError::new("read", &self.path, source))
    }

    /// Returns the bytes, at most [`MAX_SECRET_BYTES`]; zeroized when dropped. A file that other users may read is made
    /// private, with a warning.
    ///
    /// # Errors
    /// [`FileError::Missing`], [`FileError::TooLarge`], [`FileError::NotAFile`], or another error if the file cannot be
    /// read.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let bytes = read_bounded(&self.path, MAX_SECRET_BYTES)?;
        make_private(&self.path);
        Ok(bytes)
    }

    /// Checks that the file's lock and the node's are still held. If not, another process may use the file.
    pub(crate) fn check_lock(&self) -> Result<(), FileError> {
        self.lock.check()
    }

    /// Overwrites the bytes with zeros and removes the file. Copies that a disk or a backup keeps are out of reach.
    ///
    /// # Errors
    /// [`FileError::Missing`] if the file does not exist; [`FileError::LockLost`]; other [`FileError`]s if it cannot be
    /// written.
    pub fn shred(self) -> Result<(), FileError> {
        let _writer = self.lock.writer()?;
        let failed = |source| FileError::new("destroy", &self.path, source);
        let length = self.read()?.len();
        let mut file = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .map_err(failed)?;
        file.write_all(&vec![0; length]).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::remove_file(&self.path).map_err(failed)
    }

    /// Replaces the bytes, see [`write_atomic`]. They are durable on return.
    ///
    /// # Errors
    /// [`FileError::LockLost`]; other [`FileError`]s if writing fails. The old bytes are still in place, unless only
    /// the last step failed.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), FileError> {
        let _writer = self.lock.writer()?;
        write_atomic(&self.path, bytes)
    }
}

#[cfg(unix)]
fn make_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return;
    }
    let tightened = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    let (path, before) = (path.display(), format!("{mode:04o}"));
    match tightened {
        Ok(()) => {
            tracing::warn!(%path, before, "secret file was readable by other users; it is private now (0600)")
        }
        Err(error) => {
            tracing::warn!(%path, before, %error, "secret file is readable by other users and cannot be made private")
        }
    }
}

#[cfg(not(unix))]
fn make_private(_: &Path) {}

/// Opens the signing keys and the opaque key of a `.crypto` file. A file of an older format is rewritten in the current
/// one; bytes after its content are ignored, with a warning.
///
/// `key_types` restricts the signing keys in use (`keytypes` in the configuration).
///
/// # Errors
/// A [`StoreError`] if the file is missing, unreadable or malformed, or if the operating system yields no random
/// numbers.
pub fn open_key_store(
    file: &SecretFile,
    key_types: Option<Vec<KeyType>>,
) -> Result<MemoryKeyStore, StoreError> {
    let Decoded {
        secrets, outdated, ..
    } = decode(file.path(), &file.read()?)?;
    if outdated {
        file.replace(secrets.encode().expose())?;
        tracing::info!(path = %file.path().display(), "key file rewritten in the current format");
    }
    let generators = || Ok(Box::new(system_rng()?) as _);
    Ok(MemoryKeyStore::new(
        secrets,
        key_types,
        Box::new(generators),
    ))
}

/// Reads the secrets in a `.crypto` file without a lock, for programs that only display them. Files are replaced
/// atomically, so the content is always complete.
///
/// # Errors
/// A [`StoreError`] if the file is missing, unreadable or malformed.
pub fn read_secrets(path: &Path) -> Result<NodeSecrets, StoreError> {
    let bytes = read_bounded(path, MAX_SECRET_BYTES)?;
    Ok(decode(path, &bytes)?.secrets)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Decoded, StoreError> {
    let decoded = NodeSecrets::decode(bytes).map_err(|error| {
        let context = format!("read {}", path.display());
        StoreError::new(StoreErrorKind::Malformed, context).with_source(error)
    })?;
    let trailing = decoded.trailing;
    if trailing > 0 {
        tracing::warn!(path = %path.display(), trailing, "bytes after the keys are ignored");
    }
    Ok(decoded)
}

/// Returns a generator of random numbers that is seeded by the operating system.
///
/// # Errors
/// [`StoreErrorKind::Io`] if the operating system yields no random numbers.
pub fn system_rng() -> Result<StdRng, StoreError> {
    StdRng::try_from_rng(&mut SysRng).map_err(|error| {
        StoreError::new(StoreErrorKind::Io, "random numbers from the system").with_source(error)
    })
}
