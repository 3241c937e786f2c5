use thiserror::Error;

use super::Role;
use crate::chain::ChainError;
use crate::kem::KemError;
use crate::keys::KeyError;
use crate::store::config::ConfigError;

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
    /// More than [`MAX_TOPICS`](super::MAX_TOPICS) topics.
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
