//! Opening what may be on a token: its PIN is asked for only if it is needed.

#[cfg(feature = "hsm")]
use std::path::Path;

use kc::core::secret::SecretText;
#[cfg(feature = "hsm")]
use kc::keystore_hsm::{PinSource, Pkcs11Uri};
use kc::{LockedNode, NodeOptions, OpenError, OpenNode};

use crate::args::PasswordSource;
use crate::error::CliError;

/// Opens and starts a node.
pub(crate) async fn open(options: NodeOptions) -> Result<OpenNode, CliError> {
    match options.clone().open().await {
        Err(OpenError::PinNeeded { token }) => Ok(options.pin(ask(&token)?).open().await?),
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
        Err(OpenError::PinNeeded { token }) => Ok(open(Some(&ask(&token)?))?),
        opened => Ok(opened?),
    }
}

/// Where the PIN of a token that a URI names comes from: this file, else what the URI or the environment says, else a
/// person.
#[cfg(feature = "hsm")]
pub(crate) fn of_token(uri: &Pkcs11Uri, file: Option<&Path>) -> Result<PinSource, CliError> {
    if let Some(file) = file {
        return Ok(PinSource::File(file.to_owned()));
    }
    match PinSource::of(uri) {
        Some(source) => Ok(source),
        None => Ok(PinSource::Text(ask(uri
            .token
            .as_deref()
            .unwrap_or_default())?)),
    }
}

/// The PIN of a token, of which this is the label.
fn ask(token: &str) -> Result<SecretText, CliError> {
    PasswordSource::of_pin(token).read_text()
}
