//! A node: the machines, its disk, and the simulated work for the machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kc_core::chain::{
    Identity, Trust, TrustEffect, TrustEvent, TrustInput, TrustList, UpdateError,
};
use kc_core::exchange::{
    Effect, Exchange, ExchangeConfig, ExchangeEvent, Input, KeyTableChange, MAX_ANSWERED,
    MAX_OUTSTANDING_PER_ROOT, MAX_ROOTS, MAX_TICKETS, MAX_WANTED_PER_ROOT, Position, Validity,
};
use kc_core::kem::Suite;
use kc_core::keys::{Signer, VerifyingKey};
use kc_core::message::KeyRing;
use kc_core::ratchet::{
    KeyIdForm, Ratchet, RatchetConfig, RatchetEffect, RatchetInput, SealingKey, Seed, Step,
};
use kc_core::types::{KeyId, ManagementTopic, Now, RootTopic, SideTopic, Timestamp};
use kc_core::work::{Work, measure};

use super::Invariant;
use super::authority::Certified;
use super::core::{Core, Event, Life, Which};
use super::custodian::Collector;
use super::disk::Disk;
use super::network::{MAX_POLLED, Topic};
use super::reading::{Batch, Consumer};

/// The time between requests for unavailable keys, in all nodes.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);
/// The number of consecutive effects after which a node counts as restless.
const MAX_MOVES: usize = 20_000;
/// The number of consecutive wake-ups without work, a millisecond apart, after which a node counts as restless.
const MAX_SPINS: usize = 200;

/// The roles of a node.
#[derive(Clone, Default)]
pub(super) struct Roles {
    pub(super) produces: Vec<RootTopic>,
    pub(super) consumes: Vec<RootTopic>,
    pub(super) controls: Vec<RootTopic>,
    /// The root topics whose keys the node keeps as a custodian.
    pub(super) keeps: Vec<RootTopic>,
}

/// A node, running or not.
pub(super) struct Node {
    pub(super) index: usize,
    /// The identity, which copies of a node share.
    pub(super) identity: usize,
    pub(super) roles: Roles,
    pub(super) own: Certified,
    pub(super) disk: Disk,
    pub(super) run: u64,
    /// The node reads no lists: its trust does not change.
    pub(super) is_deaf: bool,
    /// The node is not part of the world, or no longer.
    pub(super) is_away: bool,
    /// The difference of its wall clock to the correct time.
    pub(super) wall_offset: f64,
    pub(super) running: Option<Box<Running>>,
    /// The data that it had read before a crash, if the positions were committed.
    read: BTreeMap<RootTopic, Consumer>,
}

/// A record that is not settled.
pub(super) struct Unsettled {
    pub(super) value: Arc<[u8]>,
    pub(super) side: SideTopic,
    /// The wall-clock time of its last validation.
    pub(super) validated: Option<Timestamp>,
}

/// The state that a crash loses.
pub(super) struct Running {
    pub(super) exchange: Exchange,
    pub(super) controller: Option<Exchange>,
    pub(super) trust: Trust,
    pub(super) ratchet: Option<Ratchet>,
    pub(super) ring: KeyRing,
    pub(super) sealing: BTreeMap<RootTopic, Arc<SealingKey>>,
    /// The node has learnt that it is denied itself.
    pub(super) is_denied: bool,
    pub(super) sources: BTreeMap<Topic, usize>,
    pub(super) batch: Option<Batch>,
    pub(super) is_polling: bool,
    pub(super) unsettled: BTreeMap<(Which, Position), Unsettled>,
    /// Requests that are settled although a custodian may answer them later, with the time of settlement.
    pub(super) deferred: Vec<(Duration, Unsettled)>,
    pub(super) positions: u64,
    pub(super) collector: Collector,
    pub(super) consumers: BTreeMap<RootTopic, Consumer>,
    pub(super) signalled: BTreeSet<(RootTopic, KeyId)>,
    /// The identities that were denied while it ran: the time, and whether their keys were in use.
    pub(super) denials: BTreeMap<usize, (Duration, bool)>,
    /// The keys whose self-revocations it has read after it had seen them in use.
    pub(super) must_deny: BTreeSet<VerifyingKey>,
    /// The keys along the chains that it has validated.
    pub(super) seen: BTreeSet<Vec<u8>>,
    /// The step that it seals with.
    step: Option<u64>,
    trust_changed: bool,
    wakes_at: Option<Duration>,
    spins: usize,
}

impl Node {
    /// Returns a node that has not been started.
    pub(super) fn new(
        (index, identity): (usize, usize),
        roles: Roles,
        own: Certified,
        disk: Disk,
    ) -> Self {
        Self {
            index,
            identity,
            roles,
            own,
            disk,
            run: 0,
            is_deaf: false,
            is_away: false,
            wall_offset: 0.0,
            running: None,
            read: BTreeMap::new(),
        }
    }

    pub(super) fn life(&self) -> Life {
        Life {
            node: self.index,
            run: self.run,
        }
    }

    pub(super) fn now(&self, core: &Core) -> Now {
        let wall = core.wall().as_secs() + self.wall_offset;
        Now {
            wall: Timestamp::from_secs(wall).unwrap_or(Timestamp::EPOCH),
            // Each start has a monotonic clock of its own.
            mono: core.time + Duration::from_secs(1000 + 77 * self.index as u64),
        }
    }

    /// Starts from the durable state.
    pub(super) fn start(&mut self, core: &mut Core) {
        if self.running.is_some() || self.is_away {
            return;
        }
        self.run += 1;
        core.note(|| format!("node {} starts", self.index));
        let config = || ExchangeConfig {
            suites: if core.plan.is_hybrid {
                vec![Suite::MlKem1024, Suite::X25519]
            } else {
                vec![Suite::X25519]
            },
            legacy: false,
            validity: Validity::default(),
            interval: INTERVAL,
        };
        let exchange = Exchange::new(config());
        let is_controller = !self.roles.controls.is_empty();
        let controller = is_controller.then(|| Exchange::new(config()));
        let key = self.own.key.verifying_key().clone();
        let form = if core.plan.has_short_ids {
            KeyIdForm::Short
        } else {
            KeyIdForm::long([&key])
        };
        let identity = Identity::new(key, Some(self.disk.chain.clone()));
        let ratchet = RatchetConfig {
            form,
            interval: core.plan.ratchet_interval,
            max_age: core.plan.max_age,
        };
        let retained = self.disk.retained_keys();
        let mut sources = BTreeMap::new();
        if !self.is_deaf {
            for topic in ManagementTopic::ALL {
                sources.insert(Topic::Management(topic), 0);
            }
        }
        for root_topic in &self.roles.controls {
            let topic = Topic::Side(root_topic.clone(), SideTopic::Subscriptions);
            let committed = core.net.committed(self.identity, &topic);
            sources.insert(topic, committed);
        }
        let consumers = self.roles.consumes.iter();
        let produces = !self.roles.produces.is_empty();
        self.running = Some(Box::new(Running {
            exchange,
            controller,
            trust: Trust::new(self.disk.trust(), vec![identity]),
            ratchet: produces.then(|| Ratchet::new(ratchet, retained, self.disk.used)),
            ring: KeyRing::default(),
            sealing: BTreeMap::new(),
            is_denied: false,
            sources,
            batch: None,
            is_polling: false,
            unsettled: BTreeMap::new(),
            deferred: Vec::new(),
            positions: 0,
            collector: Collector::new(&self.disk.custody),
            consumers: consumers
                .map(|root_topic| {
                    (
                        root_topic.clone(),
                        self.read.remove(root_topic).unwrap_or_default(),
                    )
                })
                .collect(),
            signalled: BTreeSet::new(),
            denials: BTreeMap::new(),
            must_deny: BTreeSet::new(),
            seen: BTreeSet::new(),
            step: None,
            trust_changed: false,
            wakes_at: None,
            spins: 0,
        }));
        for root_topic in self.roles.produces.clone() {
            self.input(Which::Own, Input::Serve(root_topic.clone()), core);
            self.turn(RatchetInput::Prepare(root_topic), core);
        }
        let life = self.life();
        self.poll_soon(core);
        if produces {
            let delay = core.dice.time(Duration::ZERO, core.plan.seals);
            core.after(delay, Event::Seal(life));
        }
        if !self.roles.consumes.is_empty() {
            core.after(core.plan.resignals, Event::Resignal(life));
            self.consume_all(core);
        }
        if self.is_custodian() {
            let delay = core.dice.millis(1, 500);
            self.plan_round(delay, core);
        }
        self.pump(core);
    }

    /// Leaves the world for good.
    pub(super) fn depart(&mut self, core: &mut Core) {
        core.note(|| format!("node {} leaves", self.index));
        self.is_away = true;
        self.running = None;
    }

    /// Loses all state that is not durable.
    pub(super) fn crash(&mut self, core: &mut Core) {
        if let Some(running) = self.running.take() {
            if core.plan.is_long {
                self.read = running.consumers;
            }
            core.oracle.counts.crashes += 1;
            core.note(|| format!("node {} crashes", self.index));
            let delay = core.dice.millis(200, 10_000);
            core.after(delay, Event::Start(self.index));
        }
    }

    /// Crashes now, with some probability. Returns whether it did.
    pub(super) fn crashes_here(&mut self, core: &mut Core) -> bool {
        let crashes = core.fault(core.plan.faults.crash);
        if crashes {
            self.crash(core);
        }
        crashes
    }

    /// Passes an input to an exchange.
    pub(super) fn input(&mut self, which: Which, input: Input, core: &mut Core) {
        let now = self.now(core);
        let Some(running) = &mut self.running else {
            return;
        };
        running.note_trust(now);
        if let Some(exchange) = running.exchange(which) {
            let ((), work) = measure(|| exchange.handle(input, now));
            core.saw_peek("input", work);
        }
    }

    /// Passes an input to the ratchet, and executes the effects.
    pub(super) fn turn(&mut self, input: RatchetInput, core: &mut Core) {
        let now = self.now(core);
        let mut next = Some(input);
        for _ in 0..MAX_MOVES {
            let Some(running) = &mut self.running else {
                return;
            };
            let Some(ratchet) = &mut running.ratchet else {
                return;
            };
            if let Some(input) = next.take() {
                ratchet.handle(input, now, &mut core.dice.0);
            }
            match ratchet.poll_effect(now) {
                None => return,
                Some(effect) => next = self.ratchet_effect(effect, core),
            }
        }
        core.fail(Invariant::MachinesRest, || {
            "a ratchet does not come to rest".to_owned()
        });
    }

    /// Executes all pending effects.
    pub(super) fn pump(&mut self, core: &mut Core) {
        let mut moves = 0;
        while !core.has_failed() && self.move_once(core) {
            moves += 1;
            if moves > MAX_MOVES {
                core.fail(Invariant::MachinesRest, || {
                    "machines do not come to rest".to_owned()
                });
            }
        }
        self.look_at_caps(core);
        self.schedule_wake(moves > 0, core);
    }

    fn move_once(&mut self, core: &mut Core) -> bool {
        let now = self.now(core);
        if self.run_trust(None, core) {
            return true;
        }
        let is_due = |running: &Running| {
            let ratchet = running.ratchet.as_ref();
            ratchet.is_some_and(|ratchet| ratchet.next_timeout(now).is_zero())
        };
        if self.running.as_deref().is_some_and(is_due) {
            let effect = self.running.as_mut().and_then(|running| {
                let ratchet = running.ratchet.as_mut()?;
                ratchet.poll_effect(now)
            });
            if let Some(effect) = effect {
                if let Some(input) = self.ratchet_effect(effect, core) {
                    self.turn(input, core);
                }
                return true;
            }
        }
        for which in [Which::Own, Which::Controller] {
            let Some(running) = &mut self.running else {
                return false;
            };
            running.note_trust(now);
            let Some(exchange) = running.exchange(which) else {
                continue;
            };
            let (effect, work) = measure(|| exchange.poll_effect(now));
            core.saw_peek("a look at a record", work);
            if let Some(effect) = effect {
                self.exchange_effect(which, effect, core);
                return true;
            }
        }
        false
    }

    fn schedule_wake(&mut self, has_moved: bool, core: &mut Core) {
        let now = self.now(core);
        let life = self.life();
        let Some(running) = &mut self.running else {
            return;
        };
        let mut wait = running.trust.next_timeout(now);
        if core.plan.is_long && wait >= Duration::from_secs(60) {
            wait = Duration::from_secs(6 * 3600);
        }
        let ratchet = running.ratchet.as_ref();
        let others = [
            running.exchange.next_timeout(now),
            running
                .controller
                .as_ref()
                .and_then(|exchange| exchange.next_timeout(now)),
            ratchet.map(|ratchet| ratchet.next_timeout(now)),
        ];
        let wait = others.into_iter().flatten().fold(wait, Duration::min);
        let wait = wait.max(Duration::from_millis(1));
        let is_spin = !has_moved && wait <= Duration::from_millis(1);
        running.spins = if is_spin { running.spins + 1 } else { 0 };
        if running.spins > MAX_SPINS {
            core.fail(Invariant::MachinesRest, || {
                "a machine is woken again and again for nothing".to_owned()
            });
        }
        let at = core.time + wait;
        if running.wakes_at.is_none_or(|planned| at < planned) {
            running.wakes_at = Some(at);
            core.after(wait, Event::Wake(life));
        }
    }

    pub(super) fn wake(&mut self, core: &mut Core) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.wakes_at == Some(core.time) {
            running.wakes_at = None;
            self.pump(core);
        }
    }

    // Trust.

    /// Executes the effects of the trust machine. `work` is the cost of the record that it handled before.
    pub(super) fn run_trust(&mut self, work: Option<Work>, core: &mut Core) -> bool {
        let now = self.now(core);
        let Some(running) = &mut self.running else {
            return false;
        };
        let trust = &mut running.trust;
        let effects: Vec<_> = std::iter::from_fn(|| trust.poll_effect(now)).collect();
        if let Some(work) = work {
            let accepts = |effect: &TrustEffect| {
                matches!(
                    effect,
                    TrustEffect::StoreEntry(..) | TrustEffect::StoreChain(..)
                )
            };
            let refusal = effects.iter().find_map(|effect| match effect {
                TrustEffect::Report(TrustEvent::Refused { error, .. }) => Some(error),
                _ => None,
            });
            let result = match refusal {
                Some(UpdateError::Chain(error)) => Err(error.clone()),
                Some(_) => Ok(()),
                None if effects.iter().any(accepts) => Ok(()),
                None => Err(kc_core::chain::ChainError::UnknownRoot),
            };
            core.saw_validation("an update", running.trust.lists(), &result, work);
        }
        let moved = !effects.is_empty();
        for effect in effects {
            self.trust_effect(effect, core);
        }
        moved
    }

    fn trust_effect(&mut self, effect: TrustEffect, core: &mut Core) {
        if self.running.is_none() {
            return;
        }
        match effect {
            TrustEffect::StoreEntry(list, entry) => {
                if self.crashes_here(core) || core.fault(core.plan.faults.store) {
                    return;
                }
                self.disk.add(list, entry);
                self.crashes_here(core);
            }
            TrustEffect::StoreChain(_, chain) => {
                if self.crashes_here(core) || core.fault(core.plan.faults.store) {
                    return;
                }
                self.disk.chain = chain;
                self.crashes_here(core);
            }
            TrustEffect::Verify(message) => {
                let cost = core
                    .dice
                    .time(Duration::from_micros(50), Duration::from_millis(2));
                core.after(cost, Event::Verified(self.life(), message));
            }
            TrustEffect::Report(event) => self.trust_event(event, core),
            _ => {}
        }
    }

    pub(super) fn verified(&mut self, message: &[u8], core: &mut Core) {
        let now = self.now(core);
        if let Some(running) = &mut self.running {
            let verified = running.trust.verify(message);
            running.trust.handle(TrustInput::Verified(&verified), now);
        }
        self.pump(core);
    }

    fn trust_event(&mut self, event: TrustEvent, core: &mut Core) {
        let now = self.now(core);
        let Some(running) = &mut self.running else {
            return;
        };
        let node = self.index;
        match event {
            TrustEvent::Listed { list, key, in_use } => {
                core.note(|| format!("node {node}: {} on {}", key.fingerprint(), list.name()));
                running.trust_changed = true;
                running.note_trust(now);
                if list == TrustList::Deny {
                    if let Some(identity) = core.oracle.identities.get(&key.to_bytes()) {
                        running.denials.insert(*identity, (core.time, in_use));
                    }
                    if in_use {
                        let trust = &running.trust;
                        running.ring.revise(|giver| trust.denies(giver));
                    }
                    self.turn(RatchetInput::Denied { in_use }, core);
                }
            }
            TrustEvent::ChainAdopted { .. } => {
                core.note(|| format!("node {node}: new chain"));
                running.trust_changed = true;
                running.note_trust(now);
            }
            TrustEvent::Denied {
                others_left: false, ..
            } => {
                core.note(|| format!("node {node} knows that it is denied"));
                running.is_denied = true;
            }
            TrustEvent::Refused { error, report, .. } if report.is_some() => {
                core.note(|| format!("node {node} refuses an update: {error}"));
            }
            _ => {}
        }
    }

    // The ratchet.

    fn ratchet_effect(&mut self, effect: RatchetEffect, core: &mut Core) -> Option<RatchetInput> {
        let node = self.index;
        match effect {
            RatchetEffect::Step => {
                if self.crashes_here(core) {
                    return None;
                }
                if core.fault(core.plan.faults.store) {
                    return Some(RatchetInput::Stepped(None));
                }
                let step = self.store_step(core);
                if self.crashes_here(core) {
                    return None;
                }
                Some(RatchetInput::Stepped(step))
            }
            RatchetEffect::Save => {
                if self.crashes_here(core) {
                    return None;
                }
                if core.fault(core.plan.faults.store) {
                    return Some(RatchetInput::Saved(false));
                }
                let ratchet = self.running.as_ref()?.ratchet.as_ref()?;
                self.disk.save(ratchet.retained(), ratchet.used());
                if self.crashes_here(core) {
                    return None;
                }
                Some(RatchetInput::Saved(true))
            }
            RatchetEffect::Seal(keys) => {
                let running = self.running.as_mut()?;
                let step = running.ratchet.as_ref().and_then(Ratchet::used);
                if running.step != step {
                    running.step = step;
                    if let Some(step) = step
                        && !self.disk.history.insert(step)
                    {
                        core.fail(Invariant::StepsAreUsedOnce, || {
                            format!("node {node} seals at step {step} again")
                        });
                    }
                }
                for (root_topic, key) in keys {
                    core.note(|| format!("node {node} seals for {root_topic} with {}", key.id()));
                    if running.consumers.contains_key(&root_topic) {
                        let secret = key.data_key().expose_copy();
                        running.ring.add(&root_topic, key.id(), secret, None);
                    }
                    running.sealing.insert(root_topic, key);
                }
                None
            }
            RatchetEffect::Turned(index) => {
                core.note(|| format!("node {node} turns to step {index}"));
                None
            }
            RatchetEffect::Skipped(index) => {
                core.note(|| format!("node {node} skips step {index}"));
                None
            }
            _ => None,
        }
    }

    /// Takes the next step: its successor is durable before it is used.
    fn store_step(&mut self, core: &mut Core) -> Option<Step> {
        let pending = Seed::decode(&self.disk.seed).ok()?.advance().ok()?;
        if core.dice.chance(0.3) {
            self.disk.old_seed.clone_from(&self.disk.seed);
        }
        self.disk.seed = pending.next().encode().expose().to_vec();
        let (step, _) = pending.stored();
        Some(step)
    }

    // The exchange.

    fn exchange_effect(&mut self, which: Which, effect: Effect, core: &mut Core) {
        let node = self.index;
        match effect {
            Effect::Run(ticket, job) => self.run_job(which, ticket, job, core),
            Effect::Table(change) => self.take_keys(change, core),
            Effect::Settled(position) => {
                let running = self.running.as_mut();
                if !running.is_some_and(|running| running.collector.defers(position)) {
                    self.settled(which, position, core);
                }
            }
            Effect::Report(event) => {
                if let ExchangeEvent::Answered { .. } = event {
                    core.oracle.counts.answered += 1;
                }
                core.note(|| format!("node {node}: {}", describe(&event)));
            }
            _ => {}
        }
        self.crashes_here(core);
    }

    fn take_keys(&mut self, change: KeyTableChange, core: &mut Core) {
        if self.is_custodian() {
            return self.receive(change, core);
        }
        let Some(running) = &mut self.running else {
            return;
        };
        let KeyTableChange {
            root_topic,
            keys,
            giver,
        } = change;
        let ids = keys.iter().map(|(id, _)| *id).collect();
        for (id, secret) in keys {
            core.saw_given(self.identity, secret.expose());
            core.saw_giver(self.identity, secret.expose(), &giver);
            running
                .ring
                .add(&root_topic, id, secret, Some(Arc::clone(&giver)));
        }
        self.open_waiting(&root_topic, Some(&ids), core);
    }

    /// Checks that all state stays within its caps.
    fn look_at_caps(&self, core: &mut Core) {
        let Some(running) = &self.running else {
            return;
        };
        let exchanges = [Some(&running.exchange), running.controller.as_ref()];
        for exchange in exchanges.into_iter().flatten() {
            let wanted = exchange.wanted();
            core.expect_at_most("roots with wanted keys", wanted.len(), MAX_ROOTS);
            for wanted in wanted.values() {
                core.expect_at_most("wanted keys", *wanted, MAX_WANTED_PER_ROOT);
            }
            let most = MAX_OUTSTANDING_PER_ROOT * core.plan.roots.len();
            core.expect_at_most("outstanding requests", exchange.outstanding(), most);
            core.expect_at_most("running jobs", exchange.running(), MAX_TICKETS);
            core.expect_at_most("answered requests", exchange.answered(), MAX_ANSWERED);
        }
        let denied = running.trust.lists().denylist().len();
        let known = core.oracle.identities.len();
        core.expect_at_most("entries of the denylist", denied, known);
        let waiting = running.unsettled.len();
        core.expect_at_most(
            "unsettled records",
            waiting,
            MAX_POLLED * running.sources.len().max(1),
        );
    }
}

impl Running {
    /// Returns the records that an exchange may work on.
    pub(super) fn records(&self) -> impl Iterator<Item = &Unsettled> {
        let deferred = self.deferred.iter().map(|(_, record)| record);
        self.unsettled.values().chain(deferred)
    }

    pub(super) fn records_mut(&mut self) -> impl Iterator<Item = &mut Unsettled> {
        let deferred = self.deferred.iter_mut().map(|(_, record)| record);
        self.unsettled.values_mut().chain(deferred)
    }

    pub(super) fn exchange(&mut self, which: Which) -> Option<&mut Exchange> {
        match which {
            Which::Own => Some(&mut self.exchange),
            Which::Controller => self.controller.as_mut(),
        }
    }

    /// Handles a possible change of the lists since the last input.
    fn note_trust(&mut self, now: Now) {
        if std::mem::take(&mut self.trust_changed) {
            self.exchange.handle(Input::TrustChanged, now);
            if let Some(controller) = &mut self.controller {
                controller.handle(Input::TrustChanged, now);
            }
        }
    }
}

fn describe(event: &ExchangeEvent) -> String {
    match event {
        ExchangeEvent::Requested {
            root_topic,
            ids,
            direct,
        } => {
            format!(
                "asks for {} keys of {root_topic}, direct: {direct}",
                ids.len()
            )
        }
        ExchangeEvent::Received {
            root_topic, ids, ..
        } => format!("gets {ids:?} of {root_topic}"),
        ExchangeEvent::Answered {
            root_topic, ids, ..
        } => format!("gives {} keys of {root_topic}", ids.len()),
        ExchangeEvent::Forwarded {
            root_topic, ids, ..
        } => {
            format!(
                "vouches for a request for {} keys of {root_topic}",
                ids.len()
            )
        }
        ExchangeEvent::Refused {
            root_topic,
            side,
            refusal,
            ..
        } => format!("refuses in {root_topic} {side:?}: {refusal}"),
        ExchangeEvent::Unanswered { root_topic, ids } => {
            format!("{} keys of {root_topic} are unanswered", ids.len())
        }
        ExchangeEvent::NoValidChain { error, .. } => format!("no valid chain: {error}"),
        other => {
            let text = format!("{other:?}");
            text.chars().take(80).collect()
        }
    }
}
