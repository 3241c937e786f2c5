use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// No address of a Unix socket is longer, in bytes.
const MAX_ADDRESS_BYTES: usize = 107;

/// A path of a socket that fits an address, as long as this lives.
#[derive(Debug)]
pub(super) struct Address {
    path: PathBuf,
    /// What the path leads through.
    _folder: Option<File>,
}

impl Address {
    /// That of a socket in a folder. A path that is too long is taken through the open folder, where the
    /// system can do that.
    pub(super) fn new(folder: &Path, name: &Path) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= MAX_ADDRESS_BYTES {
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let folder = File::open(folder)?;
        let through = format!("/proc/self/fd/{}", folder.as_raw_fd());
        Ok(Self {
            path: Path::new(&through).join(name),
            _folder: Some(folder),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
