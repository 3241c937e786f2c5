use std::sync::Arc;

use kc_core::kem::Suite;
use kc_core::keys::KeyType;
use kc_keystore_file::{SecretFile, crypto_path, read_secrets, system_rng};

use super::{NodePin, on_token};
use crate::error::Error;
use crate::maintenance::LockedFiles;
#[cfg(not(feature = "hsm"))]
use crate::token_error::TokenError;

#[cfg(feature = "hsm")]
pub use rotation::rotate_opaque;

/// The changes to the keys of a node.
#[derive(Clone, Debug, Default)]
pub struct KeyChanges {
    /// The new list of key exchange suites that the node offers and accepts, in order of preference. An empty list
    /// changes nothing.
    pub suites: Vec<Suite>,
    /// The new value of the setting for legacy requests. If it is true, the node also sends its requests for data keys
    /// in the legacy form ([`RequestForm::Legacy`](kc_core::exchange::RequestForm::Legacy)), which old peers need.
    /// `None` changes nothing.
    pub legacy_requests: Option<bool>,
    /// The type of a signing key that the node must have. A key is generated if the node has no key of this type.
    /// `None` changes nothing.
    pub key_type: Option<KeyType>,
}

/// Changes the keys of a node that does not run, in files or on a token. Returns whether a signing key was generated.
/// `pin` overrides the source of the token's PIN that the configuration names; the PIN is needed only to generate a key
/// on a token.
///
/// # Errors
/// Returns [`Error`] if the node is not found, another process has it open, or its keys cannot be changed.
pub fn change_keys(node: &str, changes: &KeyChanges, pin: Option<&NodePin>) -> Result<bool, Error> {
    let locked = LockedFiles::open(node)?;
    match on_token(&locked.config, "cryptokey")? {
        Some(uri) => change_on_token(&locked, &uri, changes, pin),
        None => change_in_file(&locked, changes),
    }
}

fn change_in_file(locked: &LockedFiles, changes: &KeyChanges) -> Result<bool, Error> {
    let path = crypto_path(&locked.config, &locked.files)?;
    let mut secrets = read_secrets(&path)?;
    if !changes.suites.is_empty() {
        secrets.set_suites(&changes.suites)?;
    }
    if let Some(legacy) = changes.legacy_requests {
        secrets.set_legacy_requests(legacy);
    }
    let drawn = match changes.key_type {
        Some(key_type) => secrets.ensure_key(key_type, &mut system_rng()?),
        None => false,
    };
    let file = SecretFile::new(path, Arc::clone(&locked.lock));
    file.claim()?;
    file.replace(secrets.encode().expose())?;
    Ok(drawn)
}

#[cfg(not(feature = "hsm"))]
fn change_on_token(
    _: &LockedFiles,
    _: &str,
    _: &KeyChanges,
    _: Option<&NodePin>,
) -> Result<bool, Error> {
    Err(TokenError::NoTokens.into())
}

#[cfg(feature = "hsm")]
fn change_on_token(
    locked: &LockedFiles,
    uri: &str,
    changes: &KeyChanges,
    pin: Option<&NodePin>,
) -> Result<bool, Error> {
    use kc_core::store::config::ConfigStore;
    use kc_keystore_hsm::generate_identity;

    let mut keys = super::TokenKeys::of(&locked.config)?;
    if !changes.suites.is_empty() {
        keys.suites = Suite::each_once(&changes.suites);
    }
    if let Some(legacy) = changes.legacy_requests {
        keys.legacy_requests = legacy;
    }
    let has = |key_type| keys.public.iter().any(|key| key.key_type() == key_type);
    let missing = changes.key_type.filter(|key_type| !has(*key_type));
    if let Some(key_type) = missing {
        let (token, labels) = super::token::open_token(uri, pin, &locked.files)?;
        keys.add(generate_identity(&token, &labels, key_type)?);
    }
    locked.store.update(&mut |config| keys.write(config))?;
    Ok(missing.is_some())
}

#[cfg(feature = "hsm")]
mod rotation {
    use kc_actors::SealedArchive;
    use kc_core::store::config::{ConfigStore, Value};
    use kc_keystore_hsm::OpaqueRotation;

    use super::super::token::{SEALED, SECTION, open_token};
    use super::super::{NodePin, TokenKeys, on_token};
    use crate::error::Error;
    use crate::maintenance::LockedFiles;
    use crate::token_error::TokenError;

    /// Replaces the opaque key of a node whose keys are on a token. The token uses this key to seal values in the
    /// node's configuration. Generates a new key, and seals these values with the new key. If the call is interrupted,
    /// it can be repeated, because the old key is destroyed last. `pin` overrides the source of the token's PIN that
    /// the configuration names.
    ///
    /// # Errors
    /// Returns [`Error`] if the node is not on a token, another process has it open, or the token fails.
    pub fn rotate_opaque(node: &str, pin: Option<&NodePin>) -> Result<(), Error> {
        let locked = LockedFiles::open(node)?;
        let config = &locked.config;
        let uri = on_token(config, "cryptokey")?.ok_or(TokenError::NotOnToken)?;
        let retained_keys = SealedArchive::sealed(config)?;
        let (token, labels) = open_token(&uri, pin, &locked.files)?;

        let rotation = OpaqueRotation::begin(token, labels)?;
        let rewrap = |sealed: Vec<u8>| rotation.rewrap(&sealed);
        let retained_keys = retained_keys.map(rewrap).transpose()?;
        let sealed = TokenKeys::of(config)?.sealed_slh_dsa;
        let sealed = sealed.map(rewrap).transpose()?;
        locked.store.update(&mut |config| {
            if let Some(retained_keys) = &retained_keys {
                SealedArchive::set_sealed(config, retained_keys)?;
            }
            if let Some(sealed) = &sealed {
                config.set(SECTION, SEALED, &Value::from(sealed.as_slice()))?;
            }
            Ok(())
        })?;
        Ok(rotation.finish()?)
    }
}
