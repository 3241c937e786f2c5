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
mod report;
mod world;

pub use kc_core::sabotage::Rule;
pub use report::{Counts, Failed, Invariant, Outcome};
pub use world::{Options, replay, run};

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
