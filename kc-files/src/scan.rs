use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use walkdir::WalkDir;

use crate::error::FilesError;
use crate::path::FilePath;
use crate::selection::Selection;

/// The result of looking at a folder.
#[derive(Debug)]
pub(crate) enum Found {
    File(FilePath),
    /// A file whose name cannot be sent, or that cannot be read.
    Unusable {
        file: String,
        reason: String,
    },
}

/// The size and the times of a file. A file that has not changed has the same stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    ctime: (i64, i64),
    inode: u64,
    pub(crate) mode: u32,
}

impl Stamp {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let seconds = found.mtime().saturating_mul(1_000_000_000);
        Ok(Self {
            size: found.len(),
            mtime_ns: seconds.saturating_add(found.mtime_nsec()),
            ctime: (found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
            mode: found.permissions().mode() & 0o777,
        })
    }
}

/// Opens a file for reading. Never follows a symbolic link at its end, and never waits for a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        Err(rustix::io::Errno::LOOP) => Err(io::Error::other("it is a symbolic link")),
        Err(error) => Err(error.into()),
    }
}

/// Looks for files below `start`, a folder or file in `root`, in the order of their names. Ends early if `found`
/// returns false.
pub(crate) fn scan(
    root: &Path,
    start: &Path,
    selection: &Selection,
    mut found: impl FnMut(Found) -> bool,
) -> Result<(), FilesError> {
    let walk = WalkDir::new(start).follow_links(false).sort_by_file_name();
    let entries = walk.into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !entry.file_type().is_dir() || selection.enters(&name)
    });
    for entry in entries {
        let next = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => {
                let Some(next) = place(root, entry.path(), selection) else {
                    continue;
                };
                if entry.file_type().is_symlink() {
                    unusable(root, entry.path(), "it is a symbolic link")
                } else {
                    next
                }
            }
            Err(error) => {
                let path = error.path().unwrap_or(start).to_owned();
                match error.into_io_error() {
                    Some(error) if path == root => return Err(FilesError::io("read", root, error)),
                    Some(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Some(error) => unusable(root, &path, &error.to_string()),
                    None => continue,
                }
            }
        };
        if !found(next) {
            break;
        }
    }
    Ok(())
}

/// Returns the place of a file in `root`, or `None` if it is not selected.
pub(crate) fn place(root: &Path, path: &Path, selection: &Selection) -> Option<Found> {
    let below = path.strip_prefix(root).ok()?;
    if !selection.selects(&below.to_string_lossy()) {
        return None;
    }
    let Some(text) = below.to_str() else {
        return Some(unusable(root, path, "its name is not UTF-8"));
    };
    Some(match text.parse() {
        Ok(file) => Found::File(file),
        Err(error) => unusable(root, path, &format!("its name cannot be sent: {error}")),
    })
}

fn unusable(root: &Path, path: &Path, reason: &str) -> Found {
    let below = path.strip_prefix(root).unwrap_or(path);
    Found::Unusable {
        file: below.to_string_lossy().into_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_found_and_what_cannot_be_sent_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("sub/.git")).unwrap();
        fs::create_dir(root.join(".kc-files")).unwrap();
        for name in [
            "b",
            "sub/a",
            "sub/.git/x",
            ".kc-files/x",
            "aux.txt",
            ".hidden",
        ] {
            fs::write(root.join(name), "").unwrap();
        }
        fs::write(root.join(OsStr::from_bytes(b"\xff")), "").unwrap();
        symlink("b", root.join("link")).unwrap();
        let all = Selection::new(&[], &[], false).unwrap();
        let (mut files, mut unusable) = (Vec::new(), Vec::new());
        let found = |found| {
            match found {
                Found::File(path) => files.push(path.to_string()),
                Found::Unusable { file, reason } => unusable.push((file, reason)),
            }
            true
        };
        scan(root, root, &all, found).unwrap();
        assert_eq!(files, ["b", "sub/a"]);
        let unusable: Vec<_> = unusable.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!(unusable, ["aux.txt", "link", "\u{fffd}"]);
        assert!(open(&root.join("link")).is_err());
        assert!(scan(root, &root.join("gone"), &all, |_| true).is_ok());
        let gone = root.join("gone");
        assert!(scan(&gone, &gone, &all, |_| true).is_err());
    }
}
