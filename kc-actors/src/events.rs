//! The events of a node, for operators, demonstrations and metrics.

use std::fmt;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::chain::{ChainError, TrustList};
use kc_core::exchange::{Party, RefusalId, Sender};
use kc_core::keys::VerifyingKey;
use kc_core::text::{counted, with_sources};
use kc_core::types::{KeyId, ManagementTopic, RootTopic, SideTopic, Timestamp};
use tokio::sync::broadcast;

use crate::handles::OpenFailure;
use crate::stores::{Store, StoreFault};

/// Number of events that are kept for a slow listener. A listener that falls further behind misses the oldest events.
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
    /// A request could not be sent to its side topics. The node tries again.
    NotSent {
        /// The root topic.
        root_topic: RootTopic,
        /// The kind of the failure, if the Kafka client reported one.
        kind: Option<BackendErrorKind>,
        /// The reason, as text for operators, if the Kafka client gave one.
        reason: Option<String>,
    },
    /// This node sent data keys in reply to a request.
    Answered {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the keys.
        ids: Vec<KeyId>,
        /// The node that signed the request: the node that receives the keys, or a controller that vouched for it.
        requester: Party,
    },
    /// This custodian keeps a data key from now on: a record has proven it, and it is stored.
    Kept {
        /// The root topic.
        root_topic: RootTopic,
        /// The id of the key.
        id: KeyId,
    },
    /// This custodian has destroyed data keys that it kept, because their records no longer exist.
    Forgotten {
        /// The root topic.
        root_topic: RootTopic,
        /// The number of the keys.
        keys: u64,
    },
    /// This node received data keys.
    Received {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the keys.
        ids: Vec<KeyId>,
        /// The node that sent the keys.
        giver: Party,
        /// The time between the request and the reply; zero if this node no longer remembers the request.
        after: Duration,
    },
    /// This node refused a record of a side topic.
    Refused {
        /// The root topic.
        root_topic: RootTopic,
        /// The kind of side topic.
        side: SideTopic,
        /// The sender of the record: verified by a signature, only claimed, or unknown.
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
    /// As a controller, this node vouched for a request of another node.
    Forwarded {
        /// The root topic.
        root_topic: RootTopic,
        /// The ids of the requested keys.
        ids: Vec<KeyId>,
        /// The node that sent the request.
        requester: Party,
    },
    /// As a chain server, this node renewed a chain.
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
        /// Set if this node has seen the key in use: as a key of its own, as a root of trust, or in a chain that it has
        /// validated.
        in_use: bool,
    },
    /// This node uses a new chain for one of its keys.
    ChainAdopted {
        /// The certified key.
        key: VerifyingKey,
        /// The end of the chain's validity; `None` if the chain does not expire.
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
    /// A chain of this node was denied: its signing key, or another key of the chain, was added to the denylist. Other
    /// nodes refuse the chain from now on.
    Denied {
        /// The signing key of this node that the chain certifies.
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
    /// A consumer cannot read at present: brokers do not answer, or the consumer lost its membership in the group. The
    /// consumer tries again.
    ConsumerFails {
        /// The topics of the consumer.
        topics: String,
        /// The kind of failure, for example [`BackendErrorKind::Rebalance`] for a lost membership.
        kind: BackendErrorKind,
        /// The reason, as text for operators.
        reason: String,
    },
    /// A consumer reads again after an outage.
    ConsumerWorks {
        /// The topics of the consumer.
        topics: String,
        /// The duration of the outage.
        after: Duration,
    },
    /// No broker answers. The node and its clients try again.
    BrokersLost {
        /// The reason, as text for operators.
        reason: String,
        /// Set if a broker has answered this node before.
        answered: bool,
    },
    /// Brokers answer again after an outage.
    BrokersBack {
        /// The duration of the outage.
        after: Duration,
    },
    /// The brokers do not acknowledge the records of a producer at present. The producer tries again until the Kafka
    /// client's `delivery_timeout_ms` has passed.
    ProducerFails {
        /// The number of records that are neither acknowledged nor failed.
        queued: u64,
        /// The reason, as text for operators.
        reason: String,
    },
    /// The brokers acknowledge the records of a producer again after an outage.
    ProducerWorks {
        /// The duration of the outage.
        after: Duration,
    },
    /// A partition of a consumer is paused: the application has not acknowledged a record, and has taken too many
    /// records after it.
    Unacknowledged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset of the first record that is not acknowledged.
        offset: i64,
    },
    /// A consumer gets no records of a partition: the next record cannot be opened, its patience has ended, and the policy
    /// for the reason is [`Policy::Hold`](crate::Policy::Hold).
    Held {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset of the record.
        offset: i64,
        /// The reason why the record cannot be opened.
        failure: OpenFailure,
        /// The signing key of the node to which the data key belongs, if this node has another data key of that node.
        owner: Option<VerifyingKey>,
    },
    /// A partition is no longer held: the record was opened, or the consumer no longer has the partition.
    Released {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset of the record.
        offset: i64,
    },
    /// This listener was too slow, and missed this number of events.
    Missed(u64),
    /// This node has no valid chain. Therefore it cannot request keys, answer or vouch for requests, or renew chains.
    NoValidChain {
        /// The reason, as text for operators.
        reason: String,
    },
}

impl NodeEvent {
    /// Returns the event that no chain of this node is valid. `error` is the reason why the last of its chains is not
    /// valid.
    pub(crate) fn no_valid_chain(error: &ChainError) -> Self {
        let hint = match error {
            ChainError::Expired { .. } => "; renew the chain, or correct the clock if it is wrong",
            _ => "",
        };
        let reason = format!("{error} ({}){hint}", error.check());
        Self::NoValidChain { reason }
    }
}

/// Writes the event in one line for operators. The line contains the fingerprints of public keys. Of data keys it
/// contains only the number.
impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested {
                root_topic, ids, ..
            } => {
                write!(
                    f,
                    "requested {} of {root_topic}",
                    counted(ids.len(), "data key")
                )
            }
            Self::NotSent {
                root_topic, reason, ..
            } => {
                write!(
                    f,
                    "a request for data keys of {root_topic} could not be sent to its side topics"
                )?;
                reason
                    .as_ref()
                    .map_or(Ok(()), |reason| write!(f, ": {reason}"))?;
                f.write_str("; the node tries again")
            }
            Self::Answered {
                root_topic,
                ids,
                requester,
            } => {
                let (keys, to) = (counted(ids.len(), "data key"), requester.key.fingerprint());
                write!(
                    f,
                    "sent {keys} of {root_topic} in reply to a request signed by node {to}"
                )
            }
            Self::Forgotten { root_topic, keys } => {
                write!(
                    f,
                    "destroyed {} of {root_topic}",
                    counted(*keys, "data key")
                )
            }
            Self::Kept { root_topic, id } => write!(f, "keeps data key {id} of {root_topic}"),
            Self::Received {
                root_topic,
                ids,
                giver,
                after,
            } => {
                let (keys, from) = (counted(ids.len(), "data key"), giver.key.fingerprint());
                write!(
                    f,
                    "received {keys} of {root_topic} from node {from} after {after:.1?}"
                )
            }
            Self::Refused {
                root_topic,
                check,
                reason,
                times,
                ..
            } => write!(
                f,
                "refused a record of a side topic of {root_topic}: {reason} (check {check}, {})",
                counted(*times, "time")
            ),
            Self::Unanswered { root_topic, ids } => {
                let keys = counted(ids.len(), "data key");
                write!(
                    f,
                    "no producer has answered the request for {keys} of {root_topic}"
                )
            }
            Self::Forwarded {
                root_topic,
                ids,
                requester,
            } => {
                let (keys, node) = (counted(ids.len(), "data key"), requester.key.fingerprint());
                write!(
                    f,
                    "vouched for the request of node {node} for {keys} of {root_topic}"
                )
            }
            Self::ChainRenewed { key } => {
                write!(f, "renewed the chain of key {}", key.fingerprint())
            }
            Self::Listed { list, key, .. } => {
                write!(
                    f,
                    "key {} was added to the {}",
                    key.fingerprint(),
                    list.name()
                )
            }
            Self::ChainAdopted { key, expires } => {
                write!(
                    f,
                    "this node uses a new chain for its key {}",
                    key.fingerprint()
                )?;
                expires.map_or(Ok(()), |end| write!(f, ", valid until {end}"))
            }
            Self::UpdateRefused {
                check,
                reason,
                times,
                ..
            } => write!(
                f,
                "refused a list update or a new chain: {reason} (check {check}, {})",
                counted(*times, "time")
            ),
            Self::Denied { key, .. } => {
                write!(
                    f,
                    "the chain of this node's key {} was denied",
                    key.fingerprint()
                )
            }
            Self::ChainExpires { key, expires } => {
                write!(
                    f,
                    "the chain of this node's key {} ends at {expires}",
                    key.fingerprint()
                )
            }
            Self::StoreFails { store, fault } => {
                write!(f, "the store of the {store} fails: {}", fault.reason)
            }
            Self::StoreWorks { store } => write!(f, "the store of the {store} works again"),
            Self::ConsumerFails { topics, reason, .. } => {
                write!(f, "the consumer of {topics} cannot read: {reason}")
            }
            Self::ConsumerWorks { topics, after } => {
                write!(
                    f,
                    "the consumer of {topics} reads again after an outage of {after:.1?}"
                )
            }
            Self::BrokersLost { reason, .. } => write!(f, "no broker answers: {reason}"),
            Self::BrokersBack { after } => {
                write!(f, "brokers answer again after an outage of {after:.1?}")
            }
            Self::ProducerFails { queued, reason } => {
                let queued = counted(*queued, "record");
                write!(
                    f,
                    "the brokers acknowledge no records ({queued} queued): {reason}"
                )
            }
            Self::ProducerWorks { after } => {
                write!(
                    f,
                    "the brokers acknowledge records again after an outage of {after:.1?}"
                )
            }
            Self::Unacknowledged {
                topic,
                partition,
                offset,
            } => write!(
                f,
                "partition {partition} of {topic} is paused: offset {offset} is not acknowledged"
            ),
            Self::Held {
                topic,
                partition,
                offset,
                failure,
                owner,
            } => {
                write!(
                    f,
                    "partition {partition} of {topic} is held at offset {offset}: {failure}"
                )?;
                match owner {
                    Some(owner) => write!(f, " (a key of node {})", owner.fingerprint()),
                    None => Ok(()),
                }
            }
            Self::Released {
                topic,
                partition,
                offset,
            } => write!(
                f,
                "partition {partition} of {topic} is no longer held at offset {offset}"
            ),
            Self::Missed(events) => {
                write!(f, "this listener missed {}", counted(*events, "event"))
            }
            Self::NoValidChain { reason } => {
                write!(f, "this node has no valid chain: {reason}")
            }
        }
    }
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
    /// Returns the next event without waiting; `None` if there is no event yet, or if the node has ended. Returns
    /// [`NodeEvent::Missed`] if this listener was too slow.
    pub fn try_next(&mut self) -> Option<NodeEvent> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(NodeEvent::Missed(missed)),
            Err(_) => None,
        }
    }

    /// Waits for the next event and returns it. Returns [`NodeEvent::Missed`] if this listener was too slow, and `None`
    /// if the node has ended.
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

/// Logs that a call of a Kafka client failed and will be repeated. `subject` is the topic or the topics. Outages of the
/// brokers have the target `kc::outage`, because the node reports them as events, too. A client that is being closed is
/// not worth a warning.
pub(crate) fn warn_of(error: &BackendError, subject: &str, text: &str) {
    let cause = with_sources(error);
    match error.kind() {
        BackendErrorKind::Closed => {
            tracing::debug!(target: "kc::kafka", subject, error = cause, "{text}");
        }
        _ if error.is_outage() => {
            tracing::warn!(target: "kc::outage", subject, error = cause, "{text}");
        }
        _ => tracing::warn!(target: "kc::kafka", subject, error = cause, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sentences() {
        let (root_topic, ids) = (RootTopic::from("t"), vec![KeyId::Short(1), KeyId::Short(2)]);
        let event = NodeEvent::Unanswered { root_topic, ids };
        let text = "no producer has answered the request for 2 data keys of t";
        assert_eq!(event.to_string(), text);
        let root_topic = RootTopic::from("t");
        let ids = vec![KeyId::Short(1)];
        let event = NodeEvent::Requested {
            root_topic,
            ids,
            direct: true,
        };
        assert_eq!(event.to_string(), "requested 1 data key of t");
        let missed = [1, 2].map(|events| NodeEvent::Missed(events).to_string());
        let expected = [
            "this listener missed 1 event",
            "this listener missed 2 events",
        ];
        assert_eq!(missed, expected);
    }
}
