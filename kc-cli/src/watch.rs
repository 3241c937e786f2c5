//! Reports on stderr: events that need a person, and changes that other nodes made to this node's trust.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use kc::BackendErrorKind;
use kc::actors::{Events, Store, watch_brokers};
use kc::core::keys::VerifyingKey;
use kc::core::text::counted;
use kc::core::types::{RootTopic, TopicScheme};
use kc::{Node, NodeEvent};
use tokio::task::JoinHandle;

use crate::args::Connection;
use crate::neighbours::KnownNames;
use crate::topic::requested_on;
use crate::ui::Ui;
use crate::ui::until;

/// Starts a task that reports the events of a node. The task runs until the caller aborts it.
pub(crate) fn start(node: &Node, names: KnownNames, ui: Ui) -> JoinHandle<()> {
    let mut events = node.events();
    let mut watch = Watch {
        roots: node
            .actors()
            .roots()
            .map(VerifyingKey::fingerprint)
            .collect(),
        scheme: node.actors().scheme().clone(),
        names,
        ui,
        reported_chain: false,
        unreachable: HashSet::new(),
        outages: Outages::new(node.servers(), ui),
    };
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            watch.report(event);
        }
    })
}

struct Watch {
    /// The fingerprints of the node's roots of trust.
    roots: Vec<String>,
    scheme: TopicScheme,
    names: KnownNames,
    ui: Ui,
    reported_chain: bool,
    /// The root topics whose unreachable side topics were already reported, each with what was missing.
    unreachable: HashSet<(RootTopic, Obstacle)>,
    outages: Outages,
}

/// What is missing when a request cannot be sent to a side topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Obstacle {
    /// The right to write to the topic.
    Right,
    /// The topic.
    Topic,
    /// An answer of the broker.
    Broker,
}

impl Obstacle {
    fn of(kind: Option<BackendErrorKind>) -> Self {
        match kind {
            Some(BackendErrorKind::Authorization) => Self::Right,
            Some(BackendErrorKind::UnknownTopic) => Self::Topic,
            _ => Self::Broker,
        }
    }
}

/// Reports when the Kafka client of a command without a node, which has already reached the broker, loses it, and when
/// the broker answers again. The future never ends.
pub(crate) async fn report_outages(connection: &Connection, topic: &str, ui: Ui) -> Infallible {
    let events = Events::default();
    let mut heard = events.listen();
    let mut outages = Outages::new(&connection.servers, ui);
    outages.reached = true;
    let reporting = async {
        while let Some(event) = heard.next().await {
            outages.report(&event);
        }
    };
    let backend = Arc::clone(&connection.backend);
    let watching = watch_brokers(backend, topic.to_owned(), events);
    tokio::join!(watching, reporting).0
}

/// Reports the loss of the broker, and its return.
struct Outages {
    servers: String,
    ui: Ui,
    /// True if the broker has answered before.
    reached: bool,
    /// True during an outage of the brokers.
    is_lost: bool,
}

impl Outages {
    fn new(servers: &str, ui: Ui) -> Self {
        Self {
            servers: servers.to_owned(),
            ui,
            reached: false,
            is_lost: false,
        }
    }

    fn report(&mut self, event: &NodeEvent) {
        match event {
            NodeEvent::BrokersLost { reason, answered } => {
                self.is_lost = true;
                let servers = &self.servers;
                self.ui.say(if *answered || self.reached {
                    format!("lost broker {servers}: {reason}; kc tries again")
                } else {
                    format!("no broker answers at {servers}: {reason}; kc tries again")
                });
            }
            NodeEvent::BrokersBack { after } => {
                self.is_lost = false;
                self.ui
                    .say(format!("back after {:.1} s", after.as_secs_f64()));
            }
            _ => {}
        }
    }
}

impl Watch {
    fn report(&mut self, event: NodeEvent) {
        let ui = self.ui;
        match event {
            NodeEvent::Unanswered { root_topic, ids } => {
                let side_topics = requested_on(&self.scheme, &root_topic);
                ui.say(unanswered(&root_topic, &side_topics, ids.len(), &self.roots));
            }
            NodeEvent::NotSent { root_topic, kind, reason }
                if self.unreachable.insert((root_topic.clone(), Obstacle::of(kind))) =>
            {
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let advice = match Obstacle::of(kind) {
                    Obstacle::Right => {
                        "`kc topics acls` prints the commands that give this node the access rights".to_owned()
                    }
                    Obstacle::Topic => format!("Create the side topics: kc topics create {root_topic}"),
                    Obstacle::Broker => "Check that the broker is running".to_owned(),
                };
                ui.say(format!(
                    "a request for data keys cannot be sent to the side topics of {root_topic}{reason}. kc tries again. \
                     {advice}"
                ));
            }
            NodeEvent::StoreFails { store, fault } => {
                ui.say(format!("{}: {}", failing(store), fault.reason));
                if let Some(advice) = fault.advice {
                    ui.say(format!("advice: {advice}"));
                }
            }
            NodeEvent::StoreWorks { store } => ui.say(working(store)),
            NodeEvent::NoValidChain { reason } if !self.reported_chain => {
                self.reported_chain = true;
                ui.say(format!(
                    "this node has no valid certificate chain, so it can neither request data keys nor hand them out: \
                     {reason}"
                ));
            }
            NodeEvent::Denied { key, .. } => ui.say(format!(
                "a key of this node's chain was denied: other nodes refuse the node's key {} from now on. If that is a \
                 mistake, ask the keeper of the root of trust; `kc provision --force` gives the node a new key",
                key.fingerprint()
            )),
            NodeEvent::ChainExpires { key, expires } => ui.say(format!(
                "the certificate chain of this node's key {} ends at {}; after this time the node can neither request \
                 data keys nor hand them out. Renew the chain with `kc chain issue`, or send a new chain with `kc \
                 chain publish`",
                key.fingerprint(),
                expires
            )),
            NodeEvent::ChainAdopted { key, expires } => {
                // If the new chain has a problem, too, this is reported again.
                self.reported_chain = false;
                ui.note(format!(
                    "this node uses a new certificate chain for its key {}, valid {}",
                    key.fingerprint(),
                    until(expires)
                ));
            }
            NodeEvent::Listed { list, key, .. } => {
                let fingerprint = key.fingerprint();
                let owner = self.names.get(&fingerprint);
                let owner = owner.map_or_else(String::new, |node| format!(" (a key of {node})"));
                ui.note(format!("key {fingerprint} was added to the {}{owner}", list.name()));
            }
            NodeEvent::Held {
                topic,
                partition,
                offset,
                failure,
                owner,
            } => {
                let owner = owner.map(|owner| owner.fingerprint());
                let named = owner.map(|it| self.names.get(&it).map_or(it.clone(), str::to_owned));
                let of = named.map_or_else(String::new, |node| format!(" (a key of {node})"));
                ui.say(format!(
                    "partition {partition} of {topic} is held at offset {offset}: {failure}{of}. --undecryptable chooses what \
                     happens to such records"
                ));
            }
            NodeEvent::ConsumerFails {
                kind: BackendErrorKind::Rebalance,
                reason,
                ..
            } => ui.say(format!("{reason}; kc joins the group again")),
            NodeEvent::ConsumerFails { topics, reason, .. } if !self.outages.is_lost => {
                ui.say(format!("{topics} cannot be read: {reason}; kc tries again"));
            }
            NodeEvent::BrokersLost { .. } | NodeEvent::BrokersBack { .. } => {
                self.outages.report(&event);
            }
            NodeEvent::ProducerFails { queued, reason } => {
                let queued = counted(queued, "record");
                ui.say(if self.outages.is_lost {
                    format!("{queued} queued")
                } else {
                    format!("{queued} queued: {reason}")
                });
            }
            NodeEvent::ProducerWorks { .. } => ui.say("the broker acknowledges records again"),
            _ => {}
        }
    }
}

fn failing(store: Store) -> &'static str {
    match store {
        Store::Keys => {
            "this node cannot sign now, so it can neither request data keys nor hand them out"
        }
        Store::Ratchet => "the ratchet cannot turn now, so the data keys in use stay in use",
        Store::RetainedKeys => {
            "data keys for late consumers cannot be stored now, so no new data keys are used"
        }
    }
}

fn working(store: Store) -> &'static str {
    match store {
        Store::Keys => "this node can sign again",
        Store::Ratchet => "the ratchet turns again",
        Store::RetainedKeys => "data keys for late consumers are stored again",
    }
}

fn unanswered(root_topic: &RootTopic, side_topics: &str, keys: usize, roots: &[String]) -> String {
    let keys = if keys == 1 {
        "a data key".to_owned()
    } else {
        counted(keys, "data key")
    };
    format!(
        "unanswered: no node has answered the requests on {side_topics} for {keys} of root topic {root_topic}; kc will \
         ask again. Likely causes:
  - no node that has the keys is running: start the producer, or `kc node serve` with the producer's node
  - the producer does not trust this node's root of trust {}:
    compare with `kc node status` of the producer, which shows the roots that the producer trusts
  - this node is limited, and no controller is running: start `kc controller`
  - the records were copied from a topic with another root topic: name that root topic with --root-topic TOPIC=ROOT",
        roots.join(", ")
    )
}
