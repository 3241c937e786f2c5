use std::sync::Arc;

use kc_actors::SealedArchive;
use kc_core::ratchet::Seed;
use kc_core::store::config::{ConfigError, NodeConfig};
use kc_keystore_file::{NodeFiles, NodeLock, SecretFile, read_config, sealed_index};

use crate::open_error::OpenError;

/// The first index of a ratchet that the node in these files has not used, as far as they tell; 0 if there is no node. One
/// that takes its place begins there: ids of keys are made of the index, and must not come again.
///
/// # Errors
/// [`OpenError::File`] if another process has the node open.
pub fn unused_index(files: &NodeFiles) -> Result<u64, OpenError> {
    let told_by = [files.config(), files.seed(), files.sealed_ratchet()];
    if !told_by.iter().any(|path| path.exists()) {
        return Ok(0);
    }
    let lock = Arc::new(NodeLock::acquire(files)?);
    // What cannot be read tells nothing.
    let seed = SecretFile::new(files.seed(), lock).read().ok();
    let seed = seed.and_then(|seed| Seed::decode(&seed).ok());
    let config = read_config(&files.config()).ok();
    let by_seed = seed.map_or(0, |seed| seed.index());
    let by_config = config.as_ref().map_or(0, unused_by);
    Ok(by_seed.max(by_config).max(sealed_index(files).unwrap_or(0)))
}

/// Has a node without a ratchet remember where the ratchet of the one that it replaces was: another may yet replace it.
///
/// # Errors
/// [`ConfigError`], which a configuration that can be written does not give.
pub fn remember_unused(config: &mut NodeConfig, first: u64) -> Result<(), ConfigError> {
    let used = first.checked_sub(1);
    used.map_or(Ok(()), |used| SealedArchive::note_used(config, used))
}

/// As [`unused_index`], by a configuration alone.
pub(super) fn unused_by(config: &NodeConfig) -> u64 {
    let used = SealedArchive::used(config).ok().flatten();
    used.map_or(0, |used| used.saturating_add(1))
}
