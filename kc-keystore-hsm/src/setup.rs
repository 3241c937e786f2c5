//! Generates keys of a node on the token or imports them to it, and replaces the opaque key.

use cryptoki::object::Attribute;
use kc_core::keys::{KeyType, Signer, SigningKey, SlhDsaHalf, VerifyingKey};

use crate::keys::{ed25519, slh_dsa};
use crate::labels::Role;
use crate::opaque::{Kind, OpaqueKey, require_no_rotation};
use crate::random::secret;
use crate::token::{Class, LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, Token};

/// A signing key that was generated on a token or imported to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewIdentity {
    /// The public key, which has to be in the node's certificate and in
    /// [`KeyStoreSettings::pinned`](crate::KeyStoreSettings::pinned).
    pub verifying_key: VerifyingKey,
    /// The SLH-DSA half of a version-4 key, sealed by the token, if the token cannot hold it: the value for
    /// [`KeyStoreSettings::sealed_slh_dsa`](crate::KeyStoreSettings::sealed_slh_dsa). This value is not secret, but
    /// without it the key is lost.
    pub sealed_slh_dsa: Option<Vec<u8>>,
}

/// The public key of an SLH-DSA half, and the sealed blob; `None` if the half itself is on the token.
type Half = ([u8; 32], Option<Vec<u8>>);

/// Generates the key that seals values of a node's configuration, unless it exists. Call this function before the other
/// functions that set up a node, because this key may also have to seal the SLH-DSA half of a version-4 key.
///
/// # Errors
/// Returns [`HsmError::RotationUnfinished`] during a [rotation](crate::OpaqueRotation);
/// [`HsmError::ObjectAmbiguous`], [`HsmError::BadObject`] or [`HsmError::Exposed`] if the existing key is unusable; and
/// [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
pub fn generate_opaque_key(token: &Token, labels: &NodeLabels) -> Result<(), HsmError> {
    token.with_session(|token| {
        require_no_rotation(token, labels)?;
        match OpaqueKey::find(token, labels) {
            Err(HsmError::ObjectMissing { .. }) => OpaqueKey::generate(token, labels),
            found => found.map(drop),
        }
    })
}

/// Generates a signing key on the token, unless it exists. A call continues where an interrupted call ended. Do not
/// call this function for a version-4 key that has a certificate already: if the token cannot hold the SLH-DSA half,
/// each call generates a new SLH-DSA half.
///
/// # Errors
/// Returns [`HsmError::Lacks`] if the token cannot generate Ed25519 keys; [`HsmError::ObjectMissing`] if there is no
/// opaque key to seal the SLH-DSA half, or the public half of an existing key is missing;
/// [`HsmError::ObjectAmbiguous`], [`HsmError::BadObject`] or [`HsmError::Exposed`] if existing objects with the key's
/// labels are unusable; and [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
pub fn generate_identity(
    token: &Token,
    labels: &NodeLabels,
    key_type: KeyType,
) -> Result<NewIdentity, HsmError> {
    let capabilities = token.capabilities()?;
    capabilities.require_one("CKM_EC_EDWARDS_KEY_PAIR_GEN")?;
    let half_label = labels.label(Role::SlhDsa);
    let on_token = capabilities.holds(KeyType::Hybrid);
    token.with_session(|token| {
        let half = match key_type {
            KeyType::Ed25519 => None,
            KeyType::Hybrid if on_token => Some((slh_dsa::ensure(token, &half_label)?, None)),
            KeyType::Hybrid => {
                let half = SlhDsaHalf::from_seed(&secret()?);
                Some((half.public(), Some(seal_half(token, labels, &half)?)))
            }
        };
        let public = ed25519::ensure(token, &labels.label(Role::of_ed25519(key_type)))?;
        Ok(describe(public, half))
    })
}

/// Imports a signing key to the token, unless the token has it already. The caller has to destroy the copy in memory
/// and the file from which it was read.
///
/// # Errors
/// Returns [`HsmError::ObjectExists`] if the token has another key with these labels; [`HsmError::ObjectMissing`] if
/// there is no opaque key to seal the SLH-DSA half; [`HsmError::Token`] if the token refuses the key; and
/// [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
pub fn import_identity(
    token: &Token,
    labels: &NodeLabels,
    key: &SigningKey,
) -> Result<NewIdentity, HsmError> {
    let key_type = key.verifying_key().key_type();
    let half_label = labels.label(Role::SlhDsa);
    let on_token = token.capabilities()?.has("CKM_SLH_DSA");
    let public = *key.verifying_key().ed25519();
    let half = key.expose_slh_dsa_half();
    token.with_session(|token| {
        let half = match &half {
            None => None,
            Some(half) if on_token => {
                slh_dsa::import(token, &half_label, half)?;
                Some((half.public(), None))
            }
            Some(half) => Some((half.public(), Some(seal_half(token, labels, half)?))),
        };
        let seed = key.expose_ed25519_seed();
        let label = labels.label(Role::of_ed25519(key_type));
        ed25519::import(token, &label, &seed, &public)?;
        Ok(describe(public, half))
    })
}

fn seal_half(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    half: &SlhDsaHalf,
) -> Result<Vec<u8>, HsmError> {
    let key = OpaqueKey::find(token, labels)?;
    key.seal(token, Kind::SlhDsa, half.expose_seed().expose())
}

fn describe(ed25519: [u8; 32], half: Option<Half>) -> NewIdentity {
    match half {
        None => NewIdentity {
            verifying_key: VerifyingKey::Ed25519(ed25519),
            sealed_slh_dsa: None,
        },
        Some((slh_dsa, sealed_slh_dsa)) => NewIdentity {
            verifying_key: VerifyingKey::Hybrid { ed25519, slh_dsa },
            sealed_slh_dsa,
        },
    }
}

/// A replacement of the key that seals values of a node's configuration. The previous key stays until all values are
/// [re-wrapped](Self::rewrap) and the rotation is [finished](Self::finish).
///
/// The node must be closed during a rotation. An open node would seal values with the previous key, and these values
/// would be lost when this key is destroyed. To continue an interrupted rotation, call [`begin`](Self::begin) again.
/// While a rotation is interrupted, a node can open values that either key sealed, but only if the new key exists
/// already. If it does not exist yet, the keystore of the node cannot be opened.
#[derive(Debug)]
pub struct OpaqueRotation {
    token: Token,
    labels: NodeLabels,
    current: OpaqueKey,
}

impl OpaqueRotation {
    /// Retires the current key and generates another. If a rotation is unfinished, continues it.
    ///
    /// # Errors
    /// Returns [`HsmError::ObjectMissing`] if there is no key; [`HsmError::ObjectAmbiguous`] if there are several; and
    /// [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
    pub fn begin(token: Token, labels: NodeLabels) -> Result<Self, HsmError> {
        let current = token.with_session(|token| {
            if objects(token, &labels, Role::RetiredOpaque)?.is_empty() {
                retire(token, &labels)?;
            }
            if objects(token, &labels, Role::Opaque)?.is_empty() {
                OpaqueKey::generate(token, &labels)?;
            }
            OpaqueKey::find(token, &labels)
        })?;
        Ok(Self {
            token,
            labels,
            current,
        })
    }

    /// Opens a sealed value, or a sealed SLH-DSA half, and returns it sealed by the new key. A blob that the new key
    /// has sealed already is returned unchanged.
    ///
    /// # Errors
    /// Returns [`HsmError::Unauthentic`] if neither key sealed the blob, or if the blob was altered; and
    /// [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
    pub fn rewrap(&self, blob: &[u8]) -> Result<Vec<u8>, HsmError> {
        let kind = Kind::of(blob).ok_or(HsmError::Unauthentic {
            what: "value to be sealed again",
        })?;
        self.token.with_session(|token| {
            let opened = self.current.open(token, &self.labels, kind, blob)?;
            if self.current.has_sealed(blob) {
                return Ok(blob.to_vec());
            }
            self.current.seal(token, kind, opened.expose())
        })
    }

    /// Destroys the previous key. Values that were not [re-wrapped](Self::rewrap) are lost.
    ///
    /// # Errors
    /// Returns [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
    pub fn finish(self) -> Result<(), HsmError> {
        self.token.with_session(|token| {
            let retired = objects(token, &self.labels, Role::RetiredOpaque)?;
            retired.into_iter().try_for_each(|key| token.destroy(key))
        })
    }
}

fn objects(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    role: Role,
) -> Result<Vec<cryptoki::object::ObjectHandle>, HsmError> {
    token.find_all(&Wanted::new(Class::Secret, labels.label(role)))
}

/// Relabels the current key as retired.
fn retire(token: &LoggedIn<'_>, labels: &NodeLabels) -> Result<(), HsmError> {
    let current = token.only(&Wanted::new(Class::Secret, labels.label(Role::Opaque)))?;
    let retired = Attribute::Label(labels.label(Role::RetiredOpaque).into_bytes());
    token
        .session
        .update_attributes(current, &[retired])
        .map_err(HsmError::call("retire the opaque key"))
}
