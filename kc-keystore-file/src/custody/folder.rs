use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use crate::FileError;

/// Creates a folder that only its owner can access, durably. Leaves an existing folder as it is.
pub(super) fn make(folder: &Path) -> Result<(), FileError> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let created = builder.create(folder);
    created.map_err(|source| FileError::new("create", folder, source))?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => flush(parent),
        _ => flush(Path::new(".")),
    }
}

pub(super) fn exists(path: &Path) -> Result<bool, FileError> {
    path.try_exists()
        .map_err(|source| FileError::new("read", path, source))
}

/// Sets the options for a file that only its owner can access. A symbolic link is not followed.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    options
}

/// Makes the names of new files in a folder durable.
#[cfg(unix)]
pub(super) fn flush(folder: &Path) -> Result<(), FileError> {
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.map_err(|source| FileError::new("flush", folder, source))
}

/// Does nothing, because the standard library cannot flush a folder on this platform.
#[cfg(not(unix))]
pub(super) fn flush(_: &Path) -> Result<(), FileError> {
    Ok(())
}

/// Returns whether `path` still names this open file.
#[cfg(unix)]
pub(super) fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let held = file.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns `true` without a check, because the standard library cannot identify files on this platform.
#[cfg(not(unix))]
pub(super) fn is_at(_: &Path, _: &File) -> io::Result<bool> {
    Ok(true)
}
