use kc_actors::NodeError;
use kc_core::backend::BackendError;
use kc_core::store::config::{ConfigError, ConfigStoreError};
use kc_core::store::{NodeSecretsError, StoreError};
use kc_keystore_file::{EntryError, FileError, FindError, SettingsError};
use thiserror::Error;

/// The reason why a node cannot be opened from its files, or why its keys cannot be created, changed or moved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node was not found, or the given path does not name exactly one node.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A file of the node cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configuration of the node cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigStoreError),
    /// A value in the configuration is invalid.
    #[error(transparent)]
    Value(#[from] ConfigError),
    /// A setting in the configuration, the environment or the program is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The stored keys of the node cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The list of key exchanges for a node's key file is invalid.
    #[error(transparent)]
    Secrets(#[from] NodeSecretsError),
    /// A Kafka setting is invalid.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The node cannot be started from its files.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// An entry of the configuration about the place or the types of the keys is invalid.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The token that holds the keys failed.
    #[cfg(feature = "hsm")]
    #[error(transparent)]
    Token(#[from] kc_keystore_hsm::HsmError),
    /// The PIN of the token is unknown: neither a file (`pin-source`) nor the environment has it, and the program did
    /// not set it by [`NodeBuilder::pin`](crate::NodeBuilder::pin).
    #[error("no PIN is given for the token {token:?}")]
    PinNeeded {
        /// The label of the token.
        token: String,
    },
    /// An entry of the section `<node>-hsm` is invalid.
    #[error("the entry `{name}` in the section `<node>-hsm` is invalid")]
    TokenKeys {
        /// The name of the entry.
        name: String,
    },
    /// An entry that says which keys the token must have is missing from the section `<node>-hsm`. Without this entry,
    /// any key on the token could be mistaken for a key of the node.
    #[error("the entry `{name}` is missing from the section `<node>-hsm`")]
    TokenKeyMissing {
        /// The name of the entry.
        name: String,
    },
    /// A move of the node onto a token was interrupted. The ratchet may already be on the token, so it takes no step
    /// in files.
    #[error("the move of the node onto a token is not finished: {token}")]
    Moving {
        /// The URI of the keys on the token.
        token: String,
    },
    /// A move of the node onto another token was interrupted.
    #[error("the move of the node onto another token is not finished: {token}")]
    MovingElsewhere {
        /// The URI of the keys on the other token.
        token: String,
    },
    /// The configuration records an unfinished move of the node onto a token, but the ratchet has already taken steps
    /// on this token. The objects on the token are in use, so the move can be neither continued nor undone.
    #[error(
        "the node was already used on the token: its ratchet is at step {known} there, and at step {index} in the file"
    )]
    UsedOnToken {
        /// The step in the file of the ratchet.
        index: u64,
        /// The step that the ratchet has reached on the token.
        known: u64,
    },
    /// There is no unfinished move of the node that can be undone.
    #[error("no move of the node onto a token is in progress")]
    NotMoving,
    /// The operation needs a node whose keys are on a token, but the keys of this node are in files.
    #[error("the node's keys are not on a token")]
    NotOnToken,
    /// The node has no ratchet on a token, although its keys are on one.
    #[error("the node has no ratchet on its token")]
    NoRatchet,
    /// The keys of the node are already on a token, so there is nothing to move or to undo.
    #[error("the node's keys are already on a token")]
    OnTokenAlready,
    /// The keys of the node are on a token, and the feature `hsm` is not built in.
    #[error("the node's keys are on a token, but this build does not support tokens")]
    NoTokens,
}
