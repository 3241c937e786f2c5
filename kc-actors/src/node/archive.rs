use std::sync::Arc;

use kc_core::ratchet::RetainedKeys;
use kc_core::store::config::{ConfigStore, NodeConfig, Section, Value};
use kc_core::store::{KeyStore, StoreError, StoreErrorKind, old_keys};

use super::NodeError;
use crate::actors::KeyArchive;

const ENTRY: &str = "oldkeys";

/// Keeps past keys in the node's configuration, sealed under its opaque key (protocol §11).
#[derive(Clone, Debug)]
pub struct SealedArchive {
    keystore: Arc<dyn KeyStore>,
    config: Arc<dyn ConfigStore>,
}

impl SealedArchive {
    /// In this configuration, under the opaque key of this keystore.
    #[must_use]
    pub fn new(keystore: Arc<dyn KeyStore>, config: Arc<dyn ConfigStore>) -> Self {
        Self { keystore, config }
    }

    /// The keys kept in a configuration.
    ///
    /// # Errors
    /// [`NodeError::OldKeys`], [`NodeError::OldKeysFormat`], [`NodeError::Value`].
    pub fn load(keystore: &dyn KeyStore, config: &NodeConfig) -> Result<RetainedKeys, NodeError> {
        match config.load_value(Section::CRYPTO, ENTRY)? {
            Some(Value::Bytes(wrapped)) => {
                let plaintext = keystore
                    .unwrap_opaque(&wrapped)
                    .map_err(NodeError::OldKeys)?;
                Ok(old_keys::decode(&plaintext)?)
            }
            None => Ok(RetainedKeys::default()),
            Some(_) => {
                let context = "past keys in the configuration";
                let error = StoreError::new(StoreErrorKind::Malformed, context);
                Err(NodeError::OldKeys(error))
            }
        }
    }
}

impl KeyArchive for SealedArchive {
    fn save(&mut self, keys: &RetainedKeys) -> Result<(), StoreError> {
        let wrapped = self.keystore.wrap_opaque(old_keys::encode(keys).expose())?;
        let wrapped = Value::Bytes(wrapped);
        let stored = self
            .config
            .update(&mut |config| config.set(Section::CRYPTO, ENTRY, &wrapped).map(drop));
        stored.map(drop).map_err(|error| {
            StoreError::new(StoreErrorKind::Io, "store past keys in the configuration")
                .with_source(error)
        })
    }
}
