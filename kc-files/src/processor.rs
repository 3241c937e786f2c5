use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use crate::path::FilePath;

/// The result of the processing of a file.
pub type Processed<'a> =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Work on each file that has arrived, one after the other: see [`FileReceiver::process`](crate::FileReceiver::process).
///
/// ```
/// use kc_files::{CompleteFile, FileProcessor, Processed};
///
/// /// Prints the number of lines of each file.
/// struct Lines;
///
/// impl FileProcessor for Lines {
///     fn process<'a>(&'a self, file: &'a CompleteFile) -> Processed<'a> {
///         Box::pin(async move {
///             let lines = String::from_utf8(file.read()?)?.lines().count();
///             println!("{} has {lines} lines", file.path().display());
///             Ok(())
///         })
///     }
/// }
///
/// let receiver = kc_files::FileReceiver::new("images", "incoming").process(Lines);
/// # let _ = receiver;
/// ```
///
/// A file is processed at least once: its processing is repeated by the next run if it fails, or if the process ends before
/// it is done. The file is in the folder under its name meanwhile, and stays there unless the processor moves or deletes
/// it.
pub trait FileProcessor: Send + Sync {
    /// Processes a file. While it works, further chunks arrive in memory only, at most 32 MiB.
    ///
    /// # Errors
    /// An error ends the run with [`FilesError::Processing`](crate::FilesError::Processing).
    fn process<'a>(&'a self, file: &'a CompleteFile) -> Processed<'a>;
}

impl<P: FileProcessor + ?Sized> FileProcessor for Arc<P> {
    fn process<'a>(&'a self, file: &'a CompleteFile) -> Processed<'a> {
        (**self).process(file)
    }
}

/// A file that has arrived.
#[derive(Clone, PartialEq, Eq)]
pub struct CompleteFile {
    folder: PathBuf,
    file: FilePath,
}

impl CompleteFile {
    pub(crate) fn new(folder: &Path, file: FilePath) -> Self {
        let folder = folder.to_owned();
        Self { folder, file }
    }

    /// Returns the place of the file below the receiver's folder.
    #[must_use]
    pub fn file(&self) -> &FilePath {
        &self.file
    }

    /// Returns the path of the file on disk.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(self.file.as_str())
    }

    /// Reads the whole file into memory.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(self.path())
    }
}

impl fmt::Debug for CompleteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompleteFile").field(&self.path()).finish()
    }
}
