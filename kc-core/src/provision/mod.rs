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

mod issuer;
mod list_update;
mod node;
mod request;
mod role;

use thiserror::Error;

use crate::chain::ChainError;
use crate::kem::KemError;
use crate::keys::KeyError;
use crate::store::config::ConfigError;

pub use issuer::{Grant, IssuedChain, MAX_TOPICS, issue_chain};
pub use list_update::{compose_update, self_revocation, self_revocation_without_entry};
pub use node::{
    DerivedKey, NewKey, NewNode, ProvisionedNode, derive_provisioner, derive_root, provision_node,
    provision_node_under,
};
pub use request::{
    ProvisionerRequest, RequestedNode, request_node, request_provisioner, sign_request,
};
pub use role::{Provisioner, Role};

/// Why a node could not be provisioned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// Deriving a key from a password failed.
    #[error("deriving a key from the password failed")]
    Derivation,
    /// Signing a certificate failed.
    #[error("signing a certificate failed")]
    Signing(#[from] KeyError),
    /// More than [`MAX_TOPICS`] topics.
    #[error("{0} topics are too many")]
    TooManyTopics(usize),
    /// The configuration cannot hold the node id or a path.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What the root is to sign is no certificate.
    #[error("what is to be signed is no certificate")]
    Request(#[source] ChainError),
    /// What the root is to sign is a certificate, but none that provisioning asks for.
    #[error("what is to be signed is no certificate for one signing key alone")]
    NotARequest,
    /// No provisioner certifies nodes of this role.
    #[error("the root of trust itself has to certify a {0}")]
    NeedsRoot(Role),
    /// A certificate, or the chain that ends with it, proves nothing under the root of trust.
    #[error("the signed certificate does not hold under the root of trust")]
    Certificate(#[source] ChainError),
    /// A signed certificate is for another key than the one that the provisioner or the node has.
    #[error("the signed certificate is for another key than {expected}")]
    OtherKey {
        /// The fingerprint of the key that it should be for.
        expected: String,
    },
    /// The chain grants not just the usages and topics that the node is to have.
    #[error("the chain grants other usages or topics than the node is to have")]
    GrantsOther,
    /// There is no ratchet whose secret could be sealed to the escrow key.
    #[error("a {0} has no ratchet to put in escrow")]
    NothingToEscrow(Role),
    /// The escrow key is invalid.
    #[error("the escrow key is invalid")]
    Escrow(#[from] KemError),
}

#[cfg(test)]
mod tests;
