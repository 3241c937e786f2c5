//! The stores of a node's keys and ratchet. The configuration of the node says whether they are in files or on a token.

mod changes;
#[cfg(feature = "hsm")]
mod fresh;
#[cfg(feature = "hsm")]
mod moving;
mod ratchet_index;
#[cfg(feature = "hsm")]
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use kc_core::kem::Suite;
use kc_core::keys::{KeyType, Signer, VerifyingKey};
use kc_core::secret::SecretText;
use kc_core::store::config::{NodeConfig, Section};
use kc_core::store::{KeyStore, MemoryRatchetStore, RatchetStore, StoreErrorKind};
use kc_keystore_file::{
    FileRatchetStore, LazyRatchetStore, NodeFiles, NodeLock, SecretFile, crypto_path,
    open_key_store, ratchet_path, read_secrets, system_rng,
};

use crate::error::Error;
use crate::token_error::TokenError;

#[cfg(feature = "hsm")]
pub use changes::rotate_opaque;
pub use changes::{KeyChanges, change_keys};
#[cfg(feature = "hsm")]
pub use fresh::{NewTokenKeys, SameId};
#[cfg(feature = "hsm")]
pub use moving::{LeftFile, Moved, move_to_token, undo_move};
#[cfg(feature = "hsm")]
pub use ratchet_index::renew_ratchet;
pub use ratchet_index::{remember_unused, unused_index};
#[cfg(feature = "hsm")]
pub use token::TokenKeys;

/// The section `<node>-hsm`, which describes the keys on a token.
const TOKEN_SECTION: Section<'static> = Section::named("hsm");

/// The entry of the section `<node>-hsm` that exists while a move of the node onto a token is not finished. The value
/// of the entry is the URI of the keys on the token.
const MOVING: &str = "moving";

/// The prefix of an entry's value, if the value names a token.
const TOKEN: &str = "pkcs11:";

/// The value of `ratchet` for nodes without durable storage. Each start generates a new ratchet.
const MEMORY: &str = "memory";

/// The source of the PIN of the token that holds a node's keys. Without it, the PIN comes from the file that the URI
/// in the configuration names, or from the environment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NodePin {
    /// The PIN itself, as an operator has just entered it.
    Asked(Arc<SecretText>),
    /// A file whose first line is the PIN.
    File(PathBuf),
}

/// The stores of a locked node.
pub(crate) struct Keystores<'n> {
    pub(crate) config: &'n NodeConfig,
    pub(crate) lock: &'n Arc<NodeLock>,
    /// The source of the token's PIN. It overrides the source that the configuration names.
    #[cfg_attr(
        not(feature = "hsm"),
        allow(dead_code, reason = "only tokens have one")
    )]
    pub(crate) pin: Option<&'n NodePin>,
}

impl Keystores<'_> {
    /// Opens the store of the signing keys. `types` selects the types of keys to use; `None` selects all types.
    pub(crate) fn keys(&self, types: Option<Vec<KeyType>>) -> Result<Box<dyn KeyStore>, Error> {
        if let Some(uri) = on_token(self.config, "cryptokey")? {
            return self.token_keys(&uri, types);
        }
        let path = crypto_path(self.config, self.lock.files())?;
        let file = SecretFile::new(path, Arc::clone(self.lock));
        Ok(Box::new(open_key_store(&file, types)?))
    }

    /// Opens the store of the ratchet. Returns `None` for a node without a ratchet.
    pub(crate) fn ratchet(&self) -> Result<Option<Box<dyn RatchetStore>>, Error> {
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
        // A node that only consumes may run without its ratchet. A producer without it fails before it sends anything.
        let may_be_missing = self.lock.files().state().is_some();
        if may_be_missing && !file.exists()? {
            return Ok(Some(Box::new(LazyRatchetStore::new(file))));
        }
        match FileRatchetStore::open(file.clone()) {
            Ok(store) => Ok(Some(Box::new(store))),
            Err(error) if may_be_missing && error.kind() == StoreErrorKind::Permission => {
                Ok(Some(Box::new(LazyRatchetStore::new(file))))
            }
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(feature = "hsm"))]
    fn token_keys(&self, _: &str, _: Option<Vec<KeyType>>) -> Result<Box<dyn KeyStore>, Error> {
        Err(TokenError::NoTokens.into())
    }

    #[cfg(not(feature = "hsm"))]
    fn token_ratchet(&self, _: &str) -> Result<Box<dyn RatchetStore>, Error> {
        Err(TokenError::NoTokens.into())
    }
}

/// The information about a node's keys that its files contain, without secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredKeys {
    /// The public keys of all signing keys, including signing keys that the node does not use, in the order of their
    /// chains.
    pub signing: Vec<VerifyingKey>,
    /// The key exchange suites that the node offers and accepts, in order of preference.
    pub suites: Vec<Suite>,
    /// Set if the node also sends its requests for data keys in the legacy form
    /// ([`RequestForm::Legacy`](kc_core::exchange::RequestForm::Legacy)), which old peers need.
    pub legacy_requests: bool,
}

impl StoredKeys {
    /// Reads the information from a configuration and the files that it names. Needs neither a lock nor a PIN.
    ///
    /// # Errors
    /// Returns [`Error`] if the configuration or the file of the keys cannot be used.
    pub fn of(config: &NodeConfig, files: &NodeFiles) -> Result<Self, Error> {
        #[cfg(feature = "hsm")]
        if on_token(config, "cryptokey")?.is_some() {
            return Ok(TokenKeys::of(config)?.into());
        }
        let secrets = read_secrets(&crypto_path(config, files)?)?;
        let keys = secrets.signing_keys().map(Signer::verifying_key);
        Ok(Self {
            signing: keys.cloned().collect(),
            suites: secrets.suites().collect(),
            legacy_requests: secrets.legacy_requests(),
        })
    }
}

#[cfg(feature = "hsm")]
impl From<TokenKeys> for StoredKeys {
    fn from(keys: TokenKeys) -> Self {
        Self {
            signing: keys.public,
            suites: keys.suites,
            legacy_requests: keys.legacy_requests,
        }
    }
}

/// Returns an error while the move of a node onto a token is not finished. The ratchet may already be on the token,
/// and two copies of a ratchet would use the same keys twice.
fn require_not_moving(config: &NodeConfig) -> Result<(), Error> {
    match config.load_text(TOKEN_SECTION, MOVING)? {
        Some(token) => Err(TokenError::Moving {
            token: token.to_string(),
        }
        .into()),
        None => Ok(()),
    }
}

/// Returns the URI in an entry of the node's own section, if the entry names a token.
fn on_token(config: &NodeConfig, name: &str) -> Result<Option<String>, Error> {
    let value = config.load_text(Section::NODE, name)?;
    let value = value.filter(|value| value.trim_start().starts_with(TOKEN));
    Ok(value.map(|value| value.trim().to_owned()))
}
