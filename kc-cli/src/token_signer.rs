//! Keys on a token that belong to no node: the keys of roots of trust and of provisioners.

use std::path::Path;

use kc::core::keys::{KeyType, Signer, SigningKey};
use kc::keystore_hsm::{
    Capabilities, HsmError, NodeLabels, Pkcs11Uri, Token, generate_identity, generate_opaque_key,
    import_identity, open_signer, relabel_signer,
};

use crate::error::CliError;

/// Checks that the token can hold all parts of a key of this type.
///
/// # Errors
/// [`CliError`] if a part of the key would be outside of the token.
pub(crate) fn require_whole(uri: &Pkcs11Uri, key_type: KeyType) -> Result<(), CliError> {
    if Capabilities::of(uri)?.holds(key_type) {
        return Ok(());
    }
    let version = key_type.version();
    Err(
        CliError::failure(format!("the token cannot hold all parts of a key of type {version}")).advise(
            "use a key of another type, or use another token. Only `kc provision --keystore` can keep a part of a \
             key outside of the token: in the node's configuration, sealed by the token",
        ),
    )
}

/// Puts a key onto a token. A key that is already on the token stays unchanged.
pub(crate) fn import(token: &Token, labels: &NodeLabels, key: &SigningKey) -> Result<(), HsmError> {
    relabel_signer(token, labels, Some(key.verifying_key()))?;
    generate_opaque_key(token, labels)?;
    import_identity(token, labels, key)?;
    Ok(())
}

/// Returns a signer with a key of this type on a token. If the token does not have the key yet, generates the key.
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

/// Returns a signer with the key of this type that a URI names. The PIN of the token comes from `pin_file`, if a
/// file is given.
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

/// Gives a key the present labels, if an earlier version of kc labelled it. `labels` may be the earlier labels, because
/// scripts may still use these. Returns the labels that the key has now. If `labels` are earlier labels, and the token
/// has no key with the corresponding present labels even after the renaming, returns `labels`.
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
