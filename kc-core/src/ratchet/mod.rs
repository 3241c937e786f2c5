//! The ratchet and the keys that it gives (protocol §3 and §4).
//!
//! A [`Seed`] is what a node keeps on disk. [Advancing](Seed::advance) it gives a [`PendingStep`],
//! which yields the usable [`Step`] only against the promise that the next seed has been stored: a
//! step is never used twice, whenever the process dies. From a step a [`Ratchet`] makes one
//! [`SealingKey`] for each root topic, and never a second one, because a second would count from zero
//! again and repeat nonces. Consumers hold [`OpeningKey`]s.

mod candidates;
mod data_key;
mod generator;
mod retained;
mod seed;
mod step;

pub use candidates::Candidates;
pub use data_key::{
    Component, Exhausted, MessageKey, OpeningKey, SALT_LEN, SealingKey, TopicSecret,
};
pub use generator::{Context, GeneratorError, KeyGenerator, MAX_OUTPUT_LEN};
pub use retained::{MAX_RETAINED_KEYS, RetainedKey, RetainedKeys};
pub use seed::{PendingStep, Seed, SeedError};
pub use step::{KeyIdForm, Ratchet, Step};

#[cfg(test)]
mod tests;
