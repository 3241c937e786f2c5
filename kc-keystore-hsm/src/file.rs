//! Files that are replaced atomically, and the ratchet's file with its lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::HsmError;

/// Replaces the bytes of a file, durably. No other thread or process may write the file at the same time. On failure
/// the file holds either the old bytes or the new bytes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // An earlier process may have crashed and left its temporary file.
    let temporary = beside(path, ".", ".tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private().create_new(true).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    flush_folder(path)
}

/// Returns options that open a file for writing. If the file is created, only its owner can read it.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Returns the path of a file in the folder of `path`. The name of this file is the file name of `path`, with `before`
/// in front and `after` at the end.
fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
}

#[cfg(unix)]
fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Does nothing, because the standard library cannot flush a folder on this platform.
#[cfg(not(unix))]
fn flush_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The maximum number of bytes that are read from a ratchet's file. A ratchet takes about 80 bytes.
const MAX_BYTES: u64 = 1024;

/// The file of a ratchet, with its lock. Only one value of this type at a time holds the lock of a file. The file is
/// replaced atomically and durably.
#[derive(Debug)]
pub(crate) struct RatchetFile {
    path: PathBuf,
    /// The lock file. It is separate from the ratchet's file, because a rename replaces that file and its lock.
    lock: File,
    lock_path: PathBuf,
}

impl RatchetFile {
    /// Locks the ratchet at `path` without waiting. The ratchet's file need not exist.
    ///
    /// # Errors
    /// Returns [`HsmError::RatchetInUse`] if another process, or another part of this process, holds the lock;
    /// [`HsmError::RatchetLockLost`] if the lock file was deleted or replaced between opening and locking; and
    /// [`HsmError::File`] if the lock file cannot be opened or locked.
    pub(crate) fn lock(path: &Path) -> Result<Self, HsmError> {
        // Resolve symbolic links, so that all paths to one file lead to the same lock.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let lock_path = beside(&path, "", ".lock");
        let failed = |source| HsmError::File {
            action: "lock",
            path: lock_path.clone(),
            source,
        };
        let lock = open_lock(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HsmError::RatchetInUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let file = Self {
            path,
            lock,
            lock_path,
        };
        // Another process may have replaced the lock file between opening and locking.
        file.check_lock()?;
        Ok(file)
    }

    /// Checks that the path of the lock file still leads to the file that this value locked. If not, another process
    /// may have opened the ratchet.
    pub(crate) fn check_lock(&self) -> Result<(), HsmError> {
        let lost = || HsmError::RatchetLockLost {
            path: self.path.clone(),
        };
        let failed = |source| HsmError::File {
            action: "lock",
            path: self.lock_path.clone(),
            source,
        };
        match is_at(&self.lock_path, &self.lock) {
            Ok(true) => Ok(()),
            Ok(false) => Err(lost()),
            Err(source) => Err(failed(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the bytes of the file; `None` if it does not exist.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, HsmError> {
        let mut bytes = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed("read", source)),
        }
    }

    /// Replaces the bytes of the file. On success the new bytes are durable. On failure the file holds either the old
    /// bytes or the new bytes.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), HsmError> {
        self.check_lock()?;
        replace(&self.path, bytes).map_err(|source| self.failed("write", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> HsmError {
        HsmError::File {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

/// Returns whether `path` names this open file. No new file can get the inode number of a file that is still open.
#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let held = file.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns `true` without a check: on this platform the standard library cannot tell whether two paths lead to the same
/// file.
#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> io::Result<bool> {
    Ok(true)
}

/// Opens or creates a lock file. Fails if its path is a symbolic link, because the link may lead to any file.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = private();
    options.create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path).map_err(|error| {
        let is_link = path.symlink_metadata().is_ok_and(|at| at.is_symlink());
        if is_link {
            io::Error::new(ErrorKind::InvalidInput, "the lock file is a symbolic link")
        } else {
            error
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn bytes_are_replaced_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.ratchet");
        let file = RatchetFile::lock(&path).unwrap();
        assert_eq!(file.read().unwrap(), None);
        fs::write(folder.path().join(".n1.ratchet.tmp"), b"left by a crash").unwrap();
        for bytes in [&b"one"[..], b"two"] {
            file.replace(bytes).unwrap();
            assert_eq!(file.read().unwrap().unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn one_opener_at_a_time_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.ratchet");
        let first = RatchetFile::lock(&path).unwrap();
        first.replace(b"bytes").unwrap();
        let detour = folder.path().join(".").join("n1.ratchet");
        for path in [&path, &detour] {
            let error = RatchetFile::lock(path).unwrap_err();
            assert!(matches!(error, HsmError::RatchetInUse { .. }), "{error:?}");
        }
        drop(first);
        RatchetFile::lock(&detour).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_once_the_lock_file_is_not_the_one_that_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.ratchet");
        let lock = folder.path().join("n1.ratchet.lock");
        let first = RatchetFile::lock(&path).unwrap();
        first.replace(b"bytes").unwrap();
        fs::remove_file(&lock).unwrap();
        let is_lost = |result| matches!(result, Err(HsmError::RatchetLockLost { path: lost }) if lost == path);
        assert!(is_lost(first.check_lock()));
        let second = RatchetFile::lock(&path).unwrap();
        assert!(is_lost(first.replace(b"of the first")));
        assert_eq!(second.read().unwrap().unwrap(), b"bytes");
        second.replace(b"of the second").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_file_that_is_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.ratchet");
        let elsewhere = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("n1.ratchet.lock")).unwrap();
        let error = RatchetFile::lock(&path).unwrap_err();
        let HsmError::File { source, .. } = error else {
            panic!("{error:?}");
        };
        assert!(source.to_string().contains("link"), "{source}");
        assert!(!elsewhere.exists());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.ratchet");
        RatchetFile::lock(&path).unwrap().replace(b"bytes").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
