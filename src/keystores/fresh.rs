use std::path::Path;

use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::ratchet::Seed;
use kc_core::store::config::NodeConfig;
use kc_core::text::with_sources;
use kc_keystore_file::{NewFiles, NewPlace, NodeFiles};
use kc_keystore_hsm::{
    HsmError, HsmRatchetStore, NewIdentity, NodeLabels, NodeOnToken, PinSource, Pkcs11Uri, Token,
    destroy_node_keys, generate_identity, generate_opaque_key, nodes_called,
};

use super::TokenKeys;
use super::token::place_on_token;
use crate::error::Error;

/// The treatment of existing keys on the token that belong to a node with the same id as the new node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameId {
    /// Returns an error, because the keys may belong to another node.
    Refuse,
    /// Uses the existing keys for the new node. This is an error unless the token has keys of exactly one node with
    /// this id. It is also an error if the token has the ratchet of this node, or if an earlier version of kc made the
    /// keys. Keys that [`NewTokenKeys::draw`] generated have no ratchet until [`NewTokenKeys::create`] is called.
    Adopt,
    /// Keeps the keys, and generates separate keys for the new node.
    Beside,
}

/// The keys of a new node, on a token.
#[derive(Debug)]
pub struct NewTokenKeys {
    token: Token,
    labels: NodeLabels,
    key: VerifyingKey,
    kept: TokenKeys,
    first_index: u64,
    /// Set if the keys existed before.
    adopted: bool,
}

impl NewTokenKeys {
    /// Generates a signing key of this type and an opaque key on the token. With [`SameId::Adopt`], takes the existing
    /// keys of a node with this id instead, and generates only missing keys. `uri` names the token, but no object.
    ///
    /// # Errors
    /// Returns [`HsmError::NodeExists`] if `same_id` is [`SameId::Refuse`] and the token has keys of a node with this
    /// id; [`HsmError::NotAdoptable`] if `same_id` is [`SameId::Adopt`] and the existing keys cannot be used;
    /// [`HsmError::ReservedId`] if earlier versions used the id for a root of trust or a provisioner; and other errors
    /// if the token fails.
    pub fn draw(
        node_id: &str,
        uri: &Pkcs11Uri,
        pin: PinSource,
        key_type: KeyType,
        same_id: SameId,
    ) -> Result<Self, Error> {
        let fresh = NodeLabels::fresh(node_id)?;
        let token = Token::open(uri, pin)?;
        let nodes = nodes_called(&token, node_id)?;
        let first_index = nodes.iter().filter_map(|node| node.ratchet).max();
        let adopted = same_id == SameId::Adopt;
        let labels = match (same_id, &nodes[..]) {
            (SameId::Adopt, nodes) => adoptable(node_id, nodes)?,
            (SameId::Refuse, [node, ..]) => {
                let label = node.labels.identity();
                return Err(HsmError::NodeExists { label }.into());
            }
            (SameId::Refuse | SameId::Beside, _) => fresh,
        };
        let drawn = draw_keys(&token, &labels, key_type);
        if drawn.is_err() && !adopted {
            destroy(&token, &labels);
        }
        let drawn = drawn?;
        let key = drawn.verifying_key.clone();
        let mut kept = TokenKeys::default();
        kept.add(drawn);
        Ok(Self {
            token,
            labels,
            key,
            kept,
            first_index: first_index.unwrap_or(0),
            adopted,
        })
    }

    /// Returns the public key of the signing key, for which a certificate is needed.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Returns the token.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Returns the lowest index at which the node's ratchet may begin. The index is larger than all indices that nodes
    /// with this id have used, as far as the token shows.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Writes the files of the node, which name the keys on the token. The node's ratchet begins with `seed`; without
    /// `seed`, the node gets no ratchet. An existing node is replaced only if `force` is set.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Files`](crate::ErrorKind::Files) if the node exists and `force` is not set, if another
    /// process has it open, or if a file cannot be written. Returns other errors if the token fails.
    pub fn create(
        &self,
        folder: &Path,
        config: &mut NodeConfig,
        seed: Option<&Seed>,
        force: bool,
    ) -> Result<NodeFiles, Error> {
        let place = NewPlace::claim(folder, self.labels.node_id(), force)?;
        if let Some(seed) = seed {
            let path = place.files().sealed_ratchet();
            HsmRatchetStore::import(self.token.clone(), &self.labels, &path, seed)?;
        }
        place_on_token(config, self.token.uri(), &self.labels, seed.is_some())?;
        self.kept.write(config)?;
        Ok(place.write(NewFiles {
            config,
            secrets: None,
            seed: None,
        })?)
    }

    /// Destroys the generated keys, for a caller that does not create the node after all. Adopted keys are kept.
    pub fn give_up(self) {
        if !self.adopted {
            destroy(&self.token, &self.labels);
        }
    }
}

fn draw_keys(
    token: &Token,
    labels: &NodeLabels,
    key_type: KeyType,
) -> Result<NewIdentity, HsmError> {
    generate_opaque_key(token, labels)?;
    generate_identity(token, labels, key_type)
}

fn destroy(token: &Token, labels: &NodeLabels) {
    if let Err(error) = destroy_node_keys(token, labels) {
        let label = labels.identity();
        tracing::warn!(error = %with_sources(&error), label, "unused keys remain on the token");
    }
}

/// Returns the labels of the only node among `nodes`, which have this id and keys on the token. Returns an error if
/// there is not exactly one node, if the token has the ratchet of this node, or if an earlier version of kc made its
/// labels.
fn adoptable(node_id: &str, nodes: &[NodeOnToken]) -> Result<NodeLabels, HsmError> {
    let problem = match nodes {
        [] => "the token has no keys of a node with this id",
        [node] if node.ratchet.is_some() => {
            "the keys on the token are in use, because the token also has this node's ratchet"
        }
        [node] if !node.labels.has_instance() => {
            "the keys on the token were created by an earlier version of kc"
        }
        [node] => return Ok(node.labels.clone()),
        _ => "the token has keys of several nodes with this id",
    };
    Err(HsmError::NotAdoptable {
        node: node_id.to_owned(),
        problem,
    })
}
