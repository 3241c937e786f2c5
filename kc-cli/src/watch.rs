//! Telling on stderr what only a person can help with, and what others changed about the node.

use std::collections::HashSet;

use kc::actors::Store;
use kc::core::types::RootTopic;
use kc::{EventListener, NodeEvent};
use tokio::task::JoinHandle;

use crate::date::{date, until};
use crate::ui::Ui;

/// Tells until it is aborted; `roots` are the fingerprints of the node's roots of trust.
pub(crate) fn start(mut events: EventListener, roots: Vec<String>, ui: Ui) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut watch = Watch {
            roots,
            ui,
            told_of_chain: false,
            unreachable: HashSet::new(),
        };
        while let Some(event) = events.next().await {
            watch.tell(event);
        }
    })
}

struct Watch {
    roots: Vec<String>,
    ui: Ui,
    told_of_chain: bool,
    /// The root topics whose side topics could not be reached, which has been said.
    unreachable: HashSet<RootTopic>,
}

impl Watch {
    fn tell(&mut self, event: NodeEvent) {
        let ui = self.ui;
        match event {
            NodeEvent::Unanswered { root_topic, ids } => {
                ui.say(unanswered(root_topic.as_str(), ids.len(), &self.roots));
            }
            NodeEvent::NotSent { root_topic } if self.unreachable.insert(root_topic.clone()) => ui.say(format!(
                "the side topics of {root_topic} cannot be reached; asking for its keys goes on. The broker may be \
                 away; if it does not let this node create topics: kc topics create {root_topic}"
            )),
            NodeEvent::StoreFails { store, fault } => {
                ui.say(format!("{}: {}", failing(store), fault.reason));
                if let Some(advice) = fault.advice {
                    ui.say(format!("advice: {advice}"));
                }
            }
            NodeEvent::StoreWorks { store } => ui.say(working(store)),
            NodeEvent::NoValidChain { reason } if !self.told_of_chain => {
                self.told_of_chain = true;
                ui.say(format!(
                    "this node can neither ask for keys nor hand them out: {reason}"
                ));
            }
            NodeEvent::Denied { key, .. } => ui.say(format!(
                "this node is on the denylist: its key {} was denied, and all other nodes refuse it from now \
                 on. If that was not meant, ask who keeps the root of trust; `kc provision --force` gives it \
                 a new key",
                key.fingerprint()
            )),
            NodeEvent::ChainExpires { key, expires } => ui.say(format!(
                "the certificate chain of this node's key {} ends at {}: have a new one sent with `kc chain \
                 publish`, or provision the node anew; after that it can neither ask for keys nor hand them \
                 out",
                key.fingerprint(),
                date(expires)
            )),
            NodeEvent::ChainAdopted { key, expires } => {
                // What is said of the chain in use may have to be said again.
                self.told_of_chain = false;
                ui.note(format!(
                    "new certificate chain of this node's key {} in use, {}",
                    key.fingerprint(),
                    until(expires)
                ));
            }
            NodeEvent::Listed { list, key, .. } => ui.note(format!(
                "key {} came onto the {}",
                key.fingerprint(),
                list.name()
            )),
            _ => {}
        }
    }
}

fn failing(store: Store) -> &'static str {
    match store {
        Store::Keys => "this node cannot sign now, and so neither ask for keys nor hand them out",
        Store::Ratchet => "the ratchet cannot be turned now; the keys in use stay in use",
        Store::RetainedKeys => {
            "keys cannot be kept for late consumers now, and so no new ones be used"
        }
    }
}

fn working(store: Store) -> &'static str {
    match store {
        Store::Keys => "this node can sign again",
        Store::Ratchet => "the ratchet turns again",
        Store::RetainedKeys => "keys are kept for late consumers again",
    }
}

fn unanswered(root_topic: &str, keys: usize, roots: &[String]) -> String {
    let keys = if keys == 1 {
        "a key".to_owned()
    } else {
        format!("{keys} keys")
    };
    format!(
        "Unanswered: requests for {keys} of {root_topic} had no answer; asking goes on. Likely reasons:
  - no node with the keys is running: start the producer, or `kc node serve` on its node
  - the producer trusts another root than this node's root of trust {}
    (`kc node status` on the producer's side shows its root)
  - a controller is needed and none is running, if this node was provisioned as limited",
        roots.join(", ")
    )
}
