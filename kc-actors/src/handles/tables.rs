use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use kc_core::exchange::MissingKeys;
use kc_core::keys::VerifyingKey;
use kc_core::message::KeyRing;
use kc_core::ratchet::{Candidates, KeyIdForm, MAX_RETAINED_KEYS, SealingKey};
use kc_core::types::{KeyId, RootTopic, TopicScheme};
use tokio::sync::{Mutex, mpsc, watch};

use super::{Awaiting, OpenFailure};

/// Maximum number of keys for sealing that are remembered after they were replaced.
const MAX_SEALING_HISTORY: usize = MAX_RETAINED_KEYS;

/// Maximum number of nodes among which the node of a data key is searched.
const MAX_OWNERS: usize = 64;

/// Maximum number of missing data keys that handles signal to the exchange within five seconds. A missing key beyond
/// this number is signalled later, when a record needs it again.
pub const MAX_SIGNALLED: usize = 1024;

/// The numbers of records of one consumer that wait for data keys. The tables contain these numbers until this value is
/// dropped.
#[derive(Debug)]
pub(crate) struct WaitingRecords {
    tables: Arc<CryptoTables>,
    scheme: Arc<TopicScheme>,
    consumer: u64,
}

/// The records of a consumer that wait for data keys.
#[derive(Debug, Default)]
struct Waiting {
    /// The number of records by root topic.
    records: BTreeMap<RootTopic, usize>,
    held: Vec<HeldPartition>,
}

/// A partition of which a consumer gets no records, because its next record cannot be opened, the
/// [patience](crate::Undecryptable::patience) of the consumer has ended, and the policy is
/// [`Policy::Hold`](crate::Policy::Hold).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the record.
    pub offset: i64,
    /// The reason why the record cannot be opened.
    pub failure: OpenFailure,
    /// The signing key of the node to which the data key belongs, if this node has another data key of that node.
    pub owner: Option<VerifyingKey>,
    /// The time since the record was fetched.
    pub waited: Duration,
}

/// The signal that a record needs an unknown data key.
type Signal = (RootTopic, KeyId);

/// The missing data keys that handles have signalled. The [key table](crate::key_table::KeyTableActor) forwards them to
/// the exchange.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Mutex<mpsc::Receiver<Signal>>>);

/// The tables that handles read without waiting. Only a [key table](crate::key_table::KeyTableActor) writes to them.
#[derive(Debug)]
pub struct CryptoTables {
    pub(crate) scheme: Arc<TopicScheme>,
    sealing: ArcSwap<HashMap<RootTopic, Arc<SealingKey>>>,
    /// The latest keys for sealing, the present ones included, oldest first.
    sealing_history: StdMutex<VecDeque<(RootTopic, Arc<SealingKey>)>>,
    opening: ArcSwap<KeyRing>,
    awaiting: ArcSwap<HashMap<RootTopic, MissingKeys>>,
    /// Incremented at each change of `opening`.
    arrivals: watch::Sender<u64>,
    signalled: StdMutex<HashSet<Signal>>,
    /// The number of times that `signalled` was cleared.
    signal_rounds: AtomicU64,
    signals: mpsc::Sender<Signal>,
    /// The number of signals that were dropped because there were too many.
    bounds_hit: AtomicU64,
    /// The records that wait for data keys, by consumer.
    waiting: StdMutex<HashMap<u64, Waiting>>,
    /// The number that the next consumer gets.
    consumers: AtomicU64,
    /// Set when the last valid chain of this node was denied. Never cleared.
    denied: AtomicBool,
    /// Set when the node is closed. Never cleared.
    closed: AtomicBool,
}

impl Signals {
    /// Calls `pass_on` for each missing data key, one after the other, until the tables are dropped.
    pub(crate) async fn forward<F: Future<Output = ()>>(
        &self,
        pass_on: impl Fn(RootTopic, KeyId) -> F,
    ) {
        let mut signals = self.0.lock().await;
        while let Some((root_topic, id)) = signals.recv().await {
            pass_on(root_topic, id).await;
        }
    }
}

impl CryptoTables {
    /// Returns empty tables, and the receiver of the signals about missing data keys.
    #[must_use]
    pub fn new(scheme: TopicScheme) -> (Arc<Self>, Signals) {
        let (signals, signalled) = mpsc::channel(MAX_SIGNALLED);
        let tables = Self {
            scheme: Arc::new(scheme),
            sealing: ArcSwap::default(),
            sealing_history: StdMutex::default(),
            opening: ArcSwap::default(),
            awaiting: ArcSwap::default(),
            arrivals: watch::channel(0).0,
            signalled: StdMutex::default(),
            signal_rounds: AtomicU64::new(0),
            signals,
            bounds_hit: AtomicU64::new(0),
            waiting: StdMutex::default(),
            consumers: AtomicU64::new(0),
            denied: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        (Arc::new(tables), Signals(Arc::new(Mutex::new(signalled))))
    }

    /// Marks the node as closed. From now on, each use of a handle returns the error that the node is closed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn sealing_key(&self, root_topic: &str) -> Option<Arc<SealingKey>> {
        self.sealing.load().get(root_topic).cloned()
    }

    pub(crate) fn with_sealing_key<T>(
        &self,
        root_topic: &str,
        use_key: impl FnOnce(&SealingKey) -> T,
    ) -> Option<T> {
        self.sealing.load().get(root_topic).map(|key| use_key(key))
    }

    pub(crate) fn ring(&self) -> arc_swap::Guard<Arc<KeyRing>> {
        self.opening.load()
    }

    pub(crate) fn publish_sealing(&self, keys: &[(RootTopic, Arc<SealingKey>)]) {
        let mut sealing = HashMap::clone(&self.sealing.load());
        let mut history = self
            .sealing_history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (root_topic, key) in keys {
            let known = sealing.insert(root_topic.clone(), Arc::clone(key));
            if known.is_none_or(|known| known.id() != key.id()) {
                history.push_back((root_topic.clone(), Arc::clone(key)));
            }
        }
        let surplus = history.len().saturating_sub(MAX_SEALING_HISTORY);
        history.drain(..surplus);
        self.sealing.store(Arc::new(sealing));
    }

    /// Returns the data keys with which this node has sealed messages since its start, of at most the last
    /// [`MAX_SEALING_HISTORY`].
    pub(crate) fn sealed_with(&self) -> Vec<(RootTopic, KeyId)> {
        let history = self.sealing_history.lock();
        let history = history.unwrap_or_else(PoisonError::into_inner);
        let used = history.iter().filter(|(_, key)| key.has_sealed());
        used.map(|(root_topic, key)| (root_topic.clone(), key.id()))
            .collect()
    }

    /// Replaces the key ring by a changed copy, and wakes the callers that wait for data keys.
    pub(crate) fn publish_opening(&self, change: impl FnOnce(&mut KeyRing)) {
        let mut ring = KeyRing::clone(&self.opening.load());
        change(&mut ring);
        self.opening.store(Arc::new(ring));
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    /// Returns the signing key of the node to which a data key belongs, if the node has sent this node another data key. The
    /// id is a hash of this key and of a step of the node's ratchet. Of many nodes, only some are tried.
    pub(crate) fn owner(&self, id: &KeyId) -> Option<VerifyingKey> {
        let givers = self.ring().givers().into_iter().take(MAX_OWNERS);
        let mut signers = givers.filter_map(|giver| giver.last().cloned());
        signers.find(|signer| KeyIdForm::long([signer]).step_of(id).is_some())
    }

    /// Returns the known data keys with this id.
    pub(crate) fn known(&self, root_topic: &str, id: &KeyId) -> Candidates {
        self.ring()
            .known(root_topic, id)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    pub(crate) fn publish_awaiting(&self, roots: Vec<MissingKeys>) {
        let by_root = roots
            .into_iter()
            .map(|awaited| (awaited.root_topic.clone(), awaited));
        self.awaiting.store(Arc::new(by_root.collect()));
    }

    /// Returns the reason why a data key is missing.
    pub(crate) fn why(&self, root_topic: &str, id: &KeyId) -> Awaiting {
        let awaiting = self.awaiting.load();
        match awaiting.get(root_topic) {
            Some(MissingKeys { own: Some(own), .. }) => (*own).into(),
            Some(root_topic) if root_topic.unanswered.contains(id) => Awaiting::Unanswered,
            _ => Awaiting::NotYet,
        }
    }

    /// Marks this node as denied. From now on, all handles refuse to seal.
    pub(crate) fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// Signals a missing data key to the exchange. A repeated signal is dropped until
    /// [`forget_signalled`](Self::forget_signalled) is called. Never blocks, and never stores more than
    /// [`MAX_SIGNALLED`] signals.
    pub(crate) fn signal(&self, root_topic: &str, id: KeyId) {
        let signal = (RootTopic::from(root_topic), id);
        let mut signalled = self
            .signalled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if signalled.contains(&signal) {
            return;
        }
        if signalled.len() < MAX_SIGNALLED && self.signals.try_send(signal.clone()).is_ok() {
            signalled.insert(signal);
        } else {
            self.bounds_hit.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of signals that were dropped because there were too many.
    pub(crate) fn bounds_hit(&self) -> u64 {
        self.bounds_hit.load(Ordering::Relaxed)
    }

    /// Returns the number of records of all consumers that wait for data keys, by root topic.
    pub(crate) fn waiting(&self) -> BTreeMap<RootTopic, usize> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = BTreeMap::new();
        let each = waiting.values().flat_map(|waiting| &waiting.records);
        for (root_topic, records) in each {
            *all.entry(root_topic.clone()).or_default() += records;
        }
        all
    }

    /// Returns the partitions that records of all consumers hold.
    pub(crate) fn held(&self) -> Vec<HeldPartition> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let held = waiting.values().flat_map(|waiting| &waiting.held);
        held.cloned().collect()
    }

    /// Allows all missing data keys to be signalled again. The exchange then learns which of the keys are still needed.
    pub(crate) fn forget_signalled(&self) {
        let mut signalled = self
            .signalled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        signalled.clear();
        self.signal_rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of calls of [`forget_signalled`](Self::forget_signalled). After each call, the keys that are
    /// still needed must be signalled again.
    pub(crate) fn signal_rounds(&self) -> u64 {
        self.signal_rounds.load(Ordering::Relaxed)
    }
}

impl WaitingRecords {
    pub(crate) fn new(tables: Arc<CryptoTables>, scheme: Arc<TopicScheme>) -> Self {
        let consumer = tables.consumers.fetch_add(1, Ordering::Relaxed);
        Self {
            tables,
            scheme,
            consumer,
        }
    }

    /// Stores how many records wait for data keys, and the partitions that they hold. `by_topic` contains the number for
    /// each topic. The numbers of topics with the same root topic are added.
    pub(crate) fn note<'t>(
        &self,
        by_topic: impl Iterator<Item = (&'t str, usize)>,
        held: Vec<HeldPartition>,
    ) {
        let mut records = BTreeMap::new();
        for (topic, number) in by_topic.filter(|(_, number)| *number > 0) {
            *records.entry(self.scheme.root_of(topic)).or_default() += number;
        }
        let waiting = self.tables.waiting.lock();
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        if records.is_empty() {
            waiting.remove(&self.consumer);
        } else {
            waiting.insert(self.consumer, Waiting { records, held });
        }
    }
}

impl Drop for WaitingRecords {
    fn drop(&mut self) {
        self.note(std::iter::empty(), Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_key_ids_are_signalled_within_bounds() {
        let (tables, _signals) = CryptoTables::new(TopicScheme::default());
        for id in 0..1_000_000 {
            tables.signal("t", KeyId::Short(id));
        }
        assert_eq!(tables.signalled.lock().unwrap().len(), MAX_SIGNALLED);
        assert_eq!(tables.bounds_hit(), 1_000_000 - MAX_SIGNALLED as u64);
        tables.forget_signalled();
        assert!(tables.signalled.lock().unwrap().is_empty());
    }

    #[test]
    fn the_node_of_a_missing_key_is_known_by_another_key_of_it() {
        let (tables, _signals) = CryptoTables::new(TopicScheme::default());
        let node = |number| VerifyingKey::Ed25519([number; 32]);
        let id = |number, step| KeyIdForm::long([&node(number)]).key_id(step);
        for number in 1..=3 {
            let secret = kc_core::secret::Secret::fill_with(|secret| secret.fill(number));
            let giver = [node(9), node(number)].into();
            tables.publish_opening(|ring| {
                ring.add(&"t".into(), id(number, 0), secret.into(), Some(giver));
            });
        }
        assert_eq!(tables.owner(&id(2, 700)), Some(node(2)));
        assert_eq!(tables.owner(&id(4, 0)), None);
        assert_eq!(tables.owner(&KeyId::Short(0)), None);
    }
}
