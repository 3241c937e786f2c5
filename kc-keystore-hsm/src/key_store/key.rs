use kc_core::keys::{KeyType, SlhDsaHalf, VerifyingKey};
use kc_core::secret::Secret;

use super::KeyStoreSettings;
use crate::keys::{Pair, ed25519, slh_dsa};
use crate::labels::Role;
use crate::opaque::{Kind, OpaqueKey};
use crate::token::{LoggedIn, Wanted};
use crate::{HsmError, NodeLabels};

/// A signing key in use.
pub(super) struct Key {
    pub(super) public: VerifyingKey,
    pub(super) ed25519: Wanted,
    pub(super) slh_dsa: Option<PostQuantum>,
}

/// Where the SLH-DSA half of a version-4 key is.
pub(super) enum PostQuantum {
    OnToken(Wanted),
    Sealed(Vec<u8>),
}

/// The keys of the types in use, version 1 first.
pub(super) fn find_keys(
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
        (None, None) => {
            return Err(HsmError::ObjectMissing {
                what: "private key, or sealed blob in the configuration,",
                label,
            });
        }
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

pub(super) fn open_half(
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

/// In the order of the pinned keys, which must be the same ones.
pub(super) fn in_order(
    mut keys: Vec<Key>,
    settings: &KeyStoreSettings,
) -> Result<Vec<Key>, HsmError> {
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
