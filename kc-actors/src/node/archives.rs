//! The archives of a node that are kept in its configuration (protocol §11).

use std::sync::Arc;

use kc_core::chain::{TrustEntry, TrustList};
use kc_core::chain_server::ChainKey;
use kc_core::own_chains::store_chain;
use kc_core::ratchet::RetainedKeys;
use kc_core::store::config::{
    ConfigError, ConfigStore, Name, NodeConfig, RATCHET_USED, RETAINED_KEYS, Section, Value,
};
use kc_core::store::{
    ChainKeyArchive, KeyStore, RetainedKeysArchive, StoreError, StoreErrorKind, TrustArchive,
    retained_keys,
};
use kc_core::text::with_sources;

use super::NodeError;

/// An archive of retained data keys in the node's configuration. The data keys are sealed under the opaque key of the
/// node, which seals values of the configuration. The archive also stores the index of the last used step, so that a
/// restored old copy of the ratchet is detected.
#[derive(Clone, Debug)]
pub struct SealedArchive {
    keystore: Arc<dyn KeyStore>,
    config: Arc<dyn ConfigStore>,
}

/// An archive of list entries and chains in the node's configuration.
#[derive(Clone, Debug)]
pub struct ConfigTrustArchive(Arc<dyn ConfigStore>);

/// An archive of the keys whose chains a chain server renews, in the section `chainkeys` of its configuration (protocol
/// §9).
#[derive(Clone, Debug)]
pub struct ConfigChainKeys(Arc<dyn ConfigStore>);

impl SealedArchive {
    /// Returns an archive in `config` whose entries are sealed under the opaque key of `keystore`.
    #[must_use]
    pub fn new(keystore: Arc<dyn KeyStore>, config: Arc<dyn ConfigStore>) -> Self {
        Self { keystore, config }
    }

    /// Returns the index of the last used step. Returns `None` if no step was used, or if only peers (KafkaCrypto for
    /// Python or Java) have used the ratchet.
    ///
    /// # Errors
    /// Returns [`NodeError::Value`] if the entry refers to another entry that cannot be resolved.
    pub fn used(config: &NodeConfig) -> Result<Option<u64>, NodeError> {
        Ok(match config.load_value(Section::CRYPTO, RATCHET_USED)? {
            Some(Value::Int(index)) => u64::try_from(index).ok(),
            _ => None,
        })
    }

    /// Records in a configuration that the step with this index was used.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if the entry cannot be written.
    pub fn note_used(config: &mut NodeConfig, index: u64) -> Result<(), ConfigError> {
        config.set(Section::CRYPTO, RATCHET_USED, &Value::Int(index.into()))?;
        Ok(())
    }

    /// Returns the retained data keys of a configuration.
    ///
    /// # Errors
    /// Returns [`NodeError::RetainedKeys`] if the entry is not a binary value or cannot be opened,
    /// [`NodeError::RetainedKeysFormat`] if the opened data keys are malformed, and [`NodeError::Value`] if the entry
    /// refers to another entry that cannot be resolved.
    pub fn load(keystore: &dyn KeyStore, config: &NodeConfig) -> Result<RetainedKeys, NodeError> {
        let Some(sealed) = Self::sealed(config)? else {
            return Ok(RetainedKeys::default());
        };
        let plaintext = keystore.unwrap_opaque(&sealed);
        Ok(retained_keys::decode(
            &plaintext.map_err(NodeError::RetainedKeys)?,
        )?)
    }

    /// Returns the retained data keys of a configuration in the form in which they are stored: sealed under the opaque
    /// key of the node. Returns `None` if the configuration has no retained data keys.
    ///
    /// # Errors
    /// Returns [`NodeError::RetainedKeys`] if the entry is not a binary value, and [`NodeError::Value`] if the entry
    /// refers to another entry that cannot be resolved.
    pub fn sealed(config: &NodeConfig) -> Result<Option<Vec<u8>>, NodeError> {
        match config.load_value(Section::CRYPTO, RETAINED_KEYS)? {
            None => Ok(None),
            Some(Value::Bytes(sealed)) => Ok(Some(sealed)),
            Some(_) => {
                let context = "read the retained keys in the configuration";
                let error = StoreError::new(StoreErrorKind::Malformed, context);
                Err(NodeError::RetainedKeys(error))
            }
        }
    }

    /// Writes sealed data keys into a configuration.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if the entry cannot be written.
    pub fn set_sealed(config: &mut NodeConfig, sealed: &[u8]) -> Result<(), ConfigError> {
        config.set(Section::CRYPTO, RETAINED_KEYS, &Value::from(sealed))?;
        Ok(())
    }
}

impl RetainedKeysArchive for SealedArchive {
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError> {
        let plaintext = retained_keys::encode(keys);
        let sealed = self.keystore.wrap_opaque(plaintext.expose())?;
        let context = "store the retained keys in the configuration";
        update(&*self.config, context, &mut |config| {
            Self::set_sealed(config, &sealed)?;
            used.map_or(Ok(()), |index| Self::note_used(config, index))
        })
    }
}

impl ConfigTrustArchive {
    /// Returns an archive in `config`.
    #[must_use]
    pub fn new(config: Arc<dyn ConfigStore>) -> Self {
        Self(config)
    }
}

impl TrustArchive for ConfigTrustArchive {
    fn add_entry(&mut self, list: TrustList, entry: &TrustEntry) -> Result<(), StoreError> {
        let section = Section::named(list.name());
        let bytes = entry.as_bytes();
        let (name, value) = (Name::of_entry(bytes), Value::from(bytes));
        update(&*self.0, "store an entry of a list", &mut |config| {
            config.set(section, &name, &value).map(drop)
        })
    }

    fn replace_chain(&mut self, index: usize, chain: &[u8]) -> Result<(), StoreError> {
        update(&*self.0, "store a new chain", &mut |config| {
            store_chain(config, index, chain)
        })
    }
}

impl ConfigChainKeys {
    /// Returns an archive in `config`.
    #[must_use]
    pub fn new(config: Arc<dyn ConfigStore>) -> Self {
        Self(config)
    }
}

impl ChainKeyArchive for ConfigChainKeys {
    fn load(&self) -> Result<Vec<(String, ChainKey)>, StoreError> {
        const CONTEXT: &str = "read the section chainkeys of the configuration";
        let failed = |kind| StoreError::new(kind, CONTEXT);
        let config = self.0.load();
        let config = config.map_err(|error| failed(StoreErrorKind::Io).with_source(error))?;
        let keys = config.own_settings(Section::CHAIN_KEYS);
        let keys = keys.map_err(|error| failed(StoreErrorKind::Malformed).with_source(error))?;
        let keys = keys
            .into_iter()
            .filter_map(|setting| match setting.value() {
                Some(Value::Bytes(entry)) => Some((setting.name.to_string(), entry)),
                _ => None,
            });
        let readable = keys.filter_map(|(name, entry)| match ChainKey::parse(&entry) {
            Ok(key) => Some((name, key)),
            Err(error) => {
                tracing::error!(target: "kc::chain_server", name, error = %with_sources(&error), "malformed entry of chainkeys ignored");
                None
            }
        });
        Ok(readable.collect())
    }

    fn store(&self, name: &str, key: &ChainKey) -> Result<(), StoreError> {
        let value = Value::Bytes(key.encode());
        update(
            &*self.0,
            "store a renewed chain in the section chainkeys of the configuration",
            &mut |config| config.set(Section::CHAIN_KEYS, name, &value).map(drop),
        )
    }
}

/// Changes a configuration and stores it. If either fails, returns an error with `context`.
fn update(
    config: &dyn ConfigStore,
    context: &'static str,
    edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
) -> Result<(), StoreError> {
    let stored = config.update(edit).map(drop);
    stored.map_err(|error| StoreError::new(StoreErrorKind::Io, context).with_source(error))
}
