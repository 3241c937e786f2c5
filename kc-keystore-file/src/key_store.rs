use std::path::Path;

use kc_core::keys::KeyType;
use kc_core::store::{Decoded, MemoryKeyStore, NodeSecrets, StoreError, StoreErrorKind};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};

use crate::read::read_bounded;
use crate::{MAX_SECRET_BYTES, SecretFile};

/// Opens the signing keys and the opaque key of a `.crypto` file. A file of an older generation is
/// written anew in the current one; bytes behind its content are ignored, with a warning.
///
/// `key_types` restricts which signing keys are used (`keytypes` in the configuration).
///
/// # Errors
/// Missing, unreadable or malformed; no random numbers from the operating system.
pub fn open_key_store(
    file: &SecretFile,
    key_types: Option<Vec<KeyType>>,
) -> Result<MemoryKeyStore, StoreError> {
    let Decoded {
        secrets, outdated, ..
    } = decode(file.path(), &file.read()?)?;
    if outdated {
        file.replace(secrets.encode().expose())?;
        tracing::info!(path = %file.path().display(), "key file brought up to date");
    }
    let generators = || Ok(Box::new(system_rng()?) as _);
    Ok(MemoryKeyStore::new(
        secrets,
        key_types,
        Box::new(generators),
    ))
}

/// The secrets in a `.crypto` file, without a lock: for programs that only look. Files are replaced
/// atomically, so it is never half of one.
///
/// # Errors
/// Missing, unreadable or malformed.
pub fn read_secrets(path: &Path) -> Result<NodeSecrets, StoreError> {
    let bytes = read_bounded(path, MAX_SECRET_BYTES)?;
    Ok(decode(path, &bytes)?.secrets)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Decoded, StoreError> {
    let decoded = NodeSecrets::decode(bytes).map_err(|error| {
        let context = format!("read {}", path.display());
        StoreError::new(StoreErrorKind::Malformed, context).with_source(error)
    })?;
    let trailing = decoded.trailing;
    if trailing > 0 {
        tracing::warn!(path = %path.display(), trailing, "bytes behind the keys are ignored");
    }
    Ok(decoded)
}

/// A generator of random numbers, seeded by the operating system.
///
/// # Errors
/// The operating system gives none.
pub fn system_rng() -> Result<StdRng, StoreError> {
    StdRng::try_from_rng(&mut SysRng).map_err(|error| {
        StoreError::new(StoreErrorKind::Io, "random numbers from the system").with_source(error)
    })
}
