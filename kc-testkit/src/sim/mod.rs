//! A simulator: nodes of all roles run the machines of `kc-core`, on virtual clocks and a hostile network.
//!
//! A seed determines a world: its nodes, its faults, its hostile nodes. The same seed gives the same world again.
//! Actors are not part of it: their work for the machines (validate, sign, send, store) is simulated, with jobs that
//! are never done, done late, or whose results arrive twice. The network loses, duplicates, delays, reorders and
//! truncates records, and compacts topics; nodes crash at any effect and start from their disks; wall clocks jump. At
//! the end the network heals, and all readable records must be read within 90 seconds. Some worlds have custodians, and
//! producers that leave for good: what a custodian keeps must be read, too. [`Invariant`]s are checked all the time.

mod adversary;
mod authority;
mod core;
mod custodian;
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

/// The number of last steps that are shown.
const SHOWN_STEPS: usize = 40;

/// A property that must hold, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Invariant {
    /// No combination of data key, component and salt occurs twice, over all nodes and copies of nodes.
    SaltsAreUnique,
    /// A secret is encapsulated only if the request validates with the lists that the producer holds at that time.
    OnlyValidRequestsAreAnswered,
    /// Every allowed consumer opens every record of every allowed producer that keeps its key, in time.
    AllowedConsumersRead,
    /// Denials reach every node that has seen their keys in use.
    DenialsArrive,
    /// All state stays within its caps.
    MemoryIsBounded,
    /// Until a trusted signature verifies, a record costs only parsing, lookups, and at most one Ed25519 verification
    /// for each root.
    WorkIsBounded,
    /// A position is committed only when its record is completely processed.
    SettledIsDone,
    /// A key that sealed records is kept for late consumers, durably.
    UsedKeysAreKept,
    /// A node never repeats a step of its ratchet, despite crashes and restored seeds.
    StepsAreUsedOnce,
    /// A custodian keeps each key that a trusted producer gives it, durably. No crash loses a key whose reply was
    /// acknowledged.
    CustodiansKeep,
    /// Keys of denied producers open nothing.
    DeniedGiversOpenNothing,
    /// Records sealed after a denial cannot be opened by the denied reader.
    DeniedReadersGetNothing,
    /// Machines come to rest.
    MachinesRest,
    /// No code panics.
    NothingPanics,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The invariant.
    pub invariant: Invariant,
    /// A description of the violation.
    pub what: String,
    /// The virtual time since the beginning of the simulation.
    pub time: Duration,
    /// The steps before, if they were traced.
    pub trace: Vec<String>,
}

/// The result of a simulation.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed, which gives the same simulation again.
    pub seed: u64,
    /// The first invariant that did not hold; `None` if all held.
    pub failed: Option<Failed>,
    /// The numbers of events.
    pub counts: Counts,
}

/// The numbers of events in simulations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were handled.
    pub events: u64,
    /// Records that were sealed.
    pub sealed: u64,
    /// Records that were opened, counted for each consumer.
    pub opened: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Keys that were kept, counted for each custodian.
    pub kept: u64,
    /// Crashes.
    pub crashes: u64,
    /// Virtual time in seconds.
    pub seconds: u64,
}

impl Counts {
    /// Adds the counts of another simulation.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.sealed += other.sealed;
        self.opened += other.opened;
        self.answered += other.answered;
        self.kept += other.kept;
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
        assert!(all.opened > 0 && all.kept > 0 && all.crashes > 0, "{all:?}");
    }
}
