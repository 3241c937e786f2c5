use std::collections::BTreeMap;

use kc_core::backend::BackendError;
use kc_core::exchange::RefusalId;
use kc_core::types::RootTopic;

use crate::actors::chain::TrustStatus;
use crate::actors::controller::ControllerStatus;
use crate::actors::exchange::ExchangeStatus;
use crate::stores::{Store, StoreFault};

/// The state of a node, for operators and metrics.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The number of keys it can open with.
    pub opening_keys: usize,
    /// The number of keys it retains for late consumers, by root topic; empty while the ratchet waits for its token.
    pub held_keys: BTreeMap<RootTopic, usize>,
    /// The number of records of its encrypted consumers that wait for keys, by root topic.
    pub waiting_records: BTreeMap<RootTopic, usize>,
    /// How often a bound kept a key from being asked for.
    pub bounds_hit: u64,
    /// The exchange.
    pub exchange: ExchangeStatus,
    /// Whom it trusts, and which identities it has.
    pub trust: TrustStatus,
    /// The stores that failed when they were last used, and why.
    pub failing_stores: BTreeMap<Store, StoreFault>,
    /// The controller; `None` if it is none.
    pub controller: Option<ControllerStatus>,
}

impl NodeStatus {
    /// Returns the number of refused requests, replies and updates, by check.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<RefusalId, u64> {
        let controller = self.controller.iter().map(|controller| &controller.refused);
        let all = [&self.exchange.refused, &self.trust.refused];
        let mut refused = BTreeMap::new();
        for (check, times) in all.into_iter().chain(controller).flatten() {
            *refused.entry(*check).or_default() += times;
        }
        refused
    }
}

/// What closing a node left undone.
#[derive(Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Why clients were not closed in order, if they were not: records were not sent, or positions not committed.
    pub clients: Result<(), BackendError>,
    /// Why side topics were not flushed, if they were not.
    pub gateway: Result<(), BackendError>,
    /// The threads that had not ended by the deadline: `node`, or the actor that blocks. What they hold, as files and
    /// their lock, is not free before they end.
    pub still_running: Vec<&'static str>,
}
