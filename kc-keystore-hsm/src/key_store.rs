//! The keystore of a node on a token.

use std::fmt;

use kc_core::kem::Suite;
use kc_core::keys::{KeyType, SlhDsaHalf, VerifyingKey};
use kc_core::secret::{Secret, SecretVec};
use kc_core::store::{KeyStore, KeyStoreSigner, StoreError, StoreErrorKind};

use crate::keys::{Pair, ed25519, slh_dsa};
use crate::labels::Role;
use crate::opaque::{Kind, OpaqueKey};
use crate::random::generator;
use crate::token::{LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, Token};

/// Keys of a node on a token. They sign and seal on the token, and never leave it.
///
/// There is one exception: if the token cannot hold the SLH-DSA half of a version-4 key, this half is a blob sealed by
/// the token, and is opened into memory for each signature. The Ed25519 half stays on the token, and no signature
/// verifies without it.
///
/// Every call blocks until the token answers. Call the keystore from a thread that may block, as the keystore actor
/// does. Sealing and opening of messages do not use the keystore.
pub struct HsmKeyStore {
    token: Token,
    labels: NodeLabels,
    keys: Vec<Key>,
    opaque: OpaqueKey,
    suites: Vec<Suite>,
    legacy_requests: bool,
}

impl HsmKeyStore {
    /// Finds the signing keys and the opaque key of a node, and checks them. A signing key passes the check if only one
    /// pair has its label, the halves of the pair belong together, the private half cannot leave the token, a signature
    /// verifies, and, if the settings pin keys, the public key is one of them. The opaque key passes if it cannot leave
    /// the token and opens what it seals. The check of a version-4 key takes about 100 ms.
    ///
    /// # Errors
    /// Returns [`HsmError::ObjectMissing`], [`HsmError::SlhDsaMissing`], [`HsmError::ObjectAmbiguous`],
    /// [`HsmError::BadObject`] or [`HsmError::Exposed`] if a key is missing or unusable; [`HsmError::NoSigningKey`] if
    /// the token has no signing key, or lacks a pinned key; [`HsmError::KeyChanged`] if a key is not one of the
    /// pinned keys; [`HsmError::Unauthentic`] if the sealed SLH-DSA half does not open; [`HsmError::SelfTest`] if the
    /// signature of a key does not verify, or the opaque key does not open what it sealed;
    /// [`HsmError::RotationUnfinished`] if the opaque key is retired and has no successor; and [`HsmError::Gone`] or
    /// [`HsmError::TokenMissing`] if the token is gone.
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

    /// Opens a value that was sealed by the opaque key of a node in files, and seals it again on the token. Used when a
    /// node moves from files to a token.
    ///
    /// # Errors
    /// Returns [`HsmError::Unauthentic`] if `opaque_key` did not seal the value, and [`HsmError::Gone`] or
    /// [`HsmError::TokenMissing`] if the token is gone.
    pub fn rewrap_file_value(
        &self,
        value: &[u8],
        opaque_key: &Secret<32>,
    ) -> Result<Vec<u8>, HsmError> {
        let opened = kc_core::store::opaque::unwrap(value, opaque_key);
        let opened = opened.ok_or(HsmError::Unauthentic {
            what: "sealed value of the node in files",
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
                signed.map_err(|source| HsmError::SlhDsaFailed {
                    label: self.labels.label(Role::SlhDsa),
                    source,
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
        let missing = || {
            StoreError::new(
                StoreErrorKind::Missing,
                format!("find the signing key {key:?}"),
            )
        };
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

/// A signing key that the node uses.
struct Key {
    public: VerifyingKey,
    ed25519: Wanted,
    slh_dsa: Option<PostQuantum>,
}

/// The storage of the SLH-DSA half of a version-4 key.
enum PostQuantum {
    OnToken(Wanted),
    Sealed(Vec<u8>),
}

/// Finds the keys of the types that the node uses. The key of version 1 comes first.
fn find_keys(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    opaque: &OpaqueKey,
    settings: &KeyStoreSettings,
) -> Result<Vec<Key>, HsmError> {
    let mut keys = Vec::new();
    if settings.uses(KeyType::Ed25519)
        && let Some(pair) = ed25519::find(token, &labels.label(Role::Identity))?
    {
        keys.push(Key {
            public: VerifyingKey::Ed25519(pair.public),
            ed25519: pair.private,
            slh_dsa: None,
        });
    }
    if settings.uses(KeyType::Hybrid)
        && let Some(pair) = ed25519::find(token, &labels.label(Role::HybridIdentity))?
    {
        keys.push(hybrid(token, labels, opaque, settings, pair)?);
    }
    Ok(keys)
}

fn hybrid(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    opaque: &OpaqueKey,
    settings: &KeyStoreSettings,
    pair: Pair,
) -> Result<Key, HsmError> {
    let label = labels.label(Role::SlhDsa);
    let (public, half) = match (slh_dsa::find(token, &label)?, &settings.sealed_slh_dsa) {
        (Some(half), _) => (half.public, PostQuantum::OnToken(half.private)),
        (None, Some(blob)) => {
            let half = open_half(token, labels, opaque, blob)?;
            (half.public(), PostQuantum::Sealed(blob.clone()))
        }
        (None, None) => return Err(HsmError::SlhDsaMissing { label }),
    };
    Ok(Key {
        public: VerifyingKey::Hybrid {
            ed25519: pair.public,
            slh_dsa: public,
        },
        ed25519: pair.private,
        slh_dsa: Some(half),
    })
}

fn open_half(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    opaque: &OpaqueKey,
    blob: &[u8],
) -> Result<SlhDsaHalf, HsmError> {
    let seed = opaque.open(token, labels, Kind::SlhDsa, blob)?;
    let seed = Secret::from_slice(seed.expose()).ok_or(HsmError::Unauthentic {
        what: "sealed SLH-DSA key",
    })?;
    Ok(SlhDsaHalf::from_seed(&seed))
}

/// Checks that the keys are the pinned keys, and sorts them into the order of the pinned keys. If no keys are pinned,
/// only checks that there is a key.
fn in_order(mut keys: Vec<Key>, settings: &KeyStoreSettings) -> Result<Vec<Key>, HsmError> {
    let pinned = &settings.pinned;
    let place = |key: &Key| pinned.iter().position(|pinned| *pinned == key.public);
    if pinned.is_empty() {
        return if keys.is_empty() {
            Err(HsmError::NoSigningKey(None))
        } else {
            Ok(keys)
        };
    }
    if let Some(unknown) = keys.iter().find(|key| place(key).is_none()) {
        let pinned: Vec<_> = pinned.iter().map(VerifyingKey::fingerprint).collect();
        return Err(HsmError::KeyChanged {
            found: unknown.public.fingerprint(),
            pinned: pinned.join(", "),
        });
    }
    let mut expected = pinned.iter().filter(|key| settings.uses(key.key_type()));
    if let Some(lost) = expected.find(|pinned| keys.iter().all(|key| key.public != **pinned)) {
        return Err(HsmError::NoSigningKey(Some(lost.key_type())));
    }
    keys.sort_by_key(place);
    Ok(keys)
}

/// The settings of a keystore, from the node's configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyStoreSettings {
    /// The key types that the node uses (the setting `keytypes`); `None` for all types of which the token has a key.
    pub key_types: Option<Vec<KeyType>>,
    /// The node's public keys; [`HsmKeyStore`] returns its keys in this order. If the list is not empty, the keys on
    /// the token must be these keys, and keys of other types are ignored. If the list is empty, the keys on the token
    /// are not compared with it, and the key of version 1 comes before the key of version 4.
    pub pinned: Vec<VerifyingKey>,
    /// The sealed SLH-DSA half of a version-4 key, if the token cannot hold it: the value of
    /// [`NewIdentity::sealed_slh_dsa`](crate::NewIdentity::sealed_slh_dsa). It is not secret.
    pub sealed_slh_dsa: Option<Vec<u8>>,
    /// The key exchanges that the node offers and accepts, in order of preference.
    pub suites: Vec<Suite>,
    /// `true` if requests for data keys are also sent in the legacy form, the only form that old peers understand.
    pub legacy_requests: bool,
}

impl Default for KeyStoreSettings {
    /// Returns settings with all key types, no pinned keys, all key exchanges, and no legacy requests.
    fn default() -> Self {
        Self {
            key_types: None,
            pinned: Vec::new(),
            sealed_slh_dsa: None,
            suites: Suite::ALL.to_vec(),
            legacy_requests: false,
        }
    }
}

impl KeyStoreSettings {
    fn uses(&self, key_type: KeyType) -> bool {
        let wanted = self.key_types.as_ref();
        let is_pinned = self.pinned.iter().any(|key| key.key_type() == key_type);
        wanted.is_none_or(|types| types.contains(&key_type))
            && (is_pinned || self.pinned.is_empty())
    }
}

/// Opens the signing key of a root of trust or a provisioner on a token. It is the key of type `key_type` that
/// [`generate_identity`](crate::generate_identity) or [`import_identity`](crate::import_identity) stored with these
/// labels. Both halves of a version-4 key have to be on the token.
///
/// # Errors
/// Returns the same errors as [`HsmKeyStore::open`].
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
