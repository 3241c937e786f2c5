//! Keys on a token that belong to no node: those of the root of trust and of provisioners.

use std::path::Path;

use kc::core::keys::{KeyType, Signer, SigningKey};
use kc::keystore_hsm::{
    Capabilities, HsmError, NodeLabels, Pkcs11Uri, Token, generate_identity, generate_opaque_key,
    import_identity, open_signer, relabel_signer,
};

use crate::error::CliError;

/// Fails if a part of a key of this type would have to be kept beside the token.
pub(crate) fn require_whole(uri: &Pkcs11Uri, key_type: KeyType) -> Result<(), CliError> {
    if Capabilities::of(uri)?.holds(key_type) {
        return Ok(());
    }
    let version = key_type.version();
    Err(
        CliError::failure(format!("the token cannot hold all of a key of type {version}")).advise(
            "`kc provision --keystore` keeps in the node's configuration what the token cannot hold, sealed by \
             it",
        ),
    )
}

/// Puts a key onto a token, unless it is there.
pub(crate) fn import(token: &Token, labels: &NodeLabels, key: &SigningKey) -> Result<(), HsmError> {
    relabel_signer(token, labels, Some(key.verifying_key()))?;
    generate_opaque_key(token, labels)?;
    import_identity(token, labels, key)?;
    Ok(())
}

/// Draws a key of this type on a token, unless it is there, to sign with.
pub(crate) fn draw(
    token: Token,
    labels: NodeLabels,
    key_type: KeyType,
) -> Result<Box<dyn Signer>, HsmError> {
    relabel_signer(&token, &labels, None)?;
    generate_opaque_key(&token, &labels)?;
    generate_identity(&token, &labels, key_type)?;
    Ok(Box::new(open_signer(token, labels, key_type)?))
}

/// The key of this type that a URI names, to sign with; the file, if there is one, has the token's PIN.
pub(crate) fn open(
    uri: &Pkcs11Uri,
    pin_file: Option<&Path>,
    key_type: KeyType,
) -> Result<Box<dyn Signer>, CliError> {
    let labels = NodeLabels::of_signer(uri)?;
    let token = Token::open(uri, crate::pin::of_token(uri, pin_file)?)?;
    let labels = renamed(&token, labels)?;
    Ok(Box::new(open_signer(token, labels, key_type)?))
}

/// What is called by these labels now. Scripts may still have those of an earlier version.
fn renamed(token: &Token, labels: NodeLabels) -> Result<NodeLabels, HsmError> {
    match labels.renamed() {
        Some(renamed) if relabel_signer(token, &renamed, None)? => Ok(renamed),
        Some(_) => Ok(labels),
        None => {
            relabel_signer(token, &labels, None)?;
            Ok(labels)
        }
    }
}
