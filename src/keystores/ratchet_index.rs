//! The index at which the ratchet of a node begins that replaces another node, or lost its ratchet.

use std::sync::Arc;

use kc_actors::SealedArchive;
use kc_core::ratchet::Seed;
use kc_core::store::config::{ConfigError, NodeConfig};
use kc_keystore_file::{NodeFiles, NodeLock, SecretFile, read_config, sealed_index};

use crate::open_error::OpenError;

#[cfg(feature = "hsm")]
pub use lost::renew_ratchet;

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
fn unused_by(config: &NodeConfig) -> u64 {
    let used = SealedArchive::used(config).ok().flatten();
    used.map_or(0, |used| used.saturating_add(1))
}

#[cfg(feature = "hsm")]
mod lost {
    use std::time::Duration;

    use kc_core::store::config::ConfigStore;
    use kc_core::types::Timestamp;
    use kc_keystore_hsm::{HsmRatchetStore, NodeLabels};

    use super::super::token::{open_token, place_ratchet};
    use super::super::{NodePin, on_token};
    use super::unused_by;
    use crate::Clock;
    use crate::maintenance::LockedFiles;
    use crate::open_error::OpenError;

    /// Begins the ratchet of a node on a token anew, past all indices that it can have used: its file is lost, or its key on
    /// the token is. Says at which index. `pin` says where that of the token comes from, if not from where the configuration
    /// says.
    ///
    /// A ratchet that an earlier version labelled gets a label of its own: what has the old one may be another node's, and
    /// stays.
    ///
    /// # Errors
    /// [`OpenError`], also if another process has the node open.
    pub fn renew_ratchet(node: &str, pin: Option<&NodePin>) -> Result<u64, OpenError> {
        let LockedFiles {
            files,
            config,
            store,
            ..
        } = &LockedFiles::open(node)?;
        let uri = on_token(config, "ratchet")?.ok_or(OpenError::NotOnToken)?;
        let (token, labels) = open_token(&uri, pin, files)?;
        let path = files.sealed_ratchet();

        let known = HsmRatchetStore::unused_index(token.clone(), &labels, &path)?;
        let now = Clock::system()
            .now()
            .since(Timestamp::from_unix(Duration::ZERO));
        // Of a lost ratchet nobody knows where it was; but no node steps more than once a second for all its life.
        let first = known.max(unused_by(config)).max(now.as_secs());
        if labels.has_instance() {
            HsmRatchetStore::reinitialise(token, &labels, &path, first)?;
            return Ok(first);
        }
        let fresh = NodeLabels::fresh(labels.node_id())?;
        HsmRatchetStore::reinitialise(token.clone(), &fresh, &path, first)?;
        store.update(&mut |config| place_ratchet(config, token.uri(), &fresh))?;
        Ok(first)
    }
}
