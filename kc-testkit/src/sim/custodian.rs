//! A custodian: what it keeps on its disk, and how it collects keys.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kc_core::custody::{CustodySecrets, Day, MAX_OFFERS, MAX_PENDING_PER_ROOT};
use kc_core::exchange::{Input, KeyTableChange, Position, RequestSeed};
use kc_core::message::{Envelope, is_authentic};
use kc_core::ratchet::{Candidates, Component, DataKey, Giver};
use kc_core::secret::Secret;
use kc_core::types::{KeyId, Now, RootTopic};

use super::core::{Core, Dice, Event, Which};
use super::network::{MAX_POLLED, Sealed};
use super::node::Node;
use super::oracle::SecretBytes;
use super::plan::DAY;

/// The time for which an incomplete answer waits.
const WAIT: Duration = Duration::from_secs(1);
/// The time between two rounds of requests.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// The maximum number of ids of one root topic that are wanted in a round.
const MAX_ASKED: usize = 120;
/// The maximum number of likely ids among them.
const MAX_LIKELY: usize = MAX_ASKED * 3 / 4;
/// The maximum number of records of one id that are remembered to prove keys.
const MAX_SAMPLES: usize = 4;
/// The number of request seeds that are kept.
const MAX_SEEDS: usize = 2;

/// A root topic and the id of one of its keys.
type Id = (RootTopic, KeyId);

/// What a custodian keeps durably.
#[derive(Clone, Default)]
pub(super) struct Custody {
    kept: BTreeMap<Id, Kept>,
    pending: BTreeMap<Id, Pending>,
    /// The last pending ids that were asked for: of the likely ones, and of the others.
    asked: BTreeMap<(RootTopic, bool), KeyId>,
    sighted: u64,
    /// The encoded secrets, of which only the request seeds are used.
    secrets: Vec<u8>,
    /// The number of records of each root topic that were noted.
    read: BTreeMap<RootTopic, usize>,
}

/// A key that a record has proven.
#[derive(Clone)]
pub(super) struct Kept {
    secret: SecretBytes,
    pub(super) giver: Giver,
    pub(super) at: Duration,
}

/// An id whose key is not kept yet.
#[derive(Clone)]
struct Pending {
    /// The number of the first sighting.
    first: u64,
    is_likely: bool,
    /// The offset of a record that needs the key.
    place: usize,
    offers: VecDeque<(SecretBytes, Giver)>,
}

impl Custody {
    /// Notes that a record needs a key. Returns whether its id is pending now.
    fn note(&mut self, id: &Id, place: usize) -> bool {
        if self.kept.contains_key(id) {
            return false;
        }
        if let Some(pending) = self.pending.get_mut(id) {
            // A record that is read again is no further record.
            pending.is_likely |= place > pending.place;
            pending.place = pending.place.max(place);
            return true;
        }
        let of_root = self.pending.iter().filter(|((root, _), _)| *root == id.0);
        if of_root.clone().count() >= MAX_PENDING_PER_ROOT {
            let oldest = of_root.min_by_key(|(_, pending)| (pending.is_likely, pending.first));
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.pending.remove(&oldest);
            }
        }
        let pending = Pending {
            first: self.sighted,
            is_likely: false,
            place,
            offers: VecDeque::new(),
        };
        self.sighted += 1;
        self.pending.insert(id.clone(), pending);
        true
    }

    /// Returns the next ids to ask for, likely ids first. Calls go round.
    fn next_pending(&mut self, root_topic: &RootTopic) -> Vec<KeyId> {
        let mut next = Vec::new();
        for is_likely in [true, false] {
            let pending = self.pending.iter();
            let pending = pending.filter(|((root, _), pending)| {
                root == root_topic && pending.is_likely == is_likely
            });
            let ids: Vec<_> = pending.map(|((_, id), _)| *id).collect();
            let cursor = (root_topic.clone(), is_likely);
            let last = self.asked.get(&cursor);
            let start = ids.partition_point(|id| last.is_some_and(|last| id <= last));
            let (before, after) = ids.split_at(start);
            // Likely ids whose keys do not exist must not hold up the others for good.
            let most = if is_likely { MAX_LIKELY } else { MAX_ASKED };
            let room = most - next.len();
            next.extend(after.iter().chain(before).take(room));
            if room > 0
                && !ids.is_empty()
                && let Some(last) = next.last()
            {
                self.asked.insert(cursor, *last);
            }
        }
        next
    }

    /// Stores a key that a node sent. A key displaces the offer of the same node, or else the oldest one.
    fn offer(&mut self, id: &Id, secret: SecretBytes, giver: &Giver) {
        let Some(Pending { offers, .. }) = self.pending.get_mut(id) else {
            return;
        };
        if offers.iter().any(|(offered, _)| *offered == secret) {
            return;
        }
        offers.retain(|(_, other)| other.last() != giver.last());
        if offers.len() >= MAX_OFFERS {
            offers.pop_front();
        }
        offers.push_back((secret, Arc::clone(giver)));
    }

    /// Returns the ids with offers.
    fn unproven(&self, root_topic: &RootTopic) -> Vec<Id> {
        let pending = self.pending.iter();
        let offered =
            pending.filter(|(id, pending)| id.0 == *root_topic && !pending.offers.is_empty());
        offered.map(|(id, _)| id.clone()).collect()
    }

    fn keep(&mut self, id: &Id, secret: SecretBytes, giver: Giver, at: Duration) {
        self.pending.remove(id);
        self.kept.insert(id.clone(), Kept { secret, giver, at });
    }

    /// Returns the kept key of a record; `None` if another key or no key with its id is kept.
    pub(super) fn kept(&self, root_topic: &RootTopic, sealed: &Sealed) -> Option<&Kept> {
        let kept = self.kept.get(&(root_topic.clone(), sealed.id))?;
        (kept.secret == sealed.secret).then_some(kept)
    }

    pub(super) fn has_kept(&self, root_topic: &RootTopic, id: &KeyId) -> bool {
        self.kept.contains_key(&(root_topic.clone(), *id))
    }

    /// Describes what is known of a key that is not kept.
    pub(super) fn describe(&self, root_topic: &RootTopic, id: &KeyId) -> String {
        match self.pending.get(&(root_topic.clone(), *id)) {
            None => "not pending".to_owned(),
            Some(pending) => {
                let (likely, offers) = (pending.is_likely, pending.offers.len());
                format!("pending, likely: {likely}, {offers} offers")
            }
        }
    }

    fn secrets(&self) -> CustodySecrets {
        CustodySecrets::decode(&self.secrets.clone().into()).unwrap_or_default()
    }

    pub(super) fn seeds(&self) -> Vec<RequestSeed> {
        self.secrets().seeds()
    }

    /// Returns whether the first seed is of this day.
    fn has_seed_of(&self, today: Day, dice: &mut Dice) -> bool {
        !self.secrets().renew_seeds(today, &mut dice.0)
    }

    fn renew_seeds(&mut self, today: Day, dice: &mut Dice) {
        let mut secrets = self.secrets();
        secrets.renew_seeds(today, &mut dice.0);
        self.secrets = secrets.encode().expose().to_vec();
    }

    fn look_at_caps(&self, core: &mut Core) {
        let mut of_root: BTreeMap<&RootTopic, usize> = BTreeMap::new();
        for ((root_topic, _), pending) in &self.pending {
            *of_root.entry(root_topic).or_default() += 1;
            core.expect_at_most("offered keys", pending.offers.len(), MAX_OFFERS);
        }
        for pending in of_root.into_values() {
            core.expect_at_most("pending ids", pending, MAX_PENDING_PER_ROOT);
        }
        core.expect_at_most("request seeds", self.seeds().len(), MAX_SEEDS);
    }
}

/// What a custodian loses in a crash.
#[derive(Default)]
pub(super) struct Collector {
    /// The number of records of each root topic that were read.
    read: BTreeMap<RootTopic, usize>,
    /// The offsets of records of pending ids.
    samples: BTreeMap<Id, Vec<usize>>,
    /// Received keys that are not stored yet, with the position of their reply once the exchange has settled it.
    unstored: VecDeque<(KeyTableChange, Option<Position>)>,
    /// The day of the seeds that the exchange has.
    day: Option<Day>,
    rounds_at: Option<Duration>,
}

impl Collector {
    pub(super) fn new(custody: &Custody) -> Self {
        Self {
            read: custody.read.clone(),
            ..Self::default()
        }
    }

    /// Defers a settlement until the keys of the reply are stored. Returns whether it is deferred.
    pub(super) fn defers(&mut self, position: Position) -> bool {
        // The exchange settles a reply directly after it has given its keys.
        let last = self.unstored.back_mut();
        let is_last = last.filter(|(_, settled)| settled.is_none());
        is_last
            .map(|(_, settled)| *settled = Some(position))
            .is_some()
    }
}

impl Node {
    pub(super) fn is_custodian(&self) -> bool {
        !self.roles.keeps.is_empty()
    }

    /// Returns the kept keys with these ids, without those of denied givers.
    pub(super) fn kept_keys(&self, root_topic: &RootTopic, ids: &[KeyId]) -> Vec<(KeyId, DataKey)> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        let kept = ids.iter().filter_map(|id| {
            let kept = self.disk.custody.kept.get(&(root_topic.clone(), *id))?;
            let is_denied = running.trust.denies(&kept.giver);
            (!is_denied).then(|| (*id, secret_of(&kept.secret)))
        });
        kept.collect()
    }

    /// Schedules the next round, unless an earlier one is planned.
    pub(super) fn plan_round(&mut self, delay: Duration, core: &mut Core) {
        let life = self.life();
        let at = core.time + delay;
        let Some(running) = self
            .running
            .as_mut()
            .filter(|_| !self.roles.keeps.is_empty())
        else {
            return;
        };
        let planned = &mut running.collector.rounds_at;
        if planned.is_none_or(|planned| at < planned) {
            *planned = Some(at);
            core.after(delay, Event::Collect(life));
        }
    }

    /// Does what a custodian repeats: stores what could not be stored, and asks for pending keys.
    pub(super) fn collect(&mut self, core: &mut Core) {
        let now = self.now(core);
        let Some(running) = &mut self.running else {
            return;
        };
        if running.collector.rounds_at != Some(core.time) {
            return;
        }
        running.collector.rounds_at = None;
        if self.renew_seeds(now, core) {
            self.store_received(core);
            for root_topic in self.roles.keeps.clone() {
                self.input(Which::Own, Input::Serve(root_topic.clone()), core);
                self.sight(&root_topic, core);
                for id in self.disk.custody.unproven(&root_topic) {
                    self.prove(&id, core);
                }
                if self.running.is_none() {
                    return;
                }
                for id in self.disk.custody.next_pending(&root_topic) {
                    let want = Input::Want {
                        root_topic: root_topic.clone(),
                        id,
                        known: Candidates::default(),
                    };
                    self.input(Which::Own, want, core);
                }
            }
        }
        let is_slow = core.plan.is_long && !core.is_healed;
        self.plan_round(if is_slow { DAY / 4 } else { ASK_INTERVAL }, core);
        self.disk.custody.look_at_caps(core);
        self.pump(core);
    }

    /// Passes the seeds of this day to the exchange, once they are stored. Returns whether the exchange has seeds.
    fn renew_seeds(&mut self, now: Now, core: &mut Core) -> bool {
        let today = Day::of(now.wall);
        let Some(running) = &mut self.running else {
            return false;
        };
        if running.collector.day == Some(today) {
            return true;
        }
        if !self.disk.custody.has_seed_of(today, &mut core.dice) {
            if self.crashes_here(core) {
                return false;
            }
            if core.fault(core.plan.faults.store) {
                let day = self
                    .running
                    .as_ref()
                    .and_then(|running| running.collector.day);
                return day.is_some();
            }
            self.disk.custody.renew_seeds(today, &mut core.dice);
            if self.crashes_here(core) {
                return false;
            }
        }
        if let Some(running) = &mut self.running {
            running.collector.day = Some(today);
        }
        let seeds = self.disk.custody.seeds();
        self.input(Which::Own, Input::Custody { seeds, wait: WAIT }, core);
        true
    }

    /// Notes which keys new records need.
    pub(super) fn sight(&mut self, root_topic: &RootTopic, core: &mut Core) {
        loop {
            let Some(running) = &self.running else {
                return;
            };
            let read = running.collector.read.get(root_topic);
            let start = read.copied().unwrap_or_default();
            let data = core.net.data(root_topic);
            let end = data.len().min(start + MAX_POLLED);
            if start >= end {
                return;
            }
            let records = (start..).zip(data.get(start..end).unwrap_or_default());
            let needed = records.filter_map(|(offset, record)| {
                let id = Envelope::parse(&record.value).ok()?.key_id;
                Some(((root_topic.clone(), id), offset))
            });
            let needed: Vec<_> = needed.collect();
            // A round repeats this.
            if self.crashes_here(core) || core.fault(core.plan.faults.store) {
                return;
            }
            let Some(running) = &mut self.running else {
                return;
            };
            for (id, offset) in needed {
                if self.disk.custody.note(&id, offset) {
                    let samples = running.collector.samples.entry(id).or_default();
                    samples.push(offset);
                    samples.truncate(MAX_SAMPLES);
                }
            }
            running.collector.read.insert(root_topic.clone(), end);
            if self.crashes_here(core) {
                return;
            }
            if !core.fault(core.plan.faults.loss) {
                self.disk.custody.read.insert(root_topic.clone(), end);
            }
        }
    }

    /// Takes the keys of a reply.
    pub(super) fn receive(&mut self, change: KeyTableChange, core: &mut Core) {
        for (_, secret) in &change.keys {
            core.saw_given(self.identity, secret.expose());
        }
        if let Some(running) = &mut self.running {
            running.collector.unstored.push_back((change, None));
        }
        self.store_received(core);
    }

    /// Stores received keys, and settles the replies that brought them.
    fn store_received(&mut self, core: &mut Core) {
        while let Some(running) = &self.running
            && !running.collector.unstored.is_empty()
        {
            if self.crashes_here(core) {
                return;
            }
            if core.fault(core.plan.faults.store) {
                return self.plan_round(ASK_INTERVAL, core);
            }
            let Some(running) = &mut self.running else {
                return;
            };
            let Some((change, position)) = running.collector.unstored.pop_front() else {
                return;
            };
            let mut ids = BTreeSet::new();
            for (id, secret) in &change.keys {
                let id = (change.root_topic.clone(), *id);
                self.disk
                    .custody
                    .offer(&id, *secret.expose(), &change.giver);
                ids.insert(id);
            }
            if self.crashes_here(core) {
                return;
            }
            for id in ids {
                self.prove(&id, core);
            }
            if let Some(position) = position {
                self.settled(Which::Own, position, core);
            }
        }
    }

    /// Keeps the offered key that a record proves.
    fn prove(&mut self, id: &Id, core: &mut Core) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(pending) = self.disk.custody.pending.get(id) else {
            return;
        };
        let samples = running.collector.samples.get(id);
        let samples = samples.map_or(std::slice::from_ref(&pending.place), Vec::as_slice);
        let data = core.net.data(&id.0);
        let records = || samples.iter().filter_map(|offset| data.get(*offset));
        let mut offers = pending.offers.iter();
        let proven = offers.find(|(secret, _)| {
            let secret = secret_of(secret);
            records().any(|record| is_authentic(&secret, Component::Value, &record.value))
        });
        let Some((secret, giver)) = proven.cloned() else {
            return;
        };
        if self.crashes_here(core) || core.fault(core.plan.faults.store) {
            return;
        }
        let node = self.index;
        core.note(|| format!("node {node} keeps {} of {}", id.1, id.0));
        core.oracle.counts.kept += 1;
        self.disk.custody.keep(id, secret, giver, core.time);
        if let Some(running) = &mut self.running {
            running.collector.samples.remove(id);
        }
        self.crashes_here(core);
    }
}

fn secret_of(bytes: &SecretBytes) -> DataKey {
    Secret::fill_with(|secret| *secret = *bytes).into()
}
