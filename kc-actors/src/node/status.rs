use std::collections::BTreeMap;

use kc_core::backend::BackendError;
use kc_core::custody::RootCustody;
use kc_core::exchange::RefusalId;
use kc_core::types::RootTopic;

use crate::actors::chain::TrustStatus;
use crate::actors::controller::ControllerStatus;
use crate::actors::exchange::ExchangeStatus;
use crate::handles::HeldPartition;
use crate::stores::{Store, StoreFault};

/// The state of a node, for operators and metrics.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The number of key ids for which the node has a data key to open messages.
    pub opening_keys: usize,
    /// The number of data keys that the node retains for late consumers, by root topic. The map is empty while the
    /// ratchet waits for its store (for example for a token) or for the archive of the retained keys.
    pub retained_keys: BTreeMap<RootTopic, usize>,
    /// The number of records that wait for data keys in the encrypted consumers of the node, by root topic.
    pub waiting_records: BTreeMap<RootTopic, usize>,
    /// The partitions of which consumers get no records for longer than their patience. In the order of the consumers.
    pub held: Vec<HeldPartition>,
    /// The number of times that a limit was reached, and therefore a record of a side topic was dropped or a missing
    /// data key was not requested.
    pub bounds_hit: u64,
    /// The status of the key exchange.
    pub exchange: ExchangeStatus,
    /// The roots of trust, the lists and the identities of the node.
    pub trust: TrustStatus,
    /// The stores whose last use failed, each with the reason.
    pub failing_stores: BTreeMap<Store, StoreFault>,
    /// The status of the controller; `None` if the node is not a controller.
    pub controller: Option<ControllerStatus>,
    /// The state of custody of each root topic; `None` if the node is not a custodian, or if its store fails
    /// or does not answer within 5 s.
    pub custody: Option<Vec<RootCustody>>,
}

impl NodeStatus {
    /// Returns the number of refused requests, replies and trust updates for each check that failed.
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

/// The result of closing a node.
#[derive(Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The result of closing the clients. An error means that some records were possibly not sent, or some positions
    /// were possibly not committed.
    pub clients: Result<(), BackendError>,
    /// The result of closing the gateway. An error means that some records were possibly not sent to control topics.
    pub gateway: Result<(), BackendError>,
    /// The threads that had not ended by the deadline: `node`, or the name of an actor that blocks. A thread holds
    /// its resources, such as files and their lock, until it ends.
    pub still_running: Vec<&'static str>,
}
