//! The shared state of a simulated world: time, randomness, the network, and future events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kc_core::exchange::{Failure, Job, Output, Ticket};
use kc_core::types::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::adversary::Adversary;
use super::network::{Network, Topic};
use super::oracle::Oracle;
use super::plan::Plan;
use super::{Failed, Invariant};

/// The wall clock at the beginning of each simulation.
const EPOCH: f64 = 1_700_000_000.0;

/// The only source of randomness.
pub(super) struct Dice(pub(super) StdRng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % (bound.max(1) as u64)) as usize
    }

    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most + 1 - least)
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        const UNIT: f64 = (1_u64 << 53) as f64;
        ((self.0.next_u64() >> 11) as f64) / UNIT < probability
    }

    pub(super) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_micros() as u64;
        least + Duration::from_micros(self.0.next_u64() % (span + 1))
    }

    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        self.time(Duration::from_millis(least), Duration::from_millis(most))
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// One of a node's exchanges: its own, or the controller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    Own,
    Controller,
}

/// One run of one node: work that began before a crash does not reach the node that runs after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) run: u64,
}

/// A future event.
pub(super) enum Event {
    /// A record arrives at its topic.
    Append(Topic, Vec<u8>, Arc<[u8]>),
    /// The readers of a topic learn of new records.
    Appended(Topic),
    /// A job is done.
    Work(Life, Which, Ticket, Box<Job>),
    /// The result of a job arrives.
    Done(Life, Which, Ticket, Box<Result<Output, Failure>>),
    /// A self-revocation was verified.
    Verified(Life, Vec<u8>),
    /// A node checks its timeouts.
    Wake(Life),
    /// A node reads its topics.
    Poll(Life),
    /// A producer seals a record.
    Seal(Life),
    /// A consumer signals missing keys again.
    Resignal(Life),
    /// A custodian stores what could not be stored, and asks for pending keys.
    Collect(Life),
    /// A node starts.
    Start(usize),
    /// A node leaves for good.
    Depart(usize),
    /// A node that was not part of the world begins to be.
    Arrive(usize),
    /// A fault occurs.
    Fault,
    /// Hostile nodes and brokers act.
    Act,
    /// The administrator acts.
    Administer(usize),
    /// A chain server renews chains that are about to expire.
    Renew,
    /// Faults end.
    Heal,
    /// All readable records must have been opened.
    Check,
}

/// The world without its nodes.
pub(super) struct Core {
    pub(super) dice: Dice,
    pub(super) plan: Plan,
    /// The time since the beginning.
    pub(super) time: Duration,
    pub(super) net: Network,
    pub(super) oracle: Oracle,
    pub(super) adversary: Option<Adversary>,
    pub(super) is_healed: bool,
    queue: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    trace: Option<Vec<String>>,
    failed: Option<Failed>,
}

impl Core {
    pub(super) fn new(dice: Dice, plan: Plan, is_traced: bool) -> Self {
        Self {
            dice,
            plan,
            time: Duration::ZERO,
            net: Network::default(),
            oracle: Oracle::default(),
            adversary: None,
            is_healed: false,
            queue: BTreeMap::new(),
            scheduled: 0,
            trace: is_traced.then(Vec::new),
            failed: None,
        }
    }

    /// Returns the correct wall-clock time.
    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::from_secs(EPOCH)
            .unwrap_or(Timestamp::EPOCH)
            .plus(self.time)
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.scheduled += 1;
        self.queue
            .insert((self.time + delay, self.scheduled), event);
    }

    /// Returns the next event, and advances the time to it.
    pub(super) fn next(&mut self) -> Option<Event> {
        let ((time, _), event) = self.queue.pop_first()?;
        self.time = time;
        Some(event)
    }

    /// Returns whether a fault of this probability occurs; `false` after the network has healed.
    pub(super) fn fault(&mut self, probability: f64) -> bool {
        !self.is_healed && self.dice.chance(probability)
    }

    /// Sends a record to a topic. Returns whether the sender gets an acknowledgement.
    pub(super) fn send(&mut self, topic: &Topic, key: &[u8], value: &[u8]) -> bool {
        let faults = self.plan.faults;
        if self.fault(faults.loss) {
            self.note(|| format!("lost: {topic:?}"));
            // A hostile broker acknowledges records that it drops.
            return !self.plan.is_long && self.dice.chance(0.5);
        }
        let mut value: Arc<[u8]> = value.into();
        if self.fault(faults.truncate) {
            let len = self.dice.below(value.len());
            value = value.iter().copied().take(len).collect();
        }
        let copies = 1 + usize::from(self.fault(faults.duplicate));
        for _ in 0..copies {
            if self.fault(faults.delay) {
                let delay = self.dice.millis(100, 20_000);
                self.after(
                    delay,
                    Event::Append(topic.clone(), key.to_vec(), Arc::clone(&value)),
                );
            } else {
                self.append(topic, key, &value);
            }
        }
        !self.fault(faults.loss)
    }

    /// Appends a record to a topic.
    pub(super) fn append(&mut self, topic: &Topic, key: &[u8], value: &Arc<[u8]>) {
        self.net.append(topic, key, value);
        let latency = self.dice.millis(1, 15);
        self.after(latency, Event::Appended(topic.clone()));
    }

    /// Records a step in the trace, if steps are traced.
    pub(super) fn note(&mut self, step: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let time = self.time.as_secs_f64();
            trace.push(format!("{time:>12.6} {}", step()));
        }
    }

    /// Records that an invariant does not hold. Only the first violation counts.
    pub(super) fn fail(&mut self, invariant: Invariant, what: impl FnOnce() -> String) {
        if self.failed.is_none() {
            self.failed = Some(Failed {
                invariant,
                what: what(),
                time: self.time,
                trace: Vec::new(),
            });
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Returns the violation, with the last steps before it.
    pub(super) fn into_failed(self) -> Option<Failed> {
        let mut failed = self.failed?;
        failed.trace = self.trace.unwrap_or_default();
        Some(failed)
    }
}
