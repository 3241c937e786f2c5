use cryptoki::object::Attribute;
use kc_core::keys::{KeyType, Signer, SigningKey, SlhDsaHalf, VerifyingKey};

use crate::keys::{ed25519, slh_dsa};
use crate::labels::Role;
use crate::opaque::{Kind, OpaqueKey, require_no_rotation};
use crate::random::secret;
use crate::token::{Class, LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, Token};

/// A signing key that has been put onto a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewIdentity {
    /// Its public half, for the node's certificate, and to be pinned.
    pub verifying_key: VerifyingKey,
    /// The SLH-DSA half of a version-4 key, sealed by the token, if the token cannot hold it: for
    /// [`KeyStoreSettings::sealed_slh_dsa`](crate::KeyStoreSettings::sealed_slh_dsa). No secret, but a key is lost with it.
    pub sealed_slh_dsa: Option<Vec<u8>>,
}

/// The public key of an SLH-DSA half, and the sealed blob unless it is on the token.
type Half = ([u8; 32], Option<Vec<u8>>);

/// Draws the key that seals values of a node's configuration, unless it is there. To be done first: it seals the SLH-DSA
/// half of a version-4 key, too.
///
/// # Errors
/// [`HsmError::RotationUnfinished`] in the middle of a [rotation](crate::OpaqueRotation); the token is gone.
pub fn generate_opaque_key(token: &Token, labels: &NodeLabels) -> Result<(), HsmError> {
    token.with_session(|token| {
        require_no_rotation(token, labels)?;
        match OpaqueKey::find(token, labels) {
            Err(HsmError::ObjectMissing { .. }) => OpaqueKey::generate(token, labels),
            found => found.map(drop),
        }
    })
}

/// Draws a signing key on the token, unless it is there: what was interrupted is gone on with. Not to be done for a
/// version-4 key that is certified already: a half that the token cannot hold is drawn each time.
///
/// # Errors
/// The token lacks the mechanism, or is gone; no opaque key; objects of other tools under the key's labels.
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

/// Moves a signing key onto the token, unless it is there. The copy in memory, and the file that it came from, are the
/// caller's to destroy.
///
/// # Errors
/// [`HsmError::ObjectExists`] if there is another key; the token refuses it, or is gone; no opaque key.
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

/// A fresh key for the values of a node's configuration; the one before stays until all is
/// [re-wrapped](Self::rewrap) and the rotation [finished](Self::finish).
///
/// The node must be closed meanwhile: an open one goes on sealing by the old key, and what it seals is lost with it.
/// Interrupted, a rotation is gone on with by beginning it again; a node opens values of both keys.
#[derive(Debug)]
pub struct OpaqueRotation {
    token: Token,
    labels: NodeLabels,
    current: OpaqueKey,
}

impl OpaqueRotation {
    /// Retires the key and draws another; goes on with a rotation that was not finished.
    ///
    /// # Errors
    /// No key; the token is gone.
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

    /// The same value, or the same SLH-DSA half, sealed by the new key; one that is already stays as it is.
    ///
    /// # Errors
    /// [`HsmError::Unauthentic`] if neither key has sealed it; the token is gone.
    pub fn rewrap(&self, blob: &[u8]) -> Result<Vec<u8>, HsmError> {
        let kind = Kind::of(blob).ok_or(HsmError::Unauthentic {
            what: "value to be re-wrapped",
        })?;
        self.token.with_session(|token| {
            let opened = self.current.open(token, &self.labels, kind, blob)?;
            if self.current.has_sealed(blob) {
                return Ok(blob.to_vec());
            }
            self.current.seal(token, kind, opened.expose())
        })
    }

    /// Destroys the old key. What was not re-wrapped is lost.
    ///
    /// # Errors
    /// The token is gone.
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

/// Relabels the current key.
fn retire(token: &LoggedIn<'_>, labels: &NodeLabels) -> Result<(), HsmError> {
    let current = token.only(&Wanted::new(Class::Secret, labels.label(Role::Opaque)))?;
    let retired = Attribute::Label(labels.label(Role::RetiredOpaque).into_bytes());
    token
        .session
        .update_attributes(current, &[retired])
        .map_err(HsmError::call("retire the opaque key"))
}
