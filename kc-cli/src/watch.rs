//! Telling on stderr what only a person can help with.

use kc::{EventListener, NodeEvent};
use tokio::task::JoinHandle;

use crate::ui::Ui;

/// Tells until it is aborted; `roots` are the fingerprints of the node's roots of trust.
pub(crate) fn start(mut events: EventListener, roots: Vec<String>, ui: Ui) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut told_of_chain = false;
        while let Some(event) = events.next().await {
            match event {
                NodeEvent::Unanswered { root, ids } => {
                    ui.say(unanswered(root.as_str(), ids.len(), &roots));
                }
                NodeEvent::NoValidChain { reason } if !told_of_chain => {
                    told_of_chain = true;
                    ui.say(format!(
                        "this node can neither ask for keys nor hand them out: {reason}"
                    ));
                }
                _ => {}
            }
        }
    })
}

fn unanswered(root: &str, keys: usize, roots: &[String]) -> String {
    let keys = if keys == 1 {
        "a key".to_owned()
    } else {
        format!("{keys} keys")
    };
    format!(
        "Unanswered: three requests for {keys} of {root} had no answer; asking goes on. Likely reasons:
  - no node with the keys is running: start the producer, or `kc node serve` on its node
  - the producer trusts another root than this node's root of trust {}
    (`kc node status` on the producer's side shows its root)
  - a controller is needed and none is running, if this node was provisioned as limited",
        roots.join(", ")
    )
}
