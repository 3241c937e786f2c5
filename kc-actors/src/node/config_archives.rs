use std::sync::Arc;

use kc_core::chain::{TrustEntry, TrustList};
use kc_core::chain_server::ChainKey;
use kc_core::own_chains::store_chain;
use kc_core::store::config::{ConfigError, ConfigStore, Name, NodeConfig, Section, Value};
use kc_core::store::{StoreError, StoreErrorKind};

use crate::actors::chain::TrustArchive;
use crate::actors::chain_server::ChainKeyArchive;

/// Keeps list entries and chains in the node's configuration (protocol §11).
#[derive(Clone, Debug)]
pub struct ConfigTrustArchive(Arc<dyn ConfigStore>);

/// Keeps a chain server's keys in its configuration, in the section `chainkeys` (protocol §9).
#[derive(Clone, Debug)]
pub struct ConfigChainKeys(Arc<dyn ConfigStore>);

impl ConfigTrustArchive {
    /// In this configuration.
    #[must_use]
    pub fn new(config: Arc<dyn ConfigStore>) -> Self {
        Self(config)
    }
}

impl ConfigChainKeys {
    /// In this configuration.
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

impl ChainKeyArchive for ConfigChainKeys {
    fn load(&self) -> Result<Vec<(String, ChainKey)>, StoreError> {
        const CONTEXT: &str = "read the chain keys";
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
                tracing::error!(target: "kc::chain_server", name, %error, "not a chain key: passed over");
                None
            }
        });
        Ok(readable.collect())
    }

    fn store(&self, name: &str, key: &ChainKey) -> Result<(), StoreError> {
        let value = Value::Bytes(key.encode());
        update(&*self.0, "store a renewed chain key", &mut |config| {
            config.set(Section::CHAIN_KEYS, name, &value).map(drop)
        })
    }
}

fn update(
    config: &dyn ConfigStore,
    context: &'static str,
    edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
) -> Result<(), StoreError> {
    let stored = config.update(edit).map(drop);
    stored.map_err(|error| StoreError::new(StoreErrorKind::Io, context).with_source(error))
}
