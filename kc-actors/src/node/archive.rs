use std::sync::Arc;

use kc_core::ratchet::RetainedKeys;
use kc_core::store::config::{ConfigError, ConfigStore, NodeConfig, Section, Value};
use kc_core::store::{KeyStore, StoreError, StoreErrorKind, retained_keys};

use super::NodeError;
use crate::actors::ratchet::KeyArchive;

const ENTRY: &str = "oldkeys";
const USED: &str = "ratchet_used";

/// Keeps retained keys in the node's configuration, sealed under its opaque key (protocol §11), and beside
/// them the index of the latest step used, by which an old ratchet that is put back is noticed.
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

    /// The index of the latest step that was used; `None` if none was, or only by a peer.
    ///
    /// # Errors
    /// [`NodeError::Value`].
    pub fn used(config: &NodeConfig) -> Result<Option<u64>, NodeError> {
        Ok(match config.load_value(Section::CRYPTO, USED)? {
            Some(Value::Int(index)) => u64::try_from(index).ok(),
            _ => None,
        })
    }

    /// Has a configuration say that this step was used.
    ///
    /// # Errors
    /// [`ConfigError`], which a configuration that can be written does not give.
    pub fn note_used(config: &mut NodeConfig, index: u64) -> Result<(), ConfigError> {
        config.set(Section::CRYPTO, USED, &Value::Int(index.into()))?;
        Ok(())
    }

    /// The keys kept in a configuration.
    ///
    /// # Errors
    /// [`NodeError::RetainedKeys`], [`NodeError::RetainedKeysFormat`], [`NodeError::Value`].
    pub fn load(keystore: &dyn KeyStore, config: &NodeConfig) -> Result<RetainedKeys, NodeError> {
        let Some(sealed) = Self::sealed(config)? else {
            return Ok(RetainedKeys::default());
        };
        let plaintext = keystore.unwrap_opaque(&sealed);
        Ok(retained_keys::decode(
            &plaintext.map_err(NodeError::RetainedKeys)?,
        )?)
    }

    /// The same as they stand there, sealed under the node's opaque key; `None` if there are none.
    ///
    /// # Errors
    /// [`NodeError::RetainedKeys`] if something else stands there, [`NodeError::Value`].
    pub fn sealed(config: &NodeConfig) -> Result<Option<Vec<u8>>, NodeError> {
        match config.load_value(Section::CRYPTO, ENTRY)? {
            None => Ok(None),
            Some(Value::Bytes(sealed)) => Ok(Some(sealed)),
            Some(_) => {
                let context = "retained keys in the configuration";
                let error = StoreError::new(StoreErrorKind::Malformed, context);
                Err(NodeError::RetainedKeys(error))
            }
        }
    }

    /// Puts keys that are sealed into a configuration.
    ///
    /// # Errors
    /// [`ConfigError`], which a configuration that can be written does not give.
    pub fn set_sealed(config: &mut NodeConfig, sealed: &[u8]) -> Result<(), ConfigError> {
        config.set(Section::CRYPTO, ENTRY, &Value::from(sealed))?;
        Ok(())
    }
}

/// Keeps retained keys nowhere but in the ratchet's own memory: for a ratchet that forgets with the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryArchive;

impl KeyArchive for MemoryArchive {
    fn save(&mut self, _: &RetainedKeys, _: Option<u64>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl KeyArchive for SealedArchive {
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError> {
        let sealed = self
            .keystore
            .wrap_opaque(retained_keys::encode(keys).expose())?;
        let stored = self.config.update(&mut |config| {
            Self::set_sealed(config, &sealed)?;
            used.map_or(Ok(()), |index| Self::note_used(config, index))
        });
        stored.map(drop).map_err(|error| {
            StoreError::new(
                StoreErrorKind::Io,
                "store retained keys in the configuration",
            )
            .with_source(error)
        })
    }
}
