use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use arc_swap::ArcSwap;
use kc_core::exchange::MissingKeys;
use kc_core::message::KeyRing;
use kc_core::ratchet::{Candidates, SealingKey};
use kc_core::types::{KeyId, RootTopic, TopicScheme};
use tokio::sync::{Mutex, mpsc, watch};

use super::Awaiting;

/// How many missing keys are signalled to the exchange before it has taken note of them; further ones
/// are signalled when their next record comes.
pub const MAX_SIGNALLED: usize = 1024;

/// How many records of one consumer wait for keys; none once it is dropped.
#[derive(Debug)]
pub(crate) struct WaitingRecords {
    tables: Arc<CryptoTables>,
    consumer: u64,
}

/// A record needs a key that is not known.
type Signal = (RootTopic, KeyId);

/// The missing keys that handles signal, for the [key table](crate::key_table::KeyTableActor) to pass on.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Mutex<mpsc::Receiver<Signal>>>);

/// What handles read without waiting. A [key table](crate::key_table::KeyTableActor) alone writes.
#[derive(Debug)]
pub struct CryptoTables {
    pub(crate) scheme: TopicScheme,
    sealing: ArcSwap<HashMap<RootTopic, Arc<SealingKey>>>,
    opening: ArcSwap<KeyRing>,
    awaiting: ArcSwap<HashMap<RootTopic, MissingKeys>>,
    /// Counts the changes of `opening`.
    arrivals: watch::Sender<u64>,
    signalled: StdMutex<HashSet<Signal>>,
    signals: mpsc::Sender<Signal>,
    /// How many missing keys could not be signalled because there were too many.
    bounds_hit: AtomicU64,
    /// How many records wait for keys, by consumer.
    waiting: StdMutex<HashMap<u64, BTreeMap<RootTopic, usize>>>,
    /// The next consumer's number.
    consumers: AtomicU64,
    /// Set once and for all when this node is denied.
    denied: AtomicBool,
    /// Set once and for all when the node is closed.
    closed: AtomicBool,
}

impl Signals {
    /// Passes missing keys on, one after the other, until the tables are gone.
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
    /// Empty tables, and what will be signalled as missing.
    #[must_use]
    pub fn new(scheme: TopicScheme) -> (Arc<Self>, Signals) {
        let (signals, signalled) = mpsc::channel(MAX_SIGNALLED);
        let tables = Self {
            scheme,
            sealing: ArcSwap::default(),
            opening: ArcSwap::default(),
            awaiting: ArcSwap::default(),
            arrivals: watch::channel(0).0,
            signalled: StdMutex::default(),
            signals,
            bounds_hit: AtomicU64::new(0),
            waiting: StdMutex::default(),
            consumers: AtomicU64::new(0),
            denied: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        (Arc::new(tables), Signals(Arc::new(Mutex::new(signalled))))
    }

    /// Makes all handles say that the node is closed.
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
        sealing.extend(keys.iter().cloned());
        self.sealing.store(Arc::new(sealing));
    }

    /// Puts a changed key ring in place, and wakes who waits for keys.
    pub(crate) fn publish_opening(&self, change: impl FnOnce(&mut KeyRing)) {
        let mut ring = KeyRing::clone(&self.opening.load());
        change(&mut ring);
        self.opening.store(Arc::new(ring));
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    /// The keys that are here with an id.
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

    /// Why a key is not there.
    pub(crate) fn why(&self, root_topic: &str, id: &KeyId) -> Awaiting {
        let awaiting = self.awaiting.load();
        match awaiting.get(root_topic) {
            Some(MissingKeys { own: Some(own), .. }) => (*own).into(),
            Some(root_topic) if root_topic.unanswered.contains(id) => Awaiting::Unanswered,
            _ => Awaiting::NotYet,
        }
    }

    /// Makes all handles refuse to seal: this node is on the denylist.
    pub(crate) fn deny(&self) {
        self.denied.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// Signals a missing key to the exchange, once until it has taken note; never blocks, and never
    /// remembers more than [`MAX_SIGNALLED`].
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

    /// How many missing keys could not be signalled.
    pub(crate) fn bounds_hit(&self) -> u64 {
        self.bounds_hit.load(Ordering::Relaxed)
    }

    /// How many records of all consumers wait for keys.
    pub(crate) fn waiting(&self) -> BTreeMap<RootTopic, usize> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = BTreeMap::new();
        for (root_topic, records) in waiting.values().flatten() {
            *all.entry(root_topic.clone()).or_default() += records;
        }
        all
    }

    /// Lets all missing keys be signalled anew, so that the exchange learns which are still wanted.
    pub(crate) fn forget_signalled(&self) {
        let mut signalled = self
            .signalled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        signalled.clear();
    }
}

impl WaitingRecords {
    pub(crate) fn new(tables: Arc<CryptoTables>) -> Self {
        let consumer = tables.consumers.fetch_add(1, Ordering::Relaxed);
        Self { tables, consumer }
    }

    /// Notes how many wait, by topic.
    pub(crate) fn note<'t>(&self, by_topic: impl Iterator<Item = (&'t str, usize)>) {
        let mut by_root = BTreeMap::new();
        for (topic, records) in by_topic.filter(|(_, records)| *records > 0) {
            *by_root
                .entry(self.tables.scheme.root_of(topic))
                .or_default() += records;
        }
        let waiting = self.tables.waiting.lock();
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        if by_root.is_empty() {
            waiting.remove(&self.consumer);
        } else {
            waiting.insert(self.consumer, by_root);
        }
    }
}

impl Drop for WaitingRecords {
    fn drop(&mut self) {
        self.note(std::iter::empty());
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
}
