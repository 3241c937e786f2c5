use std::env;
use std::fs;
use std::path::{MAIN_SEPARATOR, Path, PathBuf, is_separator};

use thiserror::Error;

use crate::files::is_config;
use crate::{FileError, NodeFiles};

/// Where node ids are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPlaces {
    /// Looked at first; `.` for the program.
    pub working: PathBuf,
    /// `$KC_HOME`.
    pub home: Option<PathBuf>,
}

impl SearchPlaces {
    /// The working folder and `$KC_HOME`, if that is set and not empty.
    pub fn from_environment() -> Self {
        let home = env::var_os("KC_HOME").filter(|home| !home.is_empty());
        Self {
            working: PathBuf::from("."),
            home: home.map(PathBuf::from),
        }
    }
}

/// Why a node's files were not found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindError {
    /// None of the places has it.
    #[error("found no configuration of node {node:?}; tried {}", list(tried))]
    NotFound {
        /// What was asked for.
        node: String,
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The folder holds several nodes.
    #[error("{} holds several configurations: {}; name one", folder.display(), list(found))]
    Several {
        /// The folder.
        folder: PathBuf,
        /// Its configurations.
        found: Vec<PathBuf>,
    },
    /// A file that does not end in `.config`.
    #[error("{} is neither a .config file nor a folder that holds one", path.display())]
    NotAConfig {
        /// The path.
        path: PathBuf,
    },
    /// A place that could not be looked at.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Finds a node by the rule of `--node ID|PATH`: an ID is looked for as `./ID.config`, `./ID/ID.config`,
/// `$KC_HOME/ID.config`, `$KC_HOME/ID/ID.config`; a PATH is a `.config` file or a folder that holds exactly one.
/// What contains a path separator, ends in `.config`, or is `.` or `..` is a path; an ID that is found nowhere is
/// tried as the name of a folder too.
///
/// # Errors
/// Nothing found, with the places tried; several found in a folder.
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
        format!("nothing (an empty name; `.{MAIN_SEPARATOR}` is this folder)")
    } else {
        paths.join(", ")
    }
}
