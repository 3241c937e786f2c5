mod key;
mod settings;
mod signer;

use std::fmt;

use kc_core::kem::Suite;
use kc_core::keys::VerifyingKey;
use kc_core::secret::{Secret, SecretVec};
use kc_core::store::{KeyStore, StoreError, StoreErrorKind};

use crate::keys::{ed25519, slh_dsa};
use crate::labels::Role;
use crate::opaque::{Kind, OpaqueKey};
use crate::random::generator;
use crate::token::LoggedIn;
use crate::{HsmError, NodeLabels, Token};

use key::{Key, PostQuantum, find_keys, in_order, open_half};

pub use settings::KeyStoreSettings;
pub use signer::open_signer;

/// A node's keys on a token: they sign and seal there, and never leave it.
///
/// The exception is the SLH-DSA half of a version-4 key on a token that lacks `CKM_SLH_DSA`: it is sealed by the
/// token, and opened into memory for each signature. The Ed25519 half, without which nothing verifies, stays on the
/// token all the same.
///
/// Every call blocks for as long as the token takes: call from a thread that may wait, as the keystore actor is.
/// Sealing and opening of messages never come here.
pub struct HsmKeyStore {
    token: Token,
    labels: NodeLabels,
    keys: Vec<Key>,
    opaque: OpaqueKey,
    suites: Vec<Suite>,
    legacy_requests: bool,
}

impl HsmKeyStore {
    /// Finds a node's keys, and makes sure of each: there is one of its label, it belongs to its public half and to
    /// a pinned key, it can never leave the token, and what it signs verifies. Signing with a version-4 key takes 0.1
    /// s.
    ///
    /// # Errors
    /// A key is missing, there are two, or one is not as it should be; [`HsmError::KeyChanged`]; the token is gone.
    pub fn open(
        token: Token,
        labels: NodeLabels,
        settings: KeyStoreSettings,
    ) -> Result<Self, HsmError> {
        let (keys, opaque) = token.with_session(|token| {
            let opaque = OpaqueKey::find(token, &labels)?;
            opaque.test(token)?;
            let keys = find_keys(token, &labels, &opaque, &settings)?;
            Ok((keys, opaque))
        })?;
        let keys = in_order(keys, &settings)?;
        let store = Self {
            token,
            labels,
            keys,
            opaque,
            suites: settings.suites,
            legacy_requests: settings.legacy_requests,
        };
        store.keys.iter().try_for_each(|key| store.test(key))?;
        Ok(store)
    }

    /// Seals a value that was sealed by a file node's opaque key, for the moment when a node moves to the token.
    ///
    /// # Errors
    /// [`HsmError::Unauthentic`] if that key has not sealed it; the token is gone.
    pub fn rewrap_file_value(
        &self,
        value: &[u8],
        opaque_key: &Secret<32>,
    ) -> Result<Vec<u8>, HsmError> {
        let opened = kc_core::store::opaque::unwrap(value, opaque_key);
        let opened = opened.ok_or(HsmError::Unauthentic {
            what: "opaque value of the file node",
        })?;
        self.seal(opened.expose())
    }

    fn test(&self, key: &Key) -> Result<(), HsmError> {
        const MESSAGE: &[u8] = b"kc self-test";
        let signed = self.sign_with(key, MESSAGE)?;
        if key.public.verify(&signed) == Ok(MESSAGE) {
            Ok(())
        } else {
            Err(HsmError::SelfTest {
                label: key.ed25519.label.clone(),
            })
        }
    }

    fn sign_with(&self, key: &Key, message: &[u8]) -> Result<Vec<u8>, HsmError> {
        let signature = self
            .token
            .with_session(|token| ed25519::sign(token, &key.ed25519, message))?;
        let signed = [&signature, message].concat();
        match &key.slh_dsa {
            None => Ok(signed),
            Some(PostQuantum::OnToken(wanted)) => {
                let sign = |token: &LoggedIn<'_>| slh_dsa::sign(token, wanted, &signed);
                let signature = self.token.with_session(sign)?;
                Ok([signature, signed].concat())
            }
            Some(PostQuantum::Sealed(blob)) => {
                let open =
                    |token: &LoggedIn<'_>| open_half(token, &self.labels, &self.opaque, blob);
                let half = self.token.with_session(open)?;
                let signed = half.complete(&signed, &mut generator()?);
                signed.map_err(|_| HsmError::SelfTest {
                    label: self.labels.label(Role::SlhDsa),
                })
            }
        }
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, HsmError> {
        let seal = |token: &LoggedIn<'_>| self.opaque.seal(token, Kind::Value, plaintext);
        self.token.with_session(seal)
    }
}

impl KeyStore for HsmKeyStore {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.keys.iter().map(|key| key.public.clone()).collect()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        let missing = || StoreError::new(StoreErrorKind::Missing, format!("signing key {key:?}"));
        let known = self.keys.iter().find(|known| known.public == *key);
        Ok(self.sign_with(known.ok_or_else(missing)?, message)?)
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(self.seal(plaintext)?)
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        let open =
            |token: &LoggedIn<'_>| self.opaque.open(token, &self.labels, Kind::Value, wrapped);
        Ok(self.token.with_session(open)?)
    }

    fn suites(&self) -> Vec<Suite> {
        self.suites.clone()
    }

    fn legacy_requests(&self) -> bool {
        self.legacy_requests
    }
}

impl fmt::Debug for HsmKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HsmKeyStore")
            .field("token", &self.token)
            .field("node", &self.labels.node_id())
            .field("keys", &self.verifying_keys())
            .finish_non_exhaustive()
    }
}
