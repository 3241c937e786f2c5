use std::ffi::{OsStr, OsString};
use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf, is_separator};
use std::{env, fs};

use kc_core::store::config::Section;
use thiserror::Error;

use crate::FileError;
use crate::config::written_config;

const CONFIG_EXTENSION: &str = "config";
/// The prefix of a value of the configuration that names a file.
pub(crate) const FILE_REFERENCE: &str = "file#";

/// The paths of a node's files, which are in one folder: `<node>.config`, `<node>.crypto`, `<node>.seed`, `<node>.lock`
/// and others. The configuration may name other paths for the keys and the ratchet
/// ([`crypto_path`](crate::crypto_path), [`ratchet_path`](crate::ratchet_path)).
///
/// If the configuration has an entry `state_dir` in the node's own section, the node writes its lock, its socket, its
/// [state](Self::state) and its [refused PINs](Self::refused_pins) to the folder `state_dir`. The folder of the
/// configuration then need not be writable, unless it contains the ratchet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFiles {
    folder: PathBuf,
    stem: OsString,
    /// The folder that `state_dir` names.
    state_dir: Option<PathBuf>,
}

impl NodeFiles {
    /// Returns the paths of the files of the node `node_id` in `folder`. The folder must exist. The files do not have
    /// to exist.
    ///
    /// # Errors
    /// Returns [`FileError::BadNodeId`] if the id is not a plain file name, [`FileError::Missing`] if the folder does
    /// not exist, [`FileError::StateDir`] if the entry `state_dir` cannot be read, and other errors if the folder
    /// cannot be accessed.
    pub fn in_folder(folder: &Path, node_id: &str) -> Result<Self, FileError> {
        let mut components = Path::new(node_id).components();
        let plain = matches!((components.next(), components.next()), (Some(Component::Normal(name)), None) if name == node_id);
        if !plain || node_id.contains('\0') {
            return Err(FileError::BadNodeId {
                node_id: node_id.to_owned(),
            });
        }
        Self {
            folder: existing_folder(folder)?,
            stem: node_id.into(),
            state_dir: None,
        }
        .with_state_dir()
    }

    /// Returns the paths of the files of the node whose configuration is the file `config`. The files do not have to
    /// exist.
    ///
    /// # Errors
    /// Returns [`FileError::NotAFile`] if the path does not end in `<node>.config`, [`FileError::Missing`] if its
    /// folder does not exist, [`FileError::StateDir`] if the entry `state_dir` cannot be read, and other errors if the
    /// folder cannot be accessed.
    pub fn beside(config: &Path) -> Result<Self, FileError> {
        let stem = config.file_stem().filter(|_| is_config(config));
        let stem = stem.ok_or_else(|| FileError::NotAFile {
            path: config.to_owned(),
        })?;
        Self {
            folder: existing_folder(config.parent().unwrap_or(Path::new("")))?,
            stem: stem.to_owned(),
            state_dir: None,
        }
        .with_state_dir()
    }

    /// Looks for the entry `state_dir` in the configuration. A configuration that does not exist or cannot be read
    /// counts as one without this entry; the caller that reads the configuration later gets the error.
    fn with_state_dir(mut self) -> Result<Self, FileError> {
        let Ok(config) = written_config(&self.config()) else {
            return Ok(self);
        };
        let entry = config.load_text(Section::NODE, "state_dir");
        let entry = entry.map_err(|source| FileError::StateDir {
            path: self.config(),
            source: Box::new(source),
        })?;
        let entry = entry.filter(|entry| !entry.trim().is_empty());
        self.state_dir = entry.map(|entry| self.folder.join(entry.trim()));
        Ok(self)
    }

    /// Returns the absolute path of the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns `<node>.config`: the configuration.
    pub fn config(&self) -> PathBuf {
        self.with_extension(CONFIG_EXTENSION)
    }

    /// Returns `<node>.state` in the folder `state_dir`: the lists, the chains and the other entries of the
    /// configuration that the node changes while it runs. Returns `None` if the configuration has no entry `state_dir`.
    /// Then the node writes these entries to its configuration.
    pub fn state(&self) -> Option<PathBuf> {
        self.state_dir.as_ref().map(|_| self.written("state"))
    }

    /// Creates the folder `state_dir` with the mode 0700, unless it exists or the configuration has no such entry.
    pub(crate) fn make_state_dir(&self) -> Result<(), FileError> {
        let Some(folder) = &self.state_dir else {
            return Ok(());
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(folder)
            .map_err(|source| FileError::new("create", folder, source))
    }

    /// Returns `<node>.crypto`: the secret file of the signing keys and the opaque key.
    pub fn crypto(&self) -> PathBuf {
        self.with_extension("crypto")
    }

    /// Returns `<node>.seed`: the secret file of the ratchet.
    pub fn seed(&self) -> PathBuf {
        self.with_extension("seed")
    }

    /// Returns `<node>.ratchet`: the ratchet of a node whose keys are on a token. The token has sealed the content.
    pub fn sealed_ratchet(&self) -> PathBuf {
        self.with_extension("ratchet")
    }

    /// Returns `<node>.refused`: salted hashes of the PINs that the node's token refused.
    pub fn refused_pins(&self) -> PathBuf {
        self.written("refused")
    }

    /// Returns `<node>.lock`: the file that [`NodeLock`](crate::NodeLock) locks. The file is not deleted when the node
    /// is closed.
    pub fn lock(&self) -> PathBuf {
        self.written("lock")
    }

    /// Returns `<node>.sock`: the socket on which the process that has the node open reports its status.
    pub fn socket(&self) -> PathBuf {
        self.written("sock")
    }

    /// Returns `<node>.custody`: the folder in which a custodian keeps the data keys of other nodes.
    pub fn custody(&self) -> PathBuf {
        self.written("custody")
    }

    /// Returns the path that a value such as `file#n1.seed` names. If the path in the value is relative, it is relative
    /// to the folder of the configuration. Returns `None` if the value does not begin with `file#`.
    pub fn resolve(&self, reference: &str) -> Option<PathBuf> {
        reference
            .strip_prefix(FILE_REFERENCE)
            .map(|path| self.folder.join(path))
    }

    /// Returns the value that names `path`, such as `file#n1.seed`. This is the inverse of [`resolve`](Self::resolve).
    /// Returns `None` if the path is not UTF-8.
    pub fn reference(&self, path: &Path) -> Option<String> {
        let path = path.strip_prefix(&self.folder).unwrap_or(path).to_str()?;
        Some(format!("{FILE_REFERENCE}{path}"))
    }

    fn with_extension(&self, extension: &str) -> PathBuf {
        self.folder.join(self.name(extension))
    }

    /// Returns the path of a file that the node writes while it runs.
    fn written(&self, extension: &str) -> PathBuf {
        let folder = self.state_dir.as_ref().unwrap_or(&self.folder);
        folder.join(self.name(extension))
    }

    fn name(&self, extension: &str) -> OsString {
        let mut name = self.stem.clone();
        name.push(".");
        name.push(extension);
        name
    }
}

/// Returns whether a path ends in `<name>.config`.
pub(crate) fn is_config(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(CONFIG_EXTENSION))
}

fn existing_folder(folder: &Path) -> Result<PathBuf, FileError> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    fs::canonicalize(folder).map_err(|source| FileError::new("open", folder, source))
}

/// The folders in which [`find_node`] searches for a node id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPlaces {
    /// The first folder. The program uses the current folder (`.`).
    pub working: PathBuf,
    /// The second folder. The program uses `$KC_HOME`.
    pub home: Option<PathBuf>,
}

impl SearchPlaces {
    /// Returns the current folder, and `$KC_HOME` if this variable is set and not empty.
    pub fn from_environment() -> Self {
        let home = env::var_os("KC_HOME").filter(|home| !home.is_empty());
        Self {
            working: PathBuf::from("."),
            home: home.map(PathBuf::from),
        }
    }
}

/// The reason why a node's files were not found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindError {
    /// The places that were searched contain no configuration of this node.
    #[error("found no configuration of node {node:?}; tried {}", list(tried))]
    NotFound {
        /// The id or path that was looked for.
        node: String,
        /// The paths that were tried.
        tried: Vec<PathBuf>,
    },
    /// The folder contains several nodes.
    #[error("{} contains several configurations: {}; name one of them", folder.display(), list(found))]
    Several {
        /// The folder.
        folder: PathBuf,
        /// The configurations in the folder.
        found: Vec<PathBuf>,
    },
    /// The path is a file whose name does not end in `.config`.
    #[error("{} is neither a .config file nor a folder that contains one", path.display())]
    NotAConfig {
        /// The path.
        path: PathBuf,
    },
    /// A folder cannot be searched, or the entry `state_dir` of the node that was found cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Finds a node by the rule of the option `--node ID|PATH`. An argument is a PATH if it contains a path separator, ends
/// in `.config`, or is `.` or `..`. Otherwise it is an ID. A PATH must be a `.config` file or a folder that contains
/// exactly one `.config` file. For an ID, the first existing file of `./ID.config`, `./ID/ID.config`,
/// `$KC_HOME/ID.config` and `$KC_HOME/ID/ID.config` is used. If none exists, and `ID` is the name of a folder, the
/// argument is treated as a PATH.
///
/// # Errors
/// Returns [`FindError::NotFound`] with the paths that were tried, [`FindError::Several`] if a folder contains several
/// nodes, [`FindError::NotAConfig`] if the path is another file, and [`FindError::File`] if a folder cannot be
/// searched or the node's entry `state_dir` cannot be read.
pub fn find_node(node: &str, places: &SearchPlaces) -> Result<NodeFiles, FindError> {
    let path = places.working.join(node);
    if node.contains(is_separator) || is_config(&path) || matches!(node, "." | "..") {
        return at_path(node, path);
    }
    let mut tried = Vec::new();
    if !node.is_empty() {
        for place in [Some(&places.working), places.home.as_ref()]
            .into_iter()
            .flatten()
        {
            let name = format!("{node}.config");
            tried.extend([place.join(&name), place.join(node).join(&name)]);
        }
        if let Some(found) = tried.iter().find(|path| path.is_file()) {
            return Ok(NodeFiles::beside(found)?);
        }
        if path.is_dir() {
            return in_folder(node, path);
        }
    }
    Err(FindError::NotFound {
        node: node.to_owned(),
        tried,
    })
}

/// Returns the files of all nodes in the places where [`find_node`] searches for an id. If several nodes have the same
/// id, all of them are returned, although [`find_node`] finds only the first. The nodes of the first folder of `places`
/// come before the nodes of the second folder. For each of these folders, the nodes whose files are directly in the
/// folder come first, and the nodes in subfolders named after their node come next. Folders that cannot be read are
/// left out, and so are nodes whose entry `state_dir` cannot be read.
pub fn list_nodes(places: &SearchPlaces) -> Vec<NodeFiles> {
    let mut found: Vec<NodeFiles> = Vec::new();
    for place in [Some(&places.working), places.home.as_ref()]
        .into_iter()
        .flatten()
    {
        let mut configs = configurations(place).unwrap_or_default();
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let folders = entries.map(|entry| entry.path());
        let mut in_folders: Vec<_> = folders
            .filter_map(|folder| {
                let mut name = folder.file_name()?.to_owned();
                name.push(".config");
                Some(folder.join(name)).filter(|config| config.is_file())
            })
            .collect();
        in_folders.sort();
        configs.append(&mut in_folders);
        let nodes = configs
            .iter()
            .filter_map(|path| NodeFiles::beside(path).ok());
        for node in nodes {
            if !found.contains(&node) {
                found.push(node);
            }
        }
    }
    found
}

fn at_path(node: &str, path: PathBuf) -> Result<NodeFiles, FindError> {
    if path.is_dir() {
        in_folder(node, path)
    } else if !path.is_file() {
        Err(FindError::NotFound {
            node: node.to_owned(),
            tried: vec![path],
        })
    } else if is_config(&path) {
        Ok(NodeFiles::beside(&path)?)
    } else {
        Err(FindError::NotAConfig { path })
    }
}

fn in_folder(node: &str, folder: PathBuf) -> Result<NodeFiles, FindError> {
    let mut found = configurations(&folder)?;
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(NodeFiles::beside(&only)?),
        (Some(last), false) => {
            found.push(last);
            Err(FindError::Several { folder, found })
        }
        (None, _) => Err(FindError::NotFound {
            node: node.to_owned(),
            tried: vec![folder.join("*.config")],
        }),
    }
}

fn configurations(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |source| FileError::new("search", folder, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_config(&path) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if paths.is_empty() {
        format!("nothing, because the name is empty (`.{MAIN_SEPARATOR}` names the current folder)")
    } else {
        paths.join(", ")
    }
}
