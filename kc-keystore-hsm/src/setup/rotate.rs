use cryptoki::object::Attribute;

use crate::labels::Role;
use crate::opaque::{Kind, OpaqueKey};
use crate::token::{Class, LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, Token};

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
