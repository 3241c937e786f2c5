use std::collections::BTreeMap;

use kc_core::exchange::RefusalId;
use kc_core::types::RootTopic;

use crate::actors::chain::TrustStatus;
use crate::actors::controller::ControllerStatus;
use crate::actors::exchange::ExchangeStatus;
use crate::stores::{Store, StoreFault};

/// A node as it is now, for people and metrics.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeStatus {
    /// How many keys it can open with.
    pub opening_keys: usize,
    /// How many retained keys it keeps for late consumers, by root topic; empty while the ratchet waits for its token.
    pub held_keys: BTreeMap<RootTopic, usize>,
    /// How many records of its encrypted consumers wait for keys, by root topic.
    pub waiting_records: BTreeMap<RootTopic, usize>,
    /// How often a bound kept something out: keys that could not be asked for yet.
    pub bounds_hit: u64,
    /// The exchange.
    pub exchange: ExchangeStatus,
    /// Whom it trusts, and who it is itself.
    pub trust: TrustStatus,
    /// The stores that failed when they were last used, and why.
    pub failing_stores: BTreeMap<Store, StoreFault>,
    /// What it did as a controller; `None` if it is none.
    pub controller: Option<ControllerStatus>,
}

impl NodeStatus {
    /// How many requests, replies and updates were refused, by check.
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
