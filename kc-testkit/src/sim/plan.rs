//! The kind of world that a seed determines.

use std::time::Duration;

use kc_core::types::RootTopic;

use super::core::Dice;

/// The probabilities of faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    pub(super) delay: f64,
    pub(super) truncate: f64,
    /// Jobs that are never done, that are done too late, and whose results arrive twice.
    pub(super) never: f64,
    pub(super) late: f64,
    pub(super) twice: f64,
    /// Crashes at an effect.
    pub(super) crash: f64,
    /// Disks that are full.
    pub(super) store: f64,
    /// The time between other faults: clocks that jump, compaction, crashes, old seeds put back.
    pub(super) every: Duration,
}

/// The hostile nodes, and their behaviour.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hostile {
    /// Authorised producers that answer with wrong secrets.
    pub(super) producers: usize,
    /// Their answers arrive before all others.
    pub(super) rushes: bool,
    /// An authorised consumer requests keys with the random values of others.
    pub(super) consumer: bool,
    /// Its requests arrive before those whose random values they repeat.
    pub(super) overtakes: bool,
    /// Key ids are invented.
    pub(super) invents: bool,
    /// Replays, forged chains, heavy certificates.
    pub(super) forges: bool,
    /// Floods of forged self-revocations.
    pub(super) revokes: bool,
}

/// A kind of world.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) roots: Vec<RootTopic>,
    pub(super) producers: usize,
    pub(super) consumers: usize,
    pub(super) limited: usize,
    pub(super) custodians: usize,
    /// A producer leaves for good.
    pub(super) has_departure: bool,
    /// A consumer starts after the network has healed.
    pub(super) has_latecomer: bool,
    /// The world lasts for weeks, with turns and renewals.
    pub(super) is_long: bool,
    pub(super) is_hybrid: bool,
    pub(super) has_copies: bool,
    pub(super) has_short_ids: bool,
    pub(super) has_chain_server: bool,
    pub(super) restores_seeds: bool,
    pub(super) changes_trust: bool,
    /// Lists are read while other records are being processed, as actors of an application may do.
    pub(super) reads_lists_apart: bool,
    /// The time at which the network heals.
    pub(super) heals: Duration,
    /// The time between records of one producer.
    pub(super) seals: Duration,
    pub(super) ratchet_interval: Duration,
    pub(super) max_age: Duration,
    pub(super) resignals: Duration,
    pub(super) faults: Faults,
    pub(super) hostile: Hostile,
}

/// One day.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

impl Plan {
    pub(super) fn draw(dice: &mut Dice, is_hybrid: bool) -> Self {
        let is_long = !is_hybrid && dice.chance(0.1);
        // Many producers of one root topic.
        let is_crowd = !is_hybrid && !is_long && dice.chance(0.15);
        let root_count = if is_crowd { 1 } else { dice.between(1, 3) };
        let names = ["readings", "orders", "telemetry"];
        let roots = names.iter().take(root_count);
        let secs = Duration::from_secs;
        let calm = dice.chance(0.2);
        let share = if is_long { 0.2 } else { 1.0 };
        // Most worlds have a few kinds of faults, each more or less of them.
        let mut rate = |most: f64| {
            let part = dice.below(4) as f64 / 3.0;
            if calm { 0.0 } else { most * part * share }
        };
        let faults = Faults {
            loss: rate(0.2),
            duplicate: rate(0.2),
            delay: rate(0.2),
            truncate: rate(0.1),
            never: rate(0.05),
            late: rate(0.05),
            twice: rate(0.1),
            crash: rate(0.004),
            store: rate(0.1),
            every: if is_long { DAY / 2 } else { secs(20) },
        };
        let hostile = Hostile {
            producers: if dice.chance(0.3) {
                dice.between(1, 2)
            } else {
                0
            },
            rushes: dice.chance(0.5),
            consumer: dice.chance(0.3),
            overtakes: dice.chance(0.5),
            invents: dice.chance(0.2),
            forges: dice.chance(0.4),
            revokes: dice.chance(0.06),
        };
        Self {
            roots: roots.map(|name| RootTopic::from(*name)).collect(),
            producers: match () {
                () if is_crowd => dice.between(8, 14),
                () if is_hybrid => 2,
                () => dice.between(1, 4),
            },
            consumers: match () {
                () if is_crowd || is_hybrid => 1,
                () => dice.between(1, 4),
            },
            limited: usize::from(dice.chance(0.3)),
            custodians: 0,
            has_departure: false,
            has_latecomer: false,
            is_long,
            is_hybrid,
            has_copies: dice.chance(0.2),
            has_short_ids: !is_crowd && dice.chance(0.1),
            has_chain_server: is_long || (!is_hybrid && dice.chance(0.2)),
            restores_seeds: dice.chance(0.3),
            changes_trust: dice.chance(0.6),
            reads_lists_apart: dice.chance(0.5),
            heals: match () {
                () if is_long => DAY * (14 + dice.below(14) as u32),
                () => dice.time(secs(40), secs(240)),
            },
            seals: match () {
                () if is_long => DAY / 3,
                () if is_crowd || is_hybrid => secs(40),
                () => secs(12),
            },
            ratchet_interval: match () {
                () if is_long => DAY,
                () => dice.time(secs(60), secs(1000)),
            },
            max_age: if is_long { DAY * 7 } else { secs(100_000) },
            resignals: if is_long { secs(600) } else { secs(5) },
            faults,
            hostile: if is_long { Hostile::default() } else { hostile },
        }
    }

    /// Adds custodians to some worlds. They have randomness of their own, so that the other worlds stay the same.
    pub(super) fn add_custodians(&mut self, dice: &mut Dice) {
        if dice.chance(0.4) {
            self.custodians = dice.between(1, 2);
            self.has_departure = dice.chance(0.6);
            self.has_latecomer = dice.chance(0.5);
        }
    }
}
