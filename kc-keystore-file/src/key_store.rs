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

/// No secret file is larger, in bytes. A key pair takes some 130 bytes, the hybrid ones 300.
pub const MAX_SECRET_BYTES: u64 = 1 << 16;

/// The bytes of a secret file, `.crypto` or `.seed`: private, replaced atomically and durably.
#[derive(Debug)]
pub struct SecretFile {
    path: PathBuf,
    lock: Arc<NodeLock>,
}

impl SecretFile {
    /// The secret file at `path`, of the node that `lock` covers. Touches nothing yet.
    pub fn new(path: impl Into<PathBuf>, lock: Arc<NodeLock>) -> Self {
        Self {
            path: path.into(),
            lock,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that no other node of this machine, whatever its configuration is called, uses the same file:
    /// takes the lock file beside it, unless that is the node's own. To be called before a ratchet is read; not
    /// needed for keys that are only read.
    ///
    /// # Errors
    /// [`FileError::InUse`], or a lock file that cannot be made.
    pub fn claim(&self) -> Result<(), FileError> {
        let real = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        self.lock.extend(real.with_extension("lock"))
    }

    /// Whether the file exists.
    ///
    /// # Errors
    /// A folder that may not be searched.
    pub fn exists(&self) -> Result<bool, FileError> {
        self.path
            .try_exists()
            .map_err(|source| FileError::new("read", &self.path, source))
    }

    /// The bytes, at most [`MAX_SECRET_BYTES`]; zeroized when dropped. A file that others may read is made private,
    /// with a warning.
    ///
    /// # Errors
    /// Missing, too large, not a file, not readable.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let bytes = read_bounded(&self.path, MAX_SECRET_BYTES)?;
        make_private(&self.path);
        Ok(bytes)
    }

    /// Fails if another process may use the file by now: its lock, or the node's, was deleted or replaced.
    pub(crate) fn check_lock(&self) -> Result<(), FileError> {
        self.lock.check()
    }

    /// Overwrites the bytes with zeros, and removes the file. (What a disk or a backup keeps beside is out of reach.)
    ///
    /// # Errors
    /// Missing, not writable; [`FileError::LockLost`].
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

    /// Replaces the bytes, see [`write_atomic`]. They are durable when it returns.
    ///
    /// # Errors
    /// [`FileError::LockLost`]; failures to write. The old bytes are still there, unless only the last step failed.
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
            tracing::warn!(%path, before, "others could read a secret file; it is private now (0600)")
        }
        Err(error) => {
            tracing::warn!(%path, before, %error, "others can read a secret file, and it cannot be made private")
        }
    }
}

#[cfg(not(unix))]
fn make_private(_: &Path) {}

/// Opens the signing keys and the opaque key of a `.crypto` file. A file of an older generation is
/// written anew in the current one; bytes behind its content are ignored, with a warning.
///
/// `key_types` restricts which signing keys are used (`keytypes` in the configuration).
///
/// # Errors
/// Missing, unreadable or malformed; no random numbers from the operating system.
pub fn open_key_store(
    file: &SecretFile,
    key_types: Option<Vec<KeyType>>,
) -> Result<MemoryKeyStore, StoreError> {
    let Decoded {
        secrets, outdated, ..
    } = decode(file.path(), &file.read()?)?;
    if outdated {
        file.replace(secrets.encode().expose())?;
        tracing::info!(path = %file.path().display(), "key file brought up to date");
    }
    let generators = || Ok(Box::new(system_rng()?) as _);
    Ok(MemoryKeyStore::new(
        secrets,
        key_types,
        Box::new(generators),
    ))
}

/// The secrets in a `.crypto` file, without a lock: for programs that only look. Files are replaced
/// atomically, so it is never half of one.
///
/// # Errors
/// Missing, unreadable or malformed.
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
        tracing::warn!(path = %path.display(), trailing, "bytes behind the keys are ignored");
    }
    Ok(decoded)
}

/// A generator of random numbers, seeded by the operating system.
///
/// # Errors
/// The operating system gives none.
pub fn system_rng() -> Result<StdRng, StoreError> {
    StdRng::try_from_rng(&mut SysRng).map_err(|error| {
        StoreError::new(StoreErrorKind::Io, "random numbers from the system").with_source(error)
    })
}
