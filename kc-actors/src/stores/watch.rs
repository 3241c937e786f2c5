use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kc_core::store::{StoreError, StoreErrorKind};
use tokio::sync::Notify;

use super::silence::{PATIENCE, silent};
use super::{Observed, Store, StoreFault};
use crate::events::{Events, NodeEvent};

/// Which stores failed when they were last used.
#[derive(Clone, Debug)]
pub(crate) struct StoreWatch {
    failing: Arc<Mutex<BTreeMap<Store, Failing>>>,
    /// Since when somebody waits for a store.
    asked: Arc<Mutex<BTreeMap<Store, Instant>>>,
    /// Rung at each look.
    looked: Arc<Notify>,
    events: Events,
}

/// A use of a store, until this is dropped.
struct Use<'w> {
    watch: &'w StoreWatch,
    store: Store,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        lock(&self.watch.asked).remove(&self.store);
    }
}

/// A store that failed when it was last used.
#[derive(Debug)]
struct Failing {
    fault: StoreFault,
    /// What has been told since it worked.
    told: Vec<Cause>,
}

/// How long a store that works takes at most.
const SLOW: Duration = Duration::from_secs(1);

/// What makes a failure another one: where exactly it showed does not.
type Cause = (StoreErrorKind, Option<&'static str>);

impl StoreWatch {
    pub(crate) fn new(events: Events) -> Self {
        Self {
            failing: Arc::default(),
            asked: Arc::default(),
            looked: Arc::default(),
            events,
        }
    }

    pub(crate) fn over<S>(&self, store: S) -> Observed<S> {
        Observed::new(store, self.clone())
    }

    /// What failed when it was last used.
    pub(crate) fn failing(&self) -> BTreeMap<Store, StoreFault> {
        let failing = lock(&self.failing);
        let faults = failing.iter();
        faults
            .map(|(store, failing)| (*store, failing.fault.clone()))
            .collect()
    }

    /// Uses a store, and notes how that ends.
    pub(super) fn using<T>(
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

    /// Notes the stores that have not answered in time.
    pub(crate) fn look(&self, now: Instant) {
        {
            // Locked all the while: who answers now says so after this.
            let asked = lock(&self.asked);
            for (store, since) in asked.iter() {
                if now.saturating_duration_since(*since) >= PATIENCE {
                    self.fails(*store, &silent(*store));
                }
            }
        }
        self.looked.notify_waiters();
    }

    /// Waits until one of these is being waited for longer than stores that work take: whoever asks waits, too. Needs no
    /// runtime.
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

    fn works(&self, store: Store) {
        if lock(&self.failing).remove(&store).is_some() {
            tracing::info!(target: "kc::store", %store, "works again");
            self.events.tell(NodeEvent::StoreWorks { store });
        }
    }

    fn fails(&self, store: Store, error: &StoreError) {
        let fault = StoreFault::of(error);
        if self.is_news(store, fault.clone(), (error.kind(), error.advice())) {
            let StoreFault { reason, advice } = &fault;
            tracing::error!(target: "kc::store", %store, reason, advice, "fails");
            self.events.tell(NodeEvent::StoreFails { store, fault });
        }
    }

    /// Notes a failure. Says whether its cause is to be told: each is once, until the store works again.
    fn is_news(&self, store: Store, fault: StoreFault, cause: Cause) -> bool {
        let mut failing = lock(&self.failing);
        let before = failing.remove(&store);
        let mut told = before.map_or_else(Vec::new, |before| before.told);
        let is_news = !told.contains(&cause);
        if is_news {
            told.push(cause);
        }
        failing.insert(store, Failing { fault, told });
        is_news
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

    /// The advice that was told since; none for a store that works again.
    fn told(heard: &mut EventListener) -> Vec<Option<&'static str>> {
        let events = std::iter::from_fn(|| heard.try_next());
        let told = events.map(|event| match event {
            NodeEvent::StoreFails { fault, .. } => fault.advice,
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn each_cause_is_told_once_until_the_store_works_again() {
        let events = Events::default();
        let mut heard = events.listen();
        let watch = StoreWatch::new(events);
        for cause in [AWAY, AWAY, PIN, AWAY, PIN, PIN] {
            fails(&watch, cause);
            let fault = &watch.failing()[&Store::Keys];
            assert_eq!(fault.advice, Some(cause.1));
        }
        assert_eq!(told(&mut heard), [Some(AWAY.1), Some(PIN.1)]);

        watch.using(Store::Keys, || Ok(())).unwrap();
        assert!(watch.failing().is_empty());
        fails(&watch, PIN);
        assert_eq!(told(&mut heard), [None, Some(PIN.1)]);
    }

    #[test]
    fn a_store_that_does_not_answer_fails_until_it_does() {
        let events = Events::default();
        let mut heard = events.listen();
        let watch = StoreWatch::new(events);
        let answer = watch.using(Store::Ratchet, || {
            let now = Instant::now();
            watch.look(now);
            assert_eq!(told(&mut heard), []);
            let held_up = |store, now| watch.is_held_up(&[store], now);
            assert!(!held_up(Store::Ratchet, now));
            assert!(held_up(Store::Ratchet, now + SLOW));
            assert!(!held_up(Store::Keys, now + SLOW));
            watch.look(now + PATIENCE);
            watch.look(now + PATIENCE);
            assert_eq!(told(&mut heard), [silent(Store::Ratchet).advice()]);
            let reason = &watch.failing()[&Store::Ratchet].reason;
            assert_eq!(reason, "ratchet: no answer in time");
            Ok(7)
        });
        assert_eq!(answer.unwrap(), 7);
        assert_eq!(told(&mut heard), [None]);
        watch.look(Instant::now() + PATIENCE);
        assert_eq!(told(&mut heard), []);
    }

    #[test]
    fn who_asks_a_store_that_is_held_up_is_told() {
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

    /// Whether a future was woken.
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
