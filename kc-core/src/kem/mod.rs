//! Key exchange (protocol §5): X25519 alone, or with a post-quantum KEM beside it.
//!
//! A requester offers an [`EncapsulationKey`] and keeps the [`DecapsulationKey`]; a replier
//! [encapsulates](EncapsulationKey::encapsulate) to it and sends the [`Encapsulation`] back. Both then
//! hold the same shared secret. [`sealed`] uses the same keys to seal a value to somebody offline.

mod error;
mod ml_kem;
mod public;
pub mod sealed;
mod secret;
mod sntrup761;
mod suite;
mod x25519;

pub use error::KemError;
pub use public::{Encapsulation, EncapsulationKey, PublicKey};
pub use secret::{CompletedKey, DecapsulationKey, SecretKey};
pub use suite::Suite;

#[cfg(test)]
mod tests;
