//! The ratchet and its keys (protocol §3 and §4).
//!
//! A node stores a [`Seed`]. [Advancing](Seed::advance) it gives a [`PendingStep`], which gives the usable [`Step`]
//! only to a caller that states that the next seed has been stored: no step is used twice, whenever the process
//! ends. From a step, [`StepKeys`] make exactly one [`SealingKey`] for each root topic. Consumers hold
//! [`OpeningKey`]s. A producer's [`Ratchet`] owns the step in use and the keys that are kept for late consumers,
//! and decides when to turn.

mod candidates;
mod data_key;
mod generator;
mod machine;
mod retained;
mod step;

pub use candidates::{Candidates, Giver};
pub use data_key::{Component, DataKey, Exhausted, MessageKey, OpeningKey, SALT_LEN, SealingKey};
pub use generator::{Context, GeneratorError, KeyGenerator, MAX_OUTPUT_LEN};
pub use machine::{
    DENIAL_INTERVAL, Ratchet, RatchetConfig, RatchetEffect, RatchetInput, UNSEEN_DENIAL_INTERVAL,
};
pub use retained::{MAX_RETAINED_KEYS, RetainedKey, RetainedKeys};
pub use step::{KeyIdForm, PendingStep, Seed, SeedError, Step, StepKeys};

#[cfg(test)]
mod tests;
