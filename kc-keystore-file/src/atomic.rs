//! Reads files up to a maximum size, and replaces files atomically: a reader, or the next start after a crash, finds
//! either the old bytes or the new bytes.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

use crate::FileError;

const TEMPORARY_SUFFIX: &str = ".tmp";
/// The number of random characters in the name of a temporary file.
const RANDOM_CHARACTERS: usize = 6;

/// Replaces the bytes of a file, or creates the file. Afterwards only its owner can read it (mode 0600).
///
/// The bytes are written to a temporary file in the same folder and flushed to the device. Then the temporary file is
/// renamed to `path`, and the folder is flushed. Until the rename, the file has the old bytes. If `path` is a symbolic
/// link to an existing file, that file is replaced, and the link stays. A link whose target does not exist is replaced
/// by the new file. The new file gets the owner and group of the old file if this process is allowed to set them.
///
/// # Errors
/// Returns [`FileError::NotAFile`] if `path` is not a regular file, and [`FileError::Missing`],
/// [`FileError::Permission`] or [`FileError::Io`] if a step fails. The last step flushes the folder. If only this step
/// fails, the new bytes are in place, but may be lost in a power failure.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, Access::OwnerOnly, &mut |_| Ok(()))
}

/// Replaces a file like [`write_atomic`], but keeps the permissions of an existing file.
pub(crate) fn write_atomic_keeping_access(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, Access::AsBefore, &mut |_| Ok(()))
}

/// Removes the temporary files that remain if the process crashed while it replaced `path`. The caller must hold the
/// lock of the node, because otherwise another process may be writing one of these files.
pub(crate) fn remove_leftovers(path: &Path) {
    let path = &followed(path);
    let (Some(folder), Some(prefix)) = (path.parent(), temporary_prefix(path)) else {
        return;
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name
            .to_str()
            .and_then(|name| name.strip_prefix(&*prefix)?.strip_suffix(TEMPORARY_SUFFIX));
        if random.is_some_and(|random| random.len() == RANDOM_CHARACTERS && !random.contains('.')) {
            match fs::remove_file(entry.path()) {
                Ok(()) => {
                    tracing::info!(path = %entry.path().display(), "temporary file of an earlier crash removed")
                }
                Err(error) => {
                    tracing::warn!(
                        path = %entry.path().display(), %error,
                        "temporary file of an earlier crash cannot be removed"
                    )
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    OwnerOnly,
    AsBefore,
}

/// The step that was completed just before the observer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Created,
    Written,
    Flushed,
    Renamed,
}

/// Replaces a file and calls `observer` after each step. An error of the observer stops the replacement.
fn replace(
    path: &Path,
    bytes: &[u8],
    access: Access,
    observer: &mut dyn FnMut(Step) -> io::Result<()>,
) -> Result<(), FileError> {
    let failed = |source| FileError::new("write", path, source);
    let target = followed(path);
    let folder = folder_of(&target);
    let prefix = temporary_prefix(&target).ok_or_else(|| FileError::NotAFile {
        path: path.to_owned(),
    })?;
    let mut builder = Builder::new();
    builder
        .prefix(&*prefix)
        .suffix(TEMPORARY_SUFFIX)
        .rand_bytes(RANDOM_CHARACTERS);
    // `tempfile` creates the file with mode 0600.
    let mut temporary = builder.tempfile_in(&folder).map_err(failed)?;
    observer(Step::Created).map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    if let Ok(before) = fs::metadata(&target) {
        if !before.is_file() {
            return Err(FileError::NotAFile {
                path: path.to_owned(),
            });
        }
        keep_owner(&temporary, &before);
        if access == Access::AsBefore {
            temporary
                .as_file()
                .set_permissions(before.permissions())
                .map_err(failed)?;
        }
    }
    observer(Step::Written).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    observer(Step::Flushed).map_err(failed)?;
    temporary
        .persist(&target)
        .map_err(|error| failed(error.error))?;
    observer(Step::Renamed).map_err(failed)?;
    flush_folder(&folder).map_err(failed)
}

/// Returns the absolute path of the file to which `path` leads after all symbolic links. Returns `path` itself if this
/// file does not exist or cannot be reached.
fn followed(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn temporary_prefix(path: &Path) -> Option<String> {
    path.file_name()
        .map(|name| format!(".{}.", name.to_string_lossy()))
}

/// Gives the new file the owner and group of the old file. Otherwise a service would lose access to its file when an
/// administrator runs a command that replaces the file.
#[cfg(unix)]
fn keep_owner(temporary: &NamedTempFile, before: &Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};

    let Ok(now) = temporary.as_file().metadata() else {
        return;
    };
    if (now.uid(), now.gid()) != (before.uid(), before.gid())
        && let Err(error) = fchown(temporary.as_file(), Some(before.uid()), Some(before.gid()))
    {
        tracing::warn!(%error, "owner or group of the replaced file could not be kept");
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &NamedTempFile, _: &Metadata) {}

#[cfg(unix)]
fn flush_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Does nothing, because the standard library cannot flush a folder on this platform.
#[cfg(not(unix))]
fn flush_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Reads a regular file of at most `limit` bytes. The returned buffer is zeroized when it is dropped.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::new("read", path, source);
    // The type is checked before the file is opened, because opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    // The buffer is as large as the file from the beginning, because a buffer that grows leaves copies of secrets in
    // memory.
    let capacity = usize::try_from(length.min(limit))
        .unwrap_or(0)
        .saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
