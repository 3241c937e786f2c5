use kc_core::secret::SecretText;
use kc_core::store::config::{ConfigStore, Section, Value};
use kc_keystore_hsm::OpaqueRotation;

use super::moving::PAST_KEYS;
use super::token::{SEALED, SECTION, open_token};
use super::{TokenKeys, on_token};
use crate::error::OpenError;
use crate::files::LockedFiles;

/// Draws a new key on the token for the values that it seals in a node's configuration, and seals them anew. Interrupted,
/// it can be done again: the old key is destroyed last. `pin` is that of the token, if a person was asked for it.
///
/// # Errors
/// [`OpenError`], also if another process has the node open.
pub fn rotate_opaque(node: &str, pin: Option<&SecretText>) -> Result<(), OpenError> {
    let locked = LockedFiles::open(node)?;
    let config = &locked.config;
    let uri = on_token(config, "cryptokey")?.ok_or(OpenError::NotOnToken)?;
    let (token, labels) = open_token(&uri, pin)?;

    let rotation = OpaqueRotation::begin(token, labels)?;
    let past_keys = match config.load_value(Section::CRYPTO, PAST_KEYS)? {
        Some(Value::Bytes(wrapped)) => Some(rotation.rewrap(&wrapped)?),
        _ => None,
    };
    let sealed = TokenKeys::of(config)?.sealed_slh_dsa;
    let sealed = sealed.map(|sealed| rotation.rewrap(&sealed)).transpose()?;
    locked.store.update(&mut |config| {
        if let Some(past_keys) = &past_keys {
            config.set(
                Section::CRYPTO,
                PAST_KEYS,
                &Value::from(past_keys.as_slice()),
            )?;
        }
        if let Some(sealed) = &sealed {
            config.set(SECTION, SEALED, &Value::from(sealed.as_slice()))?;
        }
        Ok(())
    })?;
    Ok(rotation.finish()?)
}
