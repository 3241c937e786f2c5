use std::collections::{HashMap, HashSet};
use std::fs::{self, File, FileTimes};
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RawMode};
use rustix::io::Errno;

use crate::database::state_folder;
use crate::digest::{hash_of, hex};
use crate::error::FilesError;
use crate::ledger::{FileId, Incomplete};
use crate::path::FilePath;
use crate::wire::time_of;

/// The folder of temporary files, in the state folder.
const PARTS: &str = "parts";
/// The maximum number of names that are tried for a file whose name is taken.
const MAX_NAMES: u32 = 10_000;
/// The number of open sub-folders.
const MAX_OPEN: usize = 256;

/// What happens to a file whose name another file in the folder has. A file of the same content is always left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The arriving file gets another name: `data (1).csv`.
    #[default]
    Rename,
    /// The arriving file replaces the other one.
    Overwrite,
    /// The arriving file is dropped.
    Skip,
}

/// A folder in which files appear as a whole. No operation follows a symbolic link below it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    root: OwnedFd,
    parts: OwnedFd,
    /// Open sub-folders, which may have changes that are not yet durable.
    open: Mutex<HashMap<String, Arc<OwnedFd>>>,
}

/// The result of work on a file.
pub(crate) enum Written {
    /// Chunks are durable, others are missing.
    Partial,
    /// The file has this name and this size in bytes.
    Complete { saved: FilePath, bytes: u64 },
    /// The folder has the content already, under this name; `None` if a run that was killed has put it there, and it was
    /// moved away since.
    Present(Option<FilePath>),
    /// Another file has its name, and the policy is to drop it.
    Dropped,
    /// The file cannot be completed.
    Refused(String),
}

/// A failure of work on a file.
enum Failure {
    /// Concerns this file alone.
    Refused(String),
    /// Concerns the disk or the folder.
    Disk(io::Error),
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP | Errno::NOTDIR => {
                Self::Refused("a folder of its path is a symbolic link or a file".to_owned())
            }
            Errno::ISDIR => Self::Refused("a folder has its name".to_owned()),
            Errno::NAMETOOLONG | Errno::INVAL => {
                Self::Refused("the file system does not accept its name".to_owned())
            }
            error => Self::Disk(error.into()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(error) => error.into(),
            None => Self::Disk(error),
        }
    }
}

impl Folder {
    /// Opens a folder, and creates it if it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, FilesError> {
        let failed = |action| move |error: io::Error| FilesError::io(action, path, error);
        fs::create_dir_all(path).map_err(failed("create"))?;
        let state = state_folder(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let root = root.map_err(|error| FilesError::io("open", path, error))?;
        let parts = state.join(PARTS);
        match rustix::fs::mkdirat(CWD, &parts, Mode::RWXU) {
            Err(error) if error != Errno::EXIST => {
                return Err(FilesError::io("create", &parts, error));
            }
            _ => {}
        }
        let opened = rustix::fs::openat(CWD, &parts, flags | OFlags::NOFOLLOW, Mode::empty());
        Ok(Self {
            path: path.to_owned(),
            root,
            parts: opened.map_err(|error| FilesError::io("open", &parts, error))?,
            open: Mutex::default(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the free bytes of the disk.
    pub(crate) fn free(&self) -> Result<u64, FilesError> {
        let found = rustix::fs::fstatvfs(&self.root);
        let found = found.map_err(|error| FilesError::io("measure", &self.path, error))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Deletes the temporary files that are not among `known`.
    pub(crate) fn clean(&self, known: &HashSet<String>) -> Result<(), FilesError> {
        let failed = |error| FilesError::io("clean", &self.path, error);
        for entry in Dir::read_from(&self.parts).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == FileType::RegularFile && !known.contains(name.as_ref()) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), FilesError> {
        match rustix::fs::unlinkat(&self.parts, name, AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => Err(FilesError::io("clean", &self.path, error)),
            _ => Ok(()),
        }
    }

    /// Deletes the temporary file of a file.
    pub(crate) fn discard(&self, id: FileId) -> Result<(), FilesError> {
        self.remove(&id.file_name())
    }

    /// Writes chunks, as pairs of offset and content, and makes them durable. `has_part` is whether chunks of the file were
    /// written before. If the file is complete then, checks its hash, and gives it its name.
    pub(crate) fn write(
        &self,
        id: FileId,
        file: &Incomplete,
        chunks: &[(u64, &[u8])],
        has_part: bool,
        on_conflict: OnConflict,
    ) -> Result<Written, FilesError> {
        match self.try_write(id, file, chunks, has_part, on_conflict) {
            Ok(written) => Ok(written),
            Err(Failure::Refused(reason)) => Ok(Written::Refused(reason)),
            Err(Failure::Disk(error)) => {
                let path = self.path.join(file.path.as_str());
                Err(FilesError::io("write", &path, error))
            }
        }
    }

    fn try_write(
        &self,
        id: FileId,
        file: &Incomplete,
        chunks: &[(u64, &[u8])],
        has_part: bool,
        on_conflict: OnConflict,
    ) -> Result<Written, Failure> {
        let name = id.file_name();
        let mut flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        flags.set(OFlags::CREATE, !has_part);
        let mode = Mode::from_raw_mode(RawMode::from(file.mode.unwrap_or(0o666) | 0o600));
        let part = match rustix::fs::openat(&self.parts, name.as_str(), flags, mode) {
            Ok(part) => File::from(part),
            Err(Errno::NOENT) => return self.without_part(file),
            Err(error) => return Err(error.into()),
        };
        let found = part.metadata()?;
        if found.nlink() > 1 {
            // A run that was killed has given the file its name.
            return self.published(file, &found);
        }
        for (offset, data) in chunks {
            part.write_all_at(data, *offset)?;
        }
        if !file.is_complete() {
            part.sync_data()?;
            return Ok(Written::Partial);
        }
        let (hash, bytes) = hash_of(&part)?;
        if hex(&hash) != file.hash {
            let reason = "its content does not have the announced hash".to_owned();
            return Ok(Written::Refused(reason));
        }
        if let Some(mode) = file.mode {
            let mode = Mode::from_raw_mode(RawMode::from(found.mode() & mode & 0o777));
            rustix::fs::fchmod(&part, mode)?;
        }
        if let Some(time) = time_of(file.mtime_ns) {
            part.set_times(FileTimes::new().set_modified(time))?;
        }
        part.sync_all()?;
        self.publish(&name, file, bytes, on_conflict)
    }

    /// Returns the result for a temporary file that has a name in the folder, too.
    fn published(&self, file: &Incomplete, part: &fs::Metadata) -> Result<Written, Failure> {
        let folder = self.sub_folder(&file.path)?;
        for number in 0..MAX_NAMES {
            let name = numbered(file.path.name(), number);
            match rustix::fs::statat(&*folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if (found.st_dev, found.st_ino) == (part.dev(), part.ino()) => {
                    let bytes = part.len();
                    let saved = FilePath::new(file.path.folder(), &name);
                    let saved = saved.map_err(|error| Failure::Refused(error.to_string()))?;
                    return Ok(Written::Complete { saved, bytes });
                }
                Ok(_) => {}
                Err(Errno::NOENT) if number > 0 => break,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Written::Present(None))
    }

    /// Returns the result for a file whose temporary file is missing although chunks were written to it.
    fn without_part(&self, file: &Incomplete) -> Result<Written, Failure> {
        let folder = self.sub_folder(&file.path)?;
        if has_content(&folder, file.path.name(), None, &file.hash)? {
            return Ok(Written::Present(Some(file.path.clone())));
        }
        let reason = "its temporary file was deleted: send the file again".to_owned();
        Ok(Written::Refused(reason))
    }

    /// Gives a temporary file its name.
    fn publish(
        &self,
        part: &str,
        file: &Incomplete,
        bytes: u64,
        on_conflict: OnConflict,
    ) -> Result<Written, Failure> {
        let folder = self.sub_folder(&file.path)?;
        for number in 0..MAX_NAMES {
            let name = numbered(file.path.name(), number);
            let saved = || {
                FilePath::new(file.path.folder(), &name)
                    .map(|saved| Written::Complete { saved, bytes })
                    .map_err(|error| Failure::Refused(error.to_string()))
            };
            let linked =
                rustix::fs::linkat(&self.parts, part, &*folder, name.as_str(), AtFlags::empty());
            match linked {
                Ok(()) => return saved(),
                Err(Errno::EXIST) => {}
                // The file system has no hard links.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                    let found =
                        rustix::fs::statat(&*folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
                    match found {
                        Err(Errno::NOENT) => {
                            rustix::fs::renameat(&self.parts, part, &*folder, name.as_str())?;
                            return saved();
                        }
                        found => drop(found?),
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if has_content(&folder, &name, Some(bytes), &file.hash)? {
                let saved = FilePath::new(file.path.folder(), &name).ok();
                return Ok(Written::Present(saved));
            }
            match on_conflict {
                OnConflict::Rename => {}
                OnConflict::Skip => return Ok(Written::Dropped),
                OnConflict::Overwrite => {
                    rustix::fs::renameat(&self.parts, part, &*folder, name.as_str())?;
                    return saved();
                }
            }
        }
        let reason = format!("{MAX_NAMES} files have its name");
        Ok(Written::Refused(reason))
    }

    /// Opens the folder of a file, and creates missing folders.
    fn sub_folder(&self, path: &FilePath) -> Result<Arc<OwnedFd>, Failure> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = open.get(path.folder()) {
            return Ok(Arc::clone(folder));
        }
        if open.len() >= MAX_OPEN {
            sync_all(&mut open)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = self.root.try_clone()?;
        for name in path.folders() {
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => rustix::fs::fsync(&folder)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
        }
        let folder = Arc::new(folder);
        open.insert(path.folder().to_owned(), Arc::clone(&folder));
        Ok(folder)
    }

    /// Makes the names of files durable.
    pub(crate) fn sync(&self) -> Result<(), FilesError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        sync_all(&mut open)
            .and_then(|()| rustix::fs::fsync(&self.parts))
            .map_err(|error| FilesError::io("write", &self.path, error))
    }
}

fn sync_all(open: &mut HashMap<String, Arc<OwnedFd>>) -> Result<(), Errno> {
    for folder in open.values() {
        rustix::fs::fsync(&**folder)?;
    }
    // Another process may replace a folder, so a folder is not kept open for long.
    open.clear();
    Ok(())
}

/// Returns whether a name is that of a regular file with this content.
fn has_content(folder: &OwnedFd, name: &str, bytes: Option<u64>, hash: &str) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // What cannot be opened is not overwritten by chance: it is another content.
        Err(Errno::NOENT | Errno::LOOP | Errno::ACCESS | Errno::NXIO) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if !found.is_file() || bytes.is_some_and(|bytes| bytes != found.len()) {
        return Ok(false);
    }
    file.rewind()?;
    Ok(hex(&hash_of(&file)?.0) == hash)
}

/// Returns the name of a file with a number before its extension; the name itself for 0.
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rfind('.')) {
        (0, _) => name.to_owned(),
        (_, Some(dot)) if dot > 0 => {
            let (stem, extension) = name.split_at_checked(dot).unwrap_or((name, ""));
            format!("{stem} ({number}){extension}")
        }
        _ => format!("{name} ({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_before_the_extension() {
        assert_eq!(numbered("a.csv", 0), "a.csv");
        assert_eq!(numbered("a.tar.gz", 2), "a.tar (2).gz");
        assert_eq!(numbered("README", 1), "README (1)");
        assert_eq!(numbered(".hidden", 1), ".hidden (1)");
    }
}
