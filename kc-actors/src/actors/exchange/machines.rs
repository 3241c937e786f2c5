use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kc_core::exchange::{Refusal, RefusalId, Replier, Requester, RequesterConfig};
use kc_core::types::{KeyId, RootTopic, Timestamp};
use rand_core::CryptoRng;

use crate::actors::retry::Told;
use crate::messages::ExchangeStatus;

/// The exchange's state machines, with what is counted about them. Never locked across a wait.
#[derive(Clone)]
pub(super) struct Machines(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    pub(super) requester: Requester,
    pub(super) replier: Replier,
    pub(super) rng: Box<dyn CryptoRng + Send>,
    pub(super) answered: u64,
    pub(super) bounds_hit: u64,
    pub(super) refused: BTreeMap<RefusalId, u64>,
    /// The unanswered keys that have been told about.
    pub(super) told: HashSet<(RootTopic, KeyId)>,
    /// Why requests could not be sent.
    pub(super) unsent: Told<RootTopic>,
}

impl Machines {
    pub(super) fn new(config: &RequesterConfig, rng: Box<dyn CryptoRng + Send>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            requester: Requester::new(config.clone()),
            replier: Replier::new(config.suites.clone(), config.validity),
            rng,
            answered: 0,
            bounds_hit: 0,
            refused: BTreeMap::new(),
            told: HashSet::new(),
            unsent: Told::default(),
        })))
    }

    pub(super) fn with<T>(&self, use_inner: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        use_inner(&mut inner)
    }

    /// As [`with`](Self::with), on a thread that may take its time: for what computes a key exchange, one at
    /// a time, because all others wait for it. `None` if the process is ending.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        use_inner: impl FnOnce(&mut Inner) -> T + Send + 'static,
    ) -> Option<T> {
        let machines = self.clone();
        let computing = tokio::task::spawn_blocking(move || machines.with(use_inner));
        computing.await.ok()
    }
}

impl Inner {
    pub(super) fn count_refusal(&mut self, refusal: &Refusal) {
        *self.refused.entry(refusal.id()).or_default() += 1;
    }

    pub(super) fn status(&self, now: Timestamp) -> ExchangeStatus {
        let wanted = self.requester.wanted();
        ExchangeStatus {
            wanted: wanted
                .map(|(root, ids)| (root.clone(), ids.count()))
                .collect(),
            unanswered: self.requester.unanswered(now),
            bounds_hit: self.bounds_hit,
            outstanding: self.requester.all_outstanding(),
            answered: self.answered,
            refused: self.refused.clone(),
        }
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machines")
    }
}
