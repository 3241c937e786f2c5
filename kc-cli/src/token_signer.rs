//! Keys on a token that belong to no node: those of the root of trust and of provisioners.

use kc::core::keys::{KeyType, Signer, SigningKey};
use kc::core::provision::Provisioner;
use kc::keystore_hsm::{
    Capabilities, HsmError, NodeLabels, Pkcs11Uri, Token, generate_identity, generate_opaque_key,
    import_identity, open_signer,
};

use crate::error::CliError;

/// What a provisioner is called on a token: `kc:provisioner-NAME:id`.
pub(crate) fn provisioner_labels(provisioner: Provisioner) -> NodeLabels {
    NodeLabels::new(&format!("provisioner-{}", provisioner.name()))
}

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
    generate_opaque_key(&token, &labels)?;
    generate_identity(&token, &labels, key_type)?;
    Ok(Box::new(open_signer(token, labels, key_type)?))
}

/// The key of this type that a URI names, to sign with.
pub(crate) fn open(uri: &Pkcs11Uri, key_type: KeyType) -> Result<Box<dyn Signer>, CliError> {
    let labels = NodeLabels::of_uri(uri)?;
    let token = Token::open(uri, crate::pin::of_token(uri, None)?)?;
    Ok(Box::new(open_signer(token, labels, key_type)?))
}
