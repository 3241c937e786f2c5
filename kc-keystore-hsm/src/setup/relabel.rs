use cryptoki::object::{Attribute, ObjectHandle};
use kc_core::keys::VerifyingKey;

use crate::keys::ed25519;
use crate::labels::Role;
use crate::token::{Class, LoggedIn, Wanted};
use crate::{HsmError, NodeLabels, Token};

/// Gives the keys of a root of trust or a provisioner the labels of their own, if an earlier version labelled them as
/// those of a node. Says whether there are keys under these labels now. Interrupted, it can be done again.
///
/// Under `kc:root:` and `kc:provisioner-...:` no node is made any more; whatever else was called so is taken for the root's
/// only if it is `expected`. Where a node has its ratchet, nothing is renamed: it would not start again.
///
/// # Errors
/// The token refuses, or is gone.
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

/// Whether the Ed25519 half of this key is there.
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

/// Renames what has a role, unless its new name is taken.
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
