//! Replacing a file so that a reader, or the next start after a crash, finds the old bytes or the new ones.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

use crate::FileError;

const TEMPORARY_SUFFIX: &str = ".tmp";
/// Random characters in the name of a temporary file.
const RANDOM_CHARACTERS: usize = 6;

/// Replaces the bytes of a file, or makes it, readable by its owner only (0600).
///
/// The bytes go to a temporary file in the same folder, are flushed to the device, and take the file's place by a
/// rename, which is flushed too. Until then the old bytes stay. A symbolic link is followed and stays; the owner
/// stays, if this process may give files away.
///
/// # Errors
/// No step is hidden. If the last one fails (flushing the folder) the new bytes are in place, but may not
/// survive a loss of power.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, Access::OwnerOnly, &mut |_| Ok(()))
}

/// As [`write_atomic`], but an existing file keeps its permissions.
pub(crate) fn write_atomic_keeping_access(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, Access::AsBefore, &mut |_| Ok(()))
}

/// Removes what a crash left of the replacement of `path`. Whoever calls it must know that nobody is writing.
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
                    tracing::info!(path = %entry.path().display(), "removed what a crash left")
                }
                Err(error) => {
                    tracing::warn!(path = %entry.path().display(), %error, "cannot remove what a crash left")
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

/// What has been done when the observer is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Created,
    Written,
    Flushed,
    Renamed,
}

/// `observer` sees each step done; its errors stop the replacement there.
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
    // Made with mode 0600.
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

/// Where a symbolic link leads; the path itself if nothing is there.
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

/// So that an administrator's command does not take a service's file away from it.
#[cfg(unix)]
fn keep_owner(temporary: &NamedTempFile, before: &Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};

    let Ok(now) = temporary.as_file().metadata() else {
        return;
    };
    if (now.uid(), now.gid()) != (before.uid(), before.gid())
        && let Err(error) = fchown(temporary.as_file(), Some(before.uid()), Some(before.gid()))
    {
        tracing::warn!(%error, "the replaced file changes its owner");
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &NamedTempFile, _: &Metadata) {}

#[cfg(unix)]
fn flush_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders cannot be opened as files; the rename is written through.
#[cfg(not(unix))]
fn flush_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Reads a regular file of at most `limit` bytes. The buffer is zeroized when dropped.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::new("read", path, source);
    // Before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    // As large as the file, so that it never grows and leaves a copy behind.
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
