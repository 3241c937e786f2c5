//! Data messages (protocol §3): sealing and opening Kafka keys and values.
//!
//! [`seal`] needs a [`SealingKey`](crate::ratchet::SealingKey), which only a ratchet makes.
//! [`KeyRing::open`] looks a message's key up and says in an [`Opened`] what came of it: a plaintext,
//! or one of the reasons why not, which are types and not a truth value.

mod envelope;
mod keyring;
mod opened;
mod seal;

pub use envelope::{Envelope, Foreign};
pub use keyring::{Added, KeyRing, MAX_CANDIDATES, MAX_KEYS_PER_ROOT};
pub use opened::{Opened, Unopened};
pub use seal::{SealInput, seal, seal_component, sealed_len};

#[cfg(test)]
mod tests;
