//! A node's keys and its ratchet, wherever its configuration says they are: in files, or on a token.

mod changes;
#[cfg(feature = "hsm")]
mod fresh;
#[cfg(feature = "hsm")]
mod left;
#[cfg(feature = "hsm")]
mod lost;
#[cfg(feature = "hsm")]
mod moving;
mod pin;
mod replaced;
#[cfg(feature = "hsm")]
mod rotation;
mod stored;
#[cfg(feature = "hsm")]
mod token;

use std::sync::Arc;

use kc_core::keys::KeyType;
use kc_core::store::config::{NodeConfig, Section};
use kc_core::store::{KeyStore, MemoryRatchetStore, RatchetStore};
use kc_keystore_file::{
    FileRatchetStore, NodeLock, SecretFile, crypto_path, open_key_store, ratchet_path, system_rng,
};

use crate::open_error::OpenError;

pub use changes::{KeyChanges, change_keys};
#[cfg(feature = "hsm")]
pub use fresh::{NewTokenKeys, SameId};
#[cfg(feature = "hsm")]
pub use left::LeftFile;
#[cfg(feature = "hsm")]
pub use lost::renew_ratchet;
#[cfg(feature = "hsm")]
pub use moving::{Moved, move_to_token, undo_move};
pub use pin::NodePin;
pub use replaced::{remember_unused, unused_index};
#[cfg(feature = "hsm")]
pub use rotation::rotate_opaque;
pub use stored::StoredKeys;
#[cfg(feature = "hsm")]
pub use token::TokenKeys;

/// What stands beside the keys of a token: `<node>-hsm`.
const TOKEN_SECTION: Section<'static> = Section::named("hsm");

/// Its entry of a node that is on its way onto a token: where its keys will be there.
const MOVING: &str = "moving";

/// What a value begins with that names a token.
const TOKEN: &str = "pkcs11:";

/// The value of `ratchet` for nodes without durable storage: each start draws a ratchet of its own.
const MEMORY: &str = "memory";

/// The stores of a node that is locked.
pub(crate) struct Keystores<'n> {
    pub(crate) config: &'n NodeConfig,
    pub(crate) lock: &'n Arc<NodeLock>,
    /// Where the token's PIN comes from, if not from where the configuration says.
    #[cfg_attr(
        not(feature = "hsm"),
        allow(dead_code, reason = "only tokens have one")
    )]
    pub(crate) pin: Option<&'n NodePin>,
}

impl Keystores<'_> {
    /// The signing keys of these types; `None` for all.
    pub(crate) fn keys(&self, types: Option<Vec<KeyType>>) -> Result<Box<dyn KeyStore>, OpenError> {
        if let Some(uri) = on_token(self.config, "cryptokey")? {
            return self.token_keys(&uri, types);
        }
        let path = crypto_path(self.config, self.lock.files())?;
        let file = SecretFile::new(path, Arc::clone(self.lock));
        Ok(Box::new(open_key_store(&file, types)?))
    }

    /// The ratchet; `None` for a node without one.
    pub(crate) fn ratchet(&self) -> Result<Option<Box<dyn RatchetStore>>, OpenError> {
        if let Some(uri) = on_token(self.config, "ratchet")? {
            return self.token_ratchet(&uri).map(Some);
        }
        let place = self.config.load_text(Section::NODE, "ratchet")?;
        if place.is_some_and(|place| place.trim() == MEMORY) {
            return Ok(Some(Box::new(
                MemoryRatchetStore::drawn(&mut system_rng()?),
            )));
        }
        let Some(path) = ratchet_path(self.config, self.lock.files())? else {
            return Ok(None);
        };
        require_not_moving(self.config)?;
        let file = SecretFile::new(path, Arc::clone(self.lock));
        Ok(Some(Box::new(FileRatchetStore::open(file)?)))
    }

    #[cfg(not(feature = "hsm"))]
    fn token_keys(&self, _: &str, _: Option<Vec<KeyType>>) -> Result<Box<dyn KeyStore>, OpenError> {
        Err(OpenError::NoTokens)
    }

    #[cfg(not(feature = "hsm"))]
    fn token_ratchet(&self, _: &str) -> Result<Box<dyn RatchetStore>, OpenError> {
        Err(OpenError::NoTokens)
    }
}

/// Fails while the node is on its way onto a token: its ratchet may be there already, and two copies of a ratchet repeat
/// keys.
fn require_not_moving(config: &NodeConfig) -> Result<(), OpenError> {
    match config.load_text(TOKEN_SECTION, MOVING)? {
        Some(token) => Err(OpenError::Moving {
            token: token.to_string(),
        }),
        None => Ok(()),
    }
}

/// The URI in an entry of the node's own section, if the entry names a token.
fn on_token(config: &NodeConfig, name: &str) -> Result<Option<String>, OpenError> {
    let value = config.load_text(Section::NODE, name)?;
    let value = value.filter(|value| value.trim_start().starts_with(TOKEN));
    Ok(value.map(|value| value.trim().to_owned()))
}
