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

/// A secret file: `.crypto` or `.seed`. Only its owner can read it. It is replaced atomically and durably.
#[derive(Clone, Debug)]
pub struct SecretFile {
    path: PathBuf,
    lock: Arc<NodeLock>,
}

impl SecretFile {
    /// Returns the secret file at `path`, which belongs to the node that `lock` locks. Does not access the file.
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

    /// Ensures that no other node on this computer uses the same file. For this, the lock file next to the secret file
    /// is locked, unless it is the lock file of this node. A caller that reads a ratchet must call this method first. A
    /// caller that only reads keys need not call it.
    ///
    /// # Errors
    /// Returns [`FileError::InUse`] if another node uses the file, and other errors if the lock file cannot be created.
    pub fn claim(&self) -> Result<(), FileError> {
        let real = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        self.lock.extend(real.with_extension("lock"))
    }

    /// Returns whether the file exists.
    ///
    /// # Errors
    /// Returns [`FileError::Permission`] if this process may not search the folder of the file, and [`FileError::Io`]
    /// if the check fails for another reason.
    pub fn exists(&self) -> Result<bool, FileError> {
        self.path
            .try_exists()
            .map_err(|source| FileError::new("read", &self.path, source))
    }

    /// Returns the bytes of the file, at most [`MAX_SECRET_BYTES`]. The returned buffer is zeroized when it is dropped.
    /// If other users can access the file, this method makes the file private and logs a warning.
    ///
    /// # Errors
    /// Returns [`FileError::Missing`] if the file does not exist, [`FileError::TooLarge`] if it has more than
    /// [`MAX_SECRET_BYTES`] bytes, [`FileError::NotAFile`] if it is not a regular file, and other errors if it cannot
    /// be read.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let bytes = read_bounded(&self.path, MAX_SECRET_BYTES)?;
        make_private(&self.path);
        Ok(bytes)
    }

    /// Checks that the lock of the file and the lock of the node are still held. If not, another process may use the
    /// file.
    pub(crate) fn check_lock(&self) -> Result<(), FileError> {
        self.lock.check()
    }

    /// Overwrites the bytes with zeros and removes the file. Copies that the disk or a backup has kept are not
    /// destroyed.
    ///
    /// # Errors
    /// Returns [`FileError::Missing`] if the file does not exist, [`FileError::LockLost`] if a lock file was deleted or
    /// replaced, and other errors if the file cannot be overwritten or removed.
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

    /// Replaces the bytes as [`write_atomic`] does. The new bytes are durable when this method returns.
    ///
    /// # Errors
    /// Returns [`FileError::LockLost`] if a lock file was deleted or replaced, and other errors if writing fails. After
    /// an error, the old bytes are still in place, unless only the last step of [`write_atomic`] failed.
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
            tracing::warn!(%path, before, "secret file was accessible to other users; it is private now (0600)")
        }
        Err(error) => {
            tracing::warn!(%path, before, %error, "secret file is accessible to other users and cannot be made private")
        }
    }
}

#[cfg(not(unix))]
fn make_private(_: &Path) {}

/// Opens the signing keys and the opaque key of a `.crypto` file. A file in an older format is rewritten in the current
/// format. Bytes after the content are ignored, and a warning is logged.
///
/// `key_types` selects the types of the signing keys that are used (`keytypes` in the configuration); `None` selects
/// all types.
///
/// # Errors
/// Returns [`StoreError`] if the file is missing, unreadable or malformed, or if it cannot be rewritten.
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

/// Reads the secrets in a `.crypto` file without a lock, for programs that only display information about them. The
/// content is always complete, because files are replaced atomically.
///
/// # Errors
/// Returns [`StoreError`] if the file is missing, unreadable or malformed.
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
        tracing::warn!(path = %path.display(), trailing, "bytes after the content of the key file are ignored");
    }
    Ok(decoded)
}

/// Returns a generator of random numbers that is seeded by the operating system.
///
/// # Errors
/// Returns [`StoreErrorKind::Io`] if the operating system gives no random numbers.
pub fn system_rng() -> Result<StdRng, StoreError> {
    StdRng::try_from_rng(&mut SysRng).map_err(|error| {
        StoreError::new(
            StoreErrorKind::Io,
            "get random numbers from the operating system",
        )
        .with_source(error)
    })
}
