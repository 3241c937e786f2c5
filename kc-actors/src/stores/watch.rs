use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kc_core::store::StoreError;

use super::{Observed, Store, StoreFault};
use crate::events::{Events, NodeEvent};

/// Which stores failed when they were last used.
#[derive(Clone, Debug)]
pub(crate) struct StoreWatch {
    failing: Arc<Mutex<BTreeMap<Store, StoreFault>>>,
    events: Events,
}

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
        self.lock().clone()
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
                if self.lock().insert(store, fault.clone()).is_none() {
                    let StoreFault { reason, advice } = &fault;
                    tracing::error!(target: "kc::store", %store, reason, advice, "fails");
                    self.events.tell(NodeEvent::StoreFails { store, fault });
                }
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Store, StoreFault>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
