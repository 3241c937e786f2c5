use thiserror::Error;

/// The reason why a node's keys on a token cannot be used, changed or moved, apart from failures of the token and of
/// the node's files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
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
