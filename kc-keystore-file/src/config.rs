use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kc_core::keys::KeyType;
use kc_core::store::config::{
    ConfigError, ConfigStore, ConfigStoreError, NodeConfig, NodeRole, Section, Value,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::atomic::{read_bounded, write_atomic_keeping_access};
use crate::{FileError, NodeFiles, NodeLock, write_atomic};

/// The bytes that some editors on Windows write before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The maximum size of a configuration, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 24;

/// The store of a node's `.config` file. Each update reads the file again, so that changes that were made by hand are
/// kept. An update that changes the text replaces the file atomically, and keeps comments and layout. An existing
/// file keeps its permissions. A new file is private (mode 0600).
///
/// If the configuration has an entry `state_dir`, the store never writes the `.config` file. It writes the lists, the
/// chains and the other entries that a running node changes to the file [`NodeFiles::state`], and refuses updates of
/// other entries.
#[derive(Debug)]
pub struct FileConfigStore {
    lock: Arc<NodeLock>,
    /// The role for which [`NodeConfig::migrate`] moves old entries; [`migrated`](Self::migrated) sets it.
    role: OnceLock<NodeRole>,
}

impl FileConfigStore {
    /// Returns the store of the node that `lock` locks. Does not access the file.
    pub fn new(lock: Arc<NodeLock>) -> Self {
        Self {
            lock,
            role: OnceLock::new(),
        }
    }

    /// Moves entries that old versions wrote in other sections to their current sections. Returns the configuration.
    /// With an entry `state_dir`, the entries are moved only in the returned configuration.
    ///
    /// # Errors
    /// Returns a [`ConfigStoreError`] if the configuration cannot be read, parsed or stored, or if an entry to be moved
    /// contains a reference that cannot be resolved.
    pub fn migrated(&self, role: NodeRole) -> Result<NodeConfig, ConfigStoreError> {
        if self.lock.files().state().is_some() {
            return migrated(self.lock.files(), *self.role.get_or_init(|| role));
        }
        self.update(&mut |config| config.migrate(role).map(drop))
    }

    /// Writes the file of a new node.
    ///
    /// # Errors
    /// Returns [`FileError::Exists`] if the file already exists, [`FileError::LockLost`] if a lock file of the node was
    /// deleted or replaced, and other errors if writing fails.
    pub fn create(lock: Arc<NodeLock>, config: &NodeConfig) -> Result<Self, FileError> {
        let path = lock.files().config();
        let writer = lock.writer()?;
        if path
            .try_exists()
            .map_err(|source| FileError::new("read", &path, source))?
        {
            return Err(FileError::Exists { path });
        }
        write_atomic(&path, config.render().as_bytes())?;
        drop(writer);
        Ok(Self::new(lock))
    }

    fn role(&self) -> NodeRole {
        self.role.get().copied().unwrap_or(NodeRole::Node)
    }

    /// Applies `edit` to the stored configuration. Returns the new configuration, and its text if the text differs from
    /// the stored text.
    fn edited(
        &self,
        path: &Path,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<(NodeConfig, Option<Zeroizing<String>>), ConfigStoreError> {
        let before = read_text(path)?;
        let mut config = parse(path, &before)?;
        edit(&mut config).map_err(|problem| refused(path, problem))?;
        let after = config.render();
        let changed = *after != *before;
        Ok((config, changed.then_some(after)))
    }
}

impl ConfigStore for FileConfigStore {
    fn load(&self) -> Result<NodeConfig, ConfigStoreError> {
        match self.lock.files().state() {
            Some(_) => migrated(self.lock.files(), self.role()),
            None => written_config(&self.lock.files().config()),
        }
    }

    fn update(
        &self,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<NodeConfig, ConfigStoreError> {
        let _writer = self.lock.writer().map_err(storage)?;
        let path = self.lock.files().config();
        if let Some(state) = self.lock.files().state() {
            return update_state(self.lock.files(), self.role(), &state, edit);
        }
        let (config, changed) = self.edited(&path, edit)?;
        if let Some(text) = changed {
            // A file of this size could not be read again.
            if text.len() as u64 > MAX_CONFIG_BYTES {
                return Err(storage(FileError::TooLarge {
                    path,
                    limit: MAX_CONFIG_BYTES,
                }));
            }
            write_atomic_keeping_access(&path, text.as_bytes()).map_err(storage)?;
        }
        Ok(config)
    }
}

/// Applies `edit` to the configuration and the state of a node, and writes the new state.
fn update_state(
    files: &NodeFiles,
    role: NodeRole,
    path: &Path,
    edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
) -> Result<NodeConfig, ConfigStoreError> {
    let config = files.config();
    let base = without_state(files, role)?;
    let before = with_state(files, parse(&config, &base.render())?)?;
    let mut after = parse(&config, &before.render())?;
    edit(&mut after).map_err(|problem| refused(&config, problem))?;
    if after == before {
        return Ok(after);
    }
    let state = after
        .state_beyond(&base)
        .map_err(|problem| refused(path, problem))?
        .ok_or_else(|| {
            storage(ReadOnlyConfig {
                path: config.display().to_string(),
            })
        })?;
    write_atomic(path, state.render().as_bytes()).map_err(storage)?;
    Ok(after)
}

/// Reads the configuration of a node. Moves old entries to their current sections, and adds the state of the node if
/// there is a file for it.
fn migrated(files: &NodeFiles, role: NodeRole) -> Result<NodeConfig, ConfigStoreError> {
    with_state(files, without_state(files, role)?)
}

fn without_state(files: &NodeFiles, role: NodeRole) -> Result<NodeConfig, ConfigStoreError> {
    let path = files.config();
    let mut config = written_config(&path)?;
    let _moved = config
        .migrate(role)
        .map_err(|problem| refused(&path, problem))?;
    Ok(config)
}

fn with_state(files: &NodeFiles, mut config: NodeConfig) -> Result<NodeConfig, ConfigStoreError> {
    if let Some(path) = files.state() {
        let state = match read_text(&path) {
            Ok(text) => parse(&path, &text)?,
            Err(error) if is_missing(&error) => return Ok(config),
            Err(error) => return Err(error),
        };
        let added = config.add_state(&state);
        added.map_err(|problem| refused(&path, problem))?;
    }
    Ok(config)
}

fn is_missing(error: &ConfigStoreError) -> bool {
    let ConfigStoreError::Storage(source) = error else {
        return false;
    };
    matches!(source.downcast_ref(), Some(FileError::Missing { .. }))
}

/// Reads a `.config` file as it is written, without the state of the node.
pub(crate) fn written_config(path: &Path) -> Result<NodeConfig, ConfigStoreError> {
    parse(path, &read_text(path)?)
}

/// Reads a node's configuration without a lock, for programs that only display it. The configuration is always
/// complete, because files are replaced atomically. Entries that old versions wrote in other sections are returned in
/// their current sections, except those of the section `-provisioners`. The file is not changed: only opening the node
/// moves entries in the file, and only if the node has no `state_dir`. The state of the node is added.
///
/// # Errors
/// Returns [`ConfigStoreError::Storage`] if the file cannot be read, is larger than [`MAX_CONFIG_BYTES`] or is not
/// UTF-8, and [`ConfigStoreError::Config`] if its text is not a valid configuration, or if an entry to be moved
/// contains a reference that cannot be resolved.
pub fn read_config(files: &NodeFiles) -> Result<NodeConfig, ConfigStoreError> {
    migrated(files, NodeRole::Node)
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, ConfigStoreError> {
    let bytes = read_bounded(path, MAX_CONFIG_BYTES).map_err(storage)?;
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        storage(NotText {
            path: path.display().to_string(),
            line,
        })
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn parse(path: &Path, text: &str) -> Result<NodeConfig, ConfigStoreError> {
    NodeConfig::parse(text).map_err(|problem| refused(path, problem))
}

fn refused(path: &Path, problem: ConfigError) -> ConfigStoreError {
    ConfigStoreError::Config {
        origin: path.display().to_string(),
        problem,
    }
}

fn storage(error: impl std::error::Error + Send + Sync + 'static) -> ConfigStoreError {
    ConfigStoreError::Storage(Box::new(error))
}

/// An update needs a change of the `.config` file itself, but the node has a `state_dir`.
#[derive(Debug, Error)]
#[error(
    "{path} has an entry `state_dir`, so kc does not write this file: make the change in the original from which \
     this file was deployed"
)]
struct ReadOnlyConfig {
    path: String,
}

#[derive(Debug, Error)]
#[error("{path}: line {line} is not UTF-8 text")]
struct NotText {
    path: String,
    line: usize,
}

/// The reason why the entry `cryptokey`, `ratchet` or `keytypes` of the configuration cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The entry has a reference that cannot be resolved.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `cryptokey` or `ratchet` does not name a file.
    #[error("the value of `{name}` must be `file#` and a path, but is {value:?}")]
    NotAFile {
        /// The name of the entry.
        name: &'static str,
        /// The value of the entry.
        value: String,
    },
    /// `keytypes` does not list key types.
    #[error(
        "the value of `keytypes` must be a list of key types, separated by commas (1: Ed25519, 4: hybrid), but is {0:?}"
    )]
    KeyTypes(String),
}

/// Returns the path of the file with the signing keys. This is the file that the entry `cryptokey` names, or
/// `<node>.crypto` if there is no such entry.
///
/// # Errors
/// Returns [`EntryError::NotAFile`] if the entry does not name a file, and [`EntryError::Config`] if it has a reference
/// that cannot be resolved.
pub fn crypto_path(config: &NodeConfig, files: &NodeFiles) -> Result<PathBuf, EntryError> {
    let named = named_path(config, "cryptokey", files)?;
    Ok(named.unwrap_or_else(|| files.crypto()))
}

/// Returns the path of the file with the ratchet, which the entry `ratchet` names. Returns `None` if there is no such
/// entry: then the node has no ratchet in a file.
///
/// # Errors
/// Returns [`EntryError::NotAFile`] if the entry does not name a file, and [`EntryError::Config`] if it has a reference
/// that cannot be resolved.
pub fn ratchet_path(config: &NodeConfig, files: &NodeFiles) -> Result<Option<PathBuf>, EntryError> {
    named_path(config, "ratchet", files)
}

/// Returns the types of signing keys that the entry `keytypes` selects, or `None` if there is no such entry. Then all
/// types are used.
///
/// # Errors
/// Returns [`EntryError::KeyTypes`] if the entry is not a list of key types, and [`EntryError::Config`] if it has a
/// reference that cannot be resolved.
pub fn key_types(config: &NodeConfig) -> Result<Option<Vec<KeyType>>, EntryError> {
    let Some(text) = config.load_text(Section::NODE, "keytypes")? else {
        return Ok(None);
    };
    let types = text.split(',').map(|version| {
        let version = Value::decode(version.trim());
        match version {
            Some(Value::Int(version)) => KeyType::from_version(version),
            _ => None,
        }
    });
    let types: Option<Vec<_>> = types.collect();
    let types = types.ok_or_else(|| EntryError::KeyTypes(text.to_string()))?;
    Ok(Some(types))
}

fn named_path(
    config: &NodeConfig,
    name: &'static str,
    files: &NodeFiles,
) -> Result<Option<PathBuf>, EntryError> {
    let Some(value) = config.load_text(Section::NODE, name)? else {
        return Ok(None);
    };
    let path = files.resolve(&value).ok_or_else(|| EntryError::NotAFile {
        name,
        value: value.to_string(),
    })?;
    Ok(Some(path))
}
