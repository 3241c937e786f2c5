//! Provisioning nodes from two passwords (protocol §12).
//!
//! The root password gives the root of trust; the provisioning password gives three provisioners, each
//! for its kind of node, which the root certifies. A provisioner certifies a node for its [`Role`].
//!
//! | at hand | what to do |
//! |---|---|
//! | both passwords | [`provision_node`]; for a key that exists already [`issue_chain`] |
//! | the provisioning password, or its keys on a token | once, [`request_provisioner`], for the root to sign; then [`provision_node_under`] |
//! | the root password | [`sign_request`] |
//! | neither | [`request_node`], for the root to sign; then [`RequestedNode::complete`] |
//!
//! Each gives what goes into the node's files. With the separate ways the root password stays where it is
//! safe: people carry the root's public key, and certificates to be signed and signed ones.

mod certificate;
mod error;
mod grant;
mod issuer;
mod node;
mod password;
mod request;
mod requested;
mod revocation;
mod role;
mod update;

pub use error::ProvisionError;
pub use grant::{Grant, IssuedChain, MAX_TOPICS, issue_chain};
pub use node::{NewKey, NewNode, ProvisionedNode, provision_node, provision_node_under};
pub use password::{DerivedKey, derive_provisioner, derive_root};
pub use request::{ProvisionerRequest, request_provisioner, sign_request};
pub use requested::{RequestedNode, request_node};
pub use revocation::{self_revocation, self_revocation_without_entry};
pub use role::{Provisioner, Role};
pub use update::compose_update;

#[cfg(test)]
mod tests;
