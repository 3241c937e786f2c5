//! Lists the objects on a token, groups them by node, destroys them and renames them.

use std::fmt;

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use kc_core::keys::VerifyingKey;

use crate::keys::ed25519;
use crate::labels::{Role, is_ours};
use crate::token::{Class, LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, Token};

/// An object on a token whose label belongs to kc. `Display` prints one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ListedObject {
    /// The label of the object (`CKA_LABEL`). It begins with `kc:`, `kc-root:` or `kc-provisioner:`; see
    /// [`NodeLabels`](crate::NodeLabels).
    pub label: String,
    /// The class of the object (`CKA_CLASS`): "public key", "private key" or "secret key".
    pub class: &'static str,
    /// The id of the object (`CKA_ID`). The id of a ratchet's key is its step, 8 bytes big-endian.
    pub id: Vec<u8>,
    /// The attribute `CKA_SENSITIVE`. With `Some(true)`, the key cannot be read in plain text. `None` for a public key,
    /// or if the token does not report the attribute.
    pub sensitive: Option<bool>,
    /// The attribute `CKA_EXTRACTABLE`. With `Some(true)`, the key can leave the token in wrapped form. `None` for a
    /// public key, or if the token does not report the attribute.
    pub extractable: Option<bool>,
}

/// Lists the objects on a token whose [labels](crate::NodeLabels) belong to kc, ordered by label.
///
/// # Errors
/// Returns [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
pub fn list_objects(token: &Token) -> Result<Vec<ListedObject>, HsmError> {
    token.with_session(|token| {
        let mut listed = Vec::new();
        for class in Class::ALL {
            for object in token.search(&[Attribute::Token(true), class.attribute()])? {
                let label = label(token, object)?;
                if is_ours(&label) {
                    listed.push(describe(token, object, class, label)?);
                }
            }
        }
        listed.sort();
        Ok(listed)
    })
}

fn label(token: &LoggedIn<'_>, object: ObjectHandle) -> Result<String, HsmError> {
    let found = token.attributes(object, &[AttributeType::Label])?;
    Ok(match found.first() {
        Some(Attribute::Label(label)) => String::from_utf8_lossy(label).into_owned(),
        _ => String::new(),
    })
}

fn describe(
    token: &LoggedIn<'_>,
    object: ObjectHandle,
    class: Class,
    label: String,
) -> Result<ListedObject, HsmError> {
    let (sensitive, extractable) = match class {
        Class::Public => (None, None),
        Class::Private | Class::Secret => token.exposure(object)?,
    };
    Ok(ListedObject {
        label,
        class: class.name(),
        id: token.id(object)?,
        sensitive,
        extractable,
    })
}

impl fmt::Display for ListedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<34} {:<11} ", self.label, self.class)?;
        self.id
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        let state = |known: Option<bool>, yes, no| known.map(|known| if known { yes } else { no });
        for state in [
            state(self.sensitive, " sensitive", " READABLE"),
            state(self.extractable, " EXTRACTABLE", " non-extractable"),
        ] {
            f.write_str(state.unwrap_or_default())?;
        }
        Ok(())
    }
}

/// A node that has keys on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeOnToken {
    /// The labels of the node's keys.
    pub labels: NodeLabels,
    /// The highest step for which the token has a ratchet key of the node; `None` if the token has no such key.
    pub ratchet: Option<u64>,
}

/// Finds the nodes with this id that have keys on a token. Several nodes may have the same id.
///
/// # Errors
/// Returns [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
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

/// Destroys all objects of a node, the keys of its ratchet first. Used if the provisioning of the node, or its move
/// onto the token, is abandoned.
///
/// # Errors
/// Returns [`HsmError::NotALabel`] if the labels have no instance, because another node may have the same labels; and
/// [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone.
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

/// Renames the keys of a root of trust or a provisioner to `labels`, if an earlier version labelled them like keys of a
/// node. Returns whether the token now has the opaque key that belongs to `labels`; every root of trust and every
/// provisioner has such a key. If `labels` are the labels of a node, returns `true` without a check. A call that was
/// interrupted can be repeated.
///
/// If the token has a ratchet with the old labels, the keys belong to a node. Then nothing is renamed, because the node
/// could not find its keys any more. Without such a ratchet, keys with the labels `kc:root:<role>` and
/// `kc:provisioner-<name>:<role>` are renamed, because new nodes never get these labels. Keys with other old labels are
/// renamed only if their public key is `expected`.
///
/// # Errors
/// Returns [`HsmError::Gone`] or [`HsmError::TokenMissing`] if the token is gone; [`HsmError::Token`] if the token
/// refuses to rename an object; and [`HsmError::ObjectMissing`], [`HsmError::ObjectAmbiguous`],
/// [`HsmError::BadObject`] or [`HsmError::Exposed`] if the pair to be compared with `expected` is incomplete or
/// unusable.
pub fn relabel_signer(
    token: &Token,
    labels: &NodeLabels,
    expected: Option<&VerifyingKey>,
) -> Result<bool, HsmError> {
    let Some(old) = labels.old() else {
        return Ok(true);
    };
    token.with_session(|token| {
        let is_a_nodes = !all(token, &old, Role::Ratchet)?.is_empty();
        if !is_a_nodes && (old.renamed().is_some() || has(token, &old, expected)?) {
            for role in Role::ALL {
                relabel(token, (&old, labels), role)?;
            }
        }
        Ok(!all(token, labels, Role::Opaque)?.is_empty())
    })
}

/// Returns whether the Ed25519 pair that the token has with these labels belongs to `key`. Returns `false` if there is
/// no such pair, or if `key` is `None`.
fn has(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    key: Option<&VerifyingKey>,
) -> Result<bool, HsmError> {
    let Some(key) = key else {
        return Ok(false);
    };
    let label = labels.label(Role::of_ed25519(key.key_type()));
    let found = ed25519::find(token, &label)?;
    Ok(found.is_some_and(|pair| pair.public == *key.ed25519()))
}

fn all(
    token: &LoggedIn<'_>,
    labels: &NodeLabels,
    role: Role,
) -> Result<Vec<ObjectHandle>, HsmError> {
    let mut found = Vec::new();
    for class in Class::ALL {
        found.extend(token.find_all(&Wanted::new(class, labels.label(role)))?);
    }
    Ok(found)
}

/// Renames the objects of one role from the old label to the new label. Does not rename the objects of a class (public,
/// private or secret key) if the token already has an object of this class with the new label.
fn relabel(
    token: &LoggedIn<'_>,
    (old, new): (&NodeLabels, &NodeLabels),
    role: Role,
) -> Result<(), HsmError> {
    for class in Class::ALL {
        let find = |labels: &NodeLabels| token.find_all(&Wanted::new(class, labels.label(role)));
        if !find(new)?.is_empty() {
            continue;
        }
        let label = [Attribute::Label(new.label(role).into_bytes())];
        for object in find(old)? {
            let renamed = token.session.update_attributes(object, &label);
            renamed.map_err(HsmError::call("rename an object"))?;
        }
    }
    Ok(())
}
