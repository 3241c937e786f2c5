use crate::labels::Role;
use crate::token::{Class, Wanted};
use crate::{HsmError, NodeLabels, Token, list_objects};

/// A node that a token has keys of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeOnToken {
    /// How they are called.
    pub labels: NodeLabels,
    /// The step that its ratchet has come to, if it has one.
    pub ratchet: Option<u64>,
}

/// The nodes with this id that a token has keys of. Several may have the same.
///
/// # Errors
/// The token is gone.
pub fn nodes_called(token: &Token, node_id: &str) -> Result<Vec<NodeOnToken>, HsmError> {
    let mut nodes: Vec<NodeOnToken> = Vec::new();
    for object in list_objects(token)? {
        let Ok(labels) = NodeLabels::of_object(&object.label) else {
            continue;
        };
        if labels.node_id() != node_id {
            continue;
        }
        let is_ratchet = object.label == labels.ratchet();
        let index = object.id.try_into().ok().filter(|_| is_ratchet);
        let index = index.map(u64::from_be_bytes);
        match nodes.iter_mut().find(|node| node.labels == labels) {
            Some(node) => node.ratchet = node.ratchet.max(index),
            None => nodes.push(NodeOnToken {
                labels,
                ratchet: index,
            }),
        }
    }
    Ok(nodes)
}

/// Destroys all that a token has of a node: one that was begun, and is not to be. Its ratchet goes first.
///
/// # Errors
/// [`HsmError::NotALabel`] for labels that another node may have, too; the token is gone.
pub fn destroy_node_keys(token: &Token, labels: &NodeLabels) -> Result<(), HsmError> {
    if !labels.has_instance() {
        return Err(HsmError::NotALabel(labels.identity()));
    }
    token.with_session(|token| {
        for role in Role::ALL.into_iter().rev() {
            for class in Class::ALL {
                for object in token.find_all(&Wanted::new(class, labels.label(role)))? {
                    token.destroy(object)?;
                }
            }
        }
        Ok(())
    })
}
