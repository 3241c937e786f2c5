#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::atomic::remove_leftovers;
use crate::{FileError, NodeFiles};

/// How often a lock that another process holds is tried again: [`NodeLock::holder`] holds it for a moment.
const TRIES: u32 = 25;
/// How long to wait between two tries.
const TRY_DELAY: Duration = Duration::from_millis(2);

/// The number of attempts to create a lock file that vanishes while it is being locked.
const ATTEMPTS: usize = 8;

/// The right to write a node's files: an exclusive lock on `<node>.lock`, held until it is dropped or the process ends.
///
/// The lock file is separate because a lock on a file that a rename replaces protects nothing. It contains the id of
/// the process, for the error of the next one, and stays when the lock is released.
///
/// If the lock file is deleted or replaced, a second process can lock the new one. Therefore each write of the node's
/// files and each step of its ratchet checks that the file at the path is the locked one.
///
/// The lock does not protect against accesses that the operating system cannot see: other machines on a network file
/// system without locks, and copies of the files. If two processes use copies of a ratchet, they use the same keys.
#[derive(Debug)]
pub struct NodeLock {
    files: NodeFiles,
    /// The node's lock file, then those of secret files elsewhere.
    held: Mutex<Vec<(PathBuf, File)>>,
    writer: Mutex<()>,
}

/// The process that has a node open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process id; `None` in the moment between its locking and its writing.
    pub process: Option<u32>,
}

impl NodeLock {
    /// Returns the process that has the node open; `None` if no process has. Writes nothing, and holds a shared lock
    /// only for the moment in which no other process has one.
    ///
    /// # Errors
    /// [`FileError`] for a lock file that cannot be read.
    pub fn holder(files: &NodeFiles) -> Result<Option<LockHolder>, FileError> {
        let path = files.lock();
        let failed = |source| FileError::new("look at", &path, source);
        // Opening a pipe could take for ever.
        if !path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            return Ok(None);
        }
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(LockHolder {
                process: holder(&mut file),
            })),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Locks the node without waiting, and removes temporary files that a crash left.
    ///
    /// # Errors
    /// [`FileError::InUse`] if another process, or this one, holds the lock; [`FileError::LockLost`] if the lock file
    /// vanishes again and again; other [`FileError`]s if it cannot be created.
    pub fn acquire(files: &NodeFiles) -> Result<Self, FileError> {
        let path = files.lock();
        let file = lock_file(&path)?;
        for path in [files.config(), files.crypto(), files.seed()] {
            remove_leftovers(&path);
        }
        Ok(Self {
            files: files.clone(),
            held: Mutex::new(vec![(path, file)]),
            writer: Mutex::new(()),
        })
    }

    /// Returns the paths of the files that the lock covers.
    pub fn files(&self) -> &NodeFiles {
        &self.files
    }

    /// Checks that each lock file that is held is still the one at its path.
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, file) in held.iter() {
            if !is_at(path, file).map_err(|source| FileError::new("lock", path, source))? {
                return Err(FileError::LockLost { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Locks `path` too, once, for as long as the node is locked.
    pub(crate) fn extend(&self, path: PathBuf) -> Result<(), FileError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.iter().any(|(known, _)| *known == path) {
            let file = lock_file(&path)?;
            held.push((path, file));
        }
        Ok(())
    }

    /// Returns the right to write: one writer at a time inside this process, and none after a lock is lost.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, ()>, FileError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        Ok(writer)
    }
}

/// Locks the file at `path`, and checks that it is still the one at this path: another process may have replaced it
/// between opening and locking.
fn lock_file(path: &Path) -> Result<File, FileError> {
    for _ in 0..ATTEMPTS {
        let file = lock_opened(path, open(path)?)?;
        if let Some(file) = file {
            return Ok(file);
        }
    }
    Err(FileError::LockLost {
        path: path.to_owned(),
    })
}

/// Locks an opened file. Returns `None` if it is not the one at `path` any more.
fn lock_opened(path: &Path, mut file: File) -> Result<Option<File>, FileError> {
    let failed = |source| FileError::new("lock", path, source);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut locked = file.try_lock();
    for _ in 1..TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        thread::sleep(TRY_DELAY);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(FileError::InUse {
                path: path.to_owned(),
                process: holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    if !is_at(path, &file).map_err(failed)? {
        return Ok(None);
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(Some(file))
}

/// Returns whether `path` names this open file. An open file keeps its inode number, so no new file can have the same.
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

/// Returns `true`: the standard library does not identify files on this platform.
#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> io::Result<bool> {
    Ok(true)
}

/// Opens or creates a lock file. The file is overwritten, so a symbolic link in its place is not followed: it may lead
/// to any file of this user.
fn open(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path).map_err(|source| {
        let link = path
            .symlink_metadata()
            .is_ok_and(|found| found.is_symlink());
        if link {
            FileError::Link {
                path: path.to_owned(),
            }
        } else {
            FileError::new("lock", path, source)
        }
    })
}

/// Returns the process that holds the lock; `None` in the moment between its locking and its writing.
fn holder(file: &mut File) -> Option<u32> {
    let mut id = String::new();
    file.take(16).read_to_string(&mut id).ok()?;
    id.strip_suffix('\n')?.parse().ok()
}
