//! What a node keeps: the codecs of its files (protocol §11) and the traits of the stores that hold
//! them.
//!
//! | part | what it is |
//! |---|---|
//! | [`config`] | the `.config` file, and the trait of its store |
//! | [`NodeSecrets`] | the `.crypto` file, in all its generations |
//! | [`retained_keys`] | the keys that a producer keeps for late consumers |
//! | [`SealedRatchetHeader`] | what a ratchet that is sealed by a token tells without it |
//! | [`opaque`] | how values in the configuration are sealed |
//! | [`KeyStore`], [`RatchetStore`] | what a node asks of wherever its secrets are |
//! | [`KeyStoreSigner`] | a key that never leaves its keystore, for whatever signs |
//!
//! The `.seed` file is a [`Seed`](crate::ratchet::Seed). Nothing here touches a file.

mod codecs;
pub mod config;
mod error;
mod memory;
mod node_secrets;
mod signer;
mod traits;

pub use codecs::{SealedRatchetHeader, opaque, retained_keys};
pub use error::{StoreError, StoreErrorKind};
pub use memory::{Generators, MemoryKeyStore, MemoryRatchetStore};
pub use node_secrets::{Decoded, NodeSecrets, NodeSecretsError};
pub use signer::KeyStoreSigner;
pub use traits::{KeyStore, RatchetStore};

#[cfg(test)]
mod tests;
