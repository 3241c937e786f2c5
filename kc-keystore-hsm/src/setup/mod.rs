//! What is done once: a token made ready, keys made or moved, listed, replaced.

mod identity;
mod init;
mod list;
mod nodes;
mod relabel;
mod rotate;

pub use identity::{NewIdentity, generate_identity, generate_opaque_key, import_identity};
pub use init::init_token;
pub use list::{ListedObject, list_objects};
pub use nodes::{NodeOnToken, destroy_node_keys, nodes_called};
pub use relabel::relabel_signer;
pub use rotate::OpaqueRotation;
