//! The nodes to which data keys belong. The id of a data key is the hash of the signing keys of its node and of an
//! index, so the ids of a known node can be computed.

use std::collections::{BTreeMap, BTreeSet};

use kc::core::chain::UnverifiedChain;
use kc::core::keys::VerifyingKey;
use kc::core::ratchet::{KeyIdForm, MAX_RECOGNISED_STEPS};
use kc::core::types::KeyId;
use kc::keystore_file::{SearchPlaces, list_nodes};
use serde::Serialize;

use crate::stored::StoredNode;

/// The largest number of nodes whose data keys are recognised, of those on this host and of those that sent replies.
const MAX_NODES: usize = 1000;

/// The node of a data key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::commands) struct Owner {
    /// The id of a node on this host, or the fingerprint of a key that signed a reply.
    pub(in crate::commands) node: String,
    /// The step of the node's ratchet.
    pub(super) step: u64,
}

/// The nodes that are known, in the order in which they are tried.
#[derive(Debug, Default)]
pub(in crate::commands) struct Owners {
    known: Vec<(String, KeyIdForm)>,
    signers: BTreeSet<String>,
}

impl Owners {
    /// Reads the nodes on this host that `--node ID` can find. `first` comes first.
    pub(in crate::commands) fn on_this_host(first: Option<&StoredNode>) -> Self {
        let mut owners = Self::default();
        if let Some(node) = first {
            owners.add_node(node);
        }
        for files in list_nodes(&SearchPlaces::from_environment())
            .into_iter()
            .take(MAX_NODES)
        {
            if let Ok(node) = StoredNode::of_files(files) {
                owners.add_node(&node);
            }
        }
        owners
    }

    fn add_node(&mut self, node: &StoredNode) {
        let Ok(keys) = node.keys() else { return };
        let before = self.signers.len();
        self.signers
            .extend(keys.iter().map(VerifyingKey::fingerprint));
        if self.signers.len() == before {
            // The first node is found again.
            return;
        }
        let name = node.config.node_id().to_owned();
        self.known.push((name, KeyIdForm::long(&keys)));
    }

    /// Adds the node that signed a reply in the side topic for data keys. Nothing is verified: the key is proved by the
    /// ids of the data keys, which are hashes of it.
    pub(in crate::commands) fn add_reply(&mut self, reply: &[u8]) {
        if self.known.len() >= 2 * MAX_NODES {
            return;
        }
        let chain = UnverifiedChain::parse(reply).ok();
        let Some(signer) = chain.and_then(|chain| chain.peek_signer()) else {
            return;
        };
        if self.signers.insert(signer.fingerprint()) {
            let name = format!("key {}", signer.fingerprint());
            self.known.push((name, KeyIdForm::long([&signer])));
        }
    }

    /// Returns the owners of those data keys that belong to a known node. Short ids do not name their node.
    pub(in crate::commands) fn of(&self, keys: &BTreeSet<KeyId>) -> BTreeMap<KeyId, Owner> {
        let mut found = BTreeMap::new();
        let long = keys
            .iter()
            .filter(|id| matches!(id, KeyId::Long(_)))
            .count();
        for (node, form) in &self.known {
            for step in 0..MAX_RECOGNISED_STEPS {
                if found.len() == long {
                    return found;
                }
                let id = form.key_id(step);
                if keys.contains(&id) {
                    let node = node.clone();
                    found.entry(id).or_insert(Owner { node, step });
                }
            }
        }
        found
    }
}
