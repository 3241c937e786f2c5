use std::path::Path;

use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::ratchet::Seed;
use kc_core::store::config::NodeConfig;
use kc_keystore_file::{NewFiles, NewPlace, NodeFiles};
use kc_keystore_hsm::{
    HsmError, HsmRatchetStore, NewIdentity, NodeLabels, NodeOnToken, PinSource, Pkcs11Uri, Token,
    destroy_node_keys, generate_identity, generate_opaque_key, nodes_called,
};

use super::TokenKeys;
use super::token::place_on_token;
use crate::open_error::OpenError;

/// What a new node does about keys of a node with the same id that are on its token already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameId {
    /// Refuses: they may be another node's.
    Refuse,
    /// Takes them. They must be without a ratchet, as [`NewTokenKeys::draw`] leaves them.
    Adopt,
    /// Leaves them alone, and draws its own beside them.
    Beside,
}

/// The keys of a node to be, on a token.
#[derive(Debug)]
pub struct NewTokenKeys {
    token: Token,
    labels: NodeLabels,
    key: VerifyingKey,
    kept: TokenKeys,
    first_index: u64,
    /// Whether they were there before.
    adopted: bool,
}

impl NewTokenKeys {
    /// Draws on the token a signing key of this type, and the key of sealed values. `uri` names the token, and nothing on
    /// it.
    ///
    /// # Errors
    /// [`HsmError::NodeExists`], [`HsmError::NotAdoptable`], [`HsmError::ReservedId`]; the token refuses, or is gone.
    pub fn draw(
        node_id: &str,
        uri: &Pkcs11Uri,
        pin: PinSource,
        key_type: KeyType,
        same_id: SameId,
    ) -> Result<Self, OpenError> {
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

    /// The public half of the signing key: what a certificate is for.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The index that the node's ratchet is to begin at: past all that nodes of this id have used, as far as the token
    /// tells.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Writes the files of the node, which say where on the token its keys are. Its ratchet, if it has one, begins
    /// with `seed`. An existing node is replaced only if `force` says so.
    ///
    /// # Errors
    /// [`OpenError::File`], also if there is such a node, or it is open; the token is gone.
    pub fn create(
        &self,
        folder: &Path,
        config: &mut NodeConfig,
        seed: Option<&Seed>,
        force: bool,
    ) -> Result<NodeFiles, OpenError> {
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

    /// Destroys what was drawn, because there will be no such node. What was adopted stays.
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
        tracing::warn!(%error, label, "keys that no node uses are left on the token");
    }
}

/// The only keys of this id that are on a token, if no node uses them.
fn adoptable(node_id: &str, nodes: &[NodeOnToken]) -> Result<NodeLabels, HsmError> {
    let problem = match nodes {
        [] => "the token has none",
        [node] if node.ratchet.is_some() => "those on the token are in use, they have a ratchet",
        [node] if !node.labels.has_instance() => {
            "those on the token were made by an earlier version"
        }
        [node] => return Ok(node.labels.clone()),
        _ => "the token has those of several",
    };
    Err(HsmError::NotAdoptable {
        node: node_id.to_owned(),
        problem,
    })
}
