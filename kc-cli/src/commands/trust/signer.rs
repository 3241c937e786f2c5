//! The signer of list updates.

use std::path::Path;

use kc::core::chain::{
    ChainError, Check, Demand, MaxAge, TrustEntry, TrustList, TrustStore, UnverifiedChain,
};
use kc::core::keys::{Signer, VerifyingKey};
use kc::core::own_chains::OwnChains;
use kc::core::provision::compose_update;
use kc::core::store::KeyStoreSigner;
use kc::core::types::Timestamp;
use kc::keystore_file::system_rng;
use kc::maintenance::LockedNode;

use crate::error::CliError;
use crate::pin;
use crate::status::trust;

/// The signer of list updates.
pub(super) enum UpdateSigner {
    /// The root of trust itself.
    Root(Box<dyn Signer>),
    /// A node whose chain grants list updates.
    Node {
        node: Box<LockedNode>,
        key: VerifyingKey,
        chain: Vec<u8>,
    },
}

impl UpdateSigner {
    /// Locks and opens a node. Chooses a key of the node whose chain grants updates of the list.
    pub(super) fn of_node(
        (node, pin_file): (&str, Option<&Path>),
        list: TrustList,
        now: Timestamp,
    ) -> Result<Self, CliError> {
        let node = Box::new(pin::lock(node, pin_file)?);
        let (key, chain) = granted(&node, list, now)?;
        Ok(Self::Node { node, key, chain })
    }

    /// Makes an update that adds `entry` to the list.
    pub(super) fn sign(
        &self,
        list: TrustList,
        entry: &TrustEntry,
        max_age: MaxAge,
    ) -> Result<Vec<u8>, CliError> {
        let mut rng = system_rng()?;
        let mut compose = |signer: &dyn Signer, chain| {
            compose_update(list, entry, max_age, (signer, chain), &mut rng)
        };
        let update = match self {
            Self::Root(root) => compose(root.as_ref(), None),
            Self::Node { node, key, chain } => {
                compose(&KeyStoreSigner::new(node.keys(), key.clone()), Some(chain))
            }
        };
        update.map_err(CliError::from_error)
    }

    /// Returns the allowlist and the denylist for checking the signer's updates. For a root of trust, only this root is
    /// on the allowlist. For a node, these are the node's own lists.
    pub(super) fn trust(&self) -> Result<TrustStore, CliError> {
        match self {
            Self::Root(root) => {
                let entry = TrustEntry::unrestricted(root.verifying_key());
                Ok(TrustStore::new(Some(vec![entry]), Vec::new()))
            }
            Self::Node { node, .. } => trust(node.files(), node.config()),
        }
    }

    /// Returns the name of the signer for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Root(root) => format!("root of trust {}", root.verifying_key().fingerprint()),
            Self::Node { node, .. } => format!("node {}", node.config().node_id()),
        }
    }
}

/// Returns a key of the node, and a valid chain of this key that grants updates of the list.
///
/// # Errors
/// [`CliError`] if the node has no such chain.
fn granted(
    node: &LockedNode,
    list: TrustList,
    now: Timestamp,
) -> Result<(VerifyingKey, Vec<u8>), CliError> {
    let trust = trust(node.files(), node.config())?;
    let keys = node.keys().verifying_keys();
    let mut refusal = ChainError::Usage(list.usage().as_str().to_owned());
    let chains = OwnChains::load(node.config())?;
    let of_keys = keys.iter().enumerate().flat_map(|(position, key)| {
        let chains = chains.of_key(position, key).into_iter();
        chains.map(move |chain| (key, &chain.bytes))
    });
    for (key, chain) in of_keys {
        let demand = Demand::at(now).usage(list.usage());
        let proven = UnverifiedChain::parse(chain);
        match proven.and_then(|chain| chain.validate(&trust, &demand)) {
            Ok(_) => return Ok((key.clone(), chain.clone())),
            Err(error) => refusal = error,
        }
    }
    let (id, name) = (node.config().node_id(), list.name());
    let error = CliError::refused(format!("node {id} may not update the {name}"), &refusal);
    if refusal.check() != Check::Usage {
        return Err(error);
    }
    Err(error.advise(format!(
        "the chain of the signer must grant {}: name a node with the role administrator in --signer, or leave out \
         --signer to sign as the root",
        list.usage().as_str()
    )))
}
