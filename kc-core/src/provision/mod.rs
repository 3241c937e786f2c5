//! Provisioning nodes from two passwords (protocol §12).
//!
//! The root password gives the root of trust; the provisioning password gives three provisioners, each
//! for its kind of node, which the root certifies. A provisioner certifies a node for its [`Role`].
//! [`provision_node`] does it all and gives what goes into the node's three files.

mod node;
mod password;
mod role;

pub use node::{MAX_TOPICS, NewNode, ProvisionError, ProvisionedNode, provision_node};
pub use password::{DerivedKey, derive_provisioner, derive_root};
pub use role::{Provisioner, Role};

#[cfg(test)]
mod tests;
