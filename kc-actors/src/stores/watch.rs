use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kc_core::store::{StoreError, StoreErrorKind};

use super::{Observed, Store, StoreFault};
use crate::events::{Events, NodeEvent};

/// Which stores failed when they were last used.
#[derive(Clone, Debug)]
pub(crate) struct StoreWatch {
    failing: Arc<Mutex<BTreeMap<Store, Failing>>>,
    events: Events,
}

/// A store that failed when it was last used.
#[derive(Debug)]
struct Failing {
    fault: StoreFault,
    /// What has been told since it worked.
    told: Vec<Cause>,
}

/// What makes a failure another one: where exactly it showed does not.
type Cause = (StoreErrorKind, Option<&'static str>);

impl StoreWatch {
    pub(crate) fn new(events: Events) -> Self {
        Self {
            failing: Arc::default(),
            events,
        }
    }

    pub(crate) fn over<S>(&self, store: S) -> Observed<S> {
        Observed::new(store, self.clone())
    }

    /// What failed when it was last used.
    pub(crate) fn failing(&self) -> BTreeMap<Store, StoreFault> {
        let failing = self.lock();
        let faults = failing.iter();
        faults
            .map(|(store, failing)| (*store, failing.fault.clone()))
            .collect()
    }

    /// Notes how the use of a store ended.
    pub(super) fn noted<T>(
        &self,
        store: Store,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &result {
            Ok(_) => {
                if self.lock().remove(&store).is_some() {
                    tracing::info!(target: "kc::store", %store, "works again");
                    self.events.tell(NodeEvent::StoreWorks { store });
                }
            }
            Err(error) => {
                let fault = StoreFault::of(error);
                if self.is_news(store, fault.clone(), (error.kind(), error.advice())) {
                    let StoreFault { reason, advice } = &fault;
                    tracing::error!(target: "kc::store", %store, reason, advice, "fails");
                    self.events.tell(NodeEvent::StoreFails { store, fault });
                }
            }
        }
        result
    }

    /// Notes a failure. Says whether its cause is to be told: each is once, until the store works again.
    fn is_news(&self, store: Store, fault: StoreFault, cause: Cause) -> bool {
        let mut failing = self.lock();
        let before = failing.remove(&store);
        let mut told = before.map_or_else(Vec::new, |before| before.told);
        let is_news = !told.contains(&cause);
        if is_news {
            told.push(cause);
        }
        failing.insert(store, Failing { fault, told });
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Store, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventListener;

    const AWAY: (StoreErrorKind, &str) = (StoreErrorKind::Missing, "insert the token");
    const PIN: (StoreErrorKind, &str) = (StoreErrorKind::Permission, "correct the PIN");

    fn fails(watch: &StoreWatch, (kind, advice): (StoreErrorKind, &'static str)) {
        let error = StoreError::new(kind, "token").with_advice(advice);
        watch.noted::<()>(Store::Keys, Err(error)).unwrap_err();
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

        watch.noted(Store::Keys, Ok(())).unwrap();
        assert!(watch.failing().is_empty());
        fails(&watch, PIN);
        assert_eq!(told(&mut heard), [None, Some(PIN.1)]);
    }
}
