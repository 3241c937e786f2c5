//! The events of a node, for operators, demonstrations and metrics.

use std::time::Duration;

use kc_core::chain::TrustList;
use kc_core::exchange::{Party, RefusalId, Sender};
use kc_core::keys::VerifyingKey;
use kc_core::types::{KeyId, ManagementTopic, RootTopic, SideTopic, Timestamp};
use tokio::sync::broadcast;

use crate::stores::{Store, StoreFault};

/// Number of events that are kept for a slow listener. A listener that is further behind misses the oldest events.
const CAPACITY: usize = 1024;

/// An event of a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// This node sent a request for data keys.
    Requested {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the requested keys.
        ids: Vec<KeyId>,
        /// Set if the request went to producers directly, not only to controllers.
        direct: bool,
    },
    /// A request could not be sent, because the side topics cannot be reached. The node sends it later.
    NotSent {
        /// The root topic.
        root_topic: RootTopic,
    },
    /// This node gave data keys to another node.
    Answered {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the keys.
        ids: Vec<KeyId>,
        /// The node that received the keys.
        requester: Party,
    },
    /// This node received data keys.
    Received {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the keys.
        ids: Vec<KeyId>,
        /// The node that sent the keys.
        giver: Party,
        /// The time between the request and the reply.
        after: Duration,
    },
    /// This node refused a record of a side topic.
    Refused {
        /// The root topic.
        root_topic: RootTopic,
        /// The kind of side topic.
        side: SideTopic,
        /// The sender.
        sender: Sender,
        /// The check that failed.
        check: RefusalId,
        /// The reason, as text for operators.
        reason: String,
        /// The number of refusals by this check on this topic since the last report.
        times: u64,
    },
    /// No producer has answered the request for these keys. The node continues to ask.
    Unanswered {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the keys.
        ids: Vec<KeyId>,
    },
    /// This node, a controller, vouched for a request of another node.
    Forwarded {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the requested keys.
        ids: Vec<KeyId>,
        /// The node that sent the request.
        requester: Party,
    },
    /// This node, a chain server, renewed a chain.
    ChainRenewed {
        /// The certified key.
        key: VerifyingKey,
    },
    /// A key was added to the allowlist or the denylist.
    Listed {
        /// The list.
        list: TrustList,
        /// The key.
        key: VerifyingKey,
        /// Set if this node has validated a chain that contains the key.
        in_use: bool,
    },
    /// This node uses a new chain of its own.
    ChainAdopted {
        /// The certified key.
        key: VerifyingKey,
        /// The end of the chain's validity; `None` if the chain has no end.
        expires: Option<Timestamp>,
    },
    /// This node refused a list update or a new chain.
    UpdateRefused {
        /// The management topic of the record.
        topic: ManagementTopic,
        /// The fingerprint of the key that the record claims to be for. No signature has proved this claim.
        claimed: Option<String>,
        /// The check that failed.
        check: RefusalId,
        /// The reason, as text for operators.
        reason: String,
        /// The number of refusals by this check on this topic since the last report.
        times: u64,
    },
    /// A key of this node is on the denylist: other nodes refuse the key from now on.
    Denied {
        /// The denied key.
        key: VerifyingKey,
        /// Set if this node has another key whose chain is valid.
        others_left: bool,
    },
    /// The validity of a chain of this node ends soon.
    ChainExpires {
        /// The certified key.
        key: VerifyingKey,
        /// The end of the chain's validity.
        expires: Timestamp,
    },
    /// A store began to fail, fails for a new reason, or has failed for another hour. Examples: a full disk, a
    /// missing token, a token whose PIN has changed. The node tries the store again at the next use.
    StoreFails {
        /// The store.
        store: Store,
        /// The fault.
        fault: StoreFault,
    },
    /// A store that had failed works again.
    StoreWorks {
        /// The store.
        store: Store,
    },
    /// A consumer cannot read at present: brokers do not answer, or the consumer lost its membership in the group. It
    /// tries again.
    ConsumerFails {
        /// The topics of the consumer.
        topics: String,
        /// The reason, as text for operators.
        reason: String,
    },
    /// A consumer that could not read now reads again.
    ConsumerWorks {
        /// The topics of the consumer.
        topics: String,
        /// The duration of the outage.
        after: Duration,
    },
    /// A partition of a consumer is paused: the application took too many records after one that it has not
    /// acknowledged.
    Unacknowledged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset of the first record that is not acknowledged.
        offset: i64,
    },
    /// This listener was too slow, and missed this number of events.
    Missed(u64),
    /// This node can neither request keys nor answer requests: it has no valid chain.
    NoValidChain {
        /// The reason, as text for operators.
        reason: String,
    },
}

/// Sends events to all listeners.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<NodeEvent>);

/// Receives the events of a node.
#[derive(Debug)]
pub struct EventListener(broadcast::Receiver<NodeEvent>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }
}

impl Events {
    /// Sends an event to all listeners. Without listeners the event is dropped.
    pub fn tell(&self, event: NodeEvent) {
        let _ = self.0.send(event);
    }

    /// Returns a listener that receives all events from now on.
    #[must_use]
    pub fn listen(&self) -> EventListener {
        EventListener(self.0.subscribe())
    }
}

impl EventListener {
    /// Returns the next event if there is one, without waiting. Returns [`NodeEvent::Missed`] if this listener was
    /// too slow.
    pub fn try_next(&mut self) -> Option<NodeEvent> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(NodeEvent::Missed(missed)),
            Err(_) => None,
        }
    }

    /// Waits for the next event and returns it. Returns [`NodeEvent::Missed`] if this listener was too slow, and
    /// `None` when the node no longer exists.
    ///
    /// Cancel safe: no event is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(NodeEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
