//! The creation of nodes from two passwords (protocol §12).
//!
//! The key of the root of trust is derived from the root password. The keys of three provisioners, one for each kind of
//! node, are derived from the provisioning password. The root of trust certifies the provisioners, and a provisioner
//! certifies a node for its [`Role`]. Chain servers and administrators are certified by the root of trust itself.
//!
//! | available | functions |
//! |---|---|
//! | both passwords | [`provision_node`]; [`issue_chain`] for an existing key |
//! | the provisioning password or a provisioner's key | once [`request_provisioner`], then [`provision_node_under`] |
//! | the root password | [`sign_request`], which signs the requests of provisioners and nodes |
//! | neither password | [`request_node`], then [`RequestedNode::complete`] |
//!
//! [`request_provisioner`] and [`request_node`] make requests. A request must be signed with [`sign_request`] before
//! the next function of its row is called. The results are the content of the node's files. With requests, the root
//! password can stay in a safe place: operators carry only the root's public key, unsigned certificates and signed
//! certificates.

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

pub use issuer::{Grant, IssuedChain, MAX_TOPICS, issue_chain, provisioner_of};
#[cfg(feature = "vectors")]
pub use list_update::self_revocation_without_entry;
pub use list_update::{compose_update, self_revocation};
pub use node::{
    DerivedKey, NewKey, NewNode, ProvisionedNode, derive_provisioner, derive_root, provision_node,
    provision_node_under,
};
pub use request::{
    ProvisionerRequest, RequestedNode, request_node, request_provisioner, sign_request,
};
pub use role::{Provisioner, Role};

/// A reason why a node could not be provisioned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// A key could not be derived from a password.
    #[error("deriving a key from the password failed")]
    Derivation,
    /// A certificate could not be signed.
    #[error("signing a certificate failed")]
    Signing(#[from] KeyError),
    /// There are more than [`MAX_TOPICS`] topics.
    #[error("a certificate can name at most {max} topics, not {0}", max = MAX_TOPICS)]
    TooManyTopics(usize),
    /// The syntax of the configuration cannot express the node id, a path, or a part of the naming scheme of topics.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The bytes for the root to sign are not a certificate, or its constraints are not valid.
    #[error("the request is not a valid certificate")]
    Request(#[source] ChainError),
    /// The bytes for the root to sign are a certificate, but the certificate is not for exactly one signing key, or it
    /// contains further elements, such as an entry for a list.
    #[error(
        "the request must be a certificate for exactly one signing key, without further elements"
    )]
    NotARequest,
    /// No provisioner certifies nodes of this role; only the root of trust does.
    #[error("only the root of trust can certify a node with the role {0}")]
    NeedsRoot(Role),
    /// A certificate, or the chain that ends with it, is not valid under the root of trust.
    #[error("the signed certificate is not valid under the root of trust")]
    Certificate(#[source] ChainError),
    /// A signed certificate is not for the key of the provisioner or node that requested it.
    #[error("the signed certificate is for another key than {expected}")]
    OtherKey {
        /// The fingerprint of the required key.
        expected: String,
    },
    /// The chain does not grant exactly the usages and topics of the node.
    #[error("the chain grants other usages or topics than the node requested")]
    GrantsOther,
    /// The node has no ratchet whose secret could be sealed to the escrow key.
    #[error("a node with the role {0} has no ratchet to escrow")]
    NothingToEscrow(Role),
    /// The escrow key is invalid.
    #[error("the escrow key is invalid")]
    Escrow(#[from] KemError),
}

#[cfg(test)]
mod tests;
