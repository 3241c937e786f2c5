//! A simulator: nodes of all roles over the machines of `kc-core`, on virtual clocks and a hostile network.
//!
//! A seed gives a world: who is in it, what breaks, who is hostile. The same seed gives the same world again. Actors are
//! not part of it: what they do for the machines (validate, sign, send, store) is simulated, with jobs that are never
//! done, done late, or whose results come twice. The network loses, duplicates, delays, reorders and truncates records,
//! and compacts topics; nodes crash at any effect and start from what their disks have; wall clocks jump. In the end the
//! network heals, and all that is to be read must be read within 90 seconds. [`Invariant`]s are looked after all the time.

mod adversary;
mod authority;
mod core;
mod disk;
mod jobs;
mod network;
mod node;
mod oracle;
mod plan;
mod reading;
mod world;

use std::fmt;
use std::time::Duration;

pub use kc_core::sabotage::Rule;
pub use world::{Options, replay, run};

/// How many of the last steps are shown.
const SHOWN_STEPS: usize = 40;

/// What must hold, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Invariant {
    /// No topic secret, component and salt come twice, over all nodes and copies of nodes.
    SaltsAreUnique,
    /// No secret is encapsulated unless the request validates under the lists that the producer holds then.
    OnlyValidRequestsAreAnswered,
    /// Every allowed consumer opens every record of every allowed producer that keeps its key, in time.
    AllowedConsumersRead,
    /// Denials reach every node that has seen their keys in use.
    DenialsArrive,
    /// What is remembered stays within its caps.
    MemoryIsBounded,
    /// Until a trusted signature verifies, a record costs peeks, and one Ed25519 verification a root at most.
    WorkIsBounded,
    /// A position is committed when its record is done with.
    SettledIsDone,
    /// What a key sealed is kept for late consumers, durably.
    UsedKeysAreKept,
    /// No crash and no restored seed makes a node repeat a step of its ratchet.
    StepsAreUsedOnce,
    /// Keys of denied givers open nothing.
    DeniedGiversOpenNothing,
    /// What is sealed after a denial is not for who is denied.
    DeniedReadersGetNothing,
    /// Machines come to rest.
    MachinesRest,
    /// Nothing panics.
    NothingPanics,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Which.
    pub invariant: Invariant,
    /// What happened instead.
    pub what: String,
    /// When, since the beginning of the simulation.
    pub time: Duration,
    /// The steps before, if they were traced.
    pub trace: Vec<String>,
}

/// The end of a simulation.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed that gives the same simulation again.
    pub seed: u64,
    /// What failed.
    pub failed: Option<Failed>,
    /// What happened.
    pub counts: Counts,
}

/// How much happened in simulations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were handled.
    pub events: u64,
    /// Records that were sealed.
    pub sealed: u64,
    /// Records that were opened, each consumer counted.
    pub opened: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Crashes.
    pub crashes: u64,
    /// Virtual time in seconds.
    pub seconds: u64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.sealed += other.sealed;
        self.opened += other.opened;
        self.answered += other.answered;
        self.crashes += other.crashes;
        self.seconds += other.seconds;
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.time.as_secs_f64();
        write!(f, "{:?} after {secs:.3} s: {}", self.invariant, self.what)?;
        let shown = self.trace.len().saturating_sub(SHOWN_STEPS);
        for step in self.trace.iter().skip(shown) {
            write!(f, "\n    {step}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_world_each_time_and_its_invariants_hold() {
        let mut all = Counts::default();
        for seed in 1..=12 {
            let outcome = run(seed, Options::default());
            assert!(outcome.failed.is_none(), "seed {seed}: {outcome:?}");
            assert_eq!(outcome.counts, replay(seed, Options::default()).counts);
            all.add(&outcome.counts);
        }
        assert!(all.opened > 0 && all.crashes > 0, "{all:?}");
    }
}
