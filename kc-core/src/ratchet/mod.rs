//! The ratchet and its keys (protocol §3 and §4).
//!
//! A node stores a [`Seed`]. [`Seed::advance`] returns a [`PendingStep`], which contains the next seed. After the
//! caller has stored the next seed, it calls [`PendingStep::stored`], which returns the usable [`Step`]. So no step is
//! used twice, even if the process crashes. From a step, [`StepKeys`] make exactly one [`SealingKey`] for each root
//! topic. Consumers hold [`OpeningKey`]s. A producer's [`Ratchet`] owns the step in use and the keys that are kept for
//! late consumers, and decides when to turn.

mod candidates;
mod data_key;
mod generator;
mod machine;
mod retained;
mod step;

pub use candidates::{Candidates, Giver};
pub use data_key::{Component, DataKey, Exhausted, MessageKey, OpeningKey, SALT_LEN, SealingKey};
pub(crate) use generator::derive;
pub use generator::{Context, GeneratorError, KeyGenerator, MAX_OUTPUT_LEN};
pub use machine::{
    DENIAL_INTERVAL, Ratchet, RatchetConfig, RatchetEffect, RatchetInput, UNSEEN_DENIAL_INTERVAL,
};
pub use retained::{MAX_RETAINED_KEYS, RetainedKey, RetainedKeys};
pub use step::{KeyIdForm, MAX_RECOGNISED_STEPS, PendingStep, Seed, SeedError, Step, StepKeys};

#[cfg(test)]
mod tests;
