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

/// The maximum number of attempts to lock a file that another process has locked. The other process may be in a call of
/// [`NodeLock::holder`], which locks the file only for a moment.
const TRIES: u32 = 25;
/// The time between two of the attempts that [`TRIES`] counts.
const TRY_DELAY: Duration = Duration::from_millis(2);

/// The maximum number of attempts to create a lock file, if the file is deleted or replaced while it is being locked.
const ATTEMPTS: usize = 8;

/// The right to write a node's files: an exclusive lock on `<node>.lock`. It is held until this value is dropped or the
/// process ends.
///
/// The lock file is a file of its own, because a lock on a file that is replaced by a rename protects nothing. It
/// contains the id of the process that holds the lock. Other processes name this id in their error. The file is not
/// deleted when the lock is released.
///
/// If the lock file is deleted or replaced, a second process can lock the new file. Therefore each write of the node's
/// files and each step of its ratchet checks that the path still names the locked file.
///
/// The lock does not protect against accesses that the operating system cannot see. Examples are other computers on a
/// network file system without locks, and copies of the files. If two processes use copies of a ratchet, they use the
/// same keys.
#[derive(Debug)]
pub struct NodeLock {
    files: NodeFiles,
    /// The locked files: first the lock file of the node, then the lock files of secret files in other folders.
    held: Mutex<Vec<(PathBuf, File)>>,
    writer: Mutex<()>,
}

/// The process that has a node open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// The process id. Until the process has written its id to the lock file, this is `None` or the id of the process
    /// that held the lock before.
    pub process: Option<u32>,
}

impl NodeLock {
    /// Returns the process that has the node open, or `None` if no process has it open. Writes nothing. If the node is
    /// not open, this call holds a shared lock for a moment.
    ///
    /// # Errors
    /// Returns [`FileError`] if the lock file cannot be opened, or its lock cannot be checked.
    pub fn holder(files: &NodeFiles) -> Result<Option<LockHolder>, FileError> {
        let path = files.lock();
        let failed = |source| FileError::new("check the lock on", &path, source);
        // Opening a pipe could block without end.
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

    /// Locks the node without waiting for another process to close it, and removes temporary files that a crash has
    /// left.
    ///
    /// # Errors
    /// Returns [`FileError::InUse`] if this process or another process already holds the lock, [`FileError::LockLost`]
    /// if the lock file is deleted or replaced in each of eight attempts, and other errors if the lock file cannot be
    /// opened, locked or written.
    pub fn acquire(files: &NodeFiles) -> Result<Self, FileError> {
        let path = files.lock();
        files.make_state_dir()?;
        let file = lock_file(&path)?;
        let written = [files.config(), files.crypto(), files.seed()];
        for path in written.into_iter().chain(files.state()) {
            remove_leftovers(&path);
        }
        Ok(Self {
            files: files.clone(),
            held: Mutex::new(vec![(path, file)]),
            writer: Mutex::new(()),
        })
    }

    /// Returns the paths of the files that the lock protects.
    pub fn files(&self) -> &NodeFiles {
        &self.files
    }

    /// Checks that the path of each locked file still names the locked file.
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, file) in held.iter() {
            if !is_at(path, file).map_err(|source| FileError::new("lock", path, source))? {
                return Err(FileError::LockLost { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Locks the file at `path`, too, for as long as the node is locked. A repeated call for the same path changes
    /// nothing.
    pub(crate) fn extend(&self, path: PathBuf) -> Result<(), FileError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.iter().any(|(known, _)| *known == path) {
            let file = lock_file(&path)?;
            held.push((path, file));
        }
        Ok(())
    }

    /// Returns a guard that allows writing. Waits until no other thread of this process has the guard of this lock.
    /// Returns an error if a lock file was deleted or replaced.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, ()>, FileError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        Ok(writer)
    }
}

/// Locks the file at `path`. Then checks that `path` still names the locked file, because another process may have
/// replaced it after it was opened.
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

/// Locks a file that was opened from `path`. Returns `None` if `path` no longer names this file.
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

/// Returns whether `path` names this open file. No new file can have the same inode number while the file is open.
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

/// Returns `true` without a check, because the standard library cannot identify files on this platform.
#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> io::Result<bool> {
    Ok(true)
}

/// Opens or creates a lock file. A symbolic link is not followed, because the file is overwritten, and the link may
/// point to any file of this user.
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

/// Returns the process id in the lock file, or `None` if the file contains no complete id.
fn holder(file: &mut File) -> Option<u32> {
    let mut id = String::new();
    file.take(16).read_to_string(&mut id).ok()?;
    id.strip_suffix('\n')?.parse().ok()
}
