use std::time::Duration;

use kc_core::store::config::ConfigStore;
use kc_core::types::Timestamp;
use kc_keystore_hsm::{HsmRatchetStore, NodeLabels};

use super::token::{open_token, place_ratchet};
use super::{NodePin, on_token, replaced};
use crate::Clock;
use crate::files::LockedFiles;
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
    let first = known.max(replaced::unused_by(config)).max(now.as_secs());
    if labels.has_instance() {
        HsmRatchetStore::reinitialise(token, &labels, &path, first)?;
        return Ok(first);
    }
    let fresh = NodeLabels::fresh(labels.node_id())?;
    HsmRatchetStore::reinitialise(token.clone(), &fresh, &path, first)?;
    store.update(&mut |config| place_ratchet(config, token.uri(), &fresh))?;
    Ok(first)
}
