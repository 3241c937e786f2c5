use kc_actors::NodeError;
use kc_core::backend::BackendError;
use kc_core::store::config::{ConfigError, ConfigStoreError};
use kc_core::store::{NodeSecretsError, StoreError};
use kc_keystore_file::{EntryError, FileError, FindError, SettingsError};
use thiserror::Error;

/// Why a node in files does not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No node was found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// One of its files.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigStoreError),
    /// A value in its configuration.
    #[error(transparent)]
    Value(#[from] ConfigError),
    /// A setting, wherever it came from.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Its secrets.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// How it is to exchange keys.
    #[error(transparent)]
    Secrets(#[from] NodeSecretsError),
    /// A Kafka setting.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// What the files say makes no node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// What its configuration says of its keys.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The token that its keys are on.
    #[cfg(feature = "hsm")]
    #[error(transparent)]
    Token(#[from] kc_keystore_hsm::HsmError),
    /// The token's PIN is unknown: neither a file (`pin-source`), nor the environment, nor a
    /// [person](crate::NodeBuilder::pin) gives it.
    #[error("the PIN of the token {token:?} is needed")]
    PinNeeded {
        /// The token's label.
        token: String,
    },
    /// An entry of `<node>-hsm` is not what it should be.
    #[error("`{name}` in the section of the token's keys cannot be used")]
    TokenKeys {
        /// The entry.
        name: String,
    },
    /// `<node>-hsm` does not say which keys the token must have: without that, any key there would be taken for the
    /// node's.
    #[error("`{name}` is missing from the section of the token's keys")]
    TokenKeyMissing {
        /// The entry.
        name: String,
    },
    /// Its move onto a token was interrupted. Its ratchet may be there already, so it takes no step in files.
    #[error("the node is on its way onto a token: {token}")]
    Moving {
        /// Where its keys will be.
        token: String,
    },
    /// It is on its way onto another token.
    #[error("the node is on its way onto another token: {token}")]
    MovingElsewhere {
        /// Where its keys will be.
        token: String,
    },
    /// Nothing is to be undone.
    #[error("the node is on its way onto no token")]
    NotMoving,
    /// Its keys are in files.
    #[error("the node's keys are on no token")]
    NotOnToken,
    /// Its keys cannot be moved onto a token.
    #[error("the node's keys are on a token already")]
    OnTokenAlready,
    /// Its keys are on a token, and the feature `hsm` is not built in.
    #[error(
        "the node's keys are on a token; that is not built in: it comes with the feature `hsm`"
    )]
    NoTokens,
}
