//! Reports on stderr what only a person can help with, and what others changed about the node.

use std::collections::HashSet;

use kc::actors::Store;
use kc::core::types::RootTopic;
use kc::{EventListener, NodeEvent};
use tokio::task::JoinHandle;

use crate::neighbours::KnownNames;
use crate::ui::Ui;
use crate::ui::until;

/// Reports until it is aborted; `roots` are the fingerprints of the node's roots of trust.
pub(crate) fn start(
    mut events: EventListener,
    roots: Vec<String>,
    names: KnownNames,
    ui: Ui,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut watch = Watch {
            roots,
            names,
            ui,
            reported_chain: false,
            unreachable: HashSet::new(),
        };
        while let Some(event) = events.next().await {
            watch.report(event);
        }
    })
}

struct Watch {
    roots: Vec<String>,
    names: KnownNames,
    ui: Ui,
    reported_chain: bool,
    /// The root topics of which it was reported that their side topics cannot be reached.
    unreachable: HashSet<RootTopic>,
}

impl Watch {
    fn report(&mut self, event: NodeEvent) {
        let ui = self.ui;
        match event {
            NodeEvent::Unanswered { root_topic, ids } => {
                ui.say(unanswered(root_topic.as_str(), ids.len(), &self.roots));
            }
            NodeEvent::NotSent { root_topic } if self.unreachable.insert(root_topic.clone()) => ui.say(format!(
                "the side topics of {root_topic} cannot be reached; kc keeps asking for its keys. The broker may be \
                 away; if it does not let this node create topics: kc topics create {root_topic}"
            )),
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
                    "this node can neither ask for keys nor hand them out: {reason}"
                ));
            }
            NodeEvent::Denied { key, .. } => ui.say(format!(
                "this node is on the denylist: its key {} was denied, and all other nodes refuse it from now \
                 on. If that is a mistake, ask the keeper of the root of trust; `kc provision --force` gives the \
                 node a new key",
                key.fingerprint()
            )),
            NodeEvent::ChainExpires { key, expires } => ui.say(format!(
                "the certificate chain of this node's key {} ends at {}: renew it by `kc chain issue`, or have a \
                 new one sent by `kc chain publish`; after its end the node can neither ask for keys nor hand \
                 them out",
                key.fingerprint(),
                expires
            )),
            NodeEvent::ChainAdopted { key, expires } => {
                // A problem of the chain now in use is news again.
                self.reported_chain = false;
                ui.note(format!(
                    "new certificate chain of this node's key {} in use, {}",
                    key.fingerprint(),
                    until(expires)
                ));
            }
            NodeEvent::Listed { list, key, .. } => {
                let fingerprint = key.fingerprint();
                let owner = self.names.get(&fingerprint);
                let owner = owner.map_or_else(String::new, |node| format!(", a key of {node}"));
                ui.note(format!("key {fingerprint} came onto the {}{owner}", list.name()));
            }
            _ => {}
        }
    }
}

fn failing(store: Store) -> &'static str {
    match store {
        Store::Keys => "this node cannot sign now: it can neither ask for keys nor hand them out",
        Store::Ratchet => "the ratchet cannot be turned now; the keys in use stay in use",
        Store::RetainedKeys => {
            "keys for late consumers cannot be kept now, so no new keys are used"
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
        "Unanswered: requests for {keys} of {root_topic} had no answer; kc keeps asking. Likely reasons:
  - no node with the keys is running: start the producer, or `kc node serve` on its node
  - the producer does not trust this node's root of trust {}
    (`kc node status` on the producer's side shows the roots that it trusts)
  - a controller is needed and none is running, if this node was provisioned as limited",
        roots.join(", ")
    )
}
