use kc_core::chain::ChainError;
use kc_core::store::StoreError;
use kc_core::store::config::{ConfigError, ConfigStoreError};
use kc_core::wire::WireError;
use thiserror::Error;

use crate::slot::SlotClosed;

/// Why a node does not start, or does not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration cannot be loaded.
    #[error(transparent)]
    Config(#[from] ConfigStoreError),
    /// A value in the configuration cannot be used.
    #[error(transparent)]
    Value(#[from] ConfigError),
    /// An entry of the configuration is malformed.
    #[error("{section} {name}: {problem}")]
    Entry {
        /// The section's name, without the node's.
        section: &'static str,
        /// The entry's name.
        name: String,
        /// The problem with it.
        problem: ChainError,
    },
    /// The keys kept for late consumers cannot be opened.
    #[error("the keys kept for late consumers do not open")]
    RetainedKeys(#[source] StoreError),
    /// The keys kept for late consumers are malformed.
    #[error("the keys kept for late consumers are malformed: {0}")]
    RetainedKeysFormat(#[from] WireError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread of the node could not be started.
    #[error("the node's thread does not start")]
    Thread(#[source] std::io::Error),
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
}

impl From<SlotClosed> for NodeError {
    fn from(_: SlotClosed) -> Self {
        Self::Closed
    }
}
