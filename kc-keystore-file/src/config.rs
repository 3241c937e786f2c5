use std::path::{Path, PathBuf};
use std::sync::Arc;

use kc_core::keys::KeyType;
use kc_core::store::config::{
    ConfigError, ConfigStore, ConfigStoreError, NodeConfig, NodeRole, Section, Value,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::atomic::{read_bounded, write_atomic_keeping_access};
use crate::{FileError, NodeFiles, NodeLock, write_atomic};

/// No configuration is larger, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 24;

/// A node's `.config` file. Each update reads it afresh, so that what a person changed meanwhile is kept, and
/// replaces it atomically with its comments and layout; permissions that the file has are kept, a new one is
/// private (0600).
#[derive(Debug)]
pub struct FileConfigStore {
    lock: Arc<NodeLock>,
}

impl FileConfigStore {
    /// The configuration of the node that `lock` covers. Touches nothing yet.
    pub fn new(lock: Arc<NodeLock>) -> Self {
        Self { lock }
    }

    /// The configuration, once the entries that old versions wrote for such a node are where they belong now.
    ///
    /// # Errors
    /// As [`update`](ConfigStore::update).
    pub fn migrated(&self, role: NodeRole) -> Result<NodeConfig, ConfigStoreError> {
        self.update(&mut |config| config.migrate(role).map(drop))
    }

    /// Writes the file of a new node.
    ///
    /// # Errors
    /// [`FileError::Exists`] if there is one already, [`FileError::LockLost`], and failures to write.
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

    /// What `edit` makes of the stored text; `None` if it changes nothing.
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
        let path = self.lock.files().config();
        parse(&path, &read_text(&path)?)
    }

    fn update(
        &self,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<NodeConfig, ConfigStoreError> {
        let _writer = self.lock.writer().map_err(storage)?;
        let path = self.lock.files().config();
        let (config, changed) = self.edited(&path, edit)?;
        if let Some(text) = changed {
            // What is written can be read.
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

/// A node's configuration, without a lock: for programs that only look. Files are replaced atomically, so it is
/// never half of one. What old versions wrote is shown where it belongs now, as opening the node will move it.
///
/// # Errors
/// A file that cannot be read, is larger than [`MAX_CONFIG_BYTES`], is not UTF-8, or is not a configuration.
pub fn read_config(path: &Path) -> Result<NodeConfig, ConfigStoreError> {
    let mut config = parse(path, &read_text(path)?)?;
    let _moved = config
        .migrate(NodeRole::Node)
        .map_err(|problem| refused(path, problem))?;
    Ok(config)
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, ConfigStoreError> {
    let bytes = read_bounded(path, MAX_CONFIG_BYTES).map_err(storage)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
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

#[derive(Debug, Error)]
#[error("{path}: line {line} is not UTF-8 text")]
struct NotText {
    path: String,
    line: usize,
}

/// Why an entry about keys cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It has a reference that cannot be resolved.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `cryptokey` or `ratchet` does not name a file.
    #[error("{name} : {value:?} is not `file#` and a path")]
    NotAFile {
        /// The entry's name.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// `keytypes` does not list key types.
    #[error("keytypes : {0:?} is not a list of 1 and 4")]
    KeyTypes(String),
}

/// The file of the signing keys: what `cryptokey` names, else `<node>.crypto`.
///
/// # Errors
/// [`EntryError::NotAFile`], [`EntryError::Config`].
pub fn crypto_path(config: &NodeConfig, files: &NodeFiles) -> Result<PathBuf, EntryError> {
    let named = named_path(config, "cryptokey", files)?;
    Ok(named.unwrap_or_else(|| files.crypto()))
}

/// The file of the ratchet, which `ratchet` names; `None` for a node without one.
///
/// # Errors
/// [`EntryError::NotAFile`], [`EntryError::Config`].
pub fn ratchet_path(config: &NodeConfig, files: &NodeFiles) -> Result<Option<PathBuf>, EntryError> {
    named_path(config, "ratchet", files)
}

/// The types of signing key that are used, by `keytypes`; `None` for all.
///
/// # Errors
/// [`EntryError::KeyTypes`], [`EntryError::Config`].
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
