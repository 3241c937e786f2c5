//! The data that a node stores: the formats of its files (protocol §11), and the traits of the stores that keep the
//! data.
//!
//! | item | content |
//! |---|---|
//! | [`config`] | the `.config` file, and the trait of its store |
//! | [`NodeSecrets`] | the `.crypto` file, in its current and its older formats |
//! | [`retained_keys`] | the keys that a producer keeps for late consumers |
//! | [`SealedRatchetHeader`] | the readable header of a ratchet that a token has sealed |
//! | [`opaque`] | sealed values in the configuration |
//! | [`KeyStore`], [`RatchetStore`] | the stores of a node's secrets; [`MemoryKeyStore`] and [`MemoryRatchetStore`] keep them in memory |
//! | [`RetainedKeysArchive`], [`TrustArchive`], [`ChainKeyArchive`] | the archives of data that changes while a node runs and must survive a restart |
//! | [`KeyStoreSigner`] | a signer with a key that never leaves its keystore |
//!
//! The `.seed` file is a [`Seed`](crate::ratchet::Seed). This module does not access files.

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
pub use traits::{ChainKeyArchive, KeyStore, RatchetStore, RetainedKeysArchive, TrustArchive};

#[cfg(test)]
mod tests;
