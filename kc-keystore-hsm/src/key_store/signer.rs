use kc_core::keys::{KeyError, KeyType, Signer, VerifyingKey};
use kc_core::store::KeyStore;
use rand::CryptoRng;

use super::{HsmKeyStore, KeyStoreSettings};
use crate::{HsmError, NodeLabels, Token};

/// One signing key on a token: that of a root of trust, which belongs to no node.
#[derive(Debug)]
pub struct HsmSigner {
    store: HsmKeyStore,
    key: VerifyingKey,
}

impl HsmSigner {
    /// The key of this type that [`generate_identity`](crate::generate_identity) or
    /// [`import_identity`](crate::import_identity) has put under these labels. All of it has to be on the token.
    ///
    /// # Errors
    /// Those of [`HsmKeyStore::open`].
    pub fn open(token: Token, labels: NodeLabels, key_type: KeyType) -> Result<Self, HsmError> {
        let settings = KeyStoreSettings {
            key_types: Some(vec![key_type]),
            ..KeyStoreSettings::default()
        };
        let store = HsmKeyStore::open(token, labels, settings)?;
        let key = store.verifying_keys().into_iter().next();
        let key = key.ok_or(HsmError::NoSigningKey(Some(key_type)))?;
        Ok(Self { store, key })
    }
}

impl Signer for HsmSigner {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The token has random numbers of its own.
    fn sign(&self, message: &[u8], _: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        let signed = self.store.sign(&self.key, message);
        signed.map_err(|_| KeyError::Signer)
    }
}
