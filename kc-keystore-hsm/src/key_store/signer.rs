use kc_core::keys::KeyType;
use kc_core::store::{KeyStore, KeyStoreSigner};

use super::{HsmKeyStore, KeyStoreSettings};
use crate::{HsmError, NodeLabels, Token};

/// One signing key on a token, as that of a root of trust, which belongs to no node: the key of this type that
/// [`generate_identity`](crate::generate_identity) or [`import_identity`](crate::import_identity) has put under these
/// labels. All of it has to be on the token.
///
/// # Errors
/// Those of [`HsmKeyStore::open`].
pub fn open_signer(
    token: Token,
    labels: NodeLabels,
    key_type: KeyType,
) -> Result<KeyStoreSigner<Box<HsmKeyStore>>, HsmError> {
    let settings = KeyStoreSettings {
        key_types: Some(vec![key_type]),
        ..KeyStoreSettings::default()
    };
    let store = HsmKeyStore::open(token, labels, settings)?;
    let key = store.verifying_keys().into_iter().next();
    let key = key.ok_or(HsmError::NoSigningKey(Some(key_type)))?;
    Ok(KeyStoreSigner::new(Box::new(store), key))
}
