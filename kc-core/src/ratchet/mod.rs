//! The ratchet and the keys that it gives (protocol §3 and §4).
//!
//! A [`Seed`] is what a node keeps on disk. [Advancing](Seed::advance) it gives a [`PendingStep`],
//! which yields the usable [`Step`] only against the promise that the next seed has been stored: a
//! step is never used twice, whenever the process dies. From a step [`StepKeys`] make one
//! [`SealingKey`] for each root topic, and never a second one. Consumers hold [`OpeningKey`]s. A producer's
//! [`Ratchet`] owns the step in use and the keys that are kept for late consumers, and decides when to turn.

mod candidates;
mod data_key;
mod generator;
mod machine;
mod retained;
mod step;

pub use candidates::{Candidates, Giver};
pub use data_key::{
    Component, Exhausted, MessageKey, OpeningKey, SALT_LEN, SealingKey, TopicSecret,
};
pub use generator::{Context, GeneratorError, KeyGenerator, MAX_OUTPUT_LEN};
pub use machine::{
    DENIAL_INTERVAL, Ratchet, RatchetConfig, RatchetEffect, RatchetInput, UNSEEN_DENIAL_INTERVAL,
};
pub use retained::{MAX_RETAINED_KEYS, RetainedKey, RetainedKeys};
pub use step::{KeyIdForm, PendingStep, Seed, SeedError, Step, StepKeys};

#[cfg(test)]
mod tests;
