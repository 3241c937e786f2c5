use kc_actors::SealedArchive;
use kc_core::store::config::{ConfigStore, Value};
use kc_keystore_hsm::OpaqueRotation;

use super::token::{SEALED, SECTION, open_token};
use super::{NodePin, TokenKeys, on_token};
use crate::files::LockedFiles;
use crate::open_error::OpenError;

/// Draws a new key on the token for the values that it seals in a node's configuration, and seals them anew. Interrupted,
/// it can be done again: the old key is destroyed last. `pin` says where that of the token comes from, if not from where
/// the configuration says.
///
/// # Errors
/// [`OpenError`], also if another process has the node open.
pub fn rotate_opaque(node: &str, pin: Option<&NodePin>) -> Result<(), OpenError> {
    let locked = LockedFiles::open(node)?;
    let config = &locked.config;
    let uri = on_token(config, "cryptokey")?.ok_or(OpenError::NotOnToken)?;
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
