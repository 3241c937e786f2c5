//! The events of a node, for operators, demonstrations and metrics.

use std::time::Duration;

use kc_core::chain::TrustList;
use kc_core::exchange::{Party, RefusalId, Sender};
use kc_core::keys::VerifyingKey;
use kc_core::types::{KeyId, ManagementTopic, RootTopic, SideTopic, Timestamp};
use tokio::sync::broadcast;

use crate::stores::{Store, StoreFault};

/// The number of events that are kept for a listener that lags; beyond, it misses the oldest.
const CAPACITY: usize = 1024;

/// An event in a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// A request for keys went out.
    Requested {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
        /// Whether it went to producers directly, not only to controllers.
        direct: bool,
    },
    /// A request could not be sent, because the side topics cannot be reached; it will be.
    NotSent {
        /// The root topic.
        root_topic: RootTopic,
    },
    /// Keys were handed out.
    Answered {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
        /// The node that got them.
        requester: Party,
    },
    /// Keys came in.
    Received {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
        /// The node that gave them.
        giver: Party,
        /// The time since they were requested.
        after: Duration,
    },
    /// A record of a side topic was refused.
    Refused {
        /// The root topic.
        root_topic: RootTopic,
        /// The kind of side topic.
        side: SideTopic,
        /// The sender.
        sender: Sender,
        /// The check that refused.
        check: RefusalId,
        /// The reason, for operators.
        reason: String,
        /// How often this check has refused on this topic since it was last reported.
        times: u64,
    },
    /// No producer answers for these keys; the node goes on asking.
    Unanswered {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys.
        ids: Vec<KeyId>,
    },
    /// A controller vouched for a request.
    Forwarded {
        /// The root topic.
        root_topic: RootTopic,
        /// The keys that the request asks for.
        ids: Vec<KeyId>,
        /// The node that asked.
        requester: Party,
    },
    /// A chain server renewed a chain.
    ChainRenewed {
        /// The certified key.
        key: VerifyingKey,
    },
    /// A key came onto a list.
    Listed {
        /// The list.
        list: TrustList,
        /// The key.
        key: VerifyingKey,
        /// Whether it was in use: in a chain that this node has validated.
        in_use: bool,
    },
    /// A new chain of this node is in use.
    ChainAdopted {
        /// The certified key.
        key: VerifyingKey,
        /// When it ends; `None` if it does not.
        expires: Option<Timestamp>,
    },
    /// A list update or a new chain was refused.
    UpdateRefused {
        /// The topic that it came from.
        topic: ManagementTopic,
        /// The fingerprint of the key that it claims to be for; nothing has verified it.
        claimed: Option<String>,
        /// The check that refused.
        check: RefusalId,
        /// The reason, for operators.
        reason: String,
        /// How often this check has refused on this topic since it was last reported.
        times: u64,
    },
    /// This node is on the denylist: other nodes refuse it from now on.
    Denied {
        /// Its key.
        key: VerifyingKey,
        /// Whether it has another key whose chain is valid.
        others_left: bool,
    },
    /// A chain of this node ends soon.
    ChainExpires {
        /// The certified key.
        key: VerifyingKey,
        /// When it ends.
        expires: Timestamp,
    },
    /// A store began to fail, fails for a new reason, or has failed for another hour: a disk is full, a token is away, or
    /// back with another PIN. It is tried again when it is needed next.
    StoreFails {
        /// The store.
        store: Store,
        /// The fault.
        fault: StoreFault,
    },
    /// A store that failed works again.
    StoreWorks {
        /// The store.
        store: Store,
    },
    /// A consumer cannot read, for the time being: brokers do not answer, or membership in its group was lost.
    ConsumerFails {
        /// The topics that it reads.
        topics: String,
        /// Why.
        reason: String,
    },
    /// A consumer that failed reads again.
    ConsumerWorks {
        /// The topics that it reads.
        topics: String,
        /// The time since it failed.
        after: Duration,
    },
    /// A consumer's partition is paused: too many records were taken after one that is not acknowledged.
    Unacknowledged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset of the first record that is not acknowledged.
        offset: i64,
    },
    /// A listener lagged, and missed so many events before this.
    Missed(u64),
    /// This node cannot ask or answer: its own chain is not valid.
    NoValidChain {
        /// The reason, for operators.
        reason: String,
    },
}

/// Sends events to listeners.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<NodeEvent>);

/// Listens to events.
#[derive(Debug)]
pub struct EventListener(broadcast::Receiver<NodeEvent>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }
}

impl Events {
    /// Sends an event to all listeners; there may be none.
    pub fn tell(&self, event: NodeEvent) {
        let _ = self.0.send(event);
    }

    /// Returns a listener to the events from now on.
    #[must_use]
    pub fn listen(&self) -> EventListener {
        EventListener(self.0.subscribe())
    }
}

impl EventListener {
    /// Returns the next event, if it has happened already; [`NodeEvent::Missed`] if this listener lagged.
    pub fn try_next(&mut self) -> Option<NodeEvent> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(NodeEvent::Missed(missed)),
            Err(_) => None,
        }
    }

    /// Waits for the next event, [`NodeEvent::Missed`] if this listener lagged; `None` when the node is gone. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(NodeEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
