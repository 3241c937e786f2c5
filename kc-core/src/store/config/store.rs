use std::error::Error;
use std::fmt::Debug;

use super::{ConfigError, NodeConfig};

/// Keeps a node's configuration between runs. It is free of secrets but for Kafka passwords.
pub trait ConfigStore: Debug + Send + Sync {
    /// The configuration as it is stored now.
    ///
    /// # Errors
    /// What is stored cannot be read or understood.
    fn load(&self) -> Result<NodeConfig, ConfigStoreError>;

    /// Reads the configuration afresh, lets `edit` change it and stores it durably before it returns, all under
    /// one lock; whoever reads meanwhile sees all of the change or nothing of it. Nothing is stored if `edit`
    /// fails or changes nothing. Returns what is stored now.
    ///
    /// # Errors
    /// As `load`, what `edit` returns, and failures to store.
    fn update(
        &self,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<NodeConfig, ConfigStoreError>;
}

/// Why a configuration could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigStoreError {
    /// The configuration itself is not as it must be: its author's concern.
    #[error("{origin}: {problem}")]
    Config {
        /// The place, for people: a path.
        origin: String,
        /// What is wrong with it.
        problem: ConfigError,
    },
    /// The plug-in that stores it failed.
    #[error("the configuration's store failed")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
}
