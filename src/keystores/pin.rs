use std::path::PathBuf;
use std::sync::Arc;

use kc_core::secret::SecretText;

/// Where the PIN of the token comes from that a node's keys are on. Without it, the URI in the configuration names a file, or
/// the environment has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NodePin {
    /// A person was just asked for it.
    Asked(Arc<SecretText>),
    /// A file, whose first line it is.
    File(PathBuf),
}
