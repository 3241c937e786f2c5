//! Reading of a node: control topics in batches that are committed when they are settled, and data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kc_core::chain::{TrustInput, UnverifiedChain};
use kc_core::exchange::{Input, Position};
use kc_core::message::{Envelope, MAX_CANDIDATES, Opened, Unopened, seal};
use kc_core::ratchet::{Component, OpeningKey, RatchetInput};
use kc_core::types::{KeyId, ManagementTopic, RootTopic, SideTopic};
use kc_core::work::measure;
use rand::seq::SliceRandom;

use super::Invariant;
use super::core::{Core, Event, Which};
use super::network::{DataRecord, MAX_POLLED, Record, Sealed, Topic};
use super::node::{Node, Unsettled};
use super::oracle::turn_time;

/// The number of missing keys that are signalled before all of them are looked at again.
const MAX_SIGNALLED: usize = 1024;
/// The maximum number of records that wait for their keys.
const MAX_WAITING: usize = 4096;
/// The maximum time that records wait for their keys, in worlds that last for weeks.
const MAX_WAIT: Duration = Duration::from_secs(900);
/// The maximum time for which an answer of a custodian may be deferred after the position of its request is settled.
const MAX_DEFERRED: Duration = Duration::from_secs(300);
/// The plaintext of all records.
const PLAINTEXT: &[u8] = b"21.5 degrees";

/// Records that were read together.
pub(super) struct Batch {
    left: usize,
    /// Records that are passed to the controller when the others are settled.
    subscriptions: Vec<(RootTopic, Record)>,
    commits: Vec<(Topic, usize)>,
}

/// The records that a consumer has read of a root topic.
#[derive(Default)]
pub(super) struct Consumer {
    next: usize,
    /// Records that wait for keys, with the time at which they were read.
    waiting: BTreeMap<usize, (Duration, Option<KeyId>)>,
    pub(super) opened: BTreeSet<usize>,
    pub(super) dropped: BTreeSet<usize>,
}

impl Node {
    /// Schedules a poll.
    pub(super) fn poll_soon(&mut self, core: &mut Core) {
        let life = self.life();
        let Some(running) = &mut self.running else {
            return;
        };
        let may_read = running.batch.is_none() || core.plan.reads_lists_apart;
        if may_read && !running.is_polling {
            running.is_polling = true;
            let delay = core.dice.millis(1, 20);
            core.after(delay, Event::Poll(life));
        }
    }

    /// Reads new records and passes them on: management topics first.
    pub(super) fn poll(&mut self, core: &mut Core) {
        let now = self.now(core);
        let life = self.life();
        let Some(running) = &mut self.running else {
            return;
        };
        if core.fault(core.plan.faults.loss / 4.0) {
            return core.after(Duration::from_millis(500), Event::Poll(life));
        }
        running.is_polling = false;
        let only_lists = running.batch.is_some();
        let mut commits = Vec::new();
        let mut management = Vec::new();
        let mut side = Vec::new();
        let mut subscriptions = Vec::new();
        for (topic, position) in &mut running.sources {
            if only_lists && !matches!(topic, Topic::Management(_)) {
                continue;
            }
            let (records, end) = core.net.read(topic, *position, MAX_POLLED);
            if end == *position {
                continue;
            }
            *position = end;
            commits.push((topic.clone(), end));
            match topic {
                Topic::Management(topic) => {
                    management.extend(records.into_iter().map(|record| (*topic, record)));
                }
                Topic::Side(root_topic, SideTopic::Subscriptions) => {
                    subscriptions.extend(
                        records
                            .into_iter()
                            .map(|record| (root_topic.clone(), record)),
                    );
                }
                Topic::Side(root_topic, kind) => {
                    let records = records.into_iter();
                    side.extend(records.map(|record| (root_topic.clone(), *kind, record)));
                }
                Topic::Data(_) => {}
            }
        }
        if commits.is_empty() {
            return;
        }
        if !only_lists {
            running.batch = Some(Batch {
                left: side.len(),
                subscriptions,
                commits,
            });
        }
        for (topic, record) in management {
            let Some(running) = &mut self.running else {
                return;
            };
            if topic == ManagementTopic::Denylist
                && let Ok(chain) = UnverifiedChain::parse(&record.value)
                && let Some(revocation) = chain.self_revocation()
                && running.seen.contains(&revocation.key().to_bytes())
                && revocation.verify().is_ok()
            {
                running.must_deny.insert(revocation.key().clone());
            }
            let input = TrustInput::Record {
                topic,
                kafka_key: &record.key,
                value: &record.value,
            };
            let trust = &mut running.trust;
            let ((), work) = measure(|| trust.handle(input, now));
            self.run_trust(Some(work), core);
        }
        for (root_topic, kind, record) in side {
            self.hand_over(Which::Own, root_topic, kind, record, core);
        }
        self.settle_batch(core);
        self.pump(core);
    }

    fn hand_over(
        &mut self,
        which: Which,
        root_topic: RootTopic,
        side: SideTopic,
        record: Record,
        core: &mut Core,
    ) {
        let Some(running) = &mut self.running else {
            return;
        };
        let position = Position(running.positions);
        running.positions += 1;
        let unsettled = Unsettled {
            value: Arc::clone(&record.value),
            side,
            validated: None,
        };
        running.unsettled.insert((which, position), unsettled);
        let input = Input::Record {
            position,
            root_topic,
            side,
            kafka_key: record.key,
            value: record.value.to_vec(),
        };
        self.input(which, input, core);
    }

    pub(super) fn settled(&mut self, which: Which, position: Position, core: &mut Core) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(record) = running.unsettled.remove(&(which, position)) else {
            return core.fail(Invariant::SettledIsDone, || {
                format!("position {position:?} is settled twice")
            });
        };
        if !self.roles.keeps.is_empty() && record.side == SideTopic::Requests {
            let deferred = &mut running.deferred;
            deferred.retain(|(since, _)| *since + MAX_DEFERRED > core.time);
            deferred.push((core.time, record));
        }
        if let Some(batch) = &mut running.batch {
            batch.left -= 1;
        }
        self.settle_batch(core);
    }

    /// Continues when all of a batch is settled: with the controller's records, then with the next batch.
    fn settle_batch(&mut self, core: &mut Core) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(batch) = &mut running.batch else {
            return;
        };
        if batch.left > 0 {
            return;
        }
        let subscriptions = std::mem::take(&mut batch.subscriptions);
        if !subscriptions.is_empty() {
            batch.left = subscriptions.len();
            for (root_topic, record) in subscriptions {
                let side = SideTopic::Subscriptions;
                self.hand_over(Which::Controller, root_topic, side, record, core);
            }
            return;
        }
        if let Some(batch) = running.batch.take() {
            for (topic, end) in batch.commits {
                if !core.fault(core.plan.faults.loss) {
                    core.net.commit(self.identity, &topic, end);
                }
            }
        }
        let has_more = running
            .sources
            .iter()
            .any(|(topic, position)| core.net.len(topic) > *position);
        if has_more {
            self.poll_soon(core);
        }
    }

    // Data.

    /// Seals a record for each root topic that the node produces for.
    pub(super) fn seal(&mut self, core: &mut Core) {
        for root_topic in self.roles.produces.clone() {
            let Some(running) = &mut self.running else {
                return;
            };
            let Some(key) = running.sealing.get(&root_topic).cloned() else {
                self.turn(RatchetInput::Prepare(root_topic), core);
                continue;
            };
            if running.is_denied {
                continue;
            }
            self.look_at_sealing_key(&root_topic, key.id(), key.data_key().expose(), core);
            let component = if core.dice.chance(0.2) {
                Component::Key
            } else {
                Component::Value
            };
            for _ in 0..core.dice.between(1, 2) {
                let mut envelope = Vec::new();
                if seal(&key, component, PLAINTEXT, &mut envelope).is_ok() {
                    core.saw_sealed(key.data_key().expose(), component, &envelope);
                    let is_read = component == Component::Value;
                    let sealed = Sealed {
                        id: key.id(),
                        secret: *key.data_key().expose(),
                        owner: self.identity,
                        at: core.time,
                    };
                    if is_read && !core.fault(core.plan.faults.loss) {
                        let record = DataRecord {
                            value: envelope.into(),
                            sealed: Some(sealed),
                        };
                        core.net.append_data(&root_topic, record);
                        core.after(
                            Duration::from_millis(2),
                            Event::Appended(Topic::Data(root_topic.clone())),
                        );
                    }
                }
            }
        }
        let life = self.life();
        let delay = core.dice.time(core.plan.seals / 2, core.plan.seals * 2);
        core.after(delay, Event::Seal(life));
        self.pump(core);
    }

    fn look_at_sealing_key(
        &mut self,
        root_topic: &RootTopic,
        id: KeyId,
        secret: &[u8; 32],
        core: &mut Core,
    ) {
        let node = self.index;
        if !self.disk.retains(root_topic, &id) {
            core.fail(Invariant::UsedKeysAreKept, || {
                format!("node {node} seals for {root_topic} with {id}, which no disk keeps")
            });
        }
        let Some(running) = &self.running else {
            return;
        };
        // Copies use the same steps, and one of them may not have learnt of a denial yet.
        if core.oracle.copied.contains(&self.identity) {
            return;
        }
        for (reader, (at, in_use)) in &running.denials {
            let given = core.oracle.given.get(reader);
            let given_at = given.and_then(|given| given.get(secret));
            // A later secret was given because a controller that had not learnt of the denial vouched for it.
            let reads = given_at.is_some_and(|given_at| given_at <= at);
            if reads && core.time > *at + turn_time(*in_use) {
                core.fail(Invariant::DeniedReadersGetNothing, || {
                    format!("node {node} still seals with {id} of {root_topic}, which {reader} has")
                });
                return;
            }
        }
    }

    pub(super) fn consume_all(&mut self, core: &mut Core) {
        for root_topic in self.roles.consumes.clone() {
            self.consume(&root_topic, core);
        }
    }

    /// Reads new data.
    pub(super) fn consume(&mut self, root_topic: &RootTopic, core: &mut Core) {
        loop {
            let Some(running) = &mut self.running else {
                return;
            };
            let Some(consumer) = running.consumers.get_mut(root_topic) else {
                return;
            };
            if consumer.next >= core.net.data(root_topic).len()
                || consumer.waiting.len() >= MAX_WAITING
            {
                return;
            }
            let offset = consumer.next;
            consumer.next += 1;
            let record = core.net.data(root_topic).get(offset);
            let envelope = record.map(|record| Envelope::parse(&record.value));
            let id = envelope.and_then(|envelope| Some(envelope.ok()?.key_id));
            consumer.waiting.insert(offset, (core.time, id));
            self.open(root_topic, offset, core);
        }
    }

    /// Retries records that wait for these keys, or for any.
    pub(super) fn open_waiting(
        &mut self,
        root_topic: &RootTopic,
        ids: Option<&BTreeSet<KeyId>>,
        core: &mut Core,
    ) {
        let Some(running) = &self.running else {
            return;
        };
        let Some(consumer) = running.consumers.get(root_topic) else {
            return;
        };
        let mut waiting: Vec<_> = consumer
            .waiting
            .iter()
            .filter(|(_, (_, id))| match (ids, id) {
                (Some(ids), Some(id)) => ids.contains(id),
                _ => ids.is_none(),
            })
            .map(|(offset, _)| *offset)
            .collect();
        // Partitions have no order.
        waiting.shuffle(&mut core.dice.0);
        for offset in waiting {
            self.open(root_topic, offset, core);
        }
    }

    /// Signals missing keys again.
    pub(super) fn resignal(&mut self, core: &mut Core) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.signalled.clear();
        if core.plan.is_long && !core.is_healed {
            // Records that do not open in time are skipped.
            for consumer in running.consumers.values_mut() {
                let waiting = &mut consumer.waiting;
                let late = |since: &Duration| *since + MAX_WAIT < core.time;
                let passed = waiting.iter().filter(|(_, (since, _))| late(since));
                consumer.dropped.extend(passed.map(|(offset, _)| *offset));
                waiting.retain(|_, (since, _)| !late(since));
            }
        }
        for root_topic in self.roles.consumes.clone() {
            self.open_waiting(&root_topic, None, core);
            self.consume(&root_topic, core);
        }
        let delay = if core.is_healed {
            Duration::from_secs(5)
        } else {
            core.plan.resignals
        };
        core.after(delay, Event::Resignal(self.life()));
        self.pump(core);
    }

    fn open(&mut self, root_topic: &RootTopic, offset: usize, core: &mut Core) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(record) = core.net.data(root_topic).get(offset) else {
            return;
        };
        let opened = running
            .ring
            .open(root_topic.as_str(), Component::Value, &record.value);
        let sealed = record.sealed;
        match opened {
            Opened::Plaintext(plaintext) => {
                if let Some(consumer) = running.consumers.get_mut(root_topic) {
                    consumer.waiting.remove(&offset);
                    consumer.opened.insert(offset);
                }
                core.oracle.counts.opened += 1;
                self.look_at_opened(sealed, &plaintext, core);
            }
            Opened::Unopened(Unopened::Foreign(_)) => {
                if let Some(consumer) = running.consumers.get_mut(root_topic) {
                    consumer.waiting.remove(&offset);
                }
            }
            Opened::Unopened(Unopened::AwaitingKey(id) | Unopened::Unauthentic(id)) => {
                self.signal(root_topic, id, core);
            }
        }
    }

    fn signal(&mut self, root_topic: &RootTopic, id: KeyId, core: &mut Core) {
        let Some(running) = &mut self.running else {
            return;
        };
        let signal = (root_topic.clone(), id);
        if running.signalled.contains(&signal) || running.signalled.len() >= MAX_SIGNALLED {
            return;
        }
        running.signalled.insert(signal);
        let known = running.ring.known(root_topic.as_str(), &id).cloned();
        let known = known.unwrap_or_default();
        if known.len() < MAX_CANDIDATES || !known.iter().all(OpeningKey::is_proven) {
            let root_topic = root_topic.clone();
            self.input(
                Which::Own,
                Input::Want {
                    root_topic,
                    id,
                    known,
                },
                core,
            );
        }
    }

    fn look_at_opened(&mut self, sealed: Option<Sealed>, plaintext: &[u8], core: &mut Core) {
        let node = self.index;
        let Some(running) = &self.running else {
            return;
        };
        let Some(Sealed {
            owner, id, secret, ..
        }) = sealed
        else {
            // A hostile producer may seal anything with a key that it gave.
            return;
        };
        if plaintext != PLAINTEXT {
            core.fail(Invariant::AllowedConsumersRead, || {
                format!("node {node} reads something else than what {owner} wrote")
            });
        }
        let path = core.oracle.paths.get(&owner).cloned().unwrap_or_default();
        // A custodian that has not learnt of the denial may still give keys of the producer.
        let given = &core.oracle.given_by_custodians;
        if running.denials.contains_key(&owner)
            && running.trust.denies(&path)
            && owner != self.identity
            && !given.contains(&(self.identity, secret))
        {
            core.fail(Invariant::DeniedGiversOpenNothing, || {
                format!("node {node} opens with {id} of {owner}, which is denied")
            });
        }
    }
}
