use kc_core::store::SealedRatchetHeader;

use crate::read::read_bounded;
use crate::{MAX_SECRET_BYTES, NodeFiles};

/// The index of the step that a ratchet on a token takes next, as its file tells without the token. `None` if there is no
/// file, or it tells nothing.
pub fn sealed_index(files: &NodeFiles) -> Option<u64> {
    let bytes = read_bounded(&files.sealed_ratchet(), MAX_SECRET_BYTES).ok()?;
    Some(SealedRatchetHeader::of(&bytes)?.index)
}
