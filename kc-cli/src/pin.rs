//! Access to nodes and keys that may be on a token. The program asks for a PIN only if it is needed.

use std::path::Path;
use std::sync::Arc;

use kc::core::secret::SecretText;
#[cfg(feature = "hsm")]
use kc::keystore_hsm::{PinSource, Pkcs11Uri};
use kc::maintenance::{LockedNode, NodePin, TokenError};
use kc::{Node, NodeBuilder};

use crate::args::{PasswordSource, PinArg};
use crate::error::CliError;

/// Opens and starts a node. Asks for the PIN of its token if no other source gives the PIN.
pub(crate) async fn open(options: NodeBuilder) -> Result<Node, CliError> {
    let error = match options.clone().open().await {
        Ok(node) => return Ok(node),
        Err(error) => error,
    };
    Ok(options.pin(ask_if_needed(error)?).open().await?)
}

/// Locks and opens a stopped node, to sign with its keys. The PIN comes from `file`, if a file is given.
pub(crate) fn lock(node: &str, file: Option<&Path>) -> Result<LockedNode, CliError> {
    with(file, |pin| LockedNode::open(node, pin))
}

/// Calls `open` with the PIN in `file`, or with `None` if no file is given. If `open` reports that it needs a PIN, asks
/// for the PIN and calls `open` again.
pub(crate) fn with<T>(
    file: Option<&Path>,
    open: impl Fn(Option<&NodePin>) -> Result<T, kc::Error>,
) -> Result<T, CliError> {
    let file = file.map(|path| NodePin::File(path.to_owned()));
    let error = match open(file.as_ref()) {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    let pin = NodePin::Asked(Arc::new(ask_if_needed(error)?));
    Ok(open(Some(&pin))?)
}

/// Asks for the PIN of a token if `error` says that the PIN is needed. Otherwise returns the error.
fn ask_if_needed(error: kc::Error) -> Result<SecretText, CliError> {
    match error.get_ref().downcast_ref() {
        Some(TokenError::PinNeeded { token }) => ask(token),
        _ => Err(error.into()),
    }
}

impl PinArg {
    /// Adds the PIN file to the options of a node.
    pub(crate) fn of(&self, options: NodeBuilder) -> NodeBuilder {
        match self.file() {
            Some(path) => options.pin_file(path.to_owned()),
            None => options,
        }
    }
}

/// Returns the source of the PIN for the token that `uri` names: `file`, else the source that the URI or the
/// environment gives, else a prompt.
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

/// Asks for the PIN of the token with the label `token`.
fn ask(token: &str) -> Result<SecretText, CliError> {
    PasswordSource::of_pin(token).read_text()
}
