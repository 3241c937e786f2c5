//! Values sealed by the node's AES key: `magic (4 bytes) ‖ id (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. The id is the
//! `CKA_ID` of the AES key.

use cryptoki::object::ObjectHandle;
use kc_core::secret::SecretVec;

use crate::aead::generate_aes;
use crate::keys::{ID_LEN, bad};
use crate::labels::Role;
use crate::random::random;
use crate::token::{Class, LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, aead};

const MAGIC_LEN: usize = 4;
const HEADER_LEN: usize = MAGIC_LEN + ID_LEN;

/// The kind of a sealed value. A value that was sealed as one kind cannot be opened as another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value of the configuration.
    Value,
    /// The seed of an SLH-DSA key.
    SlhDsa,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Value, Self::SlhDsa];

    fn magic(self) -> &'static [u8; MAGIC_LEN] {
        match self {
            Self::Value => b"KCO1",
            Self::SlhDsa => b"KCS1",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Value => "sealed value of the configuration",
            Self::SlhDsa => "sealed SLH-DSA key",
        }
    }

    /// Returns the kind of a blob; `None` if it was not sealed by a token.
    pub(crate) fn of(blob: &[u8]) -> Option<Self> {
        let mut kinds = Self::ALL.into_iter();
        kinds.find(|kind| blob.starts_with(kind.magic()))
    }

    fn unauthentic(self) -> HsmError {
        HsmError::Unauthentic { what: self.name() }
    }
}

/// An AES key that seals values of a node's configuration. During a rotation, the token has a current key and a retired
/// key.
#[derive(Clone, Debug)]
pub(crate) struct OpaqueKey {
    wanted: Wanted,
    id: [u8; ID_LEN],
}

impl OpaqueKey {
    /// Finds the current key.
    ///
    /// # Errors
    /// Returns [`HsmError::RotationUnfinished`] if the key is retired and has no successor yet, and
    /// [`HsmError::ObjectMissing`] if there is no key.
    pub(crate) fn find(token: &LoggedIn<'_>, labels: &NodeLabels) -> Result<Self, HsmError> {
        let found = Self::find_by(token, labels, Role::Opaque);
        if let Err(HsmError::ObjectMissing { .. }) = found {
            require_no_rotation(token, labels)?;
        }
        found
    }

    /// Finds the only key with this role.
    fn find_by(token: &LoggedIn<'_>, labels: &NodeLabels, role: Role) -> Result<Self, HsmError> {
        let label = labels.label(role);
        let wanted = Wanted::new(Class::Secret, label.clone());
        let object = token.only(&wanted)?;
        token.require_hidden(object, &label)?;
        let id = token.id(object)?.try_into();
        let id: [u8; ID_LEN] = id.map_err(|_| bad(&label, "its id is not 16 bytes long"))?;
        let wanted = wanted.with_id(&id);
        Ok(Self { wanted, id })
    }

    /// Generates the current key.
    pub(crate) fn generate(token: &LoggedIn<'_>, labels: &NodeLabels) -> Result<(), HsmError> {
        generate_aes(token, &labels.label(Role::Opaque), &random::<ID_LEN>()?).map(drop)
    }

    /// Checks that the key opens what it seals.
    pub(crate) fn test(&self, token: &LoggedIn<'_>) -> Result<(), HsmError> {
        if aead::works(token, token.find(&self.wanted)?)? {
            Ok(())
        } else {
            Err(HsmError::SelfTest {
                label: self.wanted.label.clone(),
            })
        }
    }

    pub(crate) fn seal(
        &self,
        token: &LoggedIn<'_>,
        kind: Kind,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        let header = [&kind.magic()[..], &self.id].concat();
        aead::seal(token, token.find(&self.wanted)?, &header, plaintext)
    }

    /// Returns whether this key sealed the blob, according to the blob's header.
    pub(crate) fn has_sealed(&self, blob: &[u8]) -> bool {
        blob.get(MAGIC_LEN..HEADER_LEN) == Some(&self.id)
    }

    /// Opens a blob of this kind. Uses this key, or the retired key if the retired key sealed the blob.
    pub(crate) fn open(
        &self,
        token: &LoggedIn<'_>,
        labels: &NodeLabels,
        kind: Kind,
        blob: &[u8],
    ) -> Result<SecretVec, HsmError> {
        if Kind::of(blob) != Some(kind) {
            return Err(kind.unauthentic());
        }
        let object = if self.has_sealed(blob) {
            token.find(&self.wanted)?
        } else {
            retired(token, labels, blob)?.ok_or_else(|| kind.unauthentic())?
        };
        aead::open(token, object, HEADER_LEN, blob, kind.name())
    }
}

/// Checks that no rotation is in progress.
pub(crate) fn require_no_rotation(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
) -> Result<(), HsmError> {
    let label = labels.label(Role::RetiredOpaque);
    let retired = token.find_all(&Wanted::new(Class::Secret, label.clone()))?;
    if retired.is_empty() {
        Ok(())
    } else {
        Err(HsmError::RotationUnfinished { label })
    }
}

/// Returns the retired key if it exists and sealed this blob.
fn retired(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    blob: &[u8],
) -> Result<Option<ObjectHandle>, HsmError> {
    match OpaqueKey::find_by(token, labels, Role::RetiredOpaque) {
        Ok(key) if key.has_sealed(blob) => token.find(&key.wanted).map(Some),
        Ok(_) | Err(HsmError::ObjectMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
