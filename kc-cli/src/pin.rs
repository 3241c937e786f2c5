//! Opening what may be on a token: its PIN is asked for only if it is needed.

use kc::core::secret::SecretText;
use kc::{LockedNode, NodeOptions, OpenError, OpenNode};

use crate::args::PasswordSource;
use crate::error::CliError;

/// Opens and starts a node.
pub(crate) async fn open(options: NodeOptions) -> Result<OpenNode, CliError> {
    match options.clone().open().await {
        Err(OpenError::PinNeeded { .. }) => Ok(options.pin(ask()?).open().await?),
        opened => Ok(opened?),
    }
}

/// Opens a node to sign with its keys.
pub(crate) fn lock(node: &str) -> Result<LockedNode, CliError> {
    with(|pin| LockedNode::open(node, pin))
}

/// Opens something else that may be on a token.
pub(crate) fn with<T>(
    open: impl Fn(Option<&SecretText>) -> Result<T, OpenError>,
) -> Result<T, CliError> {
    match open(None) {
        Err(OpenError::PinNeeded { .. }) => Ok(open(Some(&ask()?))?),
        opened => Ok(opened?),
    }
}

/// The PIN of a token that is there.
pub(crate) fn ask() -> Result<SecretText, CliError> {
    PasswordSource::of_node_pin().read_text()
}
