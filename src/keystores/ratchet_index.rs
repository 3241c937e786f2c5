//! The first index of a new ratchet, for a node that replaces another node or has lost its ratchet.

use std::sync::Arc;

use kc_actors::SealedArchive;
use kc_core::ratchet::Seed;
use kc_core::store::config::{ConfigError, NodeConfig};
use kc_keystore_file::{NodeFiles, NodeLock, SecretFile, read_config, sealed_index};

use crate::error::Error;

#[cfg(feature = "hsm")]
pub use lost::renew_ratchet;

/// Returns the first ratchet index that the node in these files has not used, as far as the files show. Returns 0 if
/// there is no node. A node that replaces the present node must begin at this index, because key ids are derived from
/// the index and must not repeat.
///
/// # Errors
/// Returns [`ErrorKind::Files`](crate::ErrorKind::Files) if another process has the node open, or the node cannot be
/// locked.
pub fn unused_index(files: &NodeFiles) -> Result<u64, Error> {
    let told_by = [files.config(), files.seed(), files.sealed_ratchet()];
    if !told_by.iter().any(|path| path.exists()) {
        return Ok(0);
    }
    let lock = Arc::new(NodeLock::acquire(files)?);
    // A file that cannot be read is ignored.
    let seed = SecretFile::new(files.seed(), lock).read().ok();
    let seed = seed.and_then(|seed| Seed::decode(&seed).ok());
    let config = read_config(files).ok();
    let by_seed = seed.map_or(0, |seed| seed.index());
    let by_config = config.as_ref().map_or(0, unused_by);
    Ok(by_seed.max(by_config).max(sealed_index(files).unwrap_or(0)))
}

/// Records that a replaced node has used all ratchet indices below `first`. `config` is the configuration of the new
/// node, which has no ratchet. A later node that replaces the new node needs this information.
///
/// # Errors
/// Returns [`ConfigError`] if the entry cannot be written.
pub fn remember_unused(config: &mut NodeConfig, first: u64) -> Result<(), ConfigError> {
    let used = first.checked_sub(1);
    used.map_or(Ok(()), |used| SealedArchive::note_used(config, used))
}

/// Returns the first unused ratchet index according to the configuration alone, see [`unused_index`].
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
    use crate::error::Error;
    use crate::maintenance::LockedFiles;
    use crate::token_error::TokenError;

    /// Starts a new ratchet for a node on a token after its ratchet file or its ratchet key on the token was lost. The
    /// new ratchet begins beyond all indices that the lost ratchet can have used. Returns the first index of the new
    /// ratchet. `pin` overrides the source of the token's PIN that the configuration names.
    ///
    /// A ratchet with a label in the old form gets a new label. The object with the old label may belong to another
    /// node, and is kept.
    ///
    /// # Errors
    /// Returns [`Error`] if the node is not on a token or has no ratchet there, another process has it open, or the
    /// token fails.
    pub fn renew_ratchet(node: &str, pin: Option<&NodePin>) -> Result<u64, Error> {
        let LockedFiles {
            files,
            config,
            store,
            ..
        } = &LockedFiles::open(node)?;
        let uri = match on_token(config, "ratchet")? {
            Some(uri) => uri,
            None if on_token(config, "cryptokey")?.is_some() => {
                return Err(TokenError::NoRatchet.into());
            }
            None => return Err(TokenError::NotOnToken.into()),
        };
        let (token, labels) = open_token(&uri, pin, files)?;
        let path = files.sealed_ratchet();

        let known = HsmRatchetStore::unused_index(token.clone(), &labels, &path)?;
        let now = Clock::system()
            .now()
            .since(Timestamp::from_unix(Duration::ZERO));
        // The index of a lost ratchet is unknown. A ratchet takes less than one step per second on average, so its
        // index is not larger than the number of seconds since the Unix epoch.
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
