//! The health of a node's stores. A failure is reported when it begins and when it has a new cause. While it continues,
//! each cause is reported at most once in each interval. The end of the failure is reported, too. A store that does not
//! answer counts as failed: the PKCS#11 module of a token may hang, and a call to it cannot be interrupted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::Message;
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use kc_core::kem::Suite;
use kc_core::keys::VerifyingKey;
use kc_core::ratchet::{RetainedKeys, Step};
use kc_core::secret::SecretVec;
use kc_core::store::{KeyStore, RatchetStore, RetainedKeysArchive, StoreError, StoreErrorKind};
use kc_core::text::with_sources;
use tokio::sync::Notify;

use crate::events::{Events, NodeEvent};
use crate::slot::{Slot, SlotClosed};

/// Maximum time that callers wait for a store. After this time they continue without an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The maximum time that a working store needs for one use. A caller that has waited longer counts as held up by the
/// store.
const SLOW: Duration = Duration::from_secs(1);

/// One of a node's stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Store {
    /// The store of the signing keys.
    Keys,
    /// The store of the ratchet.
    Ratchet,
    /// The archive of the data keys that are retained for late consumers.
    RetainedKeys,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "signing keys",
            Self::Ratchet => "ratchet",
            Self::RetainedKeys => "retained keys",
        })
    }
}

/// The reason why a store fails, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// The error and its sources, as text.
    pub reason: String,
    /// Advice for the operator, if the error has any.
    pub advice: Option<&'static str>,
}

impl StoreFault {
    fn of(error: &StoreError) -> Self {
        Self {
            reason: with_sources(error),
            advice: error.advice(),
        }
    }
}

/// Sends a message to an actor that uses a store, and waits at most [`PATIENCE`] for the answer.
///
/// # Errors
/// Returns [`StoreErrorKind::Timeout`] if the actor does not answer in time.
pub(crate) async fn ask_in_time<M>(
    store: Store,
    slot: &Slot<M>,
    message: M,
) -> Result<Result<M::Result, SlotClosed>, StoreError>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    let answer = slot.send_in_time(message, PATIENCE).await;
    answer.map_err(|_| silent(store))
}

/// Returns the error of a store that does not answer.
fn silent(store: Store) -> StoreError {
    StoreError::new(StoreErrorKind::Timeout, store.to_string()).with_advice(
            "check the token and the connection to it (daemon, network), or the disk; the node continues when the store \
             answers; if it never answers, restart the node",
    )
}

/// Watches the stores of a node. Clones watch the same stores.
#[derive(Clone, Debug)]
pub(crate) struct StoreWatch {
    health: Arc<Mutex<Health>>,
    /// The time at which the current use of each store began.
    asked: Arc<Mutex<BTreeMap<Store, Instant>>>,
    /// Notified after each call of [`look`](Self::look).
    looked: Arc<Notify>,
    events: Events,
    started: Instant,
}

#[derive(Debug)]
struct Health {
    /// The stores that failed when they were last used, each with the reason.
    failing: BTreeMap<Store, StoreFault>,
    log: FailureLog<Store, Cause>,
}

/// The cause of a failure: the kind of the error and its advice. The context of the error, which names the operation,
/// is left out, because one cause can make several operations fail.
type Cause = (StoreErrorKind, Option<&'static str>);

/// A use of a store, which ends when this value is dropped.
struct Use<'w> {
    watch: &'w StoreWatch,
    store: Store,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        lock(&self.watch.asked).remove(&self.store);
    }
}

impl StoreWatch {
    pub(crate) fn new(events: Events) -> Self {
        let health = Health {
            failing: BTreeMap::new(),
            log: FailureLog::new(OUTAGE_INTERVAL),
        };
        Self {
            health: Arc::new(Mutex::new(health)),
            asked: Arc::default(),
            looked: Arc::default(),
            events,
            started: Instant::now(),
        }
    }

    /// Returns a wrapper of `store` that reports to this watch whether a signature, a ratchet step or a save succeeded.
    pub(crate) fn over<S>(&self, store: S) -> Observed<S> {
        Observed {
            store,
            watch: self.clone(),
        }
    }

    /// Returns the stores whose last use failed, each with the reason.
    pub(crate) fn failing(&self) -> BTreeMap<Store, StoreFault> {
        lock(&self.health).failing.clone()
    }

    /// Marks the stores that have not answered in time as failing.
    pub(crate) fn look(&self, now: Instant) {
        {
            // The lock is held until the loop ends. A store that answers during the loop is marked as working after it.
            let asked = lock(&self.asked);
            for (store, since) in asked.iter() {
                if now.saturating_duration_since(*since) >= PATIENCE {
                    self.fails(*store, &silent(*store));
                }
            }
        }
        self.looked.notify_waiters();
    }

    /// Waits until a caller has waited for one of `stores` for longer than [`SLOW`]. A new caller would have to wait
    /// for that store, too. Works without a runtime.
    pub(crate) async fn held_up(&self, stores: &[Store]) {
        loop {
            let looked = self.looked.notified();
            if self.is_held_up(stores, Instant::now()) {
                return;
            }
            looked.await;
        }
    }

    fn is_held_up(&self, stores: &[Store], now: Instant) -> bool {
        let asked = lock(&self.asked);
        let mut since = stores.iter().filter_map(|store| asked.get(store));
        since.any(|since| now.saturating_duration_since(*since) >= SLOW)
    }

    /// Uses a store, and records the result.
    fn using<T>(
        &self,
        store: Store,
        use_it: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        lock(&self.asked).insert(store, Instant::now());
        let being_used = Use { watch: self, store };
        let result = use_it();
        drop(being_used);
        match &result {
            Ok(_) => self.works(store),
            Err(error) => self.fails(store, error),
        }
        result
    }

    fn works(&self, store: Store) {
        let has_failed = {
            let mut health = lock(&self.health);
            health.log.succeed(&store);
            health.failing.remove(&store).is_some()
        };
        if has_failed {
            tracing::info!(target: "kc::store", %store, "store works again");
            self.events.tell(NodeEvent::StoreWorks { store });
        }
    }

    fn fails(&self, store: Store, error: &StoreError) {
        let fault = StoreFault::of(error);
        let cause = (error.kind(), error.advice());
        let times = {
            let mut health = lock(&self.health);
            health.failing.insert(store, fault.clone());
            health.log.fail(store, cause, self.started.elapsed())
        };
        if let Some(times) = times {
            let StoreFault { reason, advice } = &fault;
            tracing::error!(target: "kc::store", %store, reason, advice, times, "store fails");
            self.events.tell(NodeEvent::StoreFails { store, fault });
        }
    }
}

/// A store whose results are recorded by a [`StoreWatch`].
#[derive(Debug)]
pub(crate) struct Observed<S> {
    store: S,
    watch: StoreWatch,
}

impl KeyStore for Observed<Arc<dyn KeyStore>> {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.store.verifying_keys()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        let sign = || self.store.sign(key, message);
        self.watch.using(Store::Keys, sign)
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.store.wrap_opaque(plaintext)
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        self.store.unwrap_opaque(wrapped)
    }

    fn suites(&self) -> Vec<Suite> {
        self.store.suites()
    }

    fn legacy_requests(&self) -> bool {
        self.store.legacy_requests()
    }
}

impl RatchetStore for Observed<Box<dyn RatchetStore>> {
    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    fn step(&mut self) -> Result<Step, StoreError> {
        let step = || self.store.step();
        self.watch.using(Store::Ratchet, step)
    }
}

impl<A: RetainedKeysArchive> RetainedKeysArchive for Observed<A> {
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError> {
        let save = || self.store.save(keys, used);
        self.watch.using(Store::RetainedKeys, save)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;
    use crate::events::EventListener;

    const AWAY: (StoreErrorKind, &str) = (StoreErrorKind::Missing, "insert the token");
    const PIN: (StoreErrorKind, &str) = (StoreErrorKind::Permission, "correct the PIN");

    fn fails(watch: &StoreWatch, (kind, advice): (StoreErrorKind, &'static str)) {
        let error = StoreError::new(kind, "token").with_advice(advice);
        watch.using::<()>(Store::Keys, || Err(error)).unwrap_err();
    }

    /// Returns the advice of the failures reported since; `None` for a store that works again.
    fn reported(heard: &mut EventListener) -> Vec<Option<&'static str>> {
        let events = std::iter::from_fn(|| heard.try_next());
        let reported = events.map(|event| match event {
            NodeEvent::StoreFails { fault, .. } => fault.advice,
            _ => None,
        });
        reported.collect()
    }

    #[test]
    fn each_cause_is_reported_once_until_the_store_works_again() {
        let events = Events::default();
        let mut heard = events.listen();
        let watch = StoreWatch::new(events);
        for cause in [AWAY, AWAY, PIN, AWAY, PIN, PIN] {
            fails(&watch, cause);
            let fault = &watch.failing()[&Store::Keys];
            assert_eq!(fault.advice, Some(cause.1));
        }
        assert_eq!(reported(&mut heard), [Some(AWAY.1), Some(PIN.1)]);

        watch.using(Store::Keys, || Ok(())).unwrap();
        assert!(watch.failing().is_empty());
        fails(&watch, PIN);
        assert_eq!(reported(&mut heard), [None, Some(PIN.1)]);
    }

    #[test]
    fn a_store_that_does_not_answer_fails_until_it_does() {
        let events = Events::default();
        let mut heard = events.listen();
        let watch = StoreWatch::new(events);
        let answer = watch.using(Store::Ratchet, || {
            let now = Instant::now();
            watch.look(now);
            assert_eq!(reported(&mut heard), []);
            let held_up = |store, now| watch.is_held_up(&[store], now);
            assert!(!held_up(Store::Ratchet, now));
            assert!(held_up(Store::Ratchet, now + SLOW));
            assert!(!held_up(Store::Keys, now + SLOW));
            watch.look(now + PATIENCE);
            watch.look(now + PATIENCE);
            assert_eq!(reported(&mut heard), [silent(Store::Ratchet).advice()]);
            let reason = &watch.failing()[&Store::Ratchet].reason;
            assert_eq!(reason, "ratchet: no answer in time");
            Ok(7)
        });
        assert_eq!(answer.unwrap(), 7);
        assert_eq!(reported(&mut heard), [None]);
        watch.look(Instant::now() + PATIENCE);
        assert_eq!(reported(&mut heard), []);
    }

    #[test]
    fn a_caller_of_a_store_that_is_held_up_is_woken() {
        let watch = StoreWatch::new(Events::default());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut asking = pin!(watch.held_up(&[Store::Ratchet]));
        lock(&watch.asked).insert(Store::Ratchet, Instant::now());
        assert!(asking.as_mut().poll(&mut context).is_pending());

        lock(&watch.asked).insert(Store::Ratchet, Instant::now() - SLOW);
        watch.look(Instant::now());
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(asking.as_mut().poll(&mut context).is_ready());
    }

    /// Set when the future was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_store_that_panics_is_not_waited_for() {
        let watch = StoreWatch::new(Events::default());
        let panics = || {
            watch.using(Store::Keys, || -> Result<(), StoreError> {
                panic!("a test")
            })
        };
        catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        watch.look(Instant::now() + PATIENCE);
        assert!(watch.failing().is_empty());
    }
}
