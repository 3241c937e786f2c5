//! Runs a world: its nodes, its faults, and the checks at the end.

mod checks;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use kc_core::chain::{Identity, MaxAge, TrustEntry, TrustList, TrustStore, Usage};
use kc_core::chain_server::{ChainKey, RenewalPolicy};
use kc_core::keys::{KeyType, Signer};
use kc_core::provision::{compose_update, self_revocation};
use kc_core::sabotage::Rule;
use kc_core::types::{ManagementTopic, RootTopic, SideTopic};

use super::adversary::Adversary;
use super::authority::{Certified, Grant, entry, far, generate, root};
use super::core::{Core, Dice, Event};
use super::disk::Disk;
use super::network::Topic;
use super::node::{Node, Roles};
use super::plan::{DAY, Plan};
use super::{Counts, Failed, Invariant, Outcome};

/// The time after the network has healed within which all must be read.
const LIVENESS: Duration = Duration::from_secs(90);
/// The further time that a world with custodians has: keys that were kept before it must be read by its end.
const CUSTODY_LIVENESS: Duration = Duration::from_secs(90);
/// The number of events after which a simulation counts as endless.
const MAX_EVENTS: u64 = 1_000_000;

/// The kind of worlds to simulate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Uses hybrid signing keys and ML-KEM, which are slow.
    pub hybrid: bool,
    /// A rule that the code breaks, to check that the simulator detects it; only with the feature `sabotage`.
    pub broken: Option<Rule>,
}

/// Simulates the world of a seed.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    simulate(seed, options, false)
}

/// Simulates the world of a seed again, with a trace of its steps.
#[must_use]
pub fn replay(seed: u64, options: Options) -> Outcome {
    simulate(seed, options, true)
}

fn simulate(seed: u64, options: Options, is_traced: bool) -> Outcome {
    #[cfg(feature = "sabotage")]
    kc_core::sabotage::break_rule(options.broken);
    let simulated = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, options, is_traced);
        world.run();
        let counts = Counts {
            seconds: world.core.time.as_secs(),
            ..world.core.oracle.counts
        };
        (world.core.into_failed(), counts)
    }));
    let (failed, counts) = simulated.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let failed = Failed {
            invariant: Invariant::NothingPanics,
            what: text.unwrap_or_default(),
            time: Duration::ZERO,
            trace: Vec::new(),
        };
        (Some(failed), Counts::default())
    });
    Outcome {
        seed,
        failed,
        counts,
    }
}

/// A list update that an administrator publishes.
struct Update {
    topic: Topic,
    key: Vec<u8>,
    value: Arc<[u8]>,
    /// The identity whose key a root of trust denies by it.
    denies: Option<usize>,
    /// The identity during whose answer it is published.
    ambushes: Option<usize>,
}

/// A chain server.
struct Server {
    own: Certified,
    identity: Identity,
    keys: Vec<ChainKey>,
    policy: RenewalPolicy,
}

struct World {
    core: Core,
    nodes: Vec<Node>,
    updates: Vec<Update>,
    server: Option<Server>,
    trust: TrustStore,
    /// The lengths of the topics with replies when the network healed.
    replies: BTreeMap<RootTopic, usize>,
}

impl World {
    fn new(seed: u64, options: Options, is_traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut plan = Plan::draw(&mut dice, options.hybrid);
        plan.add_custodians(&mut Dice::new(!seed));
        let mut core = Core::new(dice, plan, is_traced);
        core.note(|| format!("seed {seed}"));
        let hybrid = core.plan.is_hybrid;
        let root_type = if hybrid {
            KeyType::Hybrid
        } else {
            KeyType::Ed25519
        };
        let roots: Vec<_> = [root_type, KeyType::Ed25519, KeyType::Ed25519]
            .iter()
            .map(|key_type| root(generate(*key_type, &mut core.dice)))
            .collect();
        let mut world = Self {
            trust: TrustStore::default(),
            nodes: Vec::new(),
            updates: Vec::new(),
            server: None,
            replies: BTreeMap::new(),
            core,
        };
        world.populate(&roots);
        world
    }

    /// Makes all nodes, and plans their events.
    fn populate(&mut self, roots: &[Certified]) {
        let [first, second, third] = roots else {
            return;
        };
        let listed = vec![entry(first), entry(second)];
        self.trust = TrustStore::new(Some(listed.clone()), Vec::new());
        if self.core.plan.has_chain_server {
            self.make_server(first);
        }
        let plan = self.core.plan.clone();
        let later = plan.changes_trust && self.core.dice.chance(0.5);
        for number in 0..plan.producers + plan.consumers + plan.limited {
            let mut roles = Roles::default();
            let mut usages = Vec::new();
            let is_producer = number < plan.producers;
            if is_producer {
                roles.produces = self.some_roots();
                usages.push(Usage::Encrypt);
            }
            if !is_producer || self.core.dice.chance(0.15) {
                roles.consumes = self.some_roots();
                usages.push(Usage::EncryptSubscribe);
                if number < plan.producers + plan.consumers {
                    usages.push(Usage::EncryptRequest);
                }
            }
            let issuer = match self.core.dice.below(4) {
                0 => second,
                1 if later => third,
                _ => first,
            };
            self.add_node(roles, &usages, issuer, &listed);
        }
        if plan.limited > 0 {
            let roles = Roles {
                controls: plan.roots.clone(),
                ..Roles::default()
            };
            let usages = [Usage::EncryptRequest, Usage::EncryptSubscribe];
            self.add_node(roles, &usages, first, &listed);
        }
        self.add_custodians(first, &listed);
        self.add_hostile(first);
        self.plan_updates(first, third, later);
        let heals = self.core.plan.heals;
        self.core.after(heals, Event::Heal);
        let extra = if plan.custodians > 0 {
            CUSTODY_LIVENESS
        } else {
            Duration::ZERO
        };
        self.core.after(heals + LIVENESS + extra, Event::Check);
        self.core.after(plan.faults.every, Event::Fault);
        if self.server.is_some() {
            self.core.after(Duration::from_secs(1), Event::Renew);
        }
        if self.core.adversary.is_some() {
            self.core.after(Duration::from_secs(3), Event::Act);
        }
    }

    /// Makes custodians, and lets a producer leave and a consumer come late.
    fn add_custodians(&mut self, issuer: &Certified, listed: &[TrustEntry]) {
        let plan = self.core.plan.clone();
        for _ in 0..plan.custodians {
            let roles = Roles {
                keeps: plan.roots.clone(),
                ..Roles::default()
            };
            let usages = [Usage::Encrypt, Usage::EncryptRequest];
            self.core.oracle.custodians.insert(self.nodes.len());
            self.add_node(roles, &usages, issuer, listed);
        }
        if plan.has_departure {
            let producer = self.core.dice.below(plan.producers);
            let latest = plan.heals + CUSTODY_LIVENESS / 2;
            let time = self.core.dice.time(plan.heals / 3, latest);
            self.core.after(time, Event::Depart(producer));
        }
        if plan.has_latecomer {
            let consumer = plan.producers + self.core.dice.below(plan.consumers);
            if let Some(node) = self.nodes.get_mut(consumer) {
                node.is_away = true;
            }
            let time = self.core.dice.time(Duration::ZERO, CUSTODY_LIVENESS / 2);
            self.core.after(plan.heals + time, Event::Arrive(consumer));
        }
    }

    fn some_roots(&mut self) -> Vec<RootTopic> {
        let roots = self.core.plan.roots.clone();
        let mut some: Vec<_> = roots
            .iter()
            .filter(|_| self.core.dice.chance(0.7))
            .cloned()
            .collect();
        if some.is_empty() {
            some.extend(roots.first().cloned());
        }
        some
    }

    fn make_server(&mut self, issuer: &Certified) {
        let key = generate(KeyType::Ed25519, &mut self.core.dice);
        let grant = Grant {
            usages: &[
                Usage::Encrypt,
                Usage::EncryptRequest,
                Usage::EncryptSubscribe,
            ],
            topics: None,
            path_length: 2,
            until: far(self.core.wall()),
        };
        let own = issuer.certify(&key, &grant, &mut self.core.dice);
        let identity = Identity::new(key.verifying_key().clone(), Some(own.chain.clone()));
        self.server = Some(Server {
            own,
            identity,
            keys: Vec::new(),
            policy: RenewalPolicy::default(),
        });
    }

    fn add_node(
        &mut self,
        roles: Roles,
        usages: &[Usage],
        issuer: &Certified,
        listed: &[TrustEntry],
    ) {
        let index = self.nodes.len();
        let plan = &self.core.plan;
        // Some have a hybrid key.
        let key_type = if plan.is_hybrid && index == 0 {
            KeyType::Hybrid
        } else {
            KeyType::Ed25519
        };
        let now = self.core.wall();
        let is_served = self.server.is_some() && self.core.dice.chance(0.6);
        let key = generate(key_type, &mut self.core.dice);
        let topics = [
            &roles.produces[..],
            &roles.consumes,
            &roles.controls,
            &roles.keeps,
        ]
        .concat();
        let grant = Grant {
            usages,
            topics: self.core.dice.chance(0.5).then_some(&topics[..]),
            path_length: 1,
            until: if is_served {
                now.plus(DAY * 7)
            } else {
                far(now)
            },
        };
        let own = match &mut self.server {
            Some(server) if is_served => {
                server.keys.push(ChainKey::due_at(
                    grant.until,
                    key.verifying_key(),
                    &grant.constraints(),
                ));
                server.own.certify(&key, &grant, &mut self.core.dice)
            }
            _ => issuer.certify(&key, &grant, &mut self.core.dice),
        };
        let oracle = &mut self.core.oracle;
        let public = key.verifying_key().to_bytes();
        oracle.identities.insert(public, index);
        oracle.paths.insert(index, own.path.clone());
        let disk = Disk::new(listed.to_vec(), own.chain.clone(), &mut self.core.dice);
        self.nodes.push(Node::new((index, index), roles, own, disk));
        let delay = self.core.dice.millis(1, 3000);
        self.core.after(delay, Event::Start(index));
    }

    fn add_hostile(&mut self, issuer: &Certified) {
        let hostile = self.core.plan.hostile;
        let dice = &mut self.core.dice;
        let mut adversary = Adversary::new(self.trust.clone(), dice);
        let until = far(self.core.wall());
        let dice = &mut self.core.dice;
        let mut certify = |usages: &[Usage]| {
            let key = generate(KeyType::Ed25519, dice);
            let grant = Grant {
                usages,
                topics: None,
                path_length: 1,
                until,
            };
            issuer.certify(&key, &grant, dice)
        };
        for _ in 0..hostile.producers {
            adversary.producers.push(certify(&[Usage::Encrypt]));
        }
        if hostile.consumer {
            adversary.consumer = Some(certify(&[Usage::EncryptRequest]));
        }
        let keys = self.nodes.iter();
        adversary.victims = keys
            .map(|node| node.own.key.verifying_key().to_bytes())
            .collect();
        if !self.core.plan.is_long {
            self.core.adversary = Some(adversary);
        }
    }

    /// Plans the administrator's updates.
    fn plan_updates(&mut self, first: &Certified, third: &Certified, later: bool) {
        if !self.core.plan.changes_trust {
            return;
        }
        if later {
            let new = entry(third);
            self.plan_update(TrustList::Allow, &new, first, None);
        }
        if self.core.dice.chance(0.6) {
            let denied = self.core.dice.below(self.nodes.len());
            let key = self.nodes.get(denied).map(|node| Arc::clone(&node.own.key));
            if let Some(key) = key {
                let new = TrustEntry::unrestricted(key.verifying_key());
                self.plan_update(TrustList::Deny, &new, first, Some(denied));
                self.denied(denied);
            }
        }
        let likely = if self.core.plan.hostile.revokes {
            0.9
        } else {
            0.4
        };
        if self.core.dice.chance(likely) {
            let denied = self.core.dice.below(self.nodes.len());
            let key = self.nodes.get(denied).map(|node| Arc::clone(&node.own.key));
            if let Some(key) = key
                && let Ok(message) = self_revocation(&*key, &mut self.core.dice.0)
            {
                let topic = Topic::Management(ManagementTopic::Denylist);
                let public = key.verifying_key().to_bytes();
                self.schedule_update(topic, public, message, None);
                self.denied(denied);
            }
        }
    }

    /// Lets some denied nodes ignore lists, and lets some be denied while they are answered.
    fn denied(&mut self, denied: usize) {
        let is_deaf = self.core.dice.chance(0.5);
        let is_ambush = self.core.dice.chance(0.7);
        if let Some(node) = self.nodes.get_mut(denied) {
            node.is_deaf |= is_deaf;
        }
        if let Some(update) = self.updates.last_mut() {
            update.ambushes = is_ambush.then_some(denied);
        }
    }

    fn plan_update(
        &mut self,
        list: TrustList,
        new: &TrustEntry,
        by: &Certified,
        denies: Option<usize>,
    ) {
        let signer = (&*by.key as &dyn Signer, None);
        let until = MaxAge::until(far(self.core.wall()));
        let Ok(message) = compose_update(list, new, until, signer, &mut self.core.dice.0) else {
            return;
        };
        let key = new.key().map(|key| key.to_bytes()).unwrap_or_default();
        let topic = Topic::Management(list.topic());
        self.schedule_update(topic, key, message, denies);
    }

    fn schedule_update(
        &mut self,
        topic: Topic,
        key: Vec<u8>,
        message: Vec<u8>,
        denies: Option<usize>,
    ) {
        self.updates.push(Update {
            topic,
            key,
            value: message.into(),
            denies,
            ambushes: None,
        });
        let heals = self.core.plan.heals;
        let delay = self.core.dice.time(heals / 10, heals);
        let number = self.updates.len() - 1;
        self.core.after(delay, Event::Administer(number));
    }

    fn run(&mut self) {
        while !self.core.has_failed()
            && let Some(event) = self.core.next()
        {
            self.core.oracle.counts.events += 1;
            if self.core.oracle.counts.events > MAX_EVENTS {
                self.core.fail(Invariant::MachinesRest, || {
                    format!("{MAX_EVENTS} events and no end")
                });
            }
            if matches!(event, Event::Check) {
                return self.check();
            }
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        let core = &mut self.core;
        let life = match &event {
            Event::Work(life, ..)
            | Event::Done(life, ..)
            | Event::Verified(life, _)
            | Event::Wake(life)
            | Event::Poll(life)
            | Event::Seal(life)
            | Event::Resignal(life)
            | Event::Collect(life) => Some(*life),
            _ => None,
        };
        if let Some(life) = life {
            let Some(node) = self.nodes.get_mut(life.node) else {
                return;
            };
            if node.run != life.run || node.running.is_none() {
                return;
            }
            match event {
                Event::Work(_, which, ticket, job) => node.work(which, ticket, *job, core),
                Event::Done(_, which, ticket, result) => node.done(which, ticket, *result, core),
                Event::Verified(_, message) => node.verified(&message, core),
                Event::Wake(_) => node.wake(core),
                Event::Poll(_) => node.poll(core),
                Event::Seal(_) => node.seal(core),
                Event::Resignal(_) => node.resignal(core),
                Event::Collect(_) => node.collect(core),
                _ => {}
            }
            return;
        }
        match event {
            Event::Append(topic, key, value) => core.append(&topic, &key, &value),
            Event::Appended(topic) => self.appended(&topic),
            Event::Start(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.start(core);
                }
            }
            Event::Depart(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.depart(core);
                }
            }
            Event::Arrive(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.is_away = false;
                    node.start(core);
                }
            }
            Event::Fault => self.fault(),
            Event::Act => core.act(),
            Event::Administer(number) => self.administer(number),
            Event::Renew => self.renew(),
            Event::Heal => self.heal(),
            _ => {}
        }
    }

    fn appended(&mut self, topic: &Topic) {
        for node in &mut self.nodes {
            let Some(running) = &node.running else {
                continue;
            };
            if let Topic::Data(root_topic) = topic {
                if running.consumers.contains_key(root_topic) {
                    node.consume(root_topic, &mut self.core);
                    node.pump(&mut self.core);
                }
                if node.roles.keeps.contains(root_topic) {
                    node.sight(root_topic, &mut self.core);
                }
            } else if running.sources.contains_key(topic) {
                node.poll_soon(&mut self.core);
            }
        }
    }

    /// Causes a fault.
    fn fault(&mut self) {
        if self.core.is_healed {
            return;
        }
        let every = self.core.plan.faults.every;
        let delay = self.core.dice.time(every / 4, every * 2);
        self.core.after(delay, Event::Fault);
        let victim = self.core.dice.below(self.nodes.len());
        let Some(node) = self.nodes.get_mut(victim) else {
            return;
        };
        match self.core.dice.below(6) {
            0 => {
                let jump = self.core.dice.between(0, 7200) as f64 - 3600.0;
                self.core
                    .note(|| format!("clock of node {victim} is off by {jump} s"));
                node.wall_offset = jump;
            }
            1 if self.core.plan.faults.crash > 0.0 => node.crash(&mut self.core),
            2 => {
                let topics = self.core.net.topics();
                if let Some(topic) = self.core.dice.pick(&topics) {
                    self.core.net.compact(topic);
                }
            }
            3 if self.core.plan.restores_seeds && self.core.plan.faults.crash > 0.0 => {
                node.crash(&mut self.core);
                node.disk.seed.clone_from(&node.disk.old_seed);
                self.core
                    .note(|| format!("an old seed is put back at node {victim}"));
            }
            4 if self.core.plan.has_copies => self.copy(victim),
            _ => {}
        }
    }

    /// Starts a copy of a node.
    fn copy(&mut self, original: usize) {
        let index = self.nodes.len();
        let copies = self.nodes.iter().filter(|node| node.identity != node.index);
        if copies.count() >= 2 {
            return;
        }
        // Two copies of a custodian would share the positions in the topics with replies.
        let node = self.nodes.get(original);
        let Some(node) = node.filter(|node| !node.is_custodian()) else {
            return;
        };
        self.core
            .note(|| format!("node {index} is a copy of node {original}"));
        self.core.oracle.copied.insert(node.identity);
        let names = (index, node.identity);
        let mut copy = Node::new(
            names,
            node.roles.clone(),
            node.own.clone(),
            node.disk.clone(),
        );
        copy.is_deaf = node.is_deaf;
        self.nodes.push(copy);
        self.core
            .after(Duration::from_millis(5), Event::Start(index));
    }

    /// Publishes an update, and again when the network has healed.
    fn administer(&mut self, number: usize) {
        let Some(update) = self.updates.get_mut(number) else {
            return;
        };
        if let Some(denied) = update.ambushes.take() {
            self.core.oracle.ambushes.insert(denied, number);
            return;
        }
        self.core
            .note(|| format!("update {number} of {:?}", update.topic));
        let (topic, key, value) = (&update.topic, &update.key, &update.value);
        self.core.before_append(topic, key, value);
        self.core.send(topic, key, value);
    }

    /// Renews chains that are about to expire.
    fn renew(&mut self) {
        let now = self.core.wall();
        let Some(server) = &mut self.server else {
            return;
        };
        self.core.after(DAY / 8, Event::Renew);
        let Ok(own) = server.identity.validated(&self.trust, now) else {
            return;
        };
        let topic = Topic::Management(ManagementTopic::Chains);
        for key in &mut server.keys {
            let Some(renewal) = server.policy.renew(key, std::slice::from_ref(&own), now) else {
                continue;
            };
            let signed = renewal
                .to_be_signed
                .sign(&*server.own.key, &mut self.core.dice.0);
            let public = key.key().to_bytes();
            if let Ok(chain) = signed
                && self.core.send(&topic, &public, &chain)
            {
                *key = renewal.renewed;
            }
        }
    }

    /// Ends all faults except the actions of hostile nodes.
    fn heal(&mut self) {
        self.core.is_healed = true;
        self.core.note(|| "the network heals".to_owned());
        for node in &mut self.nodes {
            node.wall_offset = (node.index % 3) as f64 - 1.0;
            if node.running.is_none() {
                self.core
                    .after(Duration::from_millis(500), Event::Start(node.index));
            }
            let life = node.life();
            self.core
                .after(Duration::from_millis(700), Event::Resignal(life));
            node.plan_round(Duration::from_millis(700), &mut self.core);
        }
        for root_topic in &self.core.plan.roots {
            let topic = Topic::Side(root_topic.clone(), SideTopic::Keys);
            let len = self.core.net.len(&topic);
            self.replies.insert(root_topic.clone(), len);
        }
        for number in 0..self.updates.len() {
            if let Some(update) = self.updates.get_mut(number) {
                update.ambushes = None;
            }
            self.administer(number);
        }
        if self.core.plan.is_long {
            self.core.plan.seals = Duration::from_secs(20);
        }
    }
}
