use std::path::Path;

use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::ratchet::Seed;
use kc_core::store::config::NodeConfig;
use kc_keystore_file::{NewFiles, NewPlace, NodeFiles};
use kc_keystore_hsm::{
    HsmError, HsmRatchetStore, NodeLabels, PinSource, Pkcs11Uri, Token, generate_identity,
    generate_opaque_key,
};

use super::TokenKeys;
use super::token::place_on_token;
use crate::error::OpenError;

/// The keys of a node to be, on a token.
#[derive(Debug)]
pub struct NewTokenKeys {
    token: Token,
    labels: NodeLabels,
    key: VerifyingKey,
    kept: TokenKeys,
}

impl NewTokenKeys {
    /// Draws on the token what is not there: a signing key of this type, and the key of sealed values. `uri` names the
    /// token, and nothing on it.
    ///
    /// # Errors
    /// [`OpenError::Token`], also for an id that no node on a token may have.
    pub fn draw(
        node_id: &str,
        uri: &Pkcs11Uri,
        pin: PinSource,
        key_type: KeyType,
    ) -> Result<Self, OpenError> {
        let labels = NodeLabels::new(node_id)?;
        let token = Token::open(uri, pin)?;
        generate_opaque_key(&token, &labels)?;
        let drawn = generate_identity(&token, &labels, key_type)?;
        let key = drawn.verifying_key.clone();
        let mut kept = TokenKeys::default();
        kept.add(drawn);
        Ok(Self {
            token,
            labels,
            key,
            kept,
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

    /// The index that the node's ratchet is to begin at: past all that a node of this id has used, as far as the token
    /// and a file in this place tell.
    ///
    /// # Errors
    /// [`HsmError::RatchetExists`] if there is a ratchet that has been used, unless `force` says that it is to be
    /// replaced; the token is gone.
    pub fn first_index(&self, files: &NodeFiles, force: bool) -> Result<u64, OpenError> {
        let path = files.sealed_ratchet();
        let first = HsmRatchetStore::unused_index(self.token.clone(), &self.labels, &path)?;
        if first > 0 && !force {
            return Err(HsmError::RatchetExists { path }.into());
        }
        Ok(first)
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
}
