//! What a node's own section says of its keys.

use std::path::PathBuf;

use kc_core::keys::KeyType;
use kc_core::store::config::{ConfigError, NodeConfig, Section, Value};
use thiserror::Error;

use crate::NodeFiles;

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
